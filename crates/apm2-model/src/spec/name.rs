//! The rules for the names of processes and of environment variables. Every crate that accepts a name applies these
//! rules.

/// The greatest number of characters of a process name.
pub const NAME_CHARS_MAX: usize = 64;

/// The word that stands for every process on the command line (`all`). A process must not have this name.
pub const EVERYTHING: &str = "all";

/// The error for a text that is not a valid process name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a name has 1 to {NAME_CHARS_MAX} letters, digits, '.', '_' and '-', and begins with a letter or digit")]
pub struct NotAName;

/// Checks a process name. The rule allows only names that can be recorded, displayed, typed and used as a file name on
/// every system. It is `[A-Za-z0-9][A-Za-z0-9._-]{0,63}`.
///
/// # Errors
/// The text does not follow the rule.
pub fn check_name(text: &str) -> Result<(), NotAName> {
    let begins_well = text.starts_with(|first: char| first.is_ascii_alphanumeric());
    let is_valid = begins_well && text.len() <= NAME_CHARS_MAX && text.chars().all(is_name_char);
    if is_valid { Ok(()) } else { Err(NotAName) }
}

/// Whether a process name may contain this character. The first character of a name must be a letter or a digit.
#[must_use]
pub const fn is_name_char(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '.' | '_' | '-')
}

/// Whether this is a valid name of a shell variable: letters, digits and `_`, without a digit at the beginning. Files
/// with `KEY=VALUE` lines use such names.
#[must_use]
pub fn is_shell_variable_name(text: &str) -> bool {
    !text.starts_with(|first: char| first.is_ascii_digit())
        && !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Whether an environment variable can have this name (environ(7)).
#[must_use]
pub(crate) fn is_variable_name(text: &str) -> bool {
    !text.is_empty() && !text.contains(['=', '\0'])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_name_is_what_the_rule_describes(text in "[A-Za-z0-9][A-Za-z0-9._-]{0,63}") {
            prop_assert_eq!(check_name(&text), Ok(()));
            prop_assert!(text.chars().all(is_name_char));
            prop_assert!(is_variable_name(&text));
        }

        #[test]
        fn one_character_outside_of_the_rule_is_refused(
            before in "[A-Za-z0-9][A-Za-z0-9._-]{0,20}", wrong in any::<char>(), after in "[a-z]{0,20}",
        ) {
            prop_assume!(!(wrong.is_ascii_alphanumeric() || "._-".contains(wrong)));
            prop_assert!(!is_name_char(wrong));
            let text = format!("{before}{wrong}{after}");
            prop_assert_eq!(check_name(&text), Err(NotAName));
        }
    }

    #[test]
    fn the_borders_of_the_rule_are_kept() {
        let longest = "n".repeat(NAME_CHARS_MAX);
        for name in ["n", "7", "a.b_c-d", "all", longest.as_str()] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
        let too_long = "n".repeat(NAME_CHARS_MAX + 1);
        for text in ["", ".n", "_n", "-n", "n/m", "\u{e9}", too_long.as_str()] {
            assert_eq!(check_name(text), Err(NotAName), "{text}");
        }
        for text in ["", "A=B", "=", "A\0", "\0"] {
            assert!(!is_variable_name(text), "{text:?}");
        }
        for (text, is_valid) in [("A", true), ("_a1", true), ("1A", false), ("", false), ("A-B", false), ("A=", false)]
        {
            assert_eq!(is_shell_variable_name(text), is_valid, "{text}");
        }
        assert!(is_variable_name("a b") && is_variable_name("\u{e9}"), "the kernel takes other characters");
    }
}
