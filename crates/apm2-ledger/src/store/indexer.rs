//! The indexing thread, which adds acknowledged commits to the store.
//!
//! The thread collects events until a frame is full, a snapshot is written or the ledger is closed. Until a frame is
//! added to the store, readers find its events in memory. After a crash, the next opening of the ledger adds the events
//! that the store lacks. When the store fails, the ledger continues without a
//! store: readers read the journal, which is complete, and the next opening of the ledger rebuilds the store.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::Instant,
};

use apm2_model::state::stream::Stream;
use uuid::Uuid;

use crate::{
    limits::{EXTENT_EVENTS, EXTENT_INTERVAL, EXTENT_PAUSE, FLUSH_FRAMES},
    recovery::extent,
    shared_state::{Commit, SharedState},
    store::{error::StoreError, index::IndexedFrame, indexed_frame_builder::IndexedFrameBuilder, sled_store::Store},
};

/// A message from the committing thread to the indexing thread.
pub(crate) enum IndexerMessage {
    /// Acknowledged commits, in order, to be added to the store.
    Commits(Vec<Arc<Commit>>),
    /// The states of changed streams after event `seq`, to be written to the store as snapshots.
    Snapshot { seq: u64, streams: Vec<Arc<Stream>> },
}

pub(crate) struct StoreIndexer {
    shared: Arc<SharedState>,
    ledger: Uuid,
    frame_builder: IndexedFrameBuilder,
    unflushed: u64,
    /// The number of events in the extent mark that was written last, and when it was written.
    marked: (u64, Instant),
}

impl StoreIndexer {
    pub(crate) fn new(shared: Arc<SharedState>, ledger: Uuid, frame_builder: IndexedFrameBuilder) -> Self {
        let marked = (shared.head().size, Instant::now());
        Self { shared, ledger, frame_builder, unflushed: 0, marked }
    }

    /// Receives messages until the sender is dropped. Returns whether the store holds all events.
    pub(crate) fn run(mut self, messages: &Receiver<IndexerMessage>) -> bool {
        loop {
            let Some(store) = self.shared.store() else { return drain(messages) };
            let indexed = match self.next(messages) {
                Ok(message) => self.index(&store, message),
                Err(RecvTimeoutError::Timeout) => Ok(()),
                Err(RecvTimeoutError::Disconnected) => {
                    return self.add_rest(&store).and_then(|()| self.flush(&store)).is_ok();
                }
            };
            if let Err(error) = indexed {
                tracing::warn!(%error, "the store failed; it will be rebuilt when the ledger is next opened");
                drop(self.shared.take_store());
            }
            self.mark_extent();
        }
    }

    /// Writes the extent mark, which holds the number of events in the ledger, if `EXTENT_EVENTS` events were appended and
    /// `EXTENT_PAUSE` has passed since the last one, or `EXTENT_INTERVAL` has passed.
    fn mark_extent(&mut self) {
        let (marked, since) = self.marked;
        let unmarked = self.shared.head().size.saturating_sub(marked);
        let pause = if unmarked >= EXTENT_EVENTS { EXTENT_PAUSE } else { EXTENT_INTERVAL };
        if unmarked > 0 && since.elapsed() >= pause {
            // The request is made before the head is read, so that the commit after this head causes a message.
            self.shared.request_signal();
            let head = self.shared.head();
            extent::write(self.shared.dir.at(), self.ledger, head);
            self.marked = (head.size, Instant::now());
        }
    }

    /// Receives the next message. Waits without a timeout if the extent mark includes all events, so that the thread of
    /// an idle ledger does not wake up.
    fn next(&self, messages: &Receiver<IndexerMessage>) -> Result<IndexerMessage, RecvTimeoutError> {
        let (marked, since) = self.marked;
        if self.shared.head().size > marked {
            return messages.recv_timeout(EXTENT_INTERVAL.saturating_sub(since.elapsed()));
        }
        messages.recv().map_err(RecvTimeoutError::from)
    }

    /// Adds the events or the snapshots of a message to the store. The last events stay in the frame builder until their
    /// frame is full or [`add_rest`](Self::add_rest) is called.
    pub(crate) fn index(&mut self, store: &Store, message: IndexerMessage) -> Result<(), StoreError> {
        match message {
            IndexerMessage::Commits(commits) => commits.iter().try_for_each(|commit| self.index_commit(store, commit)),
            IndexerMessage::Snapshot { seq, streams } => {
                self.add_rest(store)?;
                store.write_snapshot(seq, &streams)
            }
        }
    }

    fn index_commit(&mut self, store: &Store, commit: &Commit) -> Result<(), StoreError> {
        for ((_, event_bytes), keys) in commit.frame.iter(&commit.bytes).zip(&commit.keys) {
            if let Some(frame) = self.frame_builder.push(event_bytes, keys)? {
                self.add(store, &frame)?;
            }
        }
        Ok(())
    }

    fn add(&mut self, store: &Store, frame: &IndexedFrame) -> Result<(), StoreError> {
        store.add(self.ledger, frame)?;
        self.unflushed += 1;
        self.shared.drop_indexed(frame.last_seq);
        if self.unflushed >= FLUSH_FRAMES { self.flush(store) } else { Ok(()) }
    }

    /// Adds the events in the frame builder to the store, as a frame that is not full.
    pub(crate) fn add_rest(&mut self, store: &Store) -> Result<(), StoreError> {
        match self.frame_builder.finish()? {
            Some(frame) => self.add(store, &frame),
            None => Ok(()),
        }
    }

    fn flush(&mut self, store: &Store) -> Result<(), StoreError> {
        if std::mem::take(&mut self.unflushed) > 0 { store.flush() } else { Ok(()) }
    }
}

/// Receives and discards messages after the store has failed, so that the sender does not block on a full queue.
/// Returns false: the store is not complete.
fn drain(messages: &Receiver<IndexerMessage>) -> bool {
    messages.iter().for_each(drop);
    false
}
