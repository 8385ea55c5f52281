//! Masks the known values of a process, those in its environment, wherever they occur and in each form in which
//! programs write them.
//!
//! These rules decide which values are secrets:
//!
//! - The value of a credential, or of a variable whose name says that it is a secret, is a secret if it has 4 characters
//!   or more. Exceptions are a word such as `true` or `production`, a number of fewer than 6 digits, and a path.
//! - The value of any other variable is a secret if it has 6 characters or more. Exceptions are a value that is made of
//!   words and numbers (`batch`, `us-east-1`, `warn,app=debug`, `http://localhost:8080/`), and a path.
//! - Each part of a value in which the filter finds a secret is a secret, such as the password in
//!   `postgres://user:password@host/`.
//!
//! A secret is masked in its own form, in its single lines, and in its encodings: JSON, URLs, HTML, base64, base32 and
//! numbers for its bytes. A beginning of 8 characters or more is also masked, because programs shorten secrets in this
//! way. Escaped secrets are searched for in the views of a text (the text with its escapes decoded).

use std::{
    collections::HashMap,
    fmt,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::spec::{
    ProcessSpec,
    redact::{
        classify, encoding, filter,
        mark::REDACTED,
        name,
        span::Spans,
        view::{self, View},
    },
};

/// The least number of characters of a secret whose variable name says that it is a secret.
const NAMED_CHARS_MIN: usize = 4;

/// The least number of characters of a secret whose variable name does not say that it is a secret.
const UNNAMED_CHARS_MIN: usize = 6;

/// The least number of digits of a number that counts as a secret.
const DIGITS_MIN: usize = 6;

/// The least number of leading characters of a secret that are masked when the rest of the secret is missing.
const PREFIX_CHARS_MIN: usize = 8;

/// The least number of leading characters after a prefix that all secrets of a kind share, such as `ghp_`, that are
/// masked when the rest of the secret is missing.
const BEHIND_HEAD_CHARS_MIN: usize = 4;

/// The least number of characters of a line of a secret that is masked on its own.
const LINE_CHARS_MIN: usize = 8;

/// The number of leading bytes of a form (a secret in one encoding) that are used as the key of the index.
const STEM_BYTES: usize = 4;

/// The number of 64-bit words of the table of byte pairs. The table has one bit for each possible pair of first bytes
/// of a form, so that most positions of a text are skipped without a lookup.
const PAIR_WORDS: usize = (1 << 16) / 64;

/// The greatest number of text bytes that are skipped where an unknown escape interrupts a secret.
const UNKNOWN_BYTES_MAX: usize = 12;

/// The greatest number of bytes of the secret that an unknown escape can stand for.
const HIDDEN_BYTES_MAX: usize = 4;

/// The number of bytes of the secret that must follow an unknown escape in the text, so that the escape counts as a
/// part of the secret.
const RESUMED_BYTES_MIN: usize = 3;

/// The greatest length of a secret, in bytes, that is also searched for in encoded forms.
const ENCODED_BYTES_MAX: usize = 32 << 10;

/// Values that are no secrets, even if the name of their variable says so.
const COMMON: [&str; 32] = [
    "auto",
    "basic",
    "bearer",
    "debug",
    "default",
    "development",
    "digest",
    "disabled",
    "enabled",
    "error",
    "false",
    "info",
    "keyring",
    "local",
    "localhost",
    "main",
    "none",
    "null",
    "oauth",
    "optional",
    "plain",
    "production",
    "publickey",
    "required",
    "staging",
    "standard",
    "system",
    "test",
    "testing",
    "true",
    "warn",
    "password",
];

/// The secrets among the values in the environment of a process.
#[derive(Clone, Default)]
pub struct Known(Arc<Forms>);

#[derive(Clone, Default)]
struct Forms {
    forms: Vec<Form>,
    /// Maps the first bytes of a form to indexes into `forms`.
    by_stem: HashMap<[u8; STEM_BYTES], Vec<usize>>,
    /// The table of byte pairs, see [`PAIR_WORDS`].
    pairs: Vec<u64>,
    /// The length of the longest form, in bytes.
    longest: usize,
}

/// A secret in one encoding.
#[derive(Clone, PartialEq, Eq)]
struct Form {
    bytes: Vec<u8>,
    /// The shortest beginning of the encoded secret that is masked, in bytes. It is masked also where the rest of the
    /// encoded secret does not follow.
    prefix: usize,
}

impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Known").field(&self.0.forms.len()).finish()
    }
}

impl Known {
    /// The secrets among the values of these variables.
    pub fn of<'a>(variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut forms = Forms::default();
        // A recorded specification has only the mark for each value.
        for (name, value) in variables.into_iter().filter(|(_, value)| *value != REDACTED) {
            forms.add_variable(name::judge(name, None).is_some(), value);
        }
        Self(Arc::new(forms))
    }

    /// The secrets among the variables of a specification.
    pub fn of_spec(spec: &ProcessSpec) -> Self {
        let of_probe = spec.health.iter().flat_map(|health| &health.env);
        Self::of(spec.env.iter().chain(of_probe).map(|(name, value)| (name.as_str(), value.as_str())))
    }

    /// These values together with credential values, which are secrets whatever their names are.
    pub fn with_credentials<'a>(&self, values: impl IntoIterator<Item = &'a str>) -> Self {
        let mut forms = Forms::clone(&self.0);
        values.into_iter().for_each(|value| forms.add_variable(true, value));
        Self(Arc::new(forms))
    }

    /// The union of two sets of known values.
    pub fn and(&self, other: &Self) -> Self {
        let mut forms = Forms::clone(&self.0);
        other.0.forms.iter().for_each(|form| forms.add(form.clone()));
        Self(Arc::new(forms))
    }

    /// Masks the known values in `text`. The filter for other secrets is not applied.
    pub fn mask(&self, text: &str) -> String {
        if self.0.forms.is_empty() {
            return text.to_owned();
        }
        let mut spans = Spans::default();
        self.0.find(text.as_bytes(), |range| spans.add(whole(text, range)));
        for view in view::views(text, self.0.longest) {
            self.0.find(&view.bytes, |range| spans.add(view.source(range).map_or(0..0, |range| whole(text, range))));
        }
        spans.mask(text)
    }

    /// Masks the known values in `text`, and then applies the filter for other secrets.
    pub fn redact_text(&self, text: &str) -> String {
        filter::redact_text(&self.mask(text))
    }

    /// Masks the known values in the arguments of a command, or in the command with its arguments, and then applies the
    /// filter for other secrets.
    pub fn redact_args(&self, mut args: Vec<String>) -> Vec<String> {
        if !self.0.forms.is_empty() {
            args.iter_mut().for_each(|arg| *arg = self.mask(arg));
        }
        filter::redact_args(args)
    }

    /// Masks the known values in a path, and then applies the filter for other secrets. A path that is not UTF-8 keeps
    /// its bytes if nothing is masked.
    pub(crate) fn redact_path(&self, path: &Path) -> PathBuf {
        let text = path.to_string_lossy();
        let masked = self.redact_text(&text);
        if masked == text { path.to_owned() } else { masked.into() }
    }

    /// `bytes` were cut off at their end. Returns `bytes` without an incomplete known value at the end.
    pub fn without_begun<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        let begun = self.0.forms.iter().map(|form| form.begun_at_end(bytes)).max().unwrap_or(0);
        bytes.get(..bytes.len().saturating_sub(begun)).unwrap_or_default()
    }

    /// `text` begins in the middle of a line. Returns `text` with an incomplete known value at its beginning masked.
    pub fn mask_beginning(&self, text: &str) -> String {
        let in_text = |bytes: &[u8]| self.0.forms.iter().filter_map(|form| form.end_at_beginning(bytes)).max();
        let in_view = |view: View| Some(view.source(0..in_text(&view.bytes)?).filter(|range| range.start == 0)?.end);
        let length = in_text(text.as_bytes())
            .max(view::views(text, self.0.longest).into_iter().filter_map(in_view).max())
            .unwrap_or(0);
        let mut spans = Spans::default();
        if text.is_char_boundary(length) {
            spans.add(0..length);
        }
        spans.mask(text)
    }
}

impl Form {
    /// The number of bytes from `at` on that match the form; `None` if less than the leading `prefix` bytes match.
    fn length_at(&self, bytes: &[u8], at: usize) -> Option<usize> {
        let there = bytes.get(at..)?;
        if !there.starts_with(self.bytes.get(..self.prefix)?) {
            return None;
        }
        let (mut of_form, mut of_text) = (0, 0);
        loop {
            let (rest, there) = (self.bytes.get(of_form..)?, there.get(of_text..)?);
            let same = rest.iter().zip(there).take_while(|(one, other)| one == other).count();
            of_form += same;
            of_text += same;
            let Some((hidden, unknown)) = resumed(rest.get(same..)?, there.get(same..)?) else { return Some(of_text) };
            of_form += hidden;
            of_text += unknown;
        }
    }

    /// The length of the longest prefix of the form that is a suffix of `bytes`.
    fn begun_at_end(&self, bytes: &[u8]) -> usize {
        let longest = self.bytes.len().min(bytes.len());
        let is_begun = |length: &usize| self.bytes.get(..*length).is_some_and(|begun| bytes.ends_with(begun));
        (1..=longest).rev().find(is_begun).unwrap_or(0)
    }

    /// The length of the beginning of `bytes` that is a suffix of the form; `None` if there is no such suffix.
    fn end_at_beginning(&self, bytes: &[u8]) -> Option<usize> {
        let tail = self.bytes.get(self.bytes.len().checked_sub(PREFIX_CHARS_MIN)?..)?;
        let window = bytes.get(..bytes.len().min(self.bytes.len()))?;
        let at = window.windows(tail.len()).position(|piece| piece == tail)?;
        let end = at + tail.len();
        self.bytes.ends_with(window.get(..end)?).then_some(end)
    }
}

/// The numbers of differing bytes in a form and in a text, after which both continue with the same bytes in the same
/// word.
fn resumed(rest: &[u8], there: &[u8]) -> Option<(usize, usize)> {
    let word = there.iter().take(UNKNOWN_BYTES_MAX).take_while(|byte| !byte.is_ascii_whitespace()).count();
    (0..=word).flat_map(|unknown| (0..=HIDDEN_BYTES_MAX).map(move |hidden| (hidden, unknown))).find(
        |(hidden, unknown)| {
            let Some(needed) = rest.get(*hidden..*hidden + RESUMED_BYTES_MIN) else { return false };
            there.get(*unknown..).is_some_and(|there| there.starts_with(needed))
        },
    )
}

/// The range, with both ends moved back to character boundaries.
fn whole(text: &str, range: Range<usize>) -> Range<usize> {
    let Range { mut start, mut end } = range;
    while !text.is_char_boundary(start) {
        start -= 1;
    }
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    start..end
}

impl Forms {
    /// Finds all forms (encoded secrets) in `bytes`.
    fn find(&self, bytes: &[u8], mut found: impl FnMut(Range<usize>)) {
        // The end of the last match of each form. A match that begins before this end is part of the earlier match.
        let mut done = vec![0; self.forms.len()];
        for (at, stem) in bytes.windows(STEM_BYTES).enumerate() {
            let [one, other, ..] = stem else { continue };
            let (word, bit) = pair(*one, *other);
            if self.pairs.get(word).is_none_or(|bits| bits & bit == 0) {
                continue;
            }
            let places = <[u8; STEM_BYTES]>::try_from(stem).ok().and_then(|stem| self.by_stem.get(&stem));
            for place in places.into_iter().flatten() {
                let (Some(form), Some(done)) = (self.forms.get(*place), done.get_mut(*place)) else { continue };
                let Some(length) = form.length_at(bytes, at).filter(|_| at >= *done) else { continue };
                *done = at + length;
                found(at..*done);
            }
        }
    }

    fn add_variable(&mut self, is_named: bool, value: &str) {
        for secret in filter::secrets_in(value) {
            self.add_secret(secret, NAMED_CHARS_MIN);
        }
        if !is_secret(is_named, value) {
            return;
        }
        let prefix = if is_named { prefix_of_named(value) } else { prefix_of_unnamed(value) };
        self.add_secret(value, prefix);
        // Each line of the secret is also masked on its own, because a text can contain only some of the lines, or
        // timestamps between them.
        for line in value.lines().map(str::trim).filter(|line| *line != value) {
            if line.chars().count() >= LINE_CHARS_MIN && !classify::is_placeholder(line) {
                self.add_secret(line, line.chars().count());
            }
        }
    }

    /// Adds a secret in all its encoded forms. The leading `prefix` characters are masked even when the rest is
    /// missing.
    fn add_secret(&mut self, secret: &str, prefix: usize) {
        let beginning: String = secret.chars().take(prefix.max(PREFIX_CHARS_MIN)).collect();
        self.add(Form { bytes: secret.as_bytes().to_vec(), prefix: beginning.len() });
        if secret.len() > ENCODED_BYTES_MAX {
            return;
        }
        for (bytes, prefix) in encoding::forms(secret, &beginning) {
            self.add(Form { bytes, prefix });
        }
        // Decoding a text that is escaped more than once also decodes escapes that belong to the secret itself. The
        // decoded secret is therefore a further form.
        let unescaped = view::unescaped(secret);
        if unescaped.len() >= PREFIX_CHARS_MIN {
            let prefix = view::unescaped(&beginning).len().clamp(PREFIX_CHARS_MIN, unescaped.len());
            self.add(Form { bytes: unescaped, prefix });
        }
        if secret.contains(' ') {
            self.add(Form { bytes: secret.replace(' ', "+").into_bytes(), prefix: beginning.len() });
        }
    }

    fn add(&mut self, form: Form) {
        let Some(stem) = form.bytes.first_chunk::<STEM_BYTES>().copied() else { return };
        let places = self.by_stem.entry(stem).or_default();
        if places.iter().all(|place| self.forms.get(*place) != Some(&form)) {
            places.push(self.forms.len());
            self.longest = self.longest.max(form.bytes.len());
            let [one, other, ..] = stem;
            let (word, bit) = pair(one, other);
            self.pairs.resize(PAIR_WORDS, 0);
            self.pairs.get_mut(word).into_iter().for_each(|bits| *bits |= bit);
            self.forms.push(form);
        }
    }
}

/// The position of a byte pair in the table of byte pairs: the index of its word, and its bit in this word.
fn pair(one: u8, other: u8) -> (usize, u64) {
    (usize::from(one) << 2 | usize::from(other >> 6), 1 << (other & 63))
}

/// Whether a value is a secret, by the rules at the head of this file.
fn is_secret(is_named: bool, value: &str) -> bool {
    let length = value.chars().count();
    let lower = value.to_ascii_lowercase();
    let digits = value.bytes().filter(u8::is_ascii_digit).count();
    if classify::is_placeholder(value) || classify::is_path(value) || COMMON.contains(&lower.as_str()) {
        return false;
    }
    if is_named {
        return length >= NAMED_CHARS_MIN && (!classify::is_number(value) || digits >= DIGITS_MIN);
    }
    length >= UNNAMED_CHARS_MIN && !classify::is_number(value) && !classify::is_ordinary(value)
}

/// The number of leading characters that are masked when the rest is missing, for a secret recognized by its variable
/// name.
fn prefix_of_named(value: &str) -> usize {
    let head = match value.split_once("://") {
        Some((scheme, rest)) => {
            let login = rest.split_once('@').map_or("", |(login, _)| login);
            let user = login.split_once(':').map_or(0, |(user, _)| user.len() + 1);
            scheme.len() + "://".len() + user
        }
        None => value.find(['_', '-', '{', '=']).filter(|at| *at < PREFIX_CHARS_MIN).map_or(0, |at| at + 1),
    };
    (head + BEHIND_HEAD_CHARS_MIN).max(PREFIX_CHARS_MIN)
}

/// The number of leading characters that are masked when the rest is missing, for a secret not recognized by its
/// variable name. These characters must not form an ordinary word.
fn prefix_of_unnamed(value: &str) -> usize {
    let length = value.chars().count();
    let beginnings = value.char_indices().map(|(at, c)| at + c.len_utf8()).enumerate().skip(PREFIX_CHARS_MIN - 1);
    let mut telling =
        beginnings.filter(|(_, end)| value.get(..*end).is_some_and(|start| !classify::is_ordinary(start)));
    telling.next().map_or(length, |(before, _)| before + 1)
}

#[cfg(test)]
mod tests;
