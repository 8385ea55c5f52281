//! The write-ahead log, and the only truth: a directory of segments, append-only, kept for ever.
//!
//! A segment is made ahead of its use, as zeros that are allocated and synced, so that a commit overwrites blocks that
//! exist and its fdatasync has no metadata to write. [`writer`] appends; [`reader`] reads without a lock, beside a writer
//! too; [`scan`] knows what the end of a segment means; [`segment`] knows the bytes of its head. [`sealed`] is
//! the compressed and indexed form of a full segment.

pub(crate) mod next_segment;
pub(crate) mod origin;
pub mod reader;
pub mod scan;
pub mod sealed;
pub mod segment;
pub mod storage_backend;
pub(crate) mod unsynced;
pub mod writer;

use std::{
    io,
    path::{Path, PathBuf},
};

/// The journal's directory within the ledger's.
pub const JOURNAL_DIR: &str = "journal";

/// The segments in the journal's directory by number, in order. What has another name than this program gives to a segment
/// is none.
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
