//! Consecutive events as they are read from the journal: a commit of a plain segment, or a block of a sealed one.

use std::ops::Range;

use crate::{chain::Chain, frame::Frame, journal::sealed::block::Block};

/// The bytes of consecutive events.
#[derive(Debug, Clone)]
pub(crate) struct EventBatch {
    bytes: Vec<u8>,
    first_seq: u64,
    chain_before: Chain,
    /// Where the bytes of each event are. The range of an erased event is empty.
    events: Vec<Range<usize>>,
}

impl EventBatch {
    /// The events of a commit, whose bytes are `bytes`.
    pub(crate) fn from_commit(bytes: Vec<u8>, frame: Frame) -> Self {
        let header = *frame.header();
        Self { bytes, first_seq: header.first_seq, chain_before: header.chain_before, events: frame.into_events() }
    }

    /// The sequence number of the first event.
    pub(crate) const fn first_seq(&self) -> u64 {
        self.first_seq
    }

    /// The sequence number of the last event.
    pub(crate) const fn last_seq(&self) -> u64 {
        self.first_seq.saturating_add(self.events.len() as u64).saturating_sub(1)
    }

    /// The hash chain value before the first event.
    pub(crate) const fn chain_before(&self) -> Chain {
        self.chain_before
    }

    /// The batch without the events before event `seq`, none of which may be erased. `None` when no event is left.
    pub(crate) fn starting_at(mut self, seq: u64) -> Option<Self> {
        let dropped = usize::try_from(seq.saturating_sub(self.first_seq)).unwrap_or(usize::MAX);
        if dropped >= self.events.len() {
            return None;
        }
        for range in self.events.drain(..dropped) {
            let bytes = self.bytes.get(range).unwrap_or_default();
            self.chain_before = self.chain_before.link(self.first_seq, bytes);
            self.first_seq += 1;
        }
        Some(self)
    }

    /// The sequence number and the bytes of each event that was not erased.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (u64, &[u8])> {
        let range =
            |at: usize| Some((self.first_seq.saturating_add(at as u64), self.bytes.get(self.events.get(at)?.clone())?));
        (0..self.events.len()).filter_map(range).filter(|(_, bytes)| !bytes.is_empty())
    }

    /// The bytes, and where in them the bytes of each event are. The range of an erased event is empty.
    pub(crate) fn into_parts(self) -> (Vec<u8>, Vec<Range<usize>>) {
        (self.bytes, self.events)
    }
}

impl From<Block> for EventBatch {
    fn from(block: Block) -> Self {
        let header = *block.header();
        let (bytes, slots) = block.into_parts();
        let events = slots.into_iter().map(|(is_erased, range)| if is_erased { 0..0 } else { range }).collect();
        Self { bytes, first_seq: header.first_seq, chain_before: header.chain_before, events }
    }
}
