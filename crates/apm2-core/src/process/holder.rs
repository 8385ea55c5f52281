//! Somebody else who keeps a run's outputs open while no supervisor does.

use std::{
    io,
    os::fd::{BorrowedFd, OwnedFd},
};

use crate::{log::LogPosition, process::ProcessIdentity};

/// The descriptors of one run, as they come back from a holder.
#[derive(Debug)]
pub struct HeldRun {
    /// Its outputs: stdout and stderr, or one for both.
    pub outputs: Vec<HeldOutput>,
    /// Its process, once there was one.
    pub process: Option<HeldProcess>,
}

/// An output that somebody holds.
#[derive(Debug)]
pub struct HeldOutput {
    /// The read end of its pipe.
    pub pipe: OwnedFd,
    /// Where in its log file it begins; `None` where that is not known.
    pub begins_at: Option<LogPosition>,
}

/// A process that somebody holds.
#[derive(Debug)]
pub struct HeldProcess {
    /// Its pidfd.
    pub pidfd: OwnedFd,
    /// Which it is.
    pub identity: ProcessIdentity,
}

/// Keeps descriptors of runs, under the text of their marker (`<process id>/<instance>/<run>`), beyond the death of the
/// supervisor. What was in a pipe when the last writer had gone is then still there for the next supervisor.
///
/// All calls are synchronous and bounded in time.
pub trait OutputHolder: Send + Sync {
    /// Keeps the read ends of a run that is about to be spawned, and where in its log file each output begins. Replaces
    /// what was held for it.
    ///
    /// # Errors
    /// When they are not held. A run is then started all the same.
    fn hold_outputs(&self, run: &str, outputs: &[(BorrowedFd<'_>, Option<LogPosition>)]) -> io::Result<()>;

    /// Keeps the process of a run, which exists and does not become its program before this returns.
    ///
    /// # Errors
    /// When it is not held.
    fn hold_process(&self, run: &str, pidfd: BorrowedFd<'_>, identity: &ProcessIdentity) -> io::Result<()>;

    /// Duplicates of what is held for a run; `None` when nothing is. It stays held.
    ///
    /// # Errors
    /// When the holder does not answer.
    fn get(&self, run: &str) -> io::Result<Option<HeldRun>>;

    /// Lets go of a run.
    ///
    /// # Errors
    /// When the holder does not answer.
    fn release(&self, run: &str) -> io::Result<()>;

    /// The runs that are held.
    ///
    /// # Errors
    /// When the holder does not answer.
    fn held(&self) -> io::Result<Vec<String>>;
}
