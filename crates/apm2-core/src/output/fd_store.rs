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
    /// The outputs: stdout and stderr, or one for both.
    pub outputs: Vec<StoredOutput>,
    /// The pidfd of the main process.
    pub pidfd: OwnedFd,
    /// The identity of that process.
    pub identity: ProcessIdentity,
}

/// An output in the store.
#[derive(Debug)]
pub struct StoredOutput {
    /// The read end of the pipe.
    pub pipe: OwnedFd,
    /// Where in its log file the output of the run begins; `None` if unknown.
    pub begins_at: Option<LogPosition>,
}

/// Keeps file descriptors of runs open beyond the end of the supervisor, by the run's marker as text
/// (`<process id>/<instance>/<run>`). The kernel discards the content of a pipe when its last descriptor is closed; with the
/// store the next supervisor can still read it.
///
/// All calls are synchronous and bounded in time.
pub trait FdStore: Send + Sync {
    /// Stores a run: the read ends of its outputs, with the place in its log file where each begins, and its main process,
    /// which waits before execve(2) until this returns.
    ///
    /// # Errors
    /// When it could not be stored. The process is started nevertheless; its outputs are lost if it and the supervisor end.
    fn hold(
        &self,
        run: &str,
        outputs: &[(BorrowedFd<'_>, Option<LogPosition>)],
        pidfd: BorrowedFd<'_>,
        identity: &ProcessIdentity,
    ) -> io::Result<()>;

    /// Duplicates of the descriptors of a run, which stay in the store; `None` if the run is not stored.
    ///
    /// # Errors
    /// When the store does not answer.
    fn get(&self, run: &str) -> io::Result<Option<StoredRun>>;

    /// Like [`get`](Self::get), but does not start the store if it is not running.
    ///
    /// # Errors
    /// When the store does not answer.
    fn peek(&self, run: &str) -> io::Result<Option<StoredRun>> {
        self.get(run)
    }

    /// Closes the stored descriptors of a run.
    ///
    /// # Errors
    /// When the store does not answer.
    fn release(&self, run: &str) -> io::Result<()>;

    /// The markers of all stored runs.
    ///
    /// # Errors
    /// When the store does not answer.
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
