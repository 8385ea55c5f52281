//! Values that a process was given and that must not be recorded, wherever it writes them (law 7).

use std::sync::{Mutex, PoisonError};

use crate::process::{REDACTED, redact_text};

/// A value with fewer characters is no secret, and would mask half of everything.
const VALUE_CHARS_MIN: usize = 4;

/// The values of the latest run.
#[derive(Debug, Default)]
pub(crate) struct Masks(Mutex<Known>);

#[derive(Default)]
enum Known {
    /// These, the longest first.
    Values(Vec<String>),
    /// Some that nobody knows.
    #[default]
    Not,
}

impl std::fmt::Debug for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Known")
    }
}

impl Masks {
    /// Masks these values from now on.
    pub(crate) fn set(&self, values: impl Iterator<Item = String>) {
        let mut known: Vec<String> = Vec::new();
        for value in values {
            // Each line by itself, too: the lines may be more than are kept, or have a time between them.
            known.extend(value.lines().filter(|line| *line != value).map(str::to_owned));
            known.push(value);
        }
        let mut values: Vec<String> =
            known.into_iter().filter(|value| value.chars().count() >= VALUE_CHARS_MIN).collect();
        values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        self.put(Known::Values(values));
    }

    /// From now on there are values that nobody knows.
    pub(crate) fn forget(&self) {
        self.put(Known::Not);
    }

    fn put(&self, known: Known) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = known;
    }

    /// `text` without the values, and without whatever else looks like a secret; `None` where it may hold one that nobody
    /// knows.
    pub(crate) fn mask(&self, text: &str) -> Option<String> {
        match &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Known::Values(values) => {
                let masked = values.iter().fold(text.to_owned(), |text, value| text.replace(value, REDACTED));
                Some(redact_text(&masked))
            }
            Known::Not => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_masked_wherever_they_stand_and_nothing_is_shown_while_they_are_not_known() {
        let masks = Masks::default();
        assert_eq!(masks.mask("anything"), None);
        masks.set(["hunter2", "hunter2value", "1"].into_iter().map(str::to_owned));
        assert_eq!(masks.mask("1: xhunter2valuex, hunter2").unwrap(), format!("1: x{REDACTED}x, {REDACTED}"));
        assert_eq!(masks.mask("ghp_LEAK").unwrap(), REDACTED);
        assert!(!format!("{masks:?}").contains("hunter2"));
    }

    #[test]
    fn each_line_of_a_value_is_masked_by_itself() {
        let masks = Masks::default();
        masks.set(["first line of it\nsecond line of it".to_owned()].into_iter());
        let masked = masks.mask("12:00 first line of it\n12:01 second line of it").unwrap();
        assert!(!masked.contains("line of it"), "{masked}");
    }
}
