//! An archive: consecutive sealed segments in one file, with the states of the streams after the last of them.
//!
//! ```text
//! header      136 bytes
//! parts       the sealed segments, then the catalogs of complete groups of them, each as it was in the journal
//! tables      pages, then directory: the states of the streams, then the names of processes
//! directory   of the parts: for each level 4 (0 for a segment), CRC-32C 4, first segment 8, offset 8, length 8
//! trailer     124 bytes
//! ```
//!
//! All integers are little-endian. The file is written once, as a whole. Its name has the numbers of its first and its last
//! segment, such as `0000000001-0000000355.archive`, and it is in the directory [`ARCHIVE_DIR`]. The
//! [base](crate::journal::base) of the journal lists the archives; others are left from a program that was interrupted.
//!
//! The table of states has a byte before the record of each state: 1 when the stream is gone, so that no event of it may follow,
//! 0 when it is kept in the base.
//!
//! The modules `form` and [`reader`] define and read the file, `writer` writes it.

pub(crate) mod check;
pub(crate) mod form;
pub(crate) mod reader;
pub(crate) mod writer;

/// Name of the directory of the archives within the ledger directory.
pub(crate) const ARCHIVE_DIR: &str = "archive";
