//! The hash chain over all events of a ledger.
//!
//! `leaf = SHA-256(0x00 ‖ seq ‖ event bytes)`, `chain = SHA-256(0x01 ‖ chain before ‖ leaf)`; the chain value before
//! the first event is `SHA-256(0x02 ‖ ledger id)`. Sequence numbers are 8 bytes, little-endian. The chain values do not
//! depend on how events are grouped into commits and frames.

use std::fmt;

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::sha256::sha256;

const LEAF: u8 = 0;

/// Blocks of SHA-256 for the leaf of an event of up to 238 bytes, as most events are.
const LEAF_BLOCKS: usize = 4;

const LINK: u8 = 1;

/// Blocks of SHA-256 for a link, which has always the same length.
const LINK_BLOCKS: usize = 2;

const GENESIS: u8 = 2;

/// A hash chain value: the hash of all events up to and including one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chain(pub [u8; 32]);

impl Chain {
    /// The hash chain value before the first event of the ledger with the ID `ledger`.
    #[must_use]
    pub fn genesis(ledger: Uuid) -> Self {
        Self(Sha256::new().chain_update([GENESIS]).chain_update(ledger.as_bytes()).finalize().into())
    }

    /// Parses 64 hexadecimal digits, as [`Display`](fmt::Display) writes them. `None` for any other text.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut chain = [0; 32];
        if text.len() != 2 * chain.len() || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        for (byte, digits) in chain.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        }
        Some(Self(chain))
    }

    /// The hash chain value after one more event, which has the sequence number `seq`.
    #[must_use]
    pub fn link(&self, seq: u64, event_bytes: &[u8]) -> Self {
        self.link_leaf(&leaf(seq, event_bytes))
    }

    /// The chain after one more event of which only the leaf hash is known.
    #[must_use]
    pub fn link_leaf(&self, leaf: &[u8; 32]) -> Self {
        Self(sha256::<LINK_BLOCKS>([&[LINK], &self.0, leaf]))
    }
}

/// The leaf hash of the event with this seq.
#[must_use]
pub fn leaf(seq: u64, event_bytes: &[u8]) -> [u8; 32] {
    sha256::<LEAF_BLOCKS>([&[LEAF], &seq.to_le_bytes(), event_bytes])
}

impl fmt::Display for Chain {
    /// Writes the hash as lower-case hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
