//! Escapes recorded text, which is untrusted. It must not control the terminal, hide text, or reorder text beside it
//! (CVE-2021-25743).

use std::{borrow::Cow, fmt::Write as _};

use crate::render::invisible::is_default_ignorable;

/// `text` with control characters and invisible characters escaped.
///
/// For display only: a backslash is not escaped, so the result cannot be decoded. Programs read JSON.
pub(crate) fn escape(text: &str) -> Cow<'_, str> {
    if text.chars().any(is_unsafe) { Cow::Owned(escaped(text)) } else { Cow::Borrowed(text) }
}

fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        if is_unsafe(character) { push_escaped(&mut safe, character) } else { safe.push(character) }
    }
    safe
}

/// Like [`escape`], for the output of a program. Line feeds and tabs are kept, and bytes that are not UTF-8 are
/// escaped.
pub(crate) fn escape_bytes(bytes: &[u8]) -> String {
    let mut safe = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if is_unsafe(character) && !matches!(character, '\n' | '\t') {
                push_escaped(&mut safe, character);
            } else {
                safe.push(character);
            }
        }
        for byte in chunk.invalid() {
            // Writing to a string cannot fail.
            let _ = write!(safe, "\\x{byte:02x}");
        }
    }
    safe
}

/// Appends the escape sequence of `character`, in a form that `$'…'` of a shell accepts.
pub(crate) fn push_escaped(safe: &mut String, character: char) {
    // Writing to a string cannot fail.
    let _ = match (character, u32::from(character)) {
        ('\n', _) => safe.write_str("\\n"),
        ('\r', _) => safe.write_str("\\r"),
        ('\t', _) => safe.write_str("\\t"),
        (_, code @ 0..=0x7f) => write!(safe, "\\x{code:02x}"),
        (_, code @ 0x80..=0xffff) => write!(safe, "\\u{code:04x}"),
        (_, code) => write!(safe, "\\U{code:08x}"),
    };
}

/// Whether `character` is a control character, changes the direction of text, breaks a line, or is not displayed.
///
/// The variation selectors U+FE0E and U+FE0F do not count. They occur in ordinary text, where they select the text or
/// the emoji form of the preceding character.
pub(crate) fn is_unsafe(character: char) -> bool {
    match character {
        ' '..='~' | '\u{fe0e}' | '\u{fe0f}' => false,
        // The ranges are the line and paragraph separators, and the characters of interlinear annotations, which hide
        // the annotated text.
        '\u{2028}' | '\u{2029}' | '\u{fff9}'..='\u{fffb}' => true,
        character => character.is_control() || is_default_ignorable(character),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_text_is_left_alone() {
        for text in ["", "exit 7", "größer – 日本語 é", r"C:\new", "\u{fffd}", "\u{26a0}\u{fe0f}"] {
            assert!(matches!(escape(text), Cow::Borrowed(same) if same == text), "{text:?}");
        }
    }

    #[test]
    fn what_steers_a_terminal_is_written_out() {
        assert_eq!(escape("a\x1b[31mb\x07"), "a\\x1b[31mb\\x07");
        assert_eq!(escape("one\rtwo\nthree\t\x7f\0"), "one\\rtwo\\nthree\\t\\x7f\\x00");
        assert_eq!(escape("\u{9b}31m"), "\\u009b31m");
    }

    #[test]
    fn what_hides_or_reorders_is_written_out() {
        assert_eq!(escape("a\u{202e}b\u{2066}c\u{200f}"), "a\\u202eb\\u2066c\\u200f");
        assert_eq!(escape("a\u{200b}\u{feff}b\u{2028}"), "a\\u200b\\ufeffb\\u2028");
        assert_eq!(escape("\u{e0041}"), "\\U000e0041");
        assert_eq!(escape("a\u{34f}b\u{180b}\u{fe00}"), "a\\u034fb\\u180b\\ufe00");
        assert_eq!(escape("a\u{e0100}b\u{e01ef}"), "a\\U000e0100b\\U000e01ef");
    }

    #[test]
    fn escaping_twice_changes_nothing() {
        let every = (0..=0x10_ffff).filter_map(char::from_u32).collect::<String>();
        let once = escape(&every).into_owned();
        assert!(!once.chars().any(is_unsafe));
        assert_eq!(escape(&once), once);
    }
}
