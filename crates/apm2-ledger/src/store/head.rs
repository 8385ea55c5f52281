//! The head of the store: the last event that was added to it.

use uuid::Uuid;

use crate::{chain::Chain, store::error::StoreError};

/// The version of the keys and frames of the store. A store of an older version is rebuilt from the journal. Version 1 had
/// no version in its head.
pub(crate) const STORE_VERSION: u32 = 2;

/// Length of the head of version 1, in bytes.
const VERSION_1_LEN: usize = 56;

/// The id of the ledger that the store belongs to, the last event in the store, and the value of the hash chain after
/// that event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StoreHead {
    pub(crate) version: u32,
    pub(crate) ledger: Uuid,
    pub(crate) seq: u64,
    pub(crate) chain: Chain,
}

impl StoreHead {
    /// The head of a store of the current version.
    pub(crate) const fn new(ledger: Uuid, seq: u64, chain: Chain) -> Self {
        Self { version: STORE_VERSION, ledger, seq, chain }
    }

    pub(super) fn to_bytes(self) -> Vec<u8> {
        let (version, seq) = (self.version.to_be_bytes(), self.seq.to_be_bytes());
        [&version[..], self.ledger.as_bytes(), &seq, &self.chain.0].concat()
    }

    pub(super) fn parse(bytes: &[u8]) -> Result<Self, StoreError> {
        let (version, rest) = match bytes.split_first_chunk() {
            _ if bytes.len() == VERSION_1_LEN => (1, bytes),
            Some((version, rest)) => (u32::from_be_bytes(*version), rest),
            None => (0, bytes),
        };
        if version > STORE_VERSION {
            return Err(StoreError::Inconsistent(format!("it is of the newer version {version}")));
        }
        let parts = || {
            let (ledger, rest) = rest.split_first_chunk()?;
            let (seq, rest) = rest.split_first_chunk()?;
            let chain = rest.first_chunk().filter(|_| rest.len() == 32)?;
            Some(Self {
                version,
                ledger: Uuid::from_bytes(*ledger),
                seq: u64::from_be_bytes(*seq),
                chain: Chain(*chain),
            })
        };
        let invalid = || StoreError::Inconsistent("the record of its last event is invalid".to_owned());
        parts().filter(|head| head.version > 0).ok_or_else(invalid)
    }

    /// Checks that the store has the current version.
    ///
    /// # Errors
    /// When an older program wrote the store.
    pub(crate) fn check_version(&self) -> Result<(), StoreError> {
        if self.version == STORE_VERSION {
            return Ok(());
        }
        Err(StoreError::Inconsistent(format!("it is of version {}, and {STORE_VERSION} is needed", self.version)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_of_both_versions_are_read_and_others_are_refused() {
        let head = StoreHead::new(Uuid::from_u128(7), 42, Chain([9; 32]));
        let bytes = head.to_bytes();
        assert_eq!(StoreHead::parse(&bytes).unwrap(), head);
        let old = StoreHead::parse(&bytes[4..]).unwrap();
        assert_eq!((old.version, old.seq, old.chain), (1, head.seq, head.chain));
        assert!(old.check_version().is_err());
        for len in (0..bytes.len()).filter(|len| *len != VERSION_1_LEN) {
            assert!(StoreHead::parse(&bytes[..len]).is_err(), "{len}");
        }
        let newer = [&3_u32.to_be_bytes()[..], &bytes[4..]].concat();
        assert!(StoreHead::parse(&newer).is_err());
    }
}
