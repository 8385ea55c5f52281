//! The extent mark: the file `extent` with a number of events that the ledger is known to have reached.
//!
//! The mark is for a reader that reads only the journal, for example after a crash of the ledger's owner. Such a reader
//! cannot detect otherwise that the journal was replaced by an older backup, which is undamaged but too short. The
//! owner of the ledger writes the mark with the number of acknowledged events when it opens and closes the ledger, and
//! at intervals (`EXTENT_EVENTS`, `EXTENT_INTERVAL`).
//!
//! The mark is valid only in the directory that it was written in. A copy of the directory may hold files of different
//! moments, so the mark in the copy may be newer than the journal in the copy. The directory is identified by its inode
//! and its birth time (statx(2)), which differ in a copy. On a file system without birth times no mark is written.

use std::{fs, io, os::unix::fs::MetadataExt as _, path::Path, time::UNIX_EPOCH};

use uuid::Uuid;

use crate::{chain::Chain, file, head::Head};

/// The name of the extent mark in the ledger's directory.
pub(crate) const FILE: &str = "extent";

const VERSION: u32 = 1;

/// The content of a valid extent mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    /// The id of the ledger.
    pub(crate) ledger: Uuid,
    /// The number of acknowledged events.
    pub(crate) size: u64,
}

/// The inode and the birth time of a directory, in the text form of the mark; `None` if the file system has no birth
/// times.
fn directory_id(dir: &Path) -> io::Result<Option<String>> {
    let metadata = fs::metadata(dir)?;
    let born = metadata.created().ok().and_then(|born| born.duration_since(UNIX_EPOCH).ok());
    Ok(born.map(|born| format!("{} {}", metadata.ino(), born.as_nanos())))
}

/// Writes the extent mark. All events up to `head` must be acknowledged, so that they are durable before the mark is.
pub(crate) fn write(dir: &Path, ledger: Uuid, head: Head) {
    let written = directory_id(dir).and_then(|directory_id| match directory_id {
        Some(directory_id) => {
            let text = format!("{VERSION} {ledger} {} {} {directory_id}\n", head.size, head.chain);
            file::replace(dir, FILE, text.as_bytes())
        }
        None => Ok(()),
    });
    if let Err(error) = written {
        tracing::debug!(%error, "the extent mark could not be written");
    }
}

/// The extent mark of the ledger in `dir`, if it is valid. Must be read before the journal: while another process
/// appends, a mark that is read later can state more events than the journal had when it was read.
pub(crate) fn read(dir: &Path) -> Option<Extent> {
    let text = String::from_utf8(file::read(&dir.join(FILE)).ok()?).ok()?;
    let [version, ledger, size, _chain, inode, born] = text.split_ascii_whitespace().collect::<Vec<_>>()[..] else {
        return None;
    };
    let is_same_directory = directory_id(dir).ok().flatten() == Some(format!("{inode} {born}"));
    if version != VERSION.to_string() || !is_same_directory {
        return None;
    }
    Some(Extent { ledger: ledger.parse().ok()?, size: size.parse().ok()? })
}

/// The ledger and the head that the extent mark in `dir` states, also if the mark is a copy of that of another directory.
pub(crate) fn stated(dir: &Path) -> Option<(Uuid, Head)> {
    let text = String::from_utf8(file::read(&dir.join(FILE)).ok()?).ok()?;
    let [_, ledger, size, chain, ..] = text.split_ascii_whitespace().collect::<Vec<_>>()[..] else { return None };
    Some((ledger.parse().ok()?, Head { size: size.parse().ok()?, chain: Chain::parse(chain)? }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_valid_where_it_was_written_and_nowhere_else() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        assert!(directory_id(dir.path()).unwrap().is_some(), "the file system has no birth times");
        let ledger = Uuid::from_u128(7);
        assert_eq!(read(dir.path()), None);
        write(dir.path(), ledger, Head { size: 21, chain: Chain::genesis(ledger) });
        assert_eq!(read(dir.path()), Some(Extent { ledger, size: 21 }));
        let text = fs::read_to_string(dir.path().join(FILE)).unwrap();
        fs::write(other.path().join(FILE), &text).unwrap();
        assert_eq!(read(other.path()), None, "a copy");
        for damaged in ["", "1", &text.replacen('1', "2", 1), &text.replace(" 21 ", " x ")] {
            fs::write(dir.path().join(FILE), damaged).unwrap();
            assert_eq!(read(dir.path()), None, "{damaged}");
        }
    }
}
