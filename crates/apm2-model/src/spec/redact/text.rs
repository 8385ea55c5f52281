//! A text to be filtered, with functions to find positions and parts.

use std::iter;

use memchr::memmem;

use crate::spec::redact::characters::Characters;

/// The separator between two arguments. It is the NUL byte, which an argument cannot contain (execve(2)).
pub(crate) const BORDER: char = '\0';

/// The separator of two arguments ([`BORDER`]) as a byte.
const BORDER_BYTE: u8 = 0;

/// A text to be filtered: either lines, or the arguments of one command with a [`BORDER`] between every two arguments.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Text<'a> {
    pub(crate) text: &'a str,
    /// Whether the text consists of arguments. A quote or an option then ends at the end of its argument at the latest,
    /// and not at the end of a line.
    pub(crate) is_args: bool,
    characters: Characters,
}

impl<'a> Text<'a> {
    pub(crate) const fn new(text: &'a str, is_args: bool) -> Self {
        Self { text, is_args, characters: Characters::of(text) }
    }

    /// Whether the text can contain `word`, in any case. Almost always false for a short text without the word.
    pub(crate) const fn may_contain(&self, word: &str) -> bool {
        self.characters.include(Characters::of(word))
    }

    pub(crate) fn byte(&self, at: usize) -> Option<u8> {
        self.text.as_bytes().get(at).copied()
    }

    pub(crate) fn before(&self, at: usize) -> Option<u8> {
        at.checked_sub(1).and_then(|before| self.byte(before))
    }

    /// The text from `from` to `to`; empty if one of these positions is inside a character.
    pub(crate) fn part(&self, from: usize, to: usize) -> &'a str {
        self.text.get(from..to.min(self.text.len())).unwrap_or_default()
    }

    /// The first position at or after `from` whose byte satisfies `is_end`; the end of the text if there is none.
    pub(crate) fn find(&self, from: usize, is_end: impl Fn(u8) -> bool) -> usize {
        let rest = self.text.as_bytes().get(from..).unwrap_or_default();
        rest.iter().position(|byte| is_end(*byte)).map_or(self.text.len(), |at| from + at)
    }

    /// The end of the line or of the argument that contains the position `from`.
    pub(crate) fn line_end(&self, from: usize) -> usize {
        self.find(from, is_line_end)
    }

    /// The lines of the text, each with the position of its beginning. An argument that contains line breaks has several
    /// lines.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &'a str)> {
        let mut next = 0;
        self.text.split(|c: char| u8::try_from(c).is_ok_and(is_line_end)).map(move |line| {
            let start = next;
            next = start + line.len() + 1;
            (start, line)
        })
    }

    /// The end of the argument that contains the position `from`; in a text of lines, the end of the line.
    pub(crate) fn field_end(&self, from: usize) -> usize {
        if self.is_args { self.find(from, |byte| byte == BORDER_BYTE) } else { self.line_end(from) }
    }

    /// The text from `from` on, at most `bytes_max` bytes. The text is not cut inside a character.
    pub(crate) fn sample(&self, from: usize, bytes_max: usize) -> &'a str {
        let mut to = from.saturating_add(bytes_max).min(self.text.len());
        while !self.text.is_char_boundary(to) {
            to -= 1;
        }
        self.part(from, to)
    }

    /// The position after the blanks at `from`. Line breaks are not blanks.
    pub(crate) fn skip_blanks(&self, from: usize) -> usize {
        self.find(from, |byte| !is_blank(byte))
    }

    /// The position before the blanks that end at `to`. At most `limit` blanks are skipped.
    pub(crate) fn blanks_before(&self, to: usize, limit: usize) -> usize {
        let blanks = (0..limit).take_while(|back| self.before(to.saturating_sub(*back)).is_some_and(is_blank));
        to.saturating_sub(blanks.count())
    }
}

/// The position of the first occurrence of `what` in `text` at or after the position `from`.
pub(crate) fn position(text: &str, what: &str, from: usize) -> Option<usize> {
    memmem::find(text.as_bytes().get(from..)?, what.as_bytes()).map(|at| from + at)
}

/// The positions of the occurrences of `what` in `text` that do not overlap, in order. `what` is not empty.
pub(crate) fn positions<'a>(text: &'a str, what: &'a str) -> impl Iterator<Item = usize> + 'a {
    let mut from = 0;
    iter::from_fn(move || {
        let at = position(text, what, from)?;
        from = at + what.len();
        Some(at)
    })
}

pub(crate) const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

pub(crate) const fn is_line_end(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r' | BORDER_BYTE)
}

pub(crate) const fn is_space(byte: u8) -> bool {
    is_blank(byte) || is_line_end(byte)
}

pub(crate) const fn is_quote(byte: u8) -> bool {
    matches!(byte, b'"' | b'\'' | b'`')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_ends_between_two_characters() {
        let text = Text::new("a\u{fc}\u{1f600}b", false);
        for (bytes_max, expected) in
            [(0, ""), (1, "a"), (2, "a"), (3, "a\u{fc}"), (6, "a\u{fc}"), (7, "a\u{fc}\u{1f600}"), (99, text.text)]
        {
            assert_eq!(text.sample(0, bytes_max), expected, "{bytes_max}");
        }
        assert_eq!(text.sample(3, 4), "\u{1f600}");
    }

    #[test]
    fn each_line_has_its_position() {
        let text = Text::new("a\u{fc}\r\nb\0c\n", true);
        let lines: Vec<(usize, &str)> = text.lines().collect();
        assert_eq!(lines, [(0, "a\u{fc}"), (4, ""), (5, "b"), (7, "c"), (9, "")]);
    }
}
