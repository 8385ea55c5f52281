//! The extent mark: a size that the ledger is known to have reached, for readers that do not open the store.
//!
//! After a crash of its owner, a reader sees the journal alone, and a journal that was restored from an older backup is whole and
//! too short. So the owner writes a mark with the number of acknowledged events at each opening, at each close, and at intervals
//! (`EXTENT_EVENTS`, `EXTENT_INTERVAL`). The mark is valid only in the directory that it was written in: the files of a copy are of
//! different moments, so its mark may be newer than its journal. The directory is identified by its inode and its birth time (statx(2)), which
//! no copy shares. On a file system without birth times no mark is written.

use std::{fs, io, os::unix::fs::MetadataExt as _, path::Path, time::UNIX_EPOCH};

use uuid::Uuid;

use crate::{file, head::Head};

/// The file in the directory of the ledger.
pub(crate) const FILE: &str = "extent";

const VERSION: u32 = 1;

/// A valid mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    /// The id of the ledger.
    pub(crate) ledger: Uuid,
    /// The number of its events, all of them acknowledged.
    pub(crate) size: u64,
}

/// Inode and birth time of a directory, as they are written; `None` without a birth time.
fn place_of(dir: &Path) -> io::Result<Option<String>> {
    let metadata = fs::metadata(dir)?;
    let born = metadata.created().ok().and_then(|born| born.duration_since(UNIX_EPOCH).ok());
    Ok(born.map(|born| format!("{} {}", metadata.ino(), born.as_nanos())))
}

/// Writes the mark. The events up to `head` have been acknowledged, so they are durable before the mark is.
pub(crate) fn write(dir: &Path, ledger: Uuid, head: Head) {
    let written = place_of(dir).and_then(|place| match place {
        Some(place) => {
            let text = format!("{VERSION} {ledger} {} {} {place}\n", head.size, head.chain);
            file::replace(dir, FILE, text.as_bytes())
        }
        None => Ok(()),
    });
    if let Err(error) = written {
        tracing::debug!(%error, "the extent mark could not be written");
    }
}

/// The mark of the ledger in `dir`, if there is a valid one. To be read before the journal, which grows.
pub(crate) fn read(dir: &Path) -> Option<Extent> {
    let text = String::from_utf8(file::read(&dir.join(FILE)).ok()?).ok()?;
    let [version, ledger, size, _chain, inode, born] = text.split_ascii_whitespace().collect::<Vec<_>>()[..] else {
        return None;
    };
    let is_here = place_of(dir).ok().flatten() == Some(format!("{inode} {born}"));
    if version != VERSION.to_string() || !is_here {
        return None;
    }
    Some(Extent { ledger: ledger.parse().ok()?, size: size.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::Chain;

    #[test]
    fn a_mark_is_valid_where_it_was_written_and_nowhere_else() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        assert!(place_of(dir.path()).unwrap().is_some(), "the file system has no birth times");
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
