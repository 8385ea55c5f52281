//! The file `backup` in the directory of a backup: which events of which ledger the backup has.
//!
//! ```text
//! 1 <ledger id> <number of events> <hash chain value> <number of the last segment>
//! 2 <the same> <number of the last archived segment>
//! ```
//!
//! Version 2 is written where the ledger has archives. The backup then has the base of the journal as `journal/base-<number>`, in
//! addition to `journal/base`, which is replaced after this file.
//!
//! The file is replaced when all files of a backup are durable. So it always describes a backup that is complete, but for the first
//! one: while that is made, the file has the number of events that it is to have, and 0 as the number of the last segment.

use std::{io, path::Path};

use uuid::Uuid;

use crate::{chain::Chain, dir::BACKUP_FILE, file, head::Head};

const VERSION: u32 = 1;

/// The version of a backup with archives.
const VERSION_WITH_BASE: u32 = 2;

/// What a backup has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BackupHead {
    pub(crate) ledger: Uuid,
    pub(crate) head: Head,
    /// The number of the last segment that has events of the backup. 0 when no backup was completed.
    pub(crate) segment: u64,
    /// The number of the last segment in an archive; 0 without archives.
    pub(crate) base: u64,
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HeadFileError {
    #[error("it has version {0}, newer than this program knows")]
    Newer(u32),
    #[error("it is damaged")]
    Damaged,
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl BackupHead {
    /// That of a directory in which the first backup, which is to have the events of `complete`, was begun.
    pub(crate) const fn begun(complete: Self) -> Self {
        Self { segment: 0, base: 0, ..complete }
    }

    /// Whether a backup was completed.
    pub(crate) const fn is_complete(&self) -> bool {
        self.segment > 0
    }

    /// The number of events that the backup in `dir` has, or is to have, by its file; `None` if that is no backup of `ledger`. A first
    /// backup that was interrupted has fewer.
    pub(crate) fn expected_size(dir: &Path, ledger: Uuid) -> Option<u64> {
        let head = Self::read(dir).ok()??;
        (head.ledger == ledger).then_some(head.head.size)
    }

    /// Reads the file in the directory `backup`; `None` when there is none.
    pub(crate) fn read(backup: &Path) -> Result<Option<Self>, HeadFileError> {
        let bytes = match file::read(&backup.join(BACKUP_FILE)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            bytes => bytes?,
        };
        let text = String::from_utf8(bytes).map_err(|_| HeadFileError::Damaged)?;
        let line = text.strip_suffix('\n').ok_or(HeadFileError::Damaged)?;
        let version = line.split(' ').next().and_then(|version| version.parse().ok());
        match version {
            Some(VERSION | VERSION_WITH_BASE) => Self::parse(line).map(Some).ok_or(HeadFileError::Damaged),
            Some(version) if version > VERSION_WITH_BASE => Err(HeadFileError::Newer(version)),
            Some(_) | None => Err(HeadFileError::Damaged),
        }
    }

    fn parse(line: &str) -> Option<Self> {
        let fields = line.split(' ').collect::<Vec<_>>();
        let (ledger, size, chain, segment, base) = match fields[..] {
            ["1", ledger, size, chain, segment] => (ledger, size, chain, segment, "0"),
            ["2", ledger, size, chain, segment, base] => (ledger, size, chain, segment, base),
            _ => return None,
        };
        let head = Head { size: size.parse().ok()?, chain: Chain::parse(chain)? };
        Some(Self { ledger: ledger.parse().ok()?, head, segment: segment.parse().ok()?, base: base.parse().ok()? })
    }

    /// Replaces the file in the directory `backup`, atomically and durably.
    pub(crate) fn write(&self, backup: &Path) -> io::Result<()> {
        let Self { ledger, head: Head { size, chain }, segment, base } = self;
        let line = match base {
            0 => format!("{VERSION} {ledger} {size} {chain} {segment}\n"),
            base => format!("{VERSION_WITH_BASE} {ledger} {size} {chain} {segment} {base}\n"),
        };
        file::replace(backup, BACKUP_FILE, line.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_file_is_read_as_it_was_written_and_a_damaged_or_newer_one_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(BackupHead::read(dir.path()).unwrap().is_none());
        let ledger = Uuid::from_u128(7);
        let head = Head { size: 21, chain: Chain::genesis(Uuid::from_u128(8)) };
        for base in [0, 2] {
            let written = BackupHead { ledger, head, segment: 3, base };
            written.write(dir.path()).unwrap();
            assert_eq!(BackupHead::read(dir.path()).unwrap(), Some(written));
        }
        let written = BackupHead { ledger, head, segment: 3, base: 0 };
        written.write(dir.path()).unwrap();
        let path = dir.path().join(BACKUP_FILE);
        let text = fs::read_to_string(&path).unwrap();
        for len in 0..text.len() {
            fs::write(&path, &text[..len]).unwrap();
            assert!(matches!(BackupHead::read(dir.path()), Err(HeadFileError::Damaged)), "{len}");
        }
        fs::write(&path, text.replacen('1', "3", 1)).unwrap();
        assert!(matches!(BackupHead::read(dir.path()), Err(HeadFileError::Newer(3))));
    }
}
