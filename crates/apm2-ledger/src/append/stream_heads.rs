//! In-memory cache of stream heads. The head of a stream is its state after its last event. An append to a cached
//! stream does not have to read the state from the store.

use std::{collections::HashSet, sync::Arc};

use apm2_model::{
    event::stream_id::StreamId,
    state::stream::{FollowUp, Stream},
};

use crate::stream_map::StreamMap;

/// The state of a stream after its last event.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum StreamHead {
    /// The state of a process instance, computed from its events.
    Process(Arc<Stream>),
    /// The event count of the supervisor's stream, or 0 for a stream without events. Such a stream has no other state.
    EventCount(u64),
}

impl StreamHead {
    pub(crate) fn version(&self) -> u64 {
        match self {
            Self::Process(stream) => stream.version,
            Self::EventCount(version) => *version,
        }
    }

    /// The state of a process instance. `None` for a stream that has only an event count.
    pub(crate) const fn state(&self) -> Option<&Arc<Stream>> {
        match self {
            Self::Process(stream) => Some(stream),
            Self::EventCount(_) => None,
        }
    }
}

/// The cached stream states. The state of any other stream is read when it is needed.
pub(crate) struct StreamHeads {
    heads: StreamMap<StreamHead>,
    /// The cached streams that have events since their last snapshot.
    changed: HashSet<StreamId>,
    max: usize,
    /// Number of entries above which the entries of idle streams are dropped. The limit grows with the number of busy
    /// streams, so that not every append scans the whole cache.
    drop_above: usize,
}

impl StreamHeads {
    pub(crate) fn new(max: usize) -> Self {
        Self { heads: StreamMap::default(), changed: HashSet::new(), max, drop_above: max }
    }

    /// Removes the entry of `stream`. The caller inserts it again with [`put_back`](Self::put_back) or
    /// [`advance`](Self::advance).
    pub(crate) fn take(&mut self, stream: StreamId) -> Option<StreamHead> {
        self.heads.remove(&stream)
    }

    /// Inserts the entry of a stream that has no new events.
    pub(crate) fn put_back(&mut self, stream: StreamId, head: StreamHead) {
        self.heads.insert(stream, head);
    }

    /// Inserts the entry of a stream that has new events.
    pub(crate) fn advance(&mut self, stream: StreamId, head: StreamHead) {
        self.heads.insert(stream, head);
        self.changed.insert(stream);
    }

    pub(crate) fn have_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    /// The states of the streams that changed since the last snapshot.
    pub(crate) fn changed_states(&self) -> Vec<Arc<Stream>> {
        self.changed.iter().filter_map(|id| self.heads.get(id)?.state().cloned()).collect()
    }

    /// Records that a snapshot contains the states of all cached streams.
    pub(crate) fn mark_snapshotted(&mut self) {
        self.changed.clear();
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.heads.len()
    }

    pub(crate) fn are_too_many(&self) -> bool {
        self.heads.len() > self.drop_above
    }

    /// Drops the entries of all idle streams. The caller must have written a snapshot of their states before.
    pub(crate) fn drop_idle(&mut self) {
        self.heads.retain(|id, head| id.is_system() || is_busy(head));
        self.heads.shrink_to(self.max);
        self.drop_above = self.max.max(self.heads.len().saturating_mul(2));
    }
}

/// Whether more events of the stream are expected soon: a run has not ended, or a restart is scheduled.
fn is_busy(head: &StreamHead) -> bool {
    match head {
        StreamHead::Process(stream) => stream.is_open() || matches!(stream.follow_up, FollowUp::Restart { .. }),
        StreamHead::EventCount(_) => false,
    }
}
