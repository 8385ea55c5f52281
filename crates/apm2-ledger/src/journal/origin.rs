//! Which directory a journal was written in: how a copy of it is known.
//!
//! A copy that was made while the journal was written is cut off somewhere in its last segment, in ways that no crash leaves
//! behind: the segment may be cut to its length without a next one, and between what was read of it early and late zeros may be
//! left. In the directory that the journal was written in both would be damage.

use std::{fs, io, os::unix::fs::MetadataExt as _, path::Path, time::UNIX_EPOCH};

use crate::file;

/// A version, and the inode and time of birth of the directory. Copied with the rest of it.
const FILE: &str = "origin";

const VERSION: u32 = 1;

fn describe(journal: &Path) -> io::Result<String> {
    let metadata = fs::metadata(journal)?;
    // Where a file system keeps none, the inode decides.
    let born_ns = metadata.created().ok().and_then(|born| Some(born.duration_since(UNIX_EPOCH).ok()?.as_nanos()));
    Ok(format!("{VERSION} {} {}\n", metadata.ino(), born_ns.unwrap_or(0)))
}

/// Whether the journal in this directory was written in another one. One of earlier versions, which do not say it, was not.
pub(crate) fn is_copy(journal: &Path) -> bool {
    let Ok(noted) = file::read(&journal.join(FILE)) else { return false };
    describe(journal).is_ok_and(|here| noted.starts_with(b"1 ") && noted != here.as_bytes())
}

/// Notes that the journal is written in this directory from now on.
pub(crate) fn note(journal: &Path) -> io::Result<()> {
    let here = describe(journal)?;
    if file::read(&journal.join(FILE)).is_ok_and(|noted| noted == here.as_bytes()) {
        return Ok(());
    }
    file::replace(journal, FILE, here.as_bytes())
}
