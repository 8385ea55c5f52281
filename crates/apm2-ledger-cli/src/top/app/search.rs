//! The search in the text of the detail pane.

use crate::top::text::StyledLine;

/// What was searched for, and where it was found last.
#[derive(Debug, Default)]
pub(crate) struct Search {
    /// In lower case; empty if nothing was searched for.
    needle: String,
    /// The index of the line that was found last.
    found: Option<usize>,
}

impl Search {
    /// A search for a text, whatever the case of its letters.
    pub(crate) fn of(text: &str) -> Self {
        Self { needle: text.trim().to_lowercase(), found: None }
    }

    pub(crate) fn needle(&self) -> &str {
        &self.needle
    }

    pub(crate) const fn found(&self) -> Option<usize> {
        self.found
    }

    /// Whether a line contains what was searched for.
    pub(crate) fn matches(&self, line: &StyledLine) -> bool {
        !self.needle.is_empty() && line.contains(&self.needle)
    }

    /// Begins anew in another text.
    pub(crate) const fn forget_place(&mut self) {
        self.found = None;
    }

    /// The index of the next line that matches, or of the one before, in a circle.
    pub(crate) fn go_on(&mut self, lines: &[StyledLine], is_next: bool) -> Option<usize> {
        let count = lines.len();
        let start =
            self.found.filter(|found| *found < count).unwrap_or(if is_next { count.saturating_sub(1) } else { 0 });
        let place = |step: usize| (start + if is_next { step } else { count - step }) % count;
        self.found = (1..=count).map(place).find(|at| lines.get(*at).is_some_and(|line| self.matches(line)));
        self.found
    }
}
