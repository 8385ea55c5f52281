//! The files of the archives of a ledger, to be listed and removed.

use std::{fs, io, sync::Arc};

use crate::{
    dir::LedgerDir,
    disk_usage::allocated_bytes,
    error::ReadError,
    file::sync_dir,
    journal::{JOURNAL_DIR, archive::ARCHIVE_DIR, base::Base, segments::base_error},
};

/// The file of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveFile {
    /// Its name in the directory `archive/` of the ledger.
    pub name: String,
    /// Its allocated size, in bytes.
    pub bytes: u64,
    /// The wall-clock time of its latest event, in nanoseconds since 1970.
    pub last_wall_ns: i64,
}

/// The archives of the ledger whose files exist, in the order of their events.
///
/// # Errors
/// When the base of the journal or a file cannot be read.
pub fn archive_files(dir: &Arc<LedgerDir>) -> Result<Vec<ArchiveFile>, ReadError> {
    let base = Base::read(&dir.at().join(JOURNAL_DIR)).map_err(|error| base_error(dir, error))?;
    let mut found = Vec::new();
    for entry in base.iter().flat_map(|base| &base.archives) {
        let name = entry.file_name();
        let path = dir.at().join(ARCHIVE_DIR).join(&name);
        let bytes = allocated_bytes(&path).map_err(|source| ReadError::Io { path: dir.shown(&path), source })?;
        if bytes > 0 {
            found.push(ArchiveFile { name, bytes, last_wall_ns: entry.summary.max_wall_ns });
        }
    }
    Ok(found)
}

/// Removes the file of an archive. Its events are missing then, and all questions that need them say so. No event in the journal
/// is removed.
///
/// # Errors
/// When the file cannot be removed.
pub fn remove_archive(dir: &LedgerDir, archive: &ArchiveFile) -> io::Result<()> {
    dir.check_place()?;
    let archives = dir.at().join(ARCHIVE_DIR);
    fs::remove_file(archives.join(&archive.name))?;
    sync_dir(&archives)
}
