//! The ledger's lock: on its directory, which cannot be removed from under a ledger as a file in it can.

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

const OWNER_FILE: &str = "owner";

/// A pid has at most this many digits and a line end.
const OWNER_LEN_MAX: u64 = 16;

/// Taken before anything is touched; gone with this value, or with the process.
#[derive(Debug)]
pub struct Lock(Arc<LedgerDir>);

impl Lock {
    /// Takes the lock of the directory that `dir` names, waiting for at most `wait`.
    ///
    /// A lock is on an inode. When the path names another one by the time it is granted, it is refused, and not tried with
    /// that one: a directory that takes the place of another may be half copied.
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
                    return Err(OpenError::Locked { path: dir.to_owned(), owner: owner(opened.at()) });
                }
                Err(TryLockError::Error(error)) => return Err(OpenError::io(dir)(error)),
            }
        }
        let lock = Self(Arc::new(opened));
        // Only a hint for an opener that is refused.
        if let Err(error) = note_owner(lock.0.at()) {
            tracing::debug!(%error, "the owner of the ledger is not noted");
        }
        Ok(lock)
    }

    /// Takes the lock of the ledger in `dir`, which is there, and opens nothing yet.
    ///
    /// # Errors
    /// When another process has it, or the directory is no ledger's.
    pub fn of(dir: &Path) -> Result<Self, OpenError> {
        Self::take(dir, LOCK_WAIT)
    }

    /// Takes over the lock that `held` has been given on the directory that `dir` names, by a program that this process was
    /// before (execve(2)). `None` where it is open on something else, or has no lock.
    ///
    /// # Errors
    /// When the directory is no ledger's.
    pub fn inherited(held: OwnedFd, dir: &Path) -> Result<Option<Self>, OpenError> {
        let opened = LedgerDir::of(File::from(held), dir)?;
        if opened.place() != Place::Same {
            return Ok(None);
        }
        // `try_lock` is flock(2), which succeeds where this open file description has the lock already.
        match opened.file().try_lock() {
            Ok(()) => Ok(Some(Self(Arc::new(opened)))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(OpenError::io(dir)(error)),
        }
    }

    /// The directory that is locked.
    #[must_use]
    pub const fn dir(&self) -> &Arc<LedgerDir> {
        &self.0
    }
}

impl Drop for Lock {
    /// Unlocks in so many words: a process that is being forked has a copy of the descriptor until it becomes its program.
    /// Where that fails the lock goes with the descriptor.
    fn drop(&mut self) {
        if let Err(error) = self.0.file().unlock() {
            tracing::debug!(%error, "the ledger is unlocked when its directory is closed");
        }
    }
}

/// Whether another process has the ledger open. Asks for a shared lock, which keeps an opener out for a moment only.
pub(crate) fn has_owner(dir: &LedgerDir) -> bool {
    // A descriptor of its own: a lock that this process has on another one is not given up by it.
    let Ok(asked) = File::open(dir.at()) else { return false };
    matches!(asked.try_lock_shared(), Err(TryLockError::WouldBlock))
}

fn note_owner(dir: &Path) -> io::Result<()> {
    // A new file: a hard-linked copy may have the old one, too.
    let making = dir.join(OWNER_FILE).with_extension("new");
    writeln!(file::create(&making)?, "{}", std::process::id())?;
    fs::rename(making, dir.join(OWNER_FILE))
}

fn owner(dir: &Path) -> Option<u32> {
    let mut text = String::new();
    file::open(&dir.join(OWNER_FILE)).ok()?.take(OWNER_LEN_MAX).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
