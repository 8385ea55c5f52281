//! The head of the store: the last event that was added to it.

use uuid::Uuid;

use crate::chain::Chain;

/// The id of the ledger that the store belongs to, the last event in the store, and the value of the hash chain after
/// that event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StoreHead {
    pub(crate) ledger: Uuid,
    pub(crate) seq: u64,
    pub(crate) chain: Chain,
}

impl StoreHead {
    pub(super) fn to_bytes(self) -> Vec<u8> {
        [&self.ledger.as_bytes()[..], &self.seq.to_be_bytes(), &self.chain.0].concat()
    }

    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let (ledger, rest) = bytes.split_first_chunk()?;
        let (seq, rest) = rest.split_first_chunk()?;
        let chain = rest.first_chunk().filter(|_| rest.len() == 32)?;
        Some(Self { ledger: Uuid::from_bytes(*ledger), seq: u64::from_be_bytes(*seq), chain: Chain(*chain) })
    }
}
