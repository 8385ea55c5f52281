//! What the readers of the output report to the task of a run.

use apm2_model::event::kind::OutputSource;

/// Capacity of the queue to the task that owns the run; notices beyond it are dropped.
pub(crate) const NOTICES_WAITING_MAX: usize = 16;

/// A report of a reader about output that was not written to its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OutputNotice {
    /// The output cannot be written and is dropped from now on.
    Dropping { source: OutputSource, cause: String },
    /// The output is written again, after `bytes` were dropped.
    Resumed { source: OutputSource, bytes: u64 },
    /// The output ended while it was dropped; `bytes` were dropped.
    Ended { source: OutputSource, bytes: u64 },
    /// A reader ended unexpectedly; the `bytes` that it had read from the pipe are lost.
    Lost { source: OutputSource, bytes: u64, cause: String },
}
