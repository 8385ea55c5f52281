//! Reads the frames of the store, by event number and by the index of streams and minutes.

use std::sync::Arc;

use apm2_model::event::stream_id::StreamId;

use crate::{
    journal::event_batch::EventBatch,
    store::{error::StoreError, guard::guarded, key, sled_store::Store, stored_frame},
};

/// Iterates over the frames of the store in order, which is faster than looking up each frame by its key.
pub(crate) struct FrameScan {
    frames: sled::Iter,
    /// Keeps the store open and the ledger locked during the iteration.
    _store: Arc<Store>,
}

impl FrameScan {
    /// The next frame; `None` after the last frame that is in the store now.
    pub(crate) fn next(&mut self) -> Result<Option<EventBatch>, StoreError> {
        let next = guarded(|| Ok(self.frames.next().transpose()?))?;
        next.map(|(key, bytes)| stored_frame::parse(key::frame_seq(&key), &bytes)).transpose()
    }
}

impl Store {
    /// The last frame whose first event is at or before `seq`; `None` if there is none.
    pub(crate) fn frame_at(&self, seq: u64) -> Result<Option<EventBatch>, StoreError> {
        let range = key::frame(0)..=key::frame(seq);
        let last = guarded(|| Ok(self.db.range(range).next_back().transpose()?))?;
        last.map(|(key, bytes)| stored_frame::parse(key::frame_seq(&key), &bytes)).transpose()
    }

    /// Iterates over the frames whose first event is after `first_seq`, in order.
    pub(crate) fn frames_after(self: &Arc<Self>, first_seq: u64) -> FrameScan {
        let frames = self.db.range(key::frame(first_seq.saturating_add(1))..=key::frame(u64::MAX));
        FrameScan { frames, _store: Arc::clone(self) }
    }

    /// Finds the first window, from `window` on, that has an event of `stream`.
    pub(crate) fn stream_window_from(&self, stream: StreamId, window: u64) -> Result<Option<u64>, StoreError> {
        let range = key::stream(stream, window)..=key::stream(stream, u64::MAX);
        let first = guarded(|| Ok(self.db.range(range).next().transpose()?))?;
        Ok(first.and_then(|(key, _)| Some(key::parse_stream(&key)?.1)))
    }

    /// Finds the last window that has an event of `stream`.
    pub(crate) fn last_stream_window(&self, stream: StreamId) -> Result<Option<u64>, StoreError> {
        let range = key::stream(stream, 0)..=key::stream(stream, u64::MAX);
        let last = guarded(|| Ok(self.db.range(range).next_back().transpose()?))?;
        Ok(last.and_then(|(key, _)| Some(key::parse_stream(&key)?.1)))
    }

    /// Finds the frames that hold an event in one of the minutes from `first` to `last`, both included. Returns the
    /// sequence number of each frame's first event.
    pub(crate) fn frames_between(&self, first: u64, last: u64) -> Result<Vec<u64>, StoreError> {
        let range = key::minute(first, 0)..=key::minute(last, u64::MAX);
        guarded(|| {
            let keys = self.db.range(range).keys();
            keys.map(|key| Ok(key::minute_seq(&key?).unwrap_or(0))).collect()
        })
    }

    /// Calls `visit` for each frame of the store, in order. Stops at the first error.
    pub(crate) fn each_frame(
        &self,
        mut visit: impl FnMut(&EventBatch) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        guarded(|| {
            for entry in self.db.scan_prefix([key::FRAME]) {
                let (key, bytes) = entry?;
                visit(&stored_frame::parse(key::frame_seq(&key), &bytes)?)?;
            }
            Ok(())
        })
    }
}
