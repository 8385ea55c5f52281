//! Detects that a journal directory is a copy of another directory.
//!
//! The file `origin` in the journal directory stores the identity of the directory that the journal was written in.
//!
//! A copy that was made while the journal was written can end in a state that no crash produces: the last segment can
//! be cut to the length that it uses although no next segment exists, and it can have a hole of zeros before later
//! commits, because the copying program read the first part of the file earlier than the rest. In the original
//! directory, these states are damage.

use std::{fs, io, os::unix::fs::MetadataExt as _, path::Path, time::UNIX_EPOCH};

use crate::file;

/// Name of the file with the format version, inode number and creation time of the journal directory. A copy of the
/// journal contains a copy of this file.
const FILE: &str = "origin";

const VERSION: u32 = 1;

fn describe(journal: &Path) -> io::Result<String> {
    let metadata = fs::metadata(journal)?;
    // Some file systems store no creation time. Then only the inode numbers are compared.
    let born_ns = metadata.created().ok().and_then(|born| Some(born.duration_since(UNIX_EPOCH).ok()?.as_nanos()));
    Ok(format!("{VERSION} {} {}\n", metadata.ino(), born_ns.unwrap_or(0)))
}

/// Whether the journal in the directory `journal` was written in another directory. Journals from program versions that
/// wrote no origin file count as originals.
pub(crate) fn is_copy(journal: &Path) -> bool {
    let Ok(saved) = file::read(&journal.join(FILE)) else { return false };
    describe(journal).is_ok_and(|current| saved.starts_with(b"1 ") && saved != current.as_bytes())
}

/// Writes the origin file, so that the directory `journal` counts as the original from now on.
pub(crate) fn save(journal: &Path) -> io::Result<()> {
    let current = describe(journal)?;
    if file::read(&journal.join(FILE)).is_ok_and(|saved| saved == current.as_bytes()) {
        return Ok(());
    }
    file::replace(journal, FILE, current.as_bytes())
}

/// Writes an origin file that names no directory, so that the directory `journal` counts as a copy.
pub(crate) fn save_of_copy(journal: &Path) -> io::Result<()> {
    file::replace(journal, FILE, format!("{VERSION} 0 0\n").as_bytes())
}
