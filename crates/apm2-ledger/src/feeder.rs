//! The thread that brings commits from the journal to the store, a moment after they were acknowledged.
//!
//! Commits that arrive together become one frame. When the store fails it is given up and the ledger goes on without:
//! the journal has everything, readers turn to it, and the next opening builds the store again.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::Duration,
};

use apm2_core::process::Stream;
use uuid::Uuid;

use crate::{
    limits::FLUSH_EVENTS,
    live::{Commit, Live},
    packer::Packer,
    store::{Store, StoreError},
};

/// Quiet after which the store writes out what it holds in memory.
const IDLE: Duration = Duration::from_millis(500);

/// What the writer sends.
pub(crate) enum Feed {
    /// An acknowledged commit.
    Commit(Arc<Commit>),
    /// The folds of the streams that changed, as they are after event `seq`.
    Snapshot { seq: u64, streams: Vec<Stream> },
}

pub(crate) struct Feeder {
    live: Arc<Live>,
    ledger: Uuid,
    packer: Packer,
    unflushed: u64,
}

impl Feeder {
    pub(crate) fn new(live: Arc<Live>, ledger: Uuid, packer: Packer) -> Self {
        Self { live, ledger, packer, unflushed: 0 }
    }

    /// Feeds until the writer is gone. Returns whether the store has everything.
    pub(crate) fn run(mut self, feeds: &Receiver<Feed>) -> bool {
        loop {
            let Some(store) = self.live.store() else { return drain(feeds) };
            let fed = match feeds.recv_timeout(IDLE) {
                Ok(feed) => self.feed(&store, std::iter::once(feed).chain(feeds.try_iter())),
                Err(RecvTimeoutError::Timeout) => self.flush(&store),
                Err(RecvTimeoutError::Disconnected) => return self.flush(&store).is_ok(),
            };
            if let Err(error) = fed {
                tracing::warn!(%error, "the store failed; it will be rebuilt when the ledger is next opened");
                drop(self.live.take_store());
            }
        }
    }

    fn feed(&mut self, store: &Store, feeds: impl Iterator<Item = Feed>) -> Result<(), StoreError> {
        for feed in feeds {
            match feed {
                Feed::Commit(commit) => {
                    for (_, event_bytes) in commit.frame.iter(&commit.bytes) {
                        if let Some(frame) = self.packer.push(event_bytes)? {
                            store.add(self.ledger, &frame)?;
                        }
                        self.unflushed += 1;
                    }
                }
                Feed::Snapshot { seq, streams } => {
                    self.add_rest(store)?;
                    store.keep_snapshot(seq, &streams)?;
                }
            }
        }
        self.add_rest(store)?;
        if self.unflushed >= FLUSH_EVENTS { self.flush(store) } else { Ok(()) }
    }

    fn add_rest(&mut self, store: &Store) -> Result<(), StoreError> {
        if let Some(frame) = self.packer.finish()? {
            store.add(self.ledger, &frame)?;
        }
        self.live.fed(self.packer.next_seq() - 1);
        Ok(())
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
