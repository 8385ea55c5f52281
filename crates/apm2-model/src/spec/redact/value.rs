//! The extent of an assigned value: its quotes and its end. The file `classify.rs` decides which values are secrets.

use crate::spec::redact::text::{Text, is_line_end, is_quote, is_space};

/// The greatest number of bytes of a value that are examined.
const LOOK_BYTES_MAX: usize = 160;

/// The greatest length of a call that wraps a value, such as `Some(`.
const WRAPPER_BYTES_MAX: usize = 24;

/// The greatest number of backslashes before a quote, from texts that are nested in quoted texts.
const ESCAPES_MAX: usize = 3;

/// The beginning of an assigned value.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Value<'a> {
    /// The position of the value, after its opening quote if the value is quoted.
    pub(crate) start: usize,
    /// The text of the value, or the beginning of a very long value.
    pub(crate) sample: &'a str,
    quote: Option<Quote>,
}

/// The quote character before a value, and the number of backslashes before this quote.
#[derive(Debug, Clone, Copy)]
struct Quote {
    byte: u8,
    escapes: usize,
}

/// The character that ends a value without quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// A blank ends the value.
    Word,
    /// A blank, `&` or `#` ends the value, which is in the query of a URL.
    Query,
    /// A `;` ends the value, which is in a connection string.
    List,
    /// The value extends to the end of its line.
    Line,
    /// The value extends to the end of its argument.
    Argument,
}

impl<'a> Value<'a> {
    /// The value that begins at `from` or after the blanks there. The value is on the same line, and may be empty.
    pub(crate) fn at(text: Text<'a>, from: usize, end: End) -> Self {
        let blank_end = text.skip_blanks(from);
        if let Some((quote, start)) = opening_quote(text, blank_end) {
            let sample = text.sample(start, LOOK_BYTES_MAX);
            let length = closing_quote(sample.as_bytes(), quote, text.is_args).unwrap_or(sample.len());
            return Self { start, sample: sample.get(..length).unwrap_or_default(), quote: Some(quote) };
        }
        let sample = text.sample(blank_end, LOOK_BYTES_MAX);
        let length = plain_length(sample, end);
        Self { start: blank_end, sample: sample.get(..length).unwrap_or_default(), quote: None }
    }

    pub(crate) const fn is_quoted(&self) -> bool {
        self.quote.is_some()
    }

    /// The end of the value, before its closing quote if the value is quoted.
    pub(crate) fn end(&self, text: Text<'_>, end: End) -> usize {
        let rest = text.text.get(self.start..).unwrap_or_default();
        let Some(quote) = self.quote else { return self.start + plain_length(rest, end) };
        let length = closing_quote(rest.as_bytes(), quote, text.is_args);
        length.map_or_else(|| text.field_end(self.start), |length| self.start + length)
    }

    /// The line from the beginning of the value on, up to [`LOOK_BYTES_MAX`] bytes.
    pub(crate) fn line(&self, text: Text<'a>) -> &'a str {
        let sample = text.sample(self.start, LOOK_BYTES_MAX);
        sample.split(|c: char| u8::try_from(c).is_ok_and(is_line_end)).next().unwrap_or_default()
    }
}

fn opening_quote(text: Text<'_>, at: usize) -> Option<(Quote, usize)> {
    // Quotes with a prefix or in a call: `@"…"`, `b'…'`, `Some("…")`, `Secret("…")`.
    let sample = text.sample(at, WRAPPER_BYTES_MAX);
    let is_wrapping = |byte: u8| byte.is_ascii_alphabetic() || matches!(byte, b'(' | b'@' | b':');
    let length = sample.bytes().position(|byte| !is_wrapping(byte)).unwrap_or(0);
    let prefix = sample.get(..length).unwrap_or_default();
    let is_wrapper = prefix.ends_with('(') || matches!(prefix, "@" | "b" | "u" | "r" | "f" | "L");
    let at = if is_wrapper { at + length } else { at };
    let escapes = (0..=ESCAPES_MAX).take_while(|back| text.byte(at + back) == Some(b'\\')).count();
    let byte = text.byte(at + escapes).filter(|byte| is_quote(*byte))?;
    (escapes <= ESCAPES_MAX).then_some((Quote { byte, escapes }, at + escapes + 1))
}

/// The position of the closing quote, before its backslashes. In a text of lines, the quote must be closed on the same
/// line.
fn closing_quote(bytes: &[u8], quote: Quote, is_args: bool) -> Option<usize> {
    let mut escapes = 0;
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'\\' => escapes += 1,
            byte if *byte == quote.byte && is_closing(escapes, quote.escapes) => return Some(at - quote.escapes),
            byte if *byte == 0 || (is_line_end(*byte) && !is_args) => return None,
            _ => escapes = 0,
        }
    }
    None
}

const fn is_closing(escapes: usize, of_quote: usize) -> bool {
    if of_quote == 0 { escapes.is_multiple_of(2) } else { escapes == of_quote }
}

/// The length of the value without quotes at the beginning of `rest`.
fn plain_length(rest: &str, end: End) -> usize {
    let bytes = rest.as_bytes();
    let at = match end {
        End::Argument => bytes.iter().position(|byte| *byte == 0),
        End::Line => bytes.iter().position(|byte| is_line_end(*byte)),
        End::Word | End::Query | End::List => (0..bytes.len()).find(|at| is_word_end(bytes, *at, end)),
    };
    let length = at.unwrap_or(bytes.len());
    if matches!(end, End::Word | End::Query) { trim_closers(rest.get(..length).unwrap_or_default()) } else { length }
}

fn is_word_end(bytes: &[u8], at: usize, end: End) -> bool {
    let Some(byte) = bytes.get(at).copied() else { return true };
    match byte {
        b';' => end == End::List,
        b'&' => end == End::Query || bytes.get(at + 1) == Some(&b'&'),
        b'#' => end == End::Query,
        b',' => {
            end == End::List && bytes.get(at + 1).is_none_or(|next| is_space(*next) || matches!(next, b'"' | b'\''))
        }
        b'"' | b'\'' | b'`' | b'<' | b'>' | b'|' => at > 0,
        byte => is_space(byte),
    }
}

/// The length of the word without closing brackets and punctuation that belong to the surrounding text.
fn trim_closers(word: &str) -> usize {
    let mut word = word;
    loop {
        let shorter = word.trim_end_matches([',', ';', '.', ':', '!']);
        let shorter = [('(', ')'), ('[', ']'), ('{', '}')].into_iter().fold(shorter, |word, (open, close)| {
            if word.contains(open) { word } else { word.strip_suffix(close).unwrap_or(word) }
        });
        if shorter.len() == word.len() {
            return word.len();
        }
        word = shorter;
    }
}
