//! Recognizes assignments in a text: the name, the assignment operator, and where the value may begin. The file
//! `assignment.rs` decides which values are secrets.

use crate::spec::redact::text::{Text, is_blank, is_line_end, is_quote};

/// A name with this number of bytes or more is not examined.
pub(super) const NAME_BYTES_MAX: usize = 64;

/// The greatest number of bytes of the word before a name that is examined.
pub(super) const WORD_BYTES_MAX: usize = 24;

/// The greatest number of blanks around an assignment operator, and of quotes and brackets after a name.
const AROUND_MAX: usize = 8;

/// The greatest number of bytes between the beginning of a line and a name: indentation, list bullets, a prompt or the
/// prefix of a trace.
pub(super) const INDENT_MAX: usize = 64;

/// The notation of an assignment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign {
    /// An equals sign without blanks around it.
    Equals,
    /// An equals sign with blanks around it, or one of the operators `:=`, `=>` and `->`.
    SpacedEquals,
    /// A colon without blanks around it.
    Colon,
    /// A colon with blanks around it.
    SpacedColon,
}

/// A name in a text, and the position where its value is assigned.
#[derive(Debug, Clone, Copy)]
pub(super) struct Assignment<'a> {
    pub(super) name: &'a str,
    pub(super) start: usize,
    pub(super) is_quoted: bool,
    pub(super) sign: Sign,
    /// The position where the value may begin.
    pub(super) value_at: usize,
}

/// The assignment whose operator contains the byte at `at`.
pub(super) fn assignment_at(text: Text<'_>, at: usize) -> Option<Assignment<'_>> {
    let (sign_start, sign_end, is_colon) = sign_at(text, at)?;
    let name_blank = text.blanks_before(sign_start, AROUND_MAX);
    let is_spaced = name_blank < sign_start || text.byte(sign_end).is_some_and(is_blank);
    let (end, is_quoted) = name_end(text, name_blank);
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    let length = (0..NAME_BYTES_MAX).take_while(|back| text.before(end - back).is_some_and(is_part)).count();
    let start = end - length;
    if length == 0 || length == NAME_BYTES_MAX {
        return None;
    }
    let sign = match (is_colon, is_spaced) {
        (true, true) => Sign::SpacedColon,
        (true, false) => Sign::Colon,
        (false, true) => Sign::SpacedEquals,
        (false, false) => Sign::Equals,
    };
    Some(Assignment { name: text.part(start, end), start, is_quoted, sign, value_at: sign_end })
}

/// The range of the assignment operator that contains the byte at `at`, and whether it is a colon. `None` for the signs
/// in comparisons and paths.
fn sign_at(text: Text<'_>, at: usize) -> Option<(usize, usize, bool)> {
    let (before, byte, next) = (text.before(at), text.byte(at)?, text.byte(at + 1));
    match byte {
        b'>' if before == Some(b'-') => {
            let is_spaced = next.is_some_and(is_blank) && text.before(at - 1).is_some_and(is_blank);
            is_spaced.then_some((at - 1, at + 1, false))
        }
        // The form `<password>…</password>`.
        b'>' => {
            let is_element = text.before(at).is_some_and(|byte| byte.is_ascii_alphanumeric());
            is_element.then_some((at, at + 1, false)).filter(|_| next != Some(b'=') && opens_element(text, at))
        }
        b'=' if next == Some(b'>') => Some((at, at + 2, false)),
        b'=' if next == Some(b'=') || matches!(before, Some(b'=' | b'!' | b'<' | b'>' | b'~')) => None,
        b'=' if before == Some(b':') => Some((at - 1, at + 1, false)),
        b'=' => Some((at, at + 1, false)),
        b':' if matches!(next, Some(b':' | b'=')) || before == Some(b':') => None,
        b':' => Some((at, at + 1, true)),
        _ => None,
    }
}

fn opens_element(text: Text<'_>, at: usize) -> bool {
    let length = (0..NAME_BYTES_MAX).take_while(|back| {
        text.before(at - back)
            .is_some_and(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b':'))
    });
    text.before(at - length.count()) == Some(b'<')
}

/// The end of the name, before the quotes and brackets that follow it, and whether there are quotes.
fn name_end(text: Text<'_>, mut end: usize) -> (usize, bool) {
    let mut is_quoted = false;
    for _ in 0..AROUND_MAX {
        match text.before(end) {
            Some(byte) if is_quote(byte) => is_quoted = true,
            Some(b'\\' | b']' | b'*') => {}
            _ => break,
        }
        end -= 1;
    }
    (end, is_quoted)
}

/// The word before a name, separated from the name by one blank.
pub(super) fn word_before(text: Text<'_>, start: usize) -> Option<&str> {
    let end = start.checked_sub(1).filter(|end| text.byte(*end) == Some(b' '))?;
    let is_letter = |byte: u8| byte.is_ascii_alphabetic();
    let length = (0..WORD_BYTES_MAX).take_while(|back| text.before(end - back).is_some_and(is_letter)).count();
    Some(text.part(end - length, end)).filter(|word| !word.is_empty())
}

/// Whether only indentation precedes the name on its line.
pub(super) fn begins_line(text: Text<'_>, assignment: &Assignment<'_>) -> bool {
    let is_indent = |byte: u8| is_blank(byte) || is_quote(byte) || b"-+*>|<#$.:".contains(&byte);
    let indent = (0..INDENT_MAX).take_while(|back| text.before(assignment.start - back).is_some_and(is_indent)).count();
    text.before(assignment.start - indent).is_none_or(is_line_end)
}
