//! Some consecutive events of a sealed segment, compressed together.
//!
//! ```text
//!  0  magic "a2bk"         4
//!  4  layout version       1   1
//!  5  codec                1   0 = plain, 1 = zstd
//!  6  zero                 2
//!  8  first seq            8
//! 16  count                4   of events, at least 1
//! 20  raw length           4   of the body before compression
//! 24  stored length        4   less than the raw length with zstd, the same without
//! 28  chain before        32   the chain before its first event
//! 60  CRC-32C of 0..60     4
//! 64  stored bytes
//!     CRC-32C of the stored bytes   4
//! ```
//!
//! The body is `count` slots: length 4, event bytes. A length of 0x8000_0020 is that of an erased slot: the leaf hash of the
//! event in the place of its bytes, so that the chain can still be computed.

use std::ops::Range;

use crate::{
    chain::Chain,
    journal::sealed::{
        error::{BlockError, SealError},
        fields::{Fields, checked, push_crc},
        packing::{Packer, unpack},
    },
    limits::RECORD_BYTES_MAX,
};

/// Bytes before the stored bytes.
pub const BLOCK_HEADER_LEN: usize = 64;

const CRC_LEN: usize = 4;

/// Bytes of a block at most.
pub(crate) const BLOCK_LEN_MAX: usize = BLOCK_HEADER_LEN + RAW_LEN_MAX + CRC_LEN;

const MAGIC: [u8; 4] = *b"a2bk";

const LAYOUT_VERSION: u8 = 1;

const CODEC_PLAIN: u8 = 0;

const CODEC_ZSTD: u8 = 1;

/// The length before each event.
const LENGTH_LEN: usize = 4;

/// One event of the largest kind.
const RAW_LEN_MAX: usize = RECORD_BYTES_MAX + LENGTH_LEN;

const LEAF_LEN: usize = 32;

/// No event is as long.
const ERASED: u32 = 0x8000_0000;

const ERASED_LENGTH: u32 = 0x8000_0020;

/// The beginning of a block, with its own checksum right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockHeader {
    /// The seq of its first event.
    pub first_seq: u64,
    /// How many events it holds.
    pub count: u32,
    /// Bytes of its body before compression.
    pub raw_len: u32,
    /// Bytes of its body as it is stored.
    pub stored_len: u32,
    /// The chain before its first event.
    pub chain_before: Chain,
}

impl BlockHeader {
    /// The header at the beginning of `bytes`.
    ///
    /// # Errors
    /// When there is none.
    pub fn parse(bytes: &[u8]) -> Result<Self, BlockError> {
        let bytes = bytes.get(..BLOCK_HEADER_LEN).ok_or(BlockError::Short)?;
        let mut fields = Fields(checked(bytes).ok_or(BlockError::Header)?);
        let parts = |fields: &mut Fields<'_>| {
            let begin: [u8; 8] = fields.array()?;
            let header = Self {
                first_seq: fields.u64()?,
                count: fields.u32()?,
                raw_len: fields.u32()?,
                stored_len: fields.u32()?,
                chain_before: Chain(fields.array()?),
            };
            Some((begin, header))
        };
        let (begin, header) = parts(&mut fields).ok_or(BlockError::Short)?;
        let [m0, m1, m2, m3, version, codec, zeros @ ..] = begin;
        if [m0, m1, m2, m3] != MAGIC {
            return Err(BlockError::Header);
        }
        if version > LAYOUT_VERSION {
            return Err(BlockError::Newer(version));
        }
        let is_sound = version == LAYOUT_VERSION && zeros == [0; 2] && codec == header.codec() && header.is_plausible();
        if is_sound { Ok(header) } else { Err(BlockError::Inconsistent) }
    }

    const fn codec(&self) -> u8 {
        if self.stored_len < self.raw_len { CODEC_ZSTD } else { CODEC_PLAIN }
    }

    fn is_plausible(&self) -> bool {
        self.count > 0
            && self.first_seq > 0
            && self.first_seq.checked_add(u64::from(self.count)).is_some()
            && self.raw_len as usize <= RAW_LEN_MAX
            && self.stored_len <= self.raw_len
            // Each event has its length at least, so a claimed count cannot be large.
            && self.count as usize <= self.raw_len as usize / LENGTH_LEN
    }

    /// The seq of its last event.
    #[must_use]
    pub const fn last_seq(&self) -> u64 {
        // `parse` refuses a header in which the sum does not exist or the count is 0.
        self.first_seq.saturating_add(self.count as u64).saturating_sub(1)
    }

    /// Bytes of the whole block.
    #[must_use]
    pub const fn block_len(&self) -> usize {
        BLOCK_HEADER_LEN + self.stored_len as usize + CRC_LEN
    }

    fn push(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[LAYOUT_VERSION, self.codec(), 0, 0]);
        out.extend_from_slice(&self.first_seq.to_le_bytes());
        out.extend_from_slice(&self.count.to_le_bytes());
        out.extend_from_slice(&self.raw_len.to_le_bytes());
        out.extend_from_slice(&self.stored_len.to_le_bytes());
        out.extend_from_slice(&self.chain_before.0);
        push_crc(out, start);
    }
}

/// The place of one event in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot<'a> {
    /// The bytes of the event.
    Event(&'a [u8]),
    /// The event was erased. Its leaf hash is kept.
    Erased([u8; LEAF_LEN]),
}

impl Slot<'_> {
    /// The chain after this event, which follows on `chain`.
    #[must_use]
    pub fn link(&self, chain: Chain, seq: u64) -> Chain {
        match self {
            Self::Event(bytes) => chain.link(seq, bytes),
            Self::Erased(leaf) => chain.link_leaf(leaf),
        }
    }
}

/// A block whose checksums are right, decompressed.
#[derive(Debug, Clone)]
pub struct Block {
    header: BlockHeader,
    body: Vec<u8>,
    slots: Vec<(bool, Range<usize>)>,
}

impl Block {
    /// The block that `bytes` are, all of them.
    ///
    /// # Errors
    /// When they are no block, or a damaged one.
    pub fn parse(bytes: &[u8]) -> Result<Self, BlockError> {
        let header = BlockHeader::parse(bytes)?;
        if bytes.len() < header.block_len() {
            return Err(BlockError::Short);
        }
        let stored = bytes.get(BLOCK_HEADER_LEN..header.block_len()).and_then(checked).ok_or(BlockError::Checksum)?;
        if bytes.len() > header.block_len() {
            return Err(BlockError::Inconsistent);
        }
        let body = unpack(stored, header.raw_len as usize).ok_or(BlockError::Inconsistent)?;
        let slots = split_body(&body, header.count).ok_or(BlockError::Inconsistent)?;
        Ok(Self { header, body, slots })
    }

    /// Its header.
    #[must_use]
    pub const fn header(&self) -> &BlockHeader {
        &self.header
    }

    /// What the slot of event `seq` holds; `None` when the event is not in this block.
    #[must_use]
    pub fn slot(&self, seq: u64) -> Option<Slot<'_>> {
        let at = usize::try_from(seq.checked_sub(self.header.first_seq)?).ok()?;
        self.slots.get(at).and_then(|slot| self.slot_at(slot))
    }

    /// The seq and the slot of each event.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (u64, Slot<'_>)> {
        let seqs = self.header.first_seq..self.header.first_seq.saturating_add(u64::from(self.header.count));
        seqs.filter_map(|seq| Some((seq, self.slot(seq)?)))
    }

    /// The chain after its last event, computed from the events.
    #[must_use]
    pub fn chain_after(&self) -> Chain {
        self.iter().fold(self.header.chain_before, |chain, (seq, slot)| slot.link(chain, seq))
    }

    /// The body, and for each slot whether its event was erased and where its bytes are in the body.
    pub(crate) fn into_parts(self) -> (Vec<u8>, Vec<(bool, Range<usize>)>) {
        (self.body, self.slots)
    }

    fn slot_at(&self, (is_erased, range): &(bool, Range<usize>)) -> Option<Slot<'_>> {
        let bytes = self.body.get(range.clone())?;
        if *is_erased { bytes.try_into().ok().map(Slot::Erased) } else { Some(Slot::Event(bytes)) }
    }
}

/// The places of `count` slots that fill the body exactly, each with whether it is erased.
fn split_body(body: &[u8], count: u32) -> Option<Vec<(bool, Range<usize>)>> {
    // `BlockHeader::parse` limits the count by the length of the body.
    let mut slots = Vec::with_capacity(count as usize);
    let mut fields = Fields(body);
    for _ in 0..count {
        let length = fields.u32()?;
        let start = body.len() - fields.0.len();
        let (is_erased, len) = match length {
            ERASED_LENGTH => (true, LEAF_LEN),
            length if length & ERASED != 0 => return None,
            length => (false, length as usize),
        };
        fields.bytes(len)?;
        slots.push((is_erased, start..start + len));
    }
    fields.0.is_empty().then_some(slots)
}

/// Collects the slots of one block.
#[derive(Debug)]
pub(crate) struct BlockBuilder {
    first_seq: u64,
    chain_before: Chain,
    chain: Chain,
    count: u32,
    body: Vec<u8>,
}

impl BlockBuilder {
    /// A block without events, to follow on `chain`.
    pub(crate) const fn new(first_seq: u64, chain: Chain) -> Self {
        Self { first_seq, chain_before: chain, chain, count: 0, body: Vec::new() }
    }

    /// Whether the body, with the slot, has at most `bytes_max` bytes before compression. A single slot always fits.
    pub(crate) const fn fits(&self, slot: &Slot<'_>, bytes_max: usize) -> bool {
        let len = match slot {
            Slot::Event(bytes) => bytes.len(),
            Slot::Erased(leaf) => leaf.len(),
        };
        self.count == 0 || self.body.len() + LENGTH_LEN + len <= bytes_max
    }

    pub(crate) fn push(&mut self, slot: &Slot<'_>) -> Result<(), SealError> {
        let (length, bytes) = match slot {
            Slot::Event(bytes) if bytes.len() > RECORD_BYTES_MAX => return Err(SealError::TooLarge(bytes.len())),
            Slot::Event(bytes) => (u32::try_from(bytes.len()).unwrap_or(u32::MAX), *bytes),
            Slot::Erased(leaf) => (ERASED_LENGTH, &leaf[..]),
        };
        self.body.extend_from_slice(&length.to_le_bytes());
        self.body.extend_from_slice(bytes);
        self.chain = slot.link(self.chain, self.next_seq());
        self.count += 1;
        Ok(())
    }

    /// Whether no event was added yet.
    pub(crate) const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The seq of the first event.
    pub(crate) const fn first_seq(&self) -> u64 {
        self.first_seq
    }

    /// The seq that the next event has.
    pub(crate) const fn next_seq(&self) -> u64 {
        self.first_seq + self.count as u64
    }

    /// The chain after the events so far.
    pub(crate) const fn chain(&self) -> Chain {
        self.chain
    }

    /// Appends the whole block to `out`.
    pub(crate) fn finish(self, packer: &mut Packer, out: &mut Vec<u8>) -> Result<(), SealError> {
        let len_of = |bytes: &[u8]| u32::try_from(bytes.len()).map_err(|_| SealError::TooLarge(bytes.len()));
        let stored = packer.pack(&self.body)?;
        let header = BlockHeader {
            first_seq: self.first_seq,
            count: self.count,
            raw_len: len_of(&self.body)?,
            stored_len: len_of(&stored)?,
            chain_before: self.chain_before,
        };
        header.push(out);
        let start = out.len();
        out.extend_from_slice(&stored);
        push_crc(out, start);
        Ok(())
    }
}
