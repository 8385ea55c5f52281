//! Catalogs: what groups of sealed segments contain, so that a question opens only the segments that can answer it.
//!
//! A catalog of level 1 covers [`CATALOG_MEMBERS`](crate::limits::CATALOG_MEMBERS) sealed segments, one of level 2 as many
//! catalogs of level 1, and so on. A group is complete, and gets its catalog, when all its segments are sealed; the first
//! segment of a group is 1 plus a multiple of the group's size. The file name has the numbers of its first and its last
//! segment, such as `0000000001-0000000016.catalog`.
//!
//! Catalogs are derived from the indexes of the sealed segments. A missing or damaged one costs time only: the indexes of
//! its members are read instead. `verify` compares them with those indexes.
//!
//! The modules `header` and [`reader`] define and read the file, `builder` makes it, `group` computes numbers and names.

pub(crate) mod builder;
pub(crate) mod group;
pub(crate) mod header;
pub mod reader;

#[cfg(test)]
mod tests;
