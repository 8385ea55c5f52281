//! The name of a process.

/// Characters of a name.
pub(crate) const NAME_CHARS_MAX: usize = 64;

/// The word that means every process.
pub const EVERYTHING: &str = "all";

/// Whether a name can be recorded, shown, typed and made into a file name anywhere: `[A-Za-z0-9][A-Za-z0-9._-]{0,63}`.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let is_name_char = |character: char| character.is_ascii_alphanumeric() || matches!(character, '.' | '_' | '-');
    text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.len() <= NAME_CHARS_MAX
        && text.chars().all(is_name_char)
}
