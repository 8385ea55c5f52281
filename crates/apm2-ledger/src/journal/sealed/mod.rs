//! A sealed segment: the events of one full segment in compressed blocks, and a footer that says which block has what.
//!
//! ```text
//! header      96 bytes, `header`
//! blocks      one after the other, `block`
//! footer      the table of blocks, `block_table`; the tables of streams, names and states: pages, then their directory, `table`
//! trailer     148 bytes, `trailer`
//! ```
//!
//! All integers are little-endian. The file is written once, as a whole: [`builder`]. [`reader`] answers questions from the
//! footer and reads the blocks, also of a file whose footer is damaged; [`check`] goes through everything. A sealed segment
//! has the chain of the segment that it was made of.

pub mod actor_set;
pub mod block;
pub mod block_table;
pub mod builder;
pub mod check;
pub mod error;
pub(crate) mod fields;
pub(crate) mod file_part;
pub mod header;
pub(crate) mod index;
pub mod kind_set;
pub(crate) mod packing;
pub mod reader;
pub mod stream_entry;
pub(crate) mod table;
pub(crate) mod table_reader;
pub mod trailer;

#[cfg(test)]
mod tests;
