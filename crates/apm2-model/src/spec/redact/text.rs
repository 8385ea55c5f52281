//! A text to be filtered, and how to move in it.

/// The separator of two arguments. An argument cannot contain it (execve(2)).
pub(crate) const BORDER: char = '\0';

/// [`BORDER`] as a byte.
const BORDER_BYTE: u8 = 0;

/// Lines, or the arguments of one command with a [`BORDER`] between every two.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Text<'a> {
    pub(crate) text: &'a str,
    /// Whether it is arguments: a quote or an option in one of them ends with it at the latest, and not with a line.
    pub(crate) is_args: bool,
}

impl<'a> Text<'a> {
    pub(crate) fn byte(&self, at: usize) -> Option<u8> {
        self.text.as_bytes().get(at).copied()
    }

    pub(crate) fn before(&self, at: usize) -> Option<u8> {
        at.checked_sub(1).and_then(|before| self.byte(before))
    }

    /// The text from `from` to `to`; empty where one of them is inside a character.
    pub(crate) fn part(&self, from: usize, to: usize) -> &'a str {
        self.text.get(from..to.min(self.text.len())).unwrap_or_default()
    }

    /// The first position from `from` on whose byte `is_end`, or the end of the text.
    pub(crate) fn find(&self, from: usize, is_end: impl Fn(u8) -> bool) -> usize {
        let rest = self.text.as_bytes().get(from..).unwrap_or_default();
        rest.iter().position(|byte| is_end(*byte)).map_or(self.text.len(), |at| from + at)
    }

    /// The end of the line or of the argument that contains `from`.
    pub(crate) fn line_end(&self, from: usize) -> usize {
        self.find(from, is_line_end)
    }

    /// The lines, also those of each argument, with the positions that they begin at.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &'a str)> {
        let mut next = 0;
        self.text.split(|c: char| u8::try_from(c).is_ok_and(is_line_end)).map(move |line| {
            let start = next;
            next = start + line.len() + 1;
            (start, line)
        })
    }

    /// The end of the argument that contains `from`, or of the line in a text of lines.
    pub(crate) fn field_end(&self, from: usize) -> usize {
        if self.is_args { self.find(from, |byte| byte == BORDER_BYTE) } else { self.line_end(from) }
    }

    /// At most `bytes_max` bytes from `from` to `to`, cut between two characters.
    pub(crate) fn sample(&self, from: usize, bytes_max: usize) -> &'a str {
        let mut to = from.saturating_add(bytes_max).min(self.text.len());
        while !self.text.is_char_boundary(to) {
            to -= 1;
        }
        self.part(from, to)
    }

    /// The position after the blanks at `from`. Line ends are not blanks.
    pub(crate) fn skip_blanks(&self, from: usize) -> usize {
        self.find(from, |byte| !is_blank(byte))
    }

    /// The position before the blanks that end at `to`, at most `limit` of them.
    pub(crate) fn blanks_before(&self, to: usize, limit: usize) -> usize {
        let blanks = (0..limit).take_while(|back| self.before(to.saturating_sub(*back)).is_some_and(is_blank));
        to.saturating_sub(blanks.count())
    }
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
        let text = Text { text: "a\u{fc}\u{1f600}b", is_args: false };
        for (bytes_max, expected) in
            [(0, ""), (1, "a"), (2, "a"), (3, "a\u{fc}"), (6, "a\u{fc}"), (7, "a\u{fc}\u{1f600}"), (99, text.text)]
        {
            assert_eq!(text.sample(0, bytes_max), expected, "{bytes_max}");
        }
        assert_eq!(text.sample(3, 4), "\u{1f600}");
    }

    #[test]
    fn each_line_has_its_position() {
        let text = Text { text: "a\u{fc}\r\nb\0c\n", is_args: true };
        let lines: Vec<(usize, &str)> = text.lines().collect();
        assert_eq!(lines, [(0, "a\u{fc}"), (4, ""), (5, "b"), (7, "c"), (9, "")]);
    }
}
