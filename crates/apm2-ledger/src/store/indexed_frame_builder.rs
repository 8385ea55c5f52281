//! Builds the frames of the store, with their index keys, from events.

use crate::{
    chain::Chain,
    frame::FrameBuilder,
    limits::FRAME_BYTES_MAX,
    store::index::{EventKeys, FrameKeys, IndexedFrame},
};

/// Builds consecutive frames from consecutive events.
pub(crate) struct IndexedFrameBuilder {
    builder: FrameBuilder,
    keys: FrameKeys,
}

impl IndexedFrameBuilder {
    pub(crate) fn new(first_seq: u64, chain: Chain) -> Self {
        Self { builder: FrameBuilder::new(first_seq, chain), keys: FrameKeys::default() }
    }

    pub(crate) fn next_seq(&self) -> u64 {
        self.builder.next_seq()
    }

    pub(crate) fn chain(&self) -> Chain {
        self.builder.chain()
    }

    /// Whether the builder holds no events: every added event is in a frame that was returned.
    pub(crate) fn is_empty(&self) -> bool {
        self.builder.is_empty()
    }

    /// Adds the next event. If the event does not fit into the current frame, returns that frame, and begins a new
    /// frame with the event.
    pub(crate) fn push(&mut self, event_bytes: &[u8], keys: &EventKeys) -> Option<IndexedFrame> {
        let fits = self.builder.body_len() + event_bytes.len() + size_of::<u32>() <= FRAME_BYTES_MAX;
        let full = if fits { None } else { self.finish() };
        self.builder.push(event_bytes);
        self.keys.add(self.builder.first_seq(), keys);
        full
    }

    /// Returns the remaining events as one frame; `None` if there are none.
    pub(crate) fn finish(&mut self) -> Option<IndexedFrame> {
        if self.builder.is_empty() {
            return None;
        }
        let next = FrameBuilder::new(self.builder.next_seq(), self.builder.chain());
        let builder = std::mem::replace(&mut self.builder, next);
        let (first_seq, last_seq, chain) = (builder.first_seq(), builder.next_seq() - 1, builder.chain());
        let index = std::mem::take(&mut self.keys).into_sorted();
        Some(IndexedFrame { first_seq, last_seq, chain, bytes: builder.finish(), index })
    }
}
