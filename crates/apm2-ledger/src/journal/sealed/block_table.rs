//! The first section of the footer: for each block its place, the wall-clock times of its events, and their kinds.
//!
//! ```text
//! for each block, in the order of the file:
//!  0  offset               8   in the file
//!  8  first seq            8
//! 16  earliest wall ns     8   signed
//! 24  latest wall ns       8   signed
//! 32  kinds                8   a bit for each, `kind_set`
//! ```
//!
//! A block without an event that is not erased has an earliest time after the latest, and no kinds.

use crate::journal::sealed::{
    block::{BLOCK_LEN_MAX, BlockHeader},
    fields::Fields,
    header::{SEALED_HEADER_LEN, SealedHeader},
    kind_set::KindSet,
};

/// Bytes of one entry.
const ENTRY_LEN: usize = 40;

/// What is known of a block without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockEntry {
    /// Where the block begins, in bytes from the beginning of the file.
    pub offset: u64,
    /// Its length in bytes.
    pub len: usize,
    /// The seq of its first event.
    pub first_seq: u64,
    /// The seq of its last event.
    pub last_seq: u64,
    /// What its events have in common.
    pub summary: BlockSummary,
}

/// The times and the kinds of the events of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockSummary {
    /// The earliest wall-clock time of an event, in ns.
    pub min_wall_ns: i64,
    /// The latest wall-clock time of an event, in ns.
    pub max_wall_ns: i64,
    /// The kinds of the events.
    pub kinds: KindSet,
}

impl BlockSummary {
    /// That of no event.
    pub(crate) const EMPTY: Self = Self { min_wall_ns: i64::MAX, max_wall_ns: i64::MIN, kinds: KindSet(0) };

    /// Of unknown events: any time, any kind.
    const UNKNOWN: Self = Self { min_wall_ns: i64::MIN, max_wall_ns: i64::MAX, kinds: KindSet::ALL };

    /// That of the events of both.
    pub(crate) fn union(self, other: Self) -> Self {
        Self {
            min_wall_ns: self.min_wall_ns.min(other.min_wall_ns),
            max_wall_ns: self.max_wall_ns.max(other.max_wall_ns),
            kinds: self.kinds.union(other.kinds),
        }
    }
}

/// The blocks of a sealed segment, in order.
#[derive(Debug, Clone)]
pub struct BlockTable {
    entries: Vec<BlockEntry>,
    is_indexed: bool,
}

impl BlockTable {
    /// The table in a section of the footer; `None` when it is not that of blocks one after the other from the header to
    /// `end` with all events of the segment.
    pub(crate) fn parse(raw: &[u8], header: &SealedHeader, end: u64) -> Option<Self> {
        let mut entries: Vec<BlockEntry> = Vec::with_capacity(raw.len() / ENTRY_LEN);
        let (mut fields, mut next) = (Fields(raw), (SEALED_HEADER_LEN as u64, header.first_seq));
        while !fields.0.is_empty() {
            let (offset, first_seq) = (fields.u64()?, fields.u64()?);
            if let Some(before) = entries.last_mut() {
                before.last_seq = first_seq.checked_sub(1).filter(|last| *last >= before.first_seq)?;
                before.len = length(before.offset, offset)?;
                next = (offset, first_seq);
            }
            if (offset, first_seq) != next {
                return None;
            }
            let (min_wall_ns, max_wall_ns, kinds) = (fields.i64()?, fields.i64()?, KindSet(fields.u64()?));
            let summary = BlockSummary { min_wall_ns, max_wall_ns, kinds };
            entries.push(BlockEntry { offset, len: 0, first_seq, last_seq: 0, summary });
        }
        let last = entries.last_mut()?;
        last.last_seq = Some(header.last_seq()).filter(|seq| *seq >= last.first_seq)?;
        last.len = length(last.offset, end)?;
        Some(Self { entries, is_indexed: true })
    }

    /// The table of blocks that were found one after the other, without the footer.
    pub(crate) fn of_headers(found: impl IntoIterator<Item = (u64, BlockHeader)>) -> Self {
        let entry = |(offset, header): (u64, BlockHeader)| BlockEntry {
            offset,
            len: header.block_len(),
            first_seq: header.first_seq,
            last_seq: header.last_seq(),
            summary: BlockSummary::UNKNOWN,
        };
        Self { entries: found.into_iter().map(entry).collect(), is_indexed: false }
    }

    /// The bytes of one entry.
    pub(crate) fn push_entry(out: &mut Vec<u8>, offset: u64, first_seq: u64, summary: &BlockSummary) {
        out.extend_from_slice(&offset.to_le_bytes());
        out.extend_from_slice(&first_seq.to_le_bytes());
        out.extend_from_slice(&summary.min_wall_ns.to_le_bytes());
        out.extend_from_slice(&summary.max_wall_ns.to_le_bytes());
        out.extend_from_slice(&summary.kinds.0.to_le_bytes());
    }

    /// Whether it is from the footer. If not, the times and kinds of the blocks are unknown, and questions for them give all
    /// blocks; the last blocks may be missing.
    #[must_use]
    pub const fn is_indexed(&self) -> bool {
        self.is_indexed
    }

    /// All blocks, in order.
    #[must_use]
    pub fn entries(&self) -> &[BlockEntry] {
        &self.entries
    }

    /// The number of the block with this event, from 0.
    #[must_use]
    pub fn with_seq(&self, seq: u64) -> Option<usize> {
        let at = self.entries.partition_point(|entry| entry.last_seq < seq);
        self.entries.get(at).filter(|entry| entry.first_seq <= seq).map(|_| at)
    }

    /// The numbers of the blocks that can have events of these times, in order. Both ends are included.
    pub fn between(&self, from_wall_ns: i64, to_wall_ns: i64) -> impl DoubleEndedIterator<Item = usize> {
        self.such(move |summary| summary.min_wall_ns.max(from_wall_ns) <= summary.max_wall_ns.min(to_wall_ns))
    }

    /// The numbers of the blocks that can have events of these kinds, in order.
    pub fn with_kinds(&self, kinds: KindSet) -> impl DoubleEndedIterator<Item = usize> {
        self.such(move |summary| summary.kinds.meets(kinds))
    }

    fn such(&self, is_wanted: impl Fn(&BlockSummary) -> bool) -> impl DoubleEndedIterator<Item = usize> {
        self.entries.iter().enumerate().filter(move |(_, entry)| is_wanted(&entry.summary)).map(|(at, _)| at)
    }
}

/// The length of a block, if a block can be as long.
fn length(offset: u64, end: u64) -> Option<usize> {
    usize::try_from(end.checked_sub(offset)?).ok().filter(|len| *len <= BLOCK_LEN_MAX)
}
