//! What is recorded or printed, without its secrets.
//!
//! A secret is found in two ways. [`Known`](known::Known) holds the values that a process is given: they are masked wherever they stand,
//! and in the forms in which programs write them. The filter finds what nobody gave: by the name that a value is assigned
//! to, by the shape that tokens of a provider have, and by the option, header, URL or key block that it stands in.
//!
//! The filter is held to two corpora, `tests/corpus/masked.txt` and `tests/corpus/plain.txt`. It takes time in proportion
//! to the length of the text, and what it has masked once it leaves as it is (see `settled` in `filter.rs`).

pub mod assignment;
pub mod block;
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
pub mod view;
pub mod word;
