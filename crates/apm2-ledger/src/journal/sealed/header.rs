//! The beginning of a sealed segment.
//!
//! ```text
//!  0  magic "APM2SEAL"     8
//!  8  format version       4   2
//! 12  zero                 4
//! 16  ledger id           16
//! 32  segment number       8
//! 40  first seq            8
//! 48  chain before        32   the chain before its first event
//! 80  count                8   of events, at least 1
//! 88  CRC-32C of 0..88     4
//! 92  zero                 4
//! ```

use uuid::Uuid;

use crate::{
    chain::Chain,
    journal::sealed::{
        error::SealedError,
        fields::{Fields, checked, push_crc},
    },
};

/// Bytes before the first block.
pub const SEALED_HEADER_LEN: usize = 96;

/// The format of the journal that sealed segments came with.
pub const SEALED_VERSION: u32 = 2;

const MAGIC: [u8; 8] = *b"APM2SEAL";

const CRC_END: usize = 92;

/// What a sealed segment holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealedHeader {
    /// The ledger it belongs to.
    pub ledger: Uuid,
    /// The number of the segment.
    pub number: u64,
    /// The seq of its first event.
    pub first_seq: u64,
    /// The chain before its first event.
    pub chain_before: Chain,
    /// How many events it holds.
    pub count: u64,
}

impl SealedHeader {
    /// Its bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; SEALED_HEADER_LEN] {
        let mut bytes = Vec::with_capacity(SEALED_HEADER_LEN);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&SEALED_VERSION.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(self.ledger.as_bytes());
        bytes.extend_from_slice(&self.number.to_le_bytes());
        bytes.extend_from_slice(&self.first_seq.to_le_bytes());
        bytes.extend_from_slice(&self.chain_before.0);
        bytes.extend_from_slice(&self.count.to_le_bytes());
        push_crc(&mut bytes, 0);
        let mut header = [0; SEALED_HEADER_LEN];
        header.iter_mut().zip(bytes).for_each(|(to, byte)| *to = byte);
        header
    }

    /// The header at the beginning of `bytes`.
    ///
    /// # Errors
    /// When there is none, or a newer one. The checksum comes first, so that a damaged version is not taken for a newer one.
    pub fn parse(bytes: &[u8]) -> Result<Self, SealedError> {
        let (covered, rest) = bytes
            .get(..SEALED_HEADER_LEN)
            .and_then(|header| header.split_at_checked(CRC_END))
            .ok_or(SealedError::Header)?;
        if !covered.starts_with(&MAGIC) || rest != [0; 4] {
            return Err(SealedError::Header);
        }
        let mut fields = Fields(checked(covered).ok_or(SealedError::Header)?);
        let header = Self::parse_fields(&mut fields)?;
        let is_plausible =
            header.first_seq > 0 && header.count > 0 && header.first_seq.checked_add(header.count).is_some();
        if is_plausible { Ok(header) } else { Err(SealedError::Header) }
    }

    fn parse_fields(fields: &mut Fields<'_>) -> Result<Self, SealedError> {
        fields.array::<{ MAGIC.len() }>().ok_or(SealedError::Header)?;
        match (fields.u32(), fields.u32()) {
            (Some(SEALED_VERSION), Some(0)) => {}
            (Some(version), _) if version > SEALED_VERSION => return Err(SealedError::Newer(version)),
            _ => return Err(SealedError::Header),
        }
        let mut parse = || {
            Some(Self {
                ledger: Uuid::from_bytes(fields.array()?),
                number: fields.u64()?,
                first_seq: fields.u64()?,
                chain_before: Chain(fields.array()?),
                count: fields.u64()?,
            })
        };
        parse().ok_or(SealedError::Header)
    }

    /// The seq of its last event.
    #[must_use]
    pub const fn last_seq(&self) -> u64 {
        // `parse` refuses a header in which the sum does not exist or the count is 0.
        self.first_seq.saturating_add(self.count).saturating_sub(1)
    }
}
