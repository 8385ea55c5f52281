//! How far a ledger reaches.

use crate::chain::Chain;

/// How long a ledger is, and the hash of it all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Events: the seq of the last one.
    pub size: u64,
    /// The chain after it.
    pub chain: Chain,
}
