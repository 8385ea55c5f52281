//! Packs events into frames of the store's size.

use crate::{
    chain::Chain,
    frame::{Frame, FrameBuilder},
    index::{self, IndexedFrame},
    limits::FRAME_BYTES_MAX,
    store::error::StoreError,
};

/// Frames that follow on one another, from a given event on.
pub(crate) struct Packer {
    builder: FrameBuilder,
}

impl Packer {
    pub(crate) fn new(first_seq: u64, chain: Chain) -> Self {
        Self { builder: FrameBuilder::new(first_seq, chain) }
    }

    pub(crate) fn next_seq(&self) -> u64 {
        self.builder.next_seq()
    }

    pub(crate) fn chain(&self) -> Chain {
        self.builder.chain()
    }

    /// Whether every event that was pushed is in a frame that was returned.
    pub(crate) fn is_empty(&self) -> bool {
        self.builder.is_empty()
    }

    /// Adds the next event. Returns a frame when the event would not have fitted into it.
    pub(crate) fn push(&mut self, event_bytes: &[u8]) -> Result<Option<IndexedFrame>, StoreError> {
        let fits = self.builder.body_len() + event_bytes.len() + size_of::<u32>() <= FRAME_BYTES_MAX;
        let full = if fits { None } else { self.finish()? };
        self.builder.push(event_bytes);
        Ok(full)
    }

    /// The events that are in no frame yet, as one.
    pub(crate) fn finish(&mut self) -> Result<Option<IndexedFrame>, StoreError> {
        if self.builder.is_empty() {
            return Ok(None);
        }
        let next = FrameBuilder::new(self.builder.next_seq(), self.builder.chain());
        let bytes = std::mem::replace(&mut self.builder, next).finish();
        let broken = |error: &dyn std::fmt::Display| StoreError::Inconsistent(format!("a frame just built: {error}"));
        let frame = Frame::parse(&bytes).map_err(|error| broken(&error))?;
        let index = index::keys(&frame, &bytes).map_err(|(_, error)| broken(&error))?;
        Ok(Some(IndexedFrame { header: *frame.header(), bytes, index }))
    }
}
