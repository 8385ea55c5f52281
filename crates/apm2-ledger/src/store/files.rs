//! The files that sled creates: waiting until sled releases them, their permissions, and hard links to them.

use std::{
    fs::{self, TryLockError},
    io,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Instant,
};

use crate::{
    file,
    journal::{JOURNAL_DIR, origin},
    limits::{LOCK_WAIT, RETRY_INTERVAL},
    lock::Lock,
    store::STORE_DIR,
};

/// Name suffix of the snapshot files of sled that are incomplete after a crash. sled would load such a file as its
/// newest snapshot.
pub(super) const UNFINISHED: &str = ".generating";

/// The file that sled locks (flock(2)) while the store is open.
const DB_FILE: &str = "db";

/// The directory of an open store, together with the lock of the ledger, so that the ledger stays locked while a reader
/// uses the store.
///
/// Threads of sled close the files some time after the database is dropped. Dropping this value waits for them. The
/// directory of the ledger stays open until then, because its file descriptor is a part of the path that those threads
/// use.
pub(super) struct Files {
    pub(super) path: PathBuf,
    pub(super) lock: Arc<Lock>,
}

impl Drop for Files {
    fn drop(&mut self) {
        if let Err(error) = wait_until_released(&self.path) {
            tracing::error!(%error, "sled does not release its files; the ledger stays locked until this process ends");
            std::mem::forget(Arc::clone(&self.lock));
        }
    }
}

/// Waits until sled has released the files of a store that this process had open before. Threads of sled do this some
/// time after the database is dropped. No other process can have the files open, since this process holds the lock of
/// the ledger.
pub(super) fn wait_until_released(path: &Path) -> io::Result<()> {
    let file = match file::open(&path.join(DB_FILE)) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(()),
        opened => opened?,
    };
    let began = Instant::now();
    loop {
        match file.try_lock() {
            // An explicit unlock: closing the descriptor would not release the lock while a forked child has a copy of
            // it.
            Ok(()) => return file.unlock(),
            Err(TryLockError::WouldBlock) if began.elapsed() < LOCK_WAIT => thread::sleep(RETRY_INTERVAL),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Replaces each file of the store that has several hard links by a private copy, because sled writes into its files
/// and would change the linked copies, too.
pub(super) fn unshare(path: &Path) -> io::Result<()> {
    let dir = path.parent().unwrap_or(path);
    for file in files(path)? {
        let mut opened = file::open(&file)?;
        if file::is_shared(&opened)? {
            file::unshare(&file, &mut opened, dir)?;
        }
    }
    Ok(())
}

/// Whether the ledger in `dir` is a hard-linked copy (`cp -al`) of another ledger and still shares store files with it.
/// The owner of the original ledger may still write into these files, so they may hold more events than the journal of
/// the copy.
pub(crate) fn is_linked_copy(dir: &Path) -> io::Result<bool> {
    if !origin::is_copy(&dir.join(JOURNAL_DIR)) {
        return Ok(false);
    }
    for file in files(&dir.join(STORE_DIR))? {
        if fs::symlink_metadata(&file)?.nlink() > 1 {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Returns an error if the store has an entry that is neither a regular file nor a directory. sled would open a FIFO
/// that has the name of one of its files, and block.
pub(super) fn check_entries(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            check_entries(&entry.path())?;
        } else if !kind.is_file() {
            let name = entry.file_name();
            let what = format!("{} is not a regular file", name.to_string_lossy());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
    }
    Ok(())
}

/// Sets the mode of the store's directory and of its entries to 0700 and 0600. sled creates files with the mode that
/// the umask of the process gives. Before this call the mode of the ledger's directory (0700) prevents access by other
/// users.
pub(crate) fn make_files_private(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let is_dir = entry.file_type()?.is_dir();
        fs::set_permissions(entry.path(), fs::Permissions::from_mode(if is_dir { 0o700 } else { 0o600 }))?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))
}

/// The paths of all files below the store's directory, sorted.
pub(crate) fn files(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() { found.extend(files(&entry.path())?) } else { found.push(entry.path()) }
    }
    found.sort();
    Ok(found)
}

/// Syncs all files of the store (fsync(2)). sled itself does not sync all of them.
pub(crate) fn sync_files(path: &Path) -> io::Result<()> {
    for file in files(path)? {
        fs::File::open(file)?.sync_all()?;
    }
    fs::File::open(path)?.sync_all()
}
