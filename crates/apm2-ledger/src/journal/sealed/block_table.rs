//! The first section of the footer: for each block its place, the wall-clock times of its events, and their kinds.
//!
//! ```text
//! for each block, in the order of the file:
//!  0  offset               8   in the file
//!  8  first seq            8
//! 16  earliest wall ns     8   signed
//! 24  latest wall ns       8   signed
//! 32  kinds                7   a bit for each, `kind_set`
//! 39  actors               1   a bit for each class, `actor_set`; 0 in a block of a program that did not record them
//! ```
//!
//! A block without an event that is not erased has an earliest time after the latest, and no kinds.

use crate::journal::sealed::{
    actor_set::ActorSet,
    block::{BLOCK_LEN_MAX, BlockHeader},
    fields::Fields,
    header::{SEALED_HEADER_LEN, SealedHeader},
    kind_set::KindSet,
};

/// Bytes of one entry.
const ENTRY_LEN: usize = 40;

/// The number of bits of the kinds. The actors follow.
const KINDS_BITS: u32 = 56;

const KINDS_MASK: u64 = (1 << KINDS_BITS) - 1;

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

/// The times, the kinds and the actors of the events of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockSummary {
    /// The earliest wall-clock time of an event, in ns.
    pub min_wall_ns: i64,
    /// The latest wall-clock time of an event, in ns.
    pub max_wall_ns: i64,
    /// The kinds of the events.
    pub kinds: KindSet,
    /// The classes of their actors; all where they are not known.
    pub actors: ActorSet,
}

impl BlockSummary {
    /// That of no event.
    pub(crate) const EMPTY: Self =
        Self { min_wall_ns: i64::MAX, max_wall_ns: i64::MIN, kinds: KindSet(0), actors: ActorSet(0) };

    /// Of unknown events: any time, any kind, any actor.
    const UNKNOWN: Self =
        Self { min_wall_ns: i64::MIN, max_wall_ns: i64::MAX, kinds: KindSet::ALL, actors: ActorSet::ALL };

    /// That of the events of both.
    pub(crate) fn union(self, other: Self) -> Self {
        Self {
            min_wall_ns: self.min_wall_ns.min(other.min_wall_ns),
            max_wall_ns: self.max_wall_ns.max(other.max_wall_ns),
            kinds: self.kinds.union(other.kinds),
            actors: self.actors.union(other.actors),
        }
    }

    /// The kinds and the actors, as they are stored.
    pub(crate) fn classes(&self) -> [u8; 8] {
        (self.kinds.0 & KINDS_MASK | u64::from(self.actors.0) << KINDS_BITS).to_le_bytes()
    }

    /// The summary with these times, and with the kinds and actors that are stored as `classes`.
    pub(crate) fn parse((min_wall_ns, max_wall_ns): (i64, i64), classes: u64) -> Self {
        let [.., actors] = classes.to_le_bytes();
        let kinds = KindSet(classes & KINDS_MASK);
        let are_unknown = actors == 0 && kinds != KindSet(0);
        Self { min_wall_ns, max_wall_ns, kinds, actors: if are_unknown { ActorSet::ALL } else { ActorSet(actors) } }
    }

    /// Whether a stored summary is that of the events, whose summary is `self`. The actors may be unknown.
    pub(crate) fn is_stored_as(&self, stored: &Self) -> bool {
        *self == Self { actors: self.actors, ..*stored }
            && (stored.actors == self.actors || stored.actors == ActorSet::ALL)
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
            let summary = BlockSummary::parse((fields.i64()?, fields.i64()?), fields.u64()?);
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
        out.extend_from_slice(&summary.classes());
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
