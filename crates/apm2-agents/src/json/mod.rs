//! Reads objects from one line of JSON: only the members that are asked for, without a copy of any other.
//!
//! Derived implementations of `serde::Deserialize` reject a duplicate key and a member of another type, and so would lose a line. Here
//! the last of duplicate keys is used, and a value of another type is taken as absent. Values are skipped without recursion, so deep
//! nesting does not use up the stack. An object inside of another one is read where it is, so that large contents are followed once and
//! not once for each level around them.

mod scan;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

pub(crate) use scan::Scanner;

/// Longest name in bytes of JSON. A longer string is not a name and is taken as absent.
const NAME_BYTES_MAX: usize = 1024;

/// The part of an error text, in bytes of JSON, in which its class is looked for.
const ERROR_TEXT_BYTES_MAX: usize = 4096;

/// A JSON value as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Raw<'a>(&'a str);

impl<'a> Raw<'a> {
    /// The value as it is written; of a string with its quotes.
    pub(crate) const fn get(self) -> &'a str {
        self.0
    }
}

/// An object of which some members are read.
pub(crate) trait Object<'a>: Default {
    /// Reads the value of the member `key`, which is next, or skips it if the member is not one of those that are read. Returns `None` if
    /// the value has no end.
    fn set(&mut self, key: &str, next: &mut Scanner<'a>) -> Option<()>;
}

/// A value that is read from any JSON value.
pub(crate) trait Lenient<'a>: Sized {
    /// Reads `value`; a value of another type is the default.
    fn read(value: Raw<'a>) -> Self;

    /// Reads the next value; `None` if it has no end.
    fn next(scanner: &mut Scanner<'a>) -> Option<Self> {
        scanner.value().map(|value| Self::read(Raw(value)))
    }
}

/// Declares a struct of members of a JSON object, each with the key under which it is found.
macro_rules! object {
    ($(#[$meta:meta])* $name:ident<$life:lifetime> { $($field:ident: $type:ty = $key:literal),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Default)]
        pub(super) struct $name<$life> {
            $(pub(super) $field: $type,)*
            /// Objects without a borrowed member have the lifetime too.
            _line: std::marker::PhantomData<&$life ()>,
        }

        impl<$life> $crate::json::Object<$life> for $name<$life> {
            fn set(&mut self, key: &str, next: &mut $crate::json::Scanner<$life>) -> Option<()> {
                match key {
                    $($key => self.$field = $crate::json::Lenient::next(next)?,)*
                    _ => drop(next.value()?),
                }
                Some(())
            }
        }

        impl<$life> $crate::json::Lenient<$life> for $name<$life> {
            fn read(value: $crate::json::Raw<$life>) -> Self {
                let mut object = Self::default();
                $crate::json::read_object(value.get(), &mut object);
                object
            }

            fn next(scanner: &mut $crate::json::Scanner<$life>) -> Option<Self> {
                $crate::json::next_object(scanner)
            }
        }

        impl<$life> $crate::json::Lenient<$life> for Option<$name<$life>> {
            fn read(value: $crate::json::Raw<$life>) -> Self {
                Some($crate::json::Lenient::read(value))
            }

            fn next(scanner: &mut $crate::json::Scanner<$life>) -> Option<Self> {
                $crate::json::next_object(scanner).map(Some)
            }
        }
    };
}
pub(crate) use object;

/// Reads the members of the object in `text` into `object`. Returns false if `text` is not one whole object; the members before the
/// error were read.
pub(crate) fn read_object<'a, T: Object<'a>>(text: &'a str, object: &mut T) -> bool {
    let mut scanner = Scanner::new(text);
    each_member(&mut scanner, |key, next| object.set(key, next)).is_some() && scanner.is_at_end()
}

/// Reads the next value as an object. A value of another type, and what follows an error in an object, is skipped. Returns `None` if the
/// value has no end.
pub(crate) fn next_object<'a, T: Object<'a>>(scanner: &mut Scanner<'a>) -> Option<T> {
    let mut object = T::default();
    let mut inside = *scanner;
    match each_member(&mut inside, |key, next| object.set(key, next)) {
        Some(()) => *scanner = inside,
        None => drop(scanner.value()?),
    }
    Some(object)
}

/// Calls `each` for the elements of an array. Does nothing for a value of another type.
pub(crate) fn for_each<'a, T: Lenient<'a>>(array: Raw<'a>, mut each: impl FnMut(T)) {
    let mut scanner = Scanner::new(array.0);
    if !scanner.take(b'[') {
        return;
    }
    while let Some(element) = T::next(&mut scanner) {
        each(element);
        if !scanner.take(b',') {
            return;
        }
    }
}

/// Calls `each` for the values of the members of an object. Does nothing for a value of another type.
pub(crate) fn for_each_member<'a, T: Lenient<'a>>(object: Raw<'a>, mut each: impl FnMut(T)) {
    each_member(&mut Scanner::new(object.0), |_, next| T::next(next).map(&mut each));
}

/// Calls `each` for the members of the next object: it takes the value, which is next. Returns `None` after an error, and if `each` does.
fn each_member<'a>(
    scanner: &mut Scanner<'a>,
    mut each: impl FnMut(&str, &mut Scanner<'a>) -> Option<()>,
) -> Option<()> {
    if !scanner.take(b'{') {
        return None;
    }
    if scanner.take(b'}') {
        return Some(());
    }
    loop {
        let key = Raw(scanner.key()?);
        match string_of(key) {
            Some(key) => each(&key, scanner)?,
            None => drop(scanner.value()?),
        }
        if scanner.take(b'}') {
            return Some(());
        }
        if !scanner.take(b',') {
            return None;
        }
    }
}

/// The size of a value in bytes of JSON; 0 for an absent value and for null.
pub(crate) fn size_of(value: Option<Raw<'_>>) -> u64 {
    value.map_or(0, |value| match value.get() {
        "null" => 0,
        text => u64::try_from(text.len()).unwrap_or(u64::MAX),
    })
}

/// The text of an error, for [`crate::classify`]; of a long one its beginning, of an object its JSON.
pub(crate) fn error_text(value: Option<Raw<'_>>) -> Cow<'_, str> {
    let Some(value) = value else { return Cow::Borrowed("") };
    let json = value.get();
    if json.len() > ERROR_TEXT_BYTES_MAX {
        return Cow::Borrowed(beginning(json, ERROR_TEXT_BYTES_MAX));
    }
    string_of(value).unwrap_or(Cow::Borrowed(json))
}

/// The value of the first member `key` in a line that may be cut, if it is a string without escapes. The quotes of a string inside
/// of another string are escaped, so contents cannot imitate a member.
pub(crate) fn scan_for<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    let mut rest = line;
    while let Some((_, after)) = rest.split_once(key) {
        rest = after;
        if let Some(value) = after.strip_prefix("\":\"") {
            let (value, _) = beginning(value, NAME_BYTES_MAX).split_once('"')?;
            return (!value.contains('\\')).then_some(value);
        }
    }
    None
}

/// The first bytes of a text, `length` at most, without a part of a character.
fn beginning(text: &str, length: usize) -> &str {
    (0..=length.min(text.len())).rev().find_map(|end| text.get(..end)).unwrap_or_default()
}

fn string_of(value: Raw<'_>) -> Option<Cow<'_, str>> {
    let inner = value.get().strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        serde_json::from_str(value.get()).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inner))
    }
}

impl<'a> Lenient<'a> for Option<Raw<'a>> {
    fn read(value: Raw<'a>) -> Self {
        Some(value)
    }
}

impl<'a> Lenient<'a> for Option<Cow<'a, str>> {
    fn read(value: Raw<'a>) -> Self {
        if value.get().len() > NAME_BYTES_MAX { None } else { string_of(value) }
    }
}

impl<'a> Lenient<'a> for Option<bool> {
    fn read(value: Raw<'a>) -> Self {
        match value.get() {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        }
    }
}

impl<'a> Lenient<'a> for Option<i64> {
    fn read(value: Raw<'a>) -> Self {
        value.get().parse().ok()
    }
}

impl<'a> Lenient<'a> for Option<u64> {
    /// Reads a number that is not negative; a fraction is cut off.
    fn read(value: Raw<'a>) -> Self {
        let text = value.get();
        text.split_once('.').map_or(text, |(whole, _)| whole).parse().ok()
    }
}

impl<'a> Lenient<'a> for Option<f64> {
    fn read(value: Raw<'a>) -> Self {
        // `inf` and `nan` are numbers for `parse`, but not in JSON.
        let is_number = value.get().starts_with(|first: char| first.is_ascii_digit() || first == '-');
        if is_number { value.get().parse().ok() } else { None }
    }
}
