//! Masks secrets in what is recorded or printed.
//!
//! A secret is found in two ways. [`Known`](known::Known) holds the values in the environment of a process: they are
//! masked wherever they occur, in each form in which programs write them. The filter finds other secrets: by the name
//! that a value is assigned to, by the form that the tokens of a provider have, and by the option, header, URL or key
//! block that contains it.
//!
//! The filter is implemented here instead of taken from a crate. Secret scanners report findings in files; they do not
//! mask text in such a way that a second pass changes nothing. They also do not use the values that a process was
//! started with. Regular expressions for all rules would take time and memory that a line of output does not justify.
//!
//! Tests check the filter on two corpora, `tests/corpus/masked.txt` and `tests/corpus/plain.txt`. Its time is linear in
//! the length of the text, and a second pass changes nothing (see `settled` in `filter.rs`).

/// Version of the rules of the filter. Raised with each change after which the filter masks another part of some text.
///
/// What was masked under the present version is not masked again, because a second pass changes nothing.
pub const FILTER_VERSION: u16 = 1;

pub mod assignment;
pub mod block;
pub mod characters;
pub mod classify;
pub mod command_line;
#[cfg(test)]
mod corpus;
pub mod cut;
pub mod encoding;
#[cfg(test)]
pub mod escaped;
pub mod filter;
pub mod header;
pub mod known;
pub mod login_file;
pub mod mark;
pub mod name;
pub mod shape;
pub mod span;
pub mod spec;
pub mod text;
pub mod url;
pub mod value;
#[cfg(test)]
mod version;
pub mod view;
pub mod word;
