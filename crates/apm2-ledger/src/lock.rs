//! The lock of a ledger (flock(2)). The directory itself is locked: a lock file in it could be removed and created
//! again, and then two processes would each hold a lock.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Read as _, Write as _},
    os::fd::OwnedFd,
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use crate::{
    dir::{LedgerDir, Place},
    error::OpenError,
    file,
    limits::{LOCK_WAIT, RETRY_INTERVAL},
};

/// The file with the pid of the process that took the lock last.
const OWNER_FILE: &str = "owner";

/// Limit of the bytes that are read from the owner file: the digits of a pid and a line feed are fewer.
const OWNER_LEN_MAX: u64 = 16;

/// The exclusive lock of a ledger's directory. It is taken before any file of the ledger is read or written, and
/// released when this value is dropped or the process ends.
#[derive(Debug)]
pub struct Lock(Arc<LedgerDir>);

impl Lock {
    /// Locks the directory `dir`. Waits for at most `wait` while another process holds the lock.
    ///
    /// The lock is on the inode of the directory. If the path names another inode when the lock is granted, this
    /// returns [`OpenError::Moved`]. It does not lock the new directory instead, since that directory may be an
    /// incomplete copy.
    pub(crate) fn take(dir: &Path, wait: Duration) -> Result<Self, OpenError> {
        let began = Instant::now();
        let opened = LedgerDir::open(dir)?;
        loop {
            match opened.file().try_lock() {
                Ok(()) | Err(TryLockError::WouldBlock) if opened.place() != Place::Same => {
                    return Err(OpenError::Moved { path: dir.to_owned() });
                }
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if began.elapsed() < wait => thread::sleep(RETRY_INTERVAL),
                Err(TryLockError::WouldBlock) => {
                    return Err(OpenError::Locked { path: dir.to_owned(), owner: read_owner_pid(opened.at()) });
                }
                Err(TryLockError::Error(error)) => return Err(OpenError::io(dir)(error)),
            }
        }
        let lock = Self(Arc::new(opened));
        // The pid is only shown in the error of another process that cannot get the lock, so a failure is not an error.
        if let Err(error) = write_owner_pid(lock.0.at()) {
            tracing::debug!(%error, "the pid of the ledger's owner could not be written");
        }
        Ok(lock)
    }

    /// Locks the existing directory `dir`, and does not open the ledger in it yet. Waits up to [`LOCK_WAIT`] for the
    /// lock.
    ///
    /// # Errors
    /// When another process holds the lock, or `dir` does not exist, or is not a directory that only this user may
    /// access.
    pub fn of(dir: &Path) -> Result<Self, OpenError> {
        Self::take(dir, LOCK_WAIT)
    }

    /// Takes over a lock of the directory `dir` that this process held before it called execve(2). `descriptor` is the
    /// open directory with the lock. Returns `None` if `descriptor` is open on another directory than `dir`, or if
    /// another open file description holds the lock.
    ///
    /// # Errors
    /// When `descriptor` is not open on a directory that only this user may access, or the lock cannot be checked.
    pub fn inherited(descriptor: OwnedFd, dir: &Path) -> Result<Option<Self>, OpenError> {
        let opened = LedgerDir::of(File::from(descriptor), dir)?;
        if opened.place() != Place::Same {
            return Ok(None);
        }
        // `try_lock` calls flock(2), which succeeds if this open file description holds the lock already.
        match opened.file().try_lock() {
            Ok(()) => Ok(Some(Self(Arc::new(opened)))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(OpenError::io(dir)(error)),
        }
    }

    /// The locked directory.
    #[must_use]
    pub const fn dir(&self) -> &Arc<LedgerDir> {
        &self.0
    }
}

impl Drop for Lock {
    /// Unlocks with an explicit flock(2) `LOCK_UN`, which releases the lock even while a forked child still has a copy
    /// of the descriptor (until its execve(2)). Closing the descriptor would not. If the unlock fails, the lock is
    /// released when every copy is closed.
    fn drop(&mut self) {
        if let Err(error) = self.0.file().unlock() {
            tracing::debug!(%error, "unlocking the ledger failed; the lock is released when its directory is closed");
        }
    }
}

/// A shared lock of a ledger's directory: no process opens the ledger while it is held. It changes no file, and several processes
/// may hold one at the same time.
#[derive(Debug)]
pub(crate) struct SharedLock(Arc<LedgerDir>);

impl SharedLock {
    /// Locks the directory `dir`. Waits for at most `wait` while another process has the ledger open.
    pub(crate) fn take(dir: &Path, wait: Duration) -> Result<Self, OpenError> {
        let began = Instant::now();
        let opened = LedgerDir::open(dir)?;
        loop {
            match opened.file().try_lock_shared() {
                Ok(()) => return Ok(Self(Arc::new(opened))),
                Err(TryLockError::WouldBlock) if began.elapsed() < wait => thread::sleep(RETRY_INTERVAL),
                Err(TryLockError::WouldBlock) => {
                    return Err(OpenError::Locked { path: dir.to_owned(), owner: read_owner_pid(opened.at()) });
                }
                Err(TryLockError::Error(error)) => return Err(OpenError::io(dir)(error)),
            }
        }
    }

    /// The locked directory.
    pub(crate) const fn dir(&self) -> &Arc<LedgerDir> {
        &self.0
    }
}

impl Drop for SharedLock {
    /// Unlocks explicitly, as [`Lock`] does.
    fn drop(&mut self) {
        if let Err(error) = self.0.file().unlock() {
            tracing::debug!(%error, "unlocking the ledger failed; the lock is released when its directory is closed");
        }
    }
}

/// Whether a process has the ledger in `dir` open. Tries to take a shared lock and releases it at once; meanwhile an
/// opener of the ledger waits.
pub(crate) fn has_owner(dir: &LedgerDir) -> bool {
    // The directory is opened again, because flock(2) on `dir`'s own open file description would convert or release a
    // lock that this process holds.
    let Ok(probe) = File::open(dir.at()) else { return false };
    matches!(probe.try_lock_shared(), Err(TryLockError::WouldBlock))
}

fn write_owner_pid(dir: &Path) -> io::Result<()> {
    // A new file replaces the old one: writing in place would change a hard-linked copy of the ledger, too.
    let temporary = dir.join(OWNER_FILE).with_extension("new");
    writeln!(file::create(&temporary)?, "{}", std::process::id())?;
    fs::rename(temporary, dir.join(OWNER_FILE))
}

fn read_owner_pid(dir: &Path) -> Option<u32> {
    let mut text = String::new();
    file::open(&dir.join(OWNER_FILE)).ok()?.take(OWNER_LEN_MAX).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
