//! Splits a command into words, either by the rules of a shell or as separate arguments.

use crate::spec::redact::text::{BORDER, Text, is_blank, is_line_end, is_quote};

/// One word of a command.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Word<'a> {
    /// The position of the word, after its opening quote.
    pub(crate) start: usize,
    /// The text of the word; empty for a shell operator.
    pub(crate) text: &'a str,
    /// Whether the command ends after this word.
    pub(crate) ends_command: bool,
    /// The position where the next word may begin.
    next: usize,
}

impl Word<'_> {
    pub(crate) const fn end(&self) -> usize {
        self.start + self.text.len()
    }
}

/// The arguments of a command, each as one word.
pub(crate) fn arguments(text: Text<'_>) -> Vec<Word<'_>> {
    let mut next = 0;
    let words = text.text.split(BORDER).map(|text| {
        let start = next;
        next = start + text.len() + 1;
        Word { start, text, ends_command: false, next }
    });
    words.collect()
}

/// The words of a shell command from `from` to `to`. Blanks and quotes separate words.
pub(crate) fn shell_words(text: Text<'_>, from: usize, to: usize) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    let mut at = from;
    while at < to {
        let word = shell_word(text, at, to);
        at = word.next.max(at + 1);
        if !word.text.is_empty() || word.ends_command {
            words.push(word);
        }
    }
    words
}

fn shell_word(text: Text<'_>, at: usize, to: usize) -> Word<'_> {
    let start = text.skip_blanks(at).min(to);
    if let Some(quote) = text.byte(start).filter(|byte| is_quote(*byte)) {
        let end = text.find(start + 1, |byte| byte == quote || is_line_end(byte)).min(to);
        if text.byte(end) == Some(quote) {
            let ends_command = text.byte(end + 1).is_some_and(is_line_end);
            return Word { start: start + 1, text: text.part(start + 1, end), ends_command, next: end + 1 };
        }
    }
    let end = text.find(start, |byte| is_blank(byte) || is_line_end(byte)).min(to);
    let word = text.part(start, end);
    let is_operator = matches!(word, "|" | "||" | "&&" | ";" | "&" | "(" | "{" | "then" | "do" | "else");
    let bare = word.trim_end_matches([';', ')', ',', '"', '\'', '`']);
    let ends_command = is_operator || word.ends_with(';') || text.byte(end).is_some_and(is_line_end);
    Word { start, text: if is_operator { "" } else { bare }, ends_command, next: end }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown<'a>(words: &[Word<'a>]) -> Vec<(usize, &'a str, bool)> {
        words.iter().map(|word| (word.start, word.text, word.ends_command)).collect()
    }

    #[test]
    fn each_argument_is_a_word() {
        let words = |text| shown(&arguments(Text::new(text, true)));
        assert_eq!(words("a b\0\0c\0"), [(0, "a b", false), (4, "", false), (5, "c", false), (7, "", false)]);
    }

    #[test]
    fn a_command_is_split_as_by_a_shell() {
        let words = |text: &str, from, to| -> Vec<(usize, String, bool)> {
            let words = shell_words(Text::new(text, false), from, to);
            shown(&words).into_iter().map(|(start, text, ends)| (start, text.to_owned(), ends)).collect()
        };
        let row = |start: usize, text: &str, ends: bool| (start, text.to_owned(), ends);
        assert_eq!(words("a 'b c' d;", 0, 10), [row(0, "a", false), row(3, "b c", false), row(8, "d", true)]);
        assert_eq!(words("x a 'b' y", 2, 7), [row(2, "a", false), row(5, "b", false)]);
        assert_eq!(
            words("a | b\nc", 0, 7),
            [row(0, "a", false), row(2, "", true), row(4, "b", true), row(5, "", true), row(6, "c", false)]
        );
        assert_eq!(
            words("'a\nb' c", 0, 7),
            [row(0, "'a", true), row(2, "", true), row(3, "b", false), row(6, "c", false)]
        );
    }
}
