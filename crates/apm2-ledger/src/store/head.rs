//! The head of the store: the last event that was added to it.

use uuid::Uuid;

use crate::{chain::Chain, store::error::StoreError};

/// The version of the keys and frames of the store. A store of another version is rebuilt from the journal. Version 1 had
/// no version in its head.
const STORE_VERSION: u32 = 2;

/// Length of the head of version 1, in bytes.
const VERSION_1_LEN: usize = 56;

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
        let (version, seq) = (STORE_VERSION.to_be_bytes(), self.seq.to_be_bytes());
        [&version[..], self.ledger.as_bytes(), &seq, &self.chain.0].concat()
    }

    pub(super) fn parse(bytes: &[u8]) -> Result<Self, StoreError> {
        if bytes.len() == VERSION_1_LEN {
            return Err(StoreError::Inconsistent("it is of an older version".to_owned()));
        }
        let parts = || {
            let (version, rest) = bytes.split_first_chunk()?;
            let (ledger, rest) = rest.split_first_chunk()?;
            let (seq, rest) = rest.split_first_chunk()?;
            let chain = rest.first_chunk().filter(|_| rest.len() == 32)?;
            let head = Self { ledger: Uuid::from_bytes(*ledger), seq: u64::from_be_bytes(*seq), chain: Chain(*chain) };
            Some((u32::from_be_bytes(*version), head))
        };
        match parts() {
            Some((STORE_VERSION, head)) => Ok(head),
            Some((version, _)) => Err(StoreError::Inconsistent(format!("it is of version {version}"))),
            None => Err(StoreError::Inconsistent("the record of its last event is invalid".to_owned())),
        }
    }
}
