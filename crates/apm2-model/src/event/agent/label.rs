//! Names that an agent prints: of sessions, models, tools, servers and modes.

use std::fmt;

use crate::spec::redact::mark::REDACTED;

/// Largest length of a label, in characters.
pub const LABEL_CHARS_MAX: usize = 128;

/// A name of at most [`LABEL_CHARS_MAX`] characters, without control characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Label(Box<str>);

impl Label {
    /// The label of `text`. Control characters are left out and a longer text is cut. `None` if nothing is left.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let cut: String =
            text.trim().chars().filter(|character| !character.is_control()).take(LABEL_CHARS_MAX).collect();
        (!cut.is_empty()).then(|| Self(cut.into_boxed_str()))
    }

    /// The label in place of a name that was masked as a whole.
    #[must_use]
    pub fn redacted() -> Self {
        Self(REDACTED.into())
    }

    /// The text of the label.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
