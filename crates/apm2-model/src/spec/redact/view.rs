//! Views of a text: the text with its escapes decoded, and the original position of each decoded byte.
//!
//! Known values are searched for in each view. Only the escaped parts of a text have views. Each view is made in one
//! pass over the text.

use std::ops::Range;

/// The greatest number of nested escapes, such as JSON in JSON in a URL.
const LAYERS_MAX: usize = 3;

/// The least number of consecutive bytes written as numbers that are decoded.
const NUMBERS_MIN: usize = 4;

/// The greatest number of bytes between two bytes written as numbers: `, 0x`, or a line break and an indentation.
const GAP_BYTES_MAX: usize = 10;

/// The length of the longest decoded HTML entity, including `&` and `;`.
const ENTITY_BYTES_MAX: usize = 12;

/// The least number of bytes of a word before a line break, if the word continues on the next line.
const WRAPPED_BYTES_MIN: usize = 8;

/// The separator between parts of a view that are not adjacent in the text. It is the NUL byte, which no environment
/// variable contains (execve(2)).
const BREAK: u8 = 0;

/// Decoded bytes, and for each byte the range in the original text from which it was decoded.
#[derive(Debug, Clone, Default)]
pub(crate) struct View {
    pub(crate) bytes: Vec<u8>,
    sources: Vec<(usize, usize)>,
}

/// A function that decodes one escape at the beginning of its argument. Returns the decoded byte or character and the
/// length of the escape.
type Decoder = fn(&[u8]) -> Option<(Decoded, usize)>;

/// Whether an escape may begin with this byte.
type Mark = fn(u8) -> bool;

/// The result of decoding one escape: a byte or a character.
#[derive(Debug, Clone, Copy)]
enum Decoded {
    Byte(u8),
    Char(char),
}

impl View {
    /// A view of the parts of a text that are within `reach` bytes of an escape or of a wrapped line.
    fn around_escapes(text: &[u8], reach: usize) -> Self {
        let mut view = Self::default();
        // The next part to be added.
        let (mut from, mut to) = (0, 0);
        for at in escapes(text) {
            let start = at.saturating_sub(reach);
            if start > to {
                view.add_part(text, from..to);
                from = start;
            }
            to = at.saturating_add(reach).min(text.len());
        }
        view.add_part(text, from..to);
        view
    }

    fn add_part(&mut self, text: &[u8], range: Range<usize>) {
        if range.is_empty() {
            return;
        }
        self.bytes.extend_from_slice(text.get(range.clone()).unwrap_or_default());
        self.sources.extend(range.map(|at| (at, at + 1)));
        self.push(BREAK, (0, 0));
    }

    fn add_bytes(&mut self, of: &Self, range: Range<usize>) {
        self.bytes.extend_from_slice(of.bytes.get(range.clone()).unwrap_or_default());
        self.sources.extend_from_slice(of.sources.get(range).unwrap_or_default());
    }

    /// The range in the original text of a range of decoded bytes.
    pub(crate) fn source(&self, range: Range<usize>) -> Option<Range<usize>> {
        let (start, _) = *self.sources.get(range.start)?;
        let (_, end) = *self.sources.get(range.end.checked_sub(1)?)?;
        (start < end).then_some(start..end)
    }

    fn push(&mut self, byte: u8, source: (usize, usize)) {
        self.bytes.push(byte);
        self.sources.push(source);
    }

    /// Appends the bytes of `run` to this view if there are at least [`NUMBERS_MIN`] bytes, and empties `run`.
    fn add_run(&mut self, run: &mut Self) {
        if run.bytes.len() >= NUMBERS_MIN {
            self.bytes.append(&mut run.bytes);
            self.sources.append(&mut run.sources);
            self.push(BREAK, (0, 0));
        }
        *run = Self::default();
    }

    /// This view with each escape that `decode` recognizes decoded; `None` if there is no such escape.
    fn decoded(&self, is_mark: Mark, decode: Decoder) -> Option<Self> {
        let mut view = Self::default();
        let mut done = 0;
        for (at, byte) in self.bytes.iter().enumerate() {
            if !is_mark(*byte) || at < done {
                continue;
            }
            let Some((decoded, length)) = self.bytes.get(at..).and_then(decode) else { continue };
            let Some(source) = self.source(at..at + length) else { continue };
            let source = (source.start, source.end);
            view.add_bytes(self, done..at);
            match decoded {
                Decoded::Byte(byte) => view.push(byte, source),
                Decoded::Char(c) => c.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| view.push(byte, source)),
            }
            done = at + length;
        }
        view.add_bytes(self, done..self.bytes.len());
        (done > 0).then_some(view)
    }

    /// This view without the line breaks inside wrapped words, such as base64.
    fn joined(&self) -> Option<Self> {
        let mut view = Self::default();
        let mut done = 0;
        for (at, byte) in self.bytes.iter().enumerate() {
            let Some(gap) = (*byte == b'\n' && at >= done).then(|| wrap(&self.bytes, at)).flatten() else { continue };
            view.add_bytes(self, done..gap.start);
            done = gap.end;
        }
        view.add_bytes(self, done..self.bytes.len());
        (done > 0).then_some(view)
    }
}

/// The positions of escapes and of wrapped lines in a text.
fn escapes(text: &[u8]) -> impl Iterator<Item = usize> {
    let places = text.iter().enumerate().filter(|(_, byte)| is_any_mark(**byte) || **byte == b'\n');
    places.map(|(at, _)| at).filter(|at| {
        let is_wrapped = text.get(*at) == Some(&b'\n') && wrap(text, *at).is_some();
        is_wrapped || text.get(*at..).and_then(any).is_some()
    })
}

/// The range of the line break at `at` with the blanks around it, if the texts before and after it may be parts of one
/// word.
fn wrap(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    let (before, behind) = (bytes.get(..at)?, bytes.get(at..)?);
    let length = behind.iter().take(GAP_BYTES_MAX).take_while(|byte| byte.is_ascii_whitespace()).count();
    let before = before.strip_suffix(b"\r").unwrap_or(before);
    let word = before.iter().rev().take(WRAPPED_BYTES_MIN).take_while(|byte| is_digit_of_base64(**byte)).count();
    let goes_on = word == WRAPPED_BYTES_MIN && behind.get(length).copied().is_some_and(is_digit_of_base64);
    goes_on.then(|| before.len()..at + length)
}

/// The views of a text that differ from the text. The known values that are searched for have at most `reach` bytes.
pub(crate) fn views(text: &str, reach: usize) -> Vec<View> {
    let bytes = text.as_bytes();
    let mut views: Vec<View> = [hex_numbers(bytes), decimal_numbers(bytes)].into_iter().flatten().collect();
    let raw = View::around_escapes(bytes, reach.saturating_add(ENTITY_BYTES_MAX));
    if raw.bytes.is_empty() {
        return views;
    }
    let kinds: [(Mark, Decoder); 3] =
        [(|byte| byte == b'%', percent), (|byte| byte == b'\\', backslash), (|byte| byte == b'&', entity)];
    let mut read: Vec<View> = kinds.into_iter().filter_map(|(is_mark, decode)| raw.decoded(is_mark, decode)).collect();
    // If the text has only one kind of escape, the first decoded layer is already known.
    let mut layer =
        if let [one] = read.as_slice() { one.decoded(is_any_mark, any) } else { raw.decoded(is_any_mark, any) };
    for _ in 0..LAYERS_MAX {
        let Some(view) = layer else { break };
        layer = view.decoded(is_any_mark, any);
        read.push(view);
    }
    read.push(raw);
    let joined: Vec<View> = read.iter().filter_map(View::joined).collect();
    // The undecoded view equals the text itself, which the caller searches directly.
    read.pop();
    views.extend(read);
    views.extend(joined);
    views
}

/// Decodes the escapes of a text, [`LAYERS_MAX`] times at most: escapes can be nested.
pub(crate) fn unescaped(text: &str) -> Vec<u8> {
    let mut view = View::default();
    view.add_part(text.as_bytes(), 0..text.len());
    view.bytes.pop();
    for _ in 0..LAYERS_MAX {
        match view.decoded(is_any_mark, any) {
            Some(decoded) => view = decoded,
            None => break,
        }
    }
    view.bytes
}

/// Whether any kind of escape begins with this byte.
const fn is_any_mark(byte: u8) -> bool {
    matches!(byte, b'%' | b'\\' | b'&')
}

fn any(rest: &[u8]) -> Option<(Decoded, usize)> {
    match rest.first()? {
        b'%' => percent(rest),
        b'\\' => backslash(rest),
        _ => entity(rest),
    }
}

/// Decodes a percent-encoded byte of a URL, such as `%2f`.
fn percent(rest: &[u8]) -> Option<(Decoded, usize)> {
    let code = number(rest.get(1..3)?, 16)?;
    Some((Decoded::Byte(u8::try_from(code).ok()?), 3))
}

/// Decodes the escapes of JSON, C, shells and programming languages: `\n`, `\/`, `\x2f`, `\057`, `\u002f`, `\u{2f}`.
fn backslash(rest: &[u8]) -> Option<(Decoded, usize)> {
    let code = |from: usize, to: usize| rest.get(from..to).and_then(|digits| number(digits, 16));
    match *rest.get(1)? {
        b'n' => Some((Decoded::Byte(b'\n'), 2)),
        b'r' => Some((Decoded::Byte(b'\r'), 2)),
        b't' => Some((Decoded::Byte(b'\t'), 2)),
        b'x' => Some((Decoded::Byte(u8::try_from(code(2, 4)?).ok()?), 4)),
        b'u' if rest.get(2) == Some(&b'{') => {
            let length = rest.get(3..)?.iter().take(6).take_while(|byte| byte.is_ascii_hexdigit()).count();
            (rest.get(3 + length) == Some(&b'}')).then_some(())?;
            Some((Decoded::Char(char::from_u32(code(3, 3 + length)?)?), length + 4))
        }
        b'u' => utf16(rest, code(2, 6)?),
        b'U' => Some((Decoded::Char(char::from_u32(code(2, 10)?)?), 10)),
        b'0'..=b'3' => Some((Decoded::Byte(u8::try_from(number(rest.get(1..4)?, 8)?).ok()?), 4)),
        byte if byte.is_ascii_punctuation() || byte == b' ' => Some((Decoded::Byte(byte), 2)),
        _ => None,
    }
}

/// Decodes `\u00fc`, or the surrogate pair (two escapes) of a character above U+FFFF.
fn utf16(rest: &[u8], unit: u32) -> Option<(Decoded, usize)> {
    if let Some(c) = char::from_u32(unit) {
        return Some((Decoded::Char(c), 6));
    }
    let low = rest.get(6..8).filter(|mark| *mark == b"\\u").and_then(|_| number(rest.get(8..12)?, 16))?;
    let units = [u16::try_from(unit).ok()?, u16::try_from(low).ok()?];
    Some((Decoded::Char(char::decode_utf16(units).next()?.ok()?), 12))
}

/// Decodes HTML entities: `&amp;`, `&#38;`, `&#x26;`.
fn entity(rest: &[u8]) -> Option<(Decoded, usize)> {
    let length = rest.iter().take(ENTITY_BYTES_MAX).position(|byte| *byte == b';')?;
    let byte = |byte: u8| Some(Decoded::Byte(byte));
    let decoded = match rest.get(1..length)? {
        b"amp" => byte(b'&'),
        b"lt" => byte(b'<'),
        b"gt" => byte(b'>'),
        b"quot" => byte(b'"'),
        b"apos" => byte(b'\''),
        [b'#', b'x' | b'X', digits @ ..] => char::from_u32(number(digits, 16)?).map(Decoded::Char),
        [b'#', digits @ ..] => char::from_u32(number(digits, 10)?).map(Decoded::Char),
        _ => None,
    };
    Some((decoded?, length + 1))
}

fn number(digits: &[u8], radix: u32) -> Option<u32> {
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_alphanumeric);
    u32::from_str_radix(std::str::from_utf8(digits).ok().filter(|_| is_number)?, radix).ok()
}

/// Decodes bytes written in hexadecimal digits: `5a 71`, `5A:71`, `5a71 4c78`, `0x5a, 0x71`.
fn hex_numbers(bytes: &[u8]) -> Option<View> {
    numbers(bytes, u8::is_ascii_hexdigit, |run, word, at| {
        let (digits, at) = word.strip_prefix(b"0x").map_or((word, at), |digits| (digits, at + 2));
        if digits.len() % 2 != 0 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return false;
        }
        for (pair, place) in digits.chunks(2).zip((at..).step_by(2)) {
            let byte = number(pair, 16).and_then(|code| u8::try_from(code).ok()).unwrap_or(BREAK);
            run.push(byte, (place, place + 2));
        }
        true
    })
}

/// Decodes bytes written as a list of decimal numbers: `[90, 113]`.
fn decimal_numbers(bytes: &[u8]) -> Option<View> {
    numbers(bytes, u8::is_ascii_digit, |run, word, at| {
        let code = if word.len() <= 3 { number(word, 10) } else { None };
        let byte = code.and_then(|code| u8::try_from(code).ok());
        byte.into_iter().for_each(|byte| run.push(byte, (at, at + word.len())));
        byte.is_some()
    })
}

/// Decodes sequences of numbers that only separators divide. `is_digit` accepts the first character of a number, and
/// `read` decodes one number.
fn numbers(bytes: &[u8], is_digit: fn(&u8) -> bool, read: fn(&mut View, &[u8], usize) -> bool) -> Option<View> {
    let (mut view, mut run) = (View::default(), View::default());
    let (mut at, mut last) = (0, 0);
    while let Some(first) = bytes.get(at) {
        if !first.is_ascii_alphanumeric() {
            at += 1;
            continue;
        }
        let rest = bytes.get(at..).unwrap_or_default();
        let length = rest.iter().position(|byte| !byte.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let word = rest.get(..length).unwrap_or_default();
        let gap = bytes.get(last..at).unwrap_or_default();
        if gap.len() > GAP_BYTES_MAX || !gap.iter().all(|byte| b" :-,_\t\r\n".contains(byte)) {
            view.add_run(&mut run);
        }
        if !is_digit(first) || !read(&mut run, word, at) {
            view.add_run(&mut run);
        }
        at += length;
        last = at;
    }
    view.add_run(&mut run);
    Some(view).filter(|view| !view.bytes.is_empty())
}

const fn is_digit_of_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_' | b'=')
}

#[cfg(test)]
mod tests;
