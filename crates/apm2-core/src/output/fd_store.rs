//! The interface of a file descriptor store, and the types that it returns.

use std::{
    io,
    os::fd::{BorrowedFd, OwnedFd},
};

use apm2_model::event::identity::ProcessIdentity;

use crate::output::log::follow::LogPosition;

/// The descriptors of one run, as returned by the store.
#[derive(Debug)]
pub struct StoredRun {
    /// The output pipes: one each for stdout and stderr, or one for both.
    pub outputs: Vec<StoredOutput>,
    /// The pidfd of the main process.
    pub pidfd: OwnedFd,
    /// The identity of the main process.
    pub identity: ProcessIdentity,
}

/// An output in the store.
#[derive(Debug)]
pub struct StoredOutput {
    /// The read end of the pipe.
    pub pipe: OwnedFd,
    /// The position in the log file at which the output of the run begins; `None` if unknown.
    pub begins_at: Option<LogPosition>,
}

/// Keeps the file descriptors of runs open after the end of the supervisor. The key of a run is its marker as text
/// (`<process id>/<instance>/<run>`). The kernel discards the content of a pipe when its last descriptor is closed;
/// with the store the next supervisor can still read it.
///
/// All calls are synchronous and bounded in time.
pub trait FdStore: Send + Sync {
    /// Stores the descriptors of a run: the read ends of its outputs, each with the position in the log file at which
    /// it begins, and the pidfd of its main process. The main process waits before execve(2) until this call returns.
    ///
    /// # Errors
    /// The descriptors could not be stored. The process is started nevertheless, but its unread output is lost if the
    /// process and the supervisor end.
    fn hold(
        &self,
        run: &str,
        outputs: &[(BorrowedFd<'_>, Option<LogPosition>)],
        pidfd: BorrowedFd<'_>,
        identity: &ProcessIdentity,
    ) -> io::Result<()>;

    /// Returns duplicates of the descriptors of a run; the originals stay in the store. `None` if the run is not
    /// stored.
    ///
    /// # Errors
    /// The store does not answer.
    fn get(&self, run: &str) -> io::Result<Option<StoredRun>>;

    /// Like [`get`](Self::get), but does not start the process of the store if it is not running.
    ///
    /// # Errors
    /// The store does not answer.
    fn peek(&self, run: &str) -> io::Result<Option<StoredRun>> {
        self.get(run)
    }

    /// Closes the stored descriptors of a run.
    ///
    /// # Errors
    /// The store does not answer.
    fn release(&self, run: &str) -> io::Result<()>;

    /// The markers of all stored runs.
    ///
    /// # Errors
    /// The store does not answer.
    fn held(&self) -> io::Result<Vec<String>>;
}

/// Releases an ended run. An error is only logged: the next supervisor releases the run.
pub(crate) fn release_run(fd_store: Option<&dyn FdStore>, marker: &str) {
    if let Some(fd_store) = fd_store
        && let Err(error) = fd_store.release(marker)
    {
        tracing::debug!(%error, "an ended run could not be released in the file descriptor store");
    }
}
