//! The journal: the write-ahead log of the ledger, and its authoritative data.
//!
//! The journal is a directory of append-only segment files, which are never removed. A segment file is created before
//! it is needed, filled with zeros and synced. A commit therefore overwrites blocks that are already allocated, and its
//! fdatasync(2) has no metadata to write.
//!
//! [`writer`] appends commits. [`reader`] reads commits without a lock, also while another process appends. [`scan`]
//! decides whether the end of a segment is valid, torn or damaged. [`segment`] defines the header of a segment file.

pub(crate) mod next_segment;
pub(crate) mod origin;
pub mod reader;
pub mod scan;
pub mod segment;
pub mod storage_backend;
pub(crate) mod unsynced;
pub mod writer;

use std::{
    io,
    path::{Path, PathBuf},
};

/// Name of the journal directory within the ledger directory.
pub const JOURNAL_DIR: &str = "journal";

/// Numbers and paths of all segment files in the directory `journal`, sorted by number. Files whose names are not
/// segment file names are ignored.
pub(crate) fn segments(journal: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(journal)? {
        let path = entry?.path();
        if let Some(number) = segment::segment_number(&path) {
            found.push((number, path));
        }
    }
    found.sort_unstable();
    Ok(found)
}
