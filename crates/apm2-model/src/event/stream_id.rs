//! The id of a stream: one instance of one process.

use crate::spec::id::ProcessId;

/// The events of one instance of one specification, numbered from 1 without gaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId {
    /// The specification's id.
    pub process_id: ProcessId,
    /// Which of its instances, from 0.
    pub instance: u32,
}

impl StreamId {
    /// The stream of the supervisor's and the ledger's own events.
    pub const SYSTEM: Self = Self { process_id: ProcessId::from_bytes([0; 16]), instance: 0 };

    /// Whether this is [`StreamId::SYSTEM`].
    #[must_use]
    pub fn is_system(&self) -> bool {
        self.process_id.is_nil()
    }
}
