//! [`DiskUsage`]: the sizes of the files in the directory of a ledger, by part.

use std::{fs, io, os::unix::fs::MetadataExt as _, path::Path};

use crate::{
    journal::{JOURNAL_DIR, archive::ARCHIVE_DIR},
    recovery::{OTHER_LEDGER, SET_ASIDE},
    store::STORE_DIR,
};

/// The unit of the allocated size that stat(2) returns, in bytes.
const STAT_BLOCK_BYTES: u64 = 512;

/// The allocated sizes of the files in the directory of a ledger, in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DiskUsage {
    /// The plain segments of the journal, with the one that is being written and the spare one.
    pub plain_segments: u64,
    /// The sealed segments of the journal.
    pub sealed_segments: u64,
    /// The catalogs of the journal.
    pub catalogs: u64,
    /// The archives.
    pub archives: u64,
    /// Other files in the directory of the journal.
    pub other_journal: u64,
    /// The store.
    pub store: u64,
    /// The stores that were set aside, by name.
    pub set_aside: Vec<(String, u64)>,
    /// The other files and directories, by name.
    pub others: Vec<(String, u64)>,
}

/// The sizes of the files in the ledger directory `dir`. Reads the metadata of the files only. A file that is removed
/// meanwhile counts as 0.
///
/// # Errors
/// A directory cannot be read.
pub fn disk_usage(dir: &Path) -> io::Result<DiskUsage> {
    let mut usage = DiskUsage::default();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name == JOURNAL_DIR {
            usage.add_journal(&entry.path())?;
            continue;
        }
        let bytes = allocated_bytes(&entry.path())?;
        if name == STORE_DIR {
            usage.store = bytes;
        } else if name == ARCHIVE_DIR {
            usage.archives = bytes;
        } else if name.starts_with(SET_ASIDE) || name.starts_with(OTHER_LEDGER) {
            usage.set_aside.push((name, bytes));
        } else {
            usage.others.push((name, bytes));
        }
    }
    usage.set_aside.sort();
    usage.others.sort();
    Ok(usage)
}

impl DiskUsage {
    fn add_journal(&mut self, journal: &Path) -> io::Result<()> {
        for entry in fs::read_dir(journal)? {
            let path = entry?.path();
            let part = match path.extension().and_then(|extension| extension.to_str()) {
                Some("seg") => &mut self.plain_segments,
                Some("sealed") => &mut self.sealed_segments,
                Some("catalog") => &mut self.catalogs,
                _ => &mut self.other_journal,
            };
            *part = part.saturating_add(allocated_bytes(&path)?);
        }
        Ok(())
    }

    /// All files.
    #[must_use]
    pub fn total(&self) -> u64 {
        let named = self.set_aside.iter().chain(&self.others).map(|(_, bytes)| *bytes);
        let parts = [self.journal(), self.archives, self.store];
        parts.into_iter().chain(named).fold(0, u64::saturating_add)
    }

    /// The journal: all segments, catalogs and other files in its directory.
    #[must_use]
    pub const fn journal(&self) -> u64 {
        self.plain_segments
            .saturating_add(self.sealed_segments)
            .saturating_add(self.catalogs)
            .saturating_add(self.other_journal)
    }
}

/// The allocated bytes of the file at `path`, or of all files below the directory at `path`, without following symbolic links.
/// 0 if it does not exist.
///
/// # Errors
/// A directory below `path` cannot be read.
pub fn allocated_bytes(path: &Path) -> io::Result<u64> {
    let missing_is_empty = |error: io::Error| if error.kind() == io::ErrorKind::NotFound { Ok(0) } else { Err(error) };
    let metadata = match fs::symlink_metadata(path) {
        Err(error) => return missing_is_empty(error),
        Ok(metadata) => metadata,
    };
    let own = metadata.blocks().saturating_mul(STAT_BLOCK_BYTES);
    if !metadata.is_dir() {
        return Ok(own);
    }
    let entries = match fs::read_dir(path) {
        Err(error) => return missing_is_empty(error),
        Ok(entries) => entries,
    };
    entries.into_iter().try_fold(own, |sum, entry| Ok(sum.saturating_add(allocated_bytes(&entry?.path())?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_counts_in_one_part() {
        let dir = tempfile::tempdir().unwrap();
        let files = [
            "journal/0000000001.seg",
            "journal/0000000001.sealed",
            "journal/0000000001-0000000016.catalog",
            "journal/origin",
            "archive/0000000001-0000000016.archive",
            "sled/db",
            "sled.set-aside.1/db",
            "logs/a-0/stdout.log",
        ];
        for file in files {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        let usage = disk_usage(dir.path()).unwrap();
        let parts = [
            usage.plain_segments,
            usage.sealed_segments,
            usage.catalogs,
            usage.other_journal,
            usage.store,
            usage.archives,
        ];
        assert!(parts.iter().all(|bytes| *bytes > 0), "{usage:?}");
        assert_eq!(usage.journal(), parts[..4].iter().sum::<u64>());
        let names = |list: &[(String, u64)]| list.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        assert_eq!(
            (names(&usage.set_aside), names(&usage.others)),
            (vec!["sled.set-aside.1".into()], vec!["logs".into()])
        );
        assert_eq!(allocated_bytes(&dir.path().join("none")).unwrap(), 0);
    }
}
