//! The files of sled: their lock, their permissions, and hard-linked copies of them.

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

/// Snapshots of sled's own that it would take for the newest although they were never finished.
pub(super) const UNFINISHED: &str = ".generating";

/// The file of sled's that it locks.
const DB_FILE: &str = "db";

/// The files that sled has, and with them the lock: a reader of the store keeps the ledger in use.
///
/// sled lets go of its files in threads of its own, a moment after it was dropped. Until then the directory stays open, since
/// its descriptor is a part of the path that those threads use.
pub(super) struct Files {
    pub(super) path: PathBuf,
    pub(super) lock: Arc<Lock>,
}

impl Drop for Files {
    fn drop(&mut self) {
        if let Err(error) = wait_until_released(&self.path) {
            tracing::error!(%error, "the store keeps its files; the ledger stays locked as long as this process lives");
            std::mem::forget(Arc::clone(&self.lock));
        }
    }
}

/// Waits for an earlier store of this process to let go of its files, which sled does in threads of its own, a moment
/// after it was dropped. No other process can have them: the ledger's lock is held.
pub(super) fn wait_until_released(path: &Path) -> io::Result<()> {
    let file = match file::open(&path.join(DB_FILE)) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(()),
        opened => opened?,
    };
    let began = Instant::now();
    loop {
        match file.try_lock() {
            // In so many words, and not by closing it: a process that is being forked has a copy.
            Ok(()) => return file.unlock(),
            Err(TryLockError::WouldBlock) if began.elapsed() < LOCK_WAIT => thread::sleep(RETRY_INTERVAL),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Gives the store files of its own in the place of those that a hard-linked copy has, too: sled writes into them.
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

/// Whether the store of the ledger in `dir` has files of the ledger that this one is a hard-linked copy of (`cp -al`). The
/// owner of that ledger may write them, and goes on doing so after the copy was made: they may hold more than the journal of the copy.
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

/// Refuses a store with an entry that is neither a regular file nor a directory: sled opens what has the name of a file of its
/// own, and waits for the other end of a FIFO.
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

/// sled makes its files as the umask has it, which belongs to the whole process: what it made is closed afterwards. Until
/// then the ledger's directory keeps others out.
pub(crate) fn close_to_others(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let is_dir = entry.file_type()?.is_dir();
        fs::set_permissions(entry.path(), fs::Permissions::from_mode(if is_dir { 0o700 } else { 0o600 }))?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))
}

/// The files below the store's directory.
pub(crate) fn files(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() { found.extend(files(&entry.path())?) } else { found.push(entry.path()) }
    }
    found.sort();
    Ok(found)
}

/// Brings all files of the store to the disk, which sled itself never does.
pub(crate) fn sync_files(path: &Path) -> io::Result<()> {
    for file in files(path)? {
        fs::File::open(file)?.sync_all()?;
    }
    fs::File::open(path)?.sync_all()
}
