//! The interface of a file descriptor store, and what it returns.

use std::{
    io,
    os::fd::{BorrowedFd, OwnedFd},
};

use apm2_model::event::identity::ProcessIdentity;

use crate::output::log::follow::LogPosition;

/// The descriptors of one run, as the store returns them.
#[derive(Debug)]
pub struct StoredRun {
    /// Its outputs: stdout and stderr, or one for both.
    pub outputs: Vec<StoredOutput>,
    /// The pidfd of its process.
    pub pidfd: OwnedFd,
    /// Which process that is.
    pub identity: ProcessIdentity,
}

/// An output that is held.
#[derive(Debug)]
pub struct StoredOutput {
    /// The read end of its pipe.
    pub pipe: OwnedFd,
    /// Where in its log file it begins; `None` where that is not known.
    pub begins_at: Option<LogPosition>,
}

/// Keeps descriptors of runs, under the text of their marker (`<process id>/<instance>/<run>`), beyond the death of the
/// supervisor. What was in a pipe when the last writer had gone is then still there for the next supervisor.
///
/// All calls are synchronous and bounded in time.
pub trait FdStore: Send + Sync {
    /// Keeps a run: the read ends of its outputs, with where in its log file each begins, and its process, which exists and
    /// does not become its program before this returns.
    ///
    /// # Errors
    /// When it is not held. It runs all the same, and its outputs last as long as its process.
    fn hold(
        &self,
        run: &str,
        outputs: &[(BorrowedFd<'_>, Option<LogPosition>)],
        pidfd: BorrowedFd<'_>,
        identity: &ProcessIdentity,
    ) -> io::Result<()>;

    /// Duplicates of what is held for a run; `None` when nothing is. It stays held.
    ///
    /// # Errors
    /// When the store does not answer.
    fn get(&self, run: &str) -> io::Result<Option<StoredRun>>;

    /// Like [`get`](Self::get), but starts no store to ask it.
    ///
    /// # Errors
    /// When the store does not answer.
    fn peek(&self, run: &str) -> io::Result<Option<StoredRun>> {
        self.get(run)
    }

    /// Releases what is held for a run.
    ///
    /// # Errors
    /// When the store does not answer.
    fn release(&self, run: &str) -> io::Result<()>;

    /// The runs that are held.
    ///
    /// # Errors
    /// When the store does not answer.
    fn held(&self) -> io::Result<Vec<String>>;
}

/// Releases what is held for a run that is over.
pub(crate) fn let_go(holder: Option<&dyn FdStore>, marker: &str) {
    if let Some(holder) = holder
        && let Err(error) = holder.release(marker)
    {
        tracing::debug!(%error, "a run stays held that is over");
    }
}
