//! The event count and the hash chain value of a ledger.

use crate::chain::Chain;

/// The event count of a ledger and the hash chain value after its last event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Number of events, which is also the sequence number of the last event.
    pub size: u64,
    /// Hash chain value after the last event.
    pub chain: Chain,
}
