//! The id of a stream. A stream holds the events of one instance of one process.

use crate::spec::id::ProcessId;

/// The id of a stream: the events of one instance of one specification, numbered from 1 without gaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId {
    /// The id of the specification.
    pub process_id: ProcessId,
    /// The number of the instance, from 0.
    pub instance: u32,
}

impl StreamId {
    /// The stream for events of the supervisor and of the ledger, which belong to no process.
    pub const SYSTEM: Self = Self { process_id: ProcessId::from_bytes([0; 16]), instance: 0 };

    /// Whether this id is [`StreamId::SYSTEM`].
    #[must_use]
    pub fn is_system(&self) -> bool {
        self.process_id.is_nil()
    }
}
