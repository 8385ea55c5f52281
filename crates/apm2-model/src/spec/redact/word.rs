//! Splits a command into words, as a shell or the kernel does.

use crate::spec::redact::text::{Text, is_blank, is_line_end, is_quote};

/// One word of a command.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Word<'a> {
    /// Where it begins, after its opening quote.
    pub(crate) start: usize,
    /// Its text; empty for an operator.
    pub(crate) text: &'a str,
    /// Whether the command ends with it.
    pub(crate) ends_command: bool,
    /// Where the next word may begin.
    next: usize,
}

impl Word<'_> {
    pub(crate) const fn end(&self) -> usize {
        self.start + self.text.len()
    }
}

/// The words from `from` to `to`: whole arguments where `by_argument`, else words separated by blanks and quotes.
pub(crate) fn words(text: Text<'_>, from: usize, to: usize, by_argument: bool) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    let mut at = from;
    while at < to {
        let word = if by_argument { argument(text, at, to) } else { shell_word(text, at, to) };
        at = word.next.max(at + 1);
        if by_argument || !word.text.is_empty() || word.ends_command {
            words.push(word);
        }
    }
    words
}

fn argument(text: Text<'_>, start: usize, to: usize) -> Word<'_> {
    let end = text.find(start, |byte| byte == 0).min(to);
    Word { start, text: text.part(start, end), ends_command: false, next: end + 1 }
}

fn shell_word(text: Text<'_>, at: usize, to: usize) -> Word<'_> {
    let start = text.skip_blanks(at).min(to);
    if let Some(quote) = text.byte(start).filter(|byte| is_quote(*byte)) {
        let end = text.find(start + 1, |byte| byte == quote || is_line_end(byte)).min(to);
        if text.byte(end) == Some(quote) && end > start {
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
