//! What the readers of the output report to the task of a run.

use apm2_model::event::kind::OutputSource;

/// Notices that wait for the task that owns the run; more than that are left out.
pub(crate) const NOTICES_WAITING_MAX: usize = 16;

/// What an output has to say beside its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OutputNotice {
    /// It cannot be kept, and is dropped from now on.
    Dropping { source: OutputSource, cause: String },
    /// So much was dropped; it is kept again.
    Resumed { source: OutputSource, bytes: u64 },
    /// So much was dropped, to the end of the run.
    Ended { source: OutputSource, bytes: u64 },
    /// So much was lost with the reader that had taken it out of the pipe.
    Lost { source: OutputSource, bytes: u64, cause: String },
}
