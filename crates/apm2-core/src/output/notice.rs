//! Reports from the readers of the output to the task of a run.

use apm2_model::event::kind::OutputSource;

/// Capacity of the queue to the task that owns the run. If the queue is full, further notices are dropped.
pub(crate) const NOTICES_WAITING_MAX: usize = 16;

/// A report of a reader about output that was not written to its log file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OutputNotice {
    /// The output cannot be written, and is dropped from now on.
    Dropping { source: OutputSource, cause: String },
    /// The output is written again, after this number of bytes was dropped.
    Resumed { source: OutputSource, bytes: u64 },
    /// The output ended while it was being dropped. `bytes` is the number of dropped bytes.
    Ended { source: OutputSource, bytes: u64 },
    /// A reader ended unexpectedly. The `bytes` that the reader had read from the pipe are lost.
    Lost { source: OutputSource, bytes: u64, cause: String },
}
