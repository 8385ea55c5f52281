//! Names that an agent prints: of sessions, models, tools, servers and modes.

use std::fmt;

use crate::spec::redact::mark::REDACTED;

/// Largest length of a label, in characters.
pub const LABEL_CHARS_MAX: usize = 128;

/// A name of at most [`LABEL_CHARS_MAX`] characters, without control characters, and without white space at its ends.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Label(Box<str>);

impl Label {
    /// The label of `text`. Control characters and white space at the ends are left out, and a longer text is cut. `None` if nothing is
    /// left. The label of the text of a label is the same label: a record with another text is refused.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let printable = text.chars().filter(|character| !character.is_control());
        let cut: String = printable.skip_while(|character| character.is_whitespace()).take(LABEL_CHARS_MAX).collect();
        let name = cut.trim_end();
        (!name.is_empty()).then(|| Self(name.into()))
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_label_of_a_label_is_the_same(text in prop_oneof!["[a\\x01 \u{a0}\n]{0,8}", "[a ]{120,140}", any::<String>()]) {
            if let Some(label) = Label::new(&text) {
                prop_assert!(label.as_str().chars().count() <= LABEL_CHARS_MAX);
                prop_assert!(!label.as_str().contains(char::is_control));
                prop_assert_eq!(Label::new(label.as_str()), Some(label));
            }
        }
    }

    #[test]
    fn a_name_is_cut_and_freed_of_what_is_not_printable() {
        let label = |text: &str| Label::new(text).map(|label| label.as_str().to_owned());
        assert_eq!(label(" a\u{1} b\n").as_deref(), Some("a b"));
        assert_eq!(label("\u{1}  \u{1}"), None);
        let cut_at_a_space = format!("{} b", "a".repeat(LABEL_CHARS_MAX - 1));
        assert_eq!(label(&cut_at_a_space), Some("a".repeat(LABEL_CHARS_MAX - 1)));
    }
}
