//! Finds the end of a JSON value, and the members of an object, without a copy and without recursion.
//!
//! `serde_json` can skip values too, but it reads a value again at each level at which it is taken apart; that made lines with large
//! contents three times as slow. A value that is skipped is not checked: only its strings and brackets are followed.

use memchr::memchr2;

/// A part of a JSON text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    pub(super) const fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// The next byte that is not white space.
    fn peek(&mut self) -> Option<u8> {
        loop {
            let byte = *self.text.as_bytes().get(self.at)?;
            if !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                return Some(byte);
            }
            self.at += 1;
        }
    }

    /// Takes `byte` if it is the next one.
    pub(super) fn take(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    /// Whether nothing but white space is left.
    pub(super) fn is_at_end(&mut self) -> bool {
        self.peek().is_none()
    }

    /// The next value, as it is written; `None` if it has no end.
    pub(crate) fn value(&mut self) -> Option<&'a str> {
        let first = self.peek()?;
        let bytes = self.text.as_bytes();
        let end = match first {
            b'"' => string_end(bytes, self.at + 1)?,
            b'{' | b'[' => container_end(bytes, self.at + 1)?,
            b'}' | b']' | b',' | b':' => return None,
            _ => scalar_end(bytes, self.at),
        };
        let value = self.text.get(self.at..end)?;
        self.at = end;
        Some(value)
    }

    /// The next string, with its quotes, and the colon after it.
    pub(super) fn key(&mut self) -> Option<&'a str> {
        if self.peek()? != b'"' {
            return None;
        }
        let key = self.value()?;
        self.take(b':').then_some(key)
    }
}

/// The end of a string whose first quote is before `at`.
fn string_end(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += memchr2(b'"', b'\\', bytes.get(at..)?)?;
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            _ => at += 2,
        }
    }
}

/// The end of an array or an object whose first bracket is before `at`.
fn container_end(bytes: &[u8], mut at: usize) -> Option<usize> {
    let mut depth = 1_usize;
    while depth > 0 {
        let byte = *bytes.get(at)?;
        at += 1;
        match byte {
            b'"' => at = string_end(bytes, at)?,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
    }
    Some(at)
}

/// The end of a number or a literal.
fn scalar_end(bytes: &[u8], at: usize) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    let is_end =
        |byte: &u8| matches!(byte, b'{' | b'[' | b'"' | b',' | b'}' | b']' | b':' | b' ' | b'\t' | b'\n' | b'\r');
    at + rest.iter().position(is_end).unwrap_or(rest.len())
}
