//! What is recorded or printed, without its secrets.
//!
//! A secret is found in two ways. [`Known`] holds the values that a process is given: they are masked wherever they stand,
//! and in the forms in which programs write them. The filter finds what nobody gave: by the name that a value is assigned
//! to, by the shape that tokens of a provider have, and by the option, header, URL or key block that it stands in.
//!
//! The filter is held to two corpora, `tests/corpus/masked.txt` and `tests/corpus/plain.txt`. It takes time in proportion
//! to the length of the text, and what it has masked once it leaves as it is (see [`filter::settled`]).

mod assignment;
mod block;
mod command_line;
mod cut;
mod encoding;
mod filter;
mod header;
mod known;
mod login_file;
mod name;
mod shape;
mod span;
mod spec;
mod text;
mod url;
mod value;
mod view;
mod word;

#[cfg(test)]
mod corpus;
#[cfg(test)]
mod escaped;

pub use self::spec::RedactedSpec;
pub(crate) use self::{filter::redact_text, known::Known};

/// What stands where a secret stood.
pub const REDACTED: &str = "<redacted>";
