//! The position of a reader in a sealed segment.

use std::vec;

use crate::{
    chain::Chain,
    journal::{
        event_batch::EventBatch,
        sealed::{error::SealedError, reader::SealedSegment},
    },
    read::query::EventQuery,
};

/// An open sealed segment, and the blocks of it that are still to be read.
#[derive(Debug)]
pub(crate) struct SealedCursor {
    segment: SealedSegment,
    blocks: vec::IntoIter<usize>,
}

impl SealedCursor {
    /// The blocks that can contain events that `query` accepts, from event `first_seq` on.
    pub(crate) fn new(segment: SealedSegment, query: &EventQuery, first_seq: u64) -> Result<Self, SealedError> {
        let mut blocks = query.blocks(&segment)?;
        let entries = segment.blocks()?.entries();
        blocks.retain(|block| entries.get(*block).is_some_and(|entry| entry.last_seq >= first_seq));
        Ok(Self { segment, blocks: blocks.into_iter() })
    }

    /// The number of the segment.
    pub(crate) const fn number(&self) -> u64 {
        self.segment.header().number
    }

    /// The sequence number of the first event after the segment.
    pub(crate) const fn end_seq(&self) -> u64 {
        self.segment.header().last_seq().saturating_add(1)
    }

    /// The sequence number of the first event of the segment.
    pub(crate) const fn first_seq(&self) -> u64 {
        self.segment.header().first_seq
    }

    /// The segment that is read.
    pub(crate) const fn segment(&self) -> &SealedSegment {
        &self.segment
    }

    /// The hash chain value after the last event; `None` where the trailer is damaged.
    pub(crate) fn end_chain(&self) -> Option<Chain> {
        self.segment.chain_after().ok()
    }

    /// The events of the next block; `None` at the end of the segment.
    ///
    /// # Errors
    /// When the block, or the last blocks of the segment, are damaged.
    pub(crate) fn next_batch(&mut self) -> Result<Option<EventBatch>, SealedError> {
        let Some(number) = self.blocks.next() else {
            return self.segment.missing()?.map_or(Ok(None), Err);
        };
        Ok(self.segment.block(number)?.map(EventBatch::from))
    }

    /// Checks that no block with an event before `end_seq` is missing because of damage. [`Self::next_batch_back`] does not
    /// check that.
    pub(crate) fn check_complete(&self, end_seq: u64) -> Result<(), SealedError> {
        match self.segment.missing()? {
            Some(SealedError::Missing { first_seq, .. }) if first_seq >= end_seq => Ok(()),
            missing => missing.map_or(Ok(()), Err),
        }
    }

    /// The events of the last block that was not read yet; `None` when all were read.
    pub(crate) fn next_batch_back(&mut self) -> Result<Option<EventBatch>, SealedError> {
        let Some(number) = self.blocks.next_back() else { return Ok(None) };
        Ok(self.segment.block(number)?.map(EventBatch::from))
    }
}
