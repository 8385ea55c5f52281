//! Builds the frames of the store, with their index keys, from events.

use std::io;

use crate::{
    chain::Chain,
    journal::sealed::{
        block::{BlockBuilder, Slot},
        packing::Packer,
    },
    limits::FRAME_BYTES_MAX,
    store::{
        error::StoreError,
        index::{EventKeys, FrameKeys, IndexedFrame},
    },
};

/// Builds consecutive frames from consecutive events.
pub(crate) struct IndexedFrameBuilder {
    block: BlockBuilder,
    keys: FrameKeys,
    packer: Packer,
}

impl IndexedFrameBuilder {
    /// Creates a builder whose first frame begins with event `first_seq` and follows the hash chain value `chain`.
    ///
    /// # Errors
    /// When there is no memory for the compression.
    pub(crate) fn new(first_seq: u64, chain: Chain) -> io::Result<Self> {
        Ok(Self { block: BlockBuilder::new(first_seq, chain), keys: FrameKeys::default(), packer: Packer::new()? })
    }

    pub(crate) const fn next_seq(&self) -> u64 {
        self.block.next_seq()
    }

    pub(crate) const fn chain(&self) -> Chain {
        self.block.chain()
    }

    /// Adds the next event. If the event does not fit into the current frame, returns that frame, and begins a new
    /// frame with the event.
    pub(crate) fn push(&mut self, event_bytes: &[u8], keys: &EventKeys) -> Result<Option<IndexedFrame>, StoreError> {
        let slot = Slot::Event(event_bytes);
        let full = if self.block.fits(&slot, FRAME_BYTES_MAX) { None } else { self.finish()? };
        self.keys.add(self.block.first_seq(), self.block.next_seq(), keys);
        self.block.push(&slot)?;
        Ok(full)
    }

    /// Returns the remaining events as one frame; `None` if there are none.
    pub(crate) fn finish(&mut self) -> Result<Option<IndexedFrame>, StoreError> {
        if self.block.is_empty() {
            return Ok(None);
        }
        let next = BlockBuilder::new(self.block.next_seq(), self.block.chain());
        let block = std::mem::replace(&mut self.block, next);
        let (first_seq, last_seq, chain) = (block.first_seq(), block.next_seq() - 1, block.chain());
        let index = self.keys.take();
        let mut bytes = Vec::new();
        block.finish(&mut self.packer, &mut bytes)?;
        Ok(Some(IndexedFrame { first_seq, last_seq, chain, bytes, index }))
    }
}
