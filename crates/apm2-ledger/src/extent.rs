//! How far the record is known to reach, for readers that do not open the store.
//!
//! Readers of a ledger whose owner crashed see the journal alone, and that of an older backup is whole and too short. So the owner
//! notes a size that was acknowledged, now and then. It counts only in the directory that it was noted in: in a copy, in which files
//! are of different moments, the note may legally be newer than the journal. Which directory that was is told by its inode and its
//! time of birth, which no copy has; where a file system keeps no time of birth nothing is noted.

use std::{fs, io, os::unix::fs::MetadataExt as _, path::Path, time::UNIX_EPOCH};

use uuid::Uuid;

use crate::{file, head::Head};

/// The file in the directory of the ledger.
pub(crate) const FILE: &str = "extent";

const VERSION: u32 = 1;

/// Inode and time of birth, as they are noted; `None` where there is no time of birth.
fn place_of(dir: &Path) -> io::Result<Option<String>> {
    let metadata = fs::metadata(dir)?;
    let born = metadata.created().ok().and_then(|born| born.duration_since(UNIX_EPOCH).ok());
    Ok(born.map(|born| format!("{} {}", metadata.ino(), born.as_nanos())))
}

/// Notes that the ledger has these events. They have been acknowledged, and so are on the disk before the note is.
pub(crate) fn note(dir: &Path, ledger: Uuid, head: Head) {
    let noted = place_of(dir).and_then(|place| match place {
        Some(place) => {
            let text = format!("{VERSION} {ledger} {} {} {place}\n", head.size, head.chain);
            file::replace(dir, FILE, text.as_bytes())
        }
        None => Ok(()),
    });
    if let Err(error) = noted {
        tracing::debug!(%error, "it is not noted how far the record reaches");
    }
}

/// The size that was last noted of this ledger in this directory. To be asked before the journal is read, which grows.
pub(crate) fn noted_size(dir: &Path, ledger: Uuid) -> Option<u64> {
    let text = String::from_utf8(file::read(&dir.join(FILE)).ok()?).ok()?;
    let [version, noted_ledger, size, _chain, inode, born] = text.split_ascii_whitespace().collect::<Vec<_>>()[..]
    else {
        return None;
    };
    let is_here = place_of(dir).ok().flatten() == Some(format!("{inode} {born}"));
    let is_of_ledger = version == VERSION.to_string() && noted_ledger == ledger.to_string();
    (is_here && is_of_ledger).then(|| size.parse().ok()).flatten()
}
