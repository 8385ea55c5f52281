//! The thread that brings commits from the journal to the store, a moment after they were acknowledged.
//!
//! Events are packed until a frame is full or nothing more has come for a moment; what is not in the store by then is
//! read from memory. When the store fails it is given up and the ledger goes on without:
//! the journal has everything, readers turn to it, and the next opening builds the store again.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use apm2_model::state::stream::Stream;
use uuid::Uuid;

use crate::{
    extent,
    index::IndexedFrame,
    limits::{EXTENT_EVENTS, EXTENT_INTERVAL, FLUSH_FRAMES},
    live::{Commit, Live},
    packer::Packer,
    store::{Store, error::StoreError},
};

/// Quiet after which a frame that is not full is added all the same.
const IDLE: Duration = Duration::from_millis(50);

/// What the writer sends.
pub(crate) enum Feed {
    /// An acknowledged commit.
    Commit(Arc<Commit>),
    /// The folds of the streams that changed, as they are after event `seq`.
    Snapshot { seq: u64, streams: Vec<Arc<Stream>> },
}

pub(crate) struct Feeder {
    live: Arc<Live>,
    ledger: Uuid,
    packer: Packer,
    unflushed: u64,
    /// The size in the last extent mark, and when that was written.
    marked: (u64, Instant),
}

impl Feeder {
    pub(crate) fn new(live: Arc<Live>, ledger: Uuid, packer: Packer) -> Self {
        let marked = (live.head().size, Instant::now());
        Self { live, ledger, packer, unflushed: 0, marked }
    }

    /// Feeds until the writer is gone. Returns whether the store has everything.
    pub(crate) fn run(mut self, feeds: &Receiver<Feed>) -> bool {
        loop {
            let Some(store) = self.live.store() else { return drain(feeds) };
            let fed = match self.next(feeds) {
                Ok(feed) => self.feed(&store, std::iter::once(feed).chain(feeds.try_iter())),
                Err(RecvTimeoutError::Timeout) => self.add_rest(&store).and_then(|()| self.flush(&store)),
                Err(RecvTimeoutError::Disconnected) => {
                    return self.add_rest(&store).and_then(|()| self.flush(&store)).is_ok();
                }
            };
            if let Err(error) = fed {
                tracing::warn!(%error, "the store failed; it will be rebuilt when the ledger is next opened");
                drop(self.live.take_store());
            }
            self.mark_extent();
        }
    }

    /// Writes the extent mark where it is due.
    fn mark_extent(&mut self) {
        let (head, (marked, since)) = (self.live.head(), self.marked);
        let unmarked = head.size.saturating_sub(marked);
        if unmarked >= EXTENT_EVENTS || (unmarked > 0 && since.elapsed() >= EXTENT_INTERVAL) {
            extent::write(self.live.dir.at(), self.ledger, head);
            self.marked = (head.size, Instant::now());
        }
    }

    /// What comes next. Waits without a limit where nothing is left to do: an idle ledger wakes nobody.
    fn next(&self, feeds: &Receiver<Feed>) -> Result<Feed, RecvTimeoutError> {
        if !self.packer.is_empty() || self.unflushed > 0 {
            return feeds.recv_timeout(IDLE);
        }
        let (marked, since) = self.marked;
        if self.live.head().size > marked {
            return feeds.recv_timeout(EXTENT_INTERVAL.saturating_sub(since.elapsed()));
        }
        feeds.recv().map_err(RecvTimeoutError::from)
    }

    /// Brings the store as far as these take it, but for a frame that is not full.
    pub(crate) fn feed(&mut self, store: &Store, feeds: impl Iterator<Item = Feed>) -> Result<(), StoreError> {
        for feed in feeds {
            match feed {
                Feed::Commit(commit) => {
                    for ((_, event_bytes), keys) in commit.frame.iter(&commit.bytes).zip(&commit.keys) {
                        if let Some(frame) = self.packer.push(event_bytes, keys) {
                            self.add(store, &frame)?;
                        }
                    }
                }
                Feed::Snapshot { seq, streams } => {
                    self.add_rest(store)?;
                    store.keep_snapshot(seq, &streams)?;
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, store: &Store, frame: &IndexedFrame) -> Result<(), StoreError> {
        store.add(self.ledger, frame)?;
        self.unflushed += 1;
        self.live.fed(frame.last_seq);
        if self.unflushed >= FLUSH_FRAMES { self.flush(store) } else { Ok(()) }
    }

    /// Adds the frame that is not full.
    pub(crate) fn add_rest(&mut self, store: &Store) -> Result<(), StoreError> {
        match self.packer.finish() {
            Some(frame) => self.add(store, &frame),
            None => Ok(()),
        }
    }

    fn flush(&mut self, store: &Store) -> Result<(), StoreError> {
        if std::mem::take(&mut self.unflushed) > 0 { store.flush() } else { Ok(()) }
    }
}

/// Without a store there is nothing to feed; the writer must not wait for it.
fn drain(feeds: &Receiver<Feed>) -> bool {
    feeds.iter().for_each(drop);
    false
}
