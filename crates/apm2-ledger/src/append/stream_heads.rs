//! The heads of recently used streams, kept in memory so that an append need not read them.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use apm2_model::{
    event::stream_id::StreamId,
    state::stream::{FollowUp, Stream},
};

/// The state of a stream after its last event.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum StreamHead {
    /// A process, folded.
    Process(Arc<Stream>),
    /// The supervisor's own events, or a stream without events: only counted.
    Counted(u64),
}

impl StreamHead {
    pub(crate) fn version(&self) -> u64 {
        match self {
            Self::Process(stream) => stream.version,
            Self::Counted(version) => *version,
        }
    }

    /// The fold; `None` where events are only counted.
    pub(crate) const fn fold(&self) -> Option<&Arc<Stream>> {
        match self {
            Self::Process(stream) => Some(stream),
            Self::Counted(_) => None,
        }
    }
}

/// The heads in memory. Others are read when they are needed.
pub(crate) struct StreamHeads {
    held: HashMap<StreamId, StreamHead>,
    /// Those of them that have events without a snapshot.
    changed: HashSet<StreamId>,
    max: usize,
    /// Limit above which idle heads are dropped. It grows with the heads that cannot be dropped, so that not every append scans
    /// all of them.
    many: usize,
}

impl StreamHeads {
    pub(crate) fn new(max: usize) -> Self {
        Self { held: HashMap::new(), changed: HashSet::new(), max, many: max }
    }

    /// Removes a head, which the caller puts back or advances.
    pub(crate) fn take(&mut self, stream: StreamId) -> Option<StreamHead> {
        self.held.remove(&stream)
    }

    /// Puts an unchanged head back.
    pub(crate) fn put_back(&mut self, stream: StreamId, head: StreamHead) {
        self.held.insert(stream, head);
    }

    /// Puts a head with new events back.
    pub(crate) fn advance(&mut self, stream: StreamId, head: StreamHead) {
        self.held.insert(stream, head);
        self.changed.insert(stream);
    }

    pub(crate) fn have_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    /// The folds that have changed since the last snapshot.
    pub(crate) fn changed_folds(&self) -> Vec<Arc<Stream>> {
        self.changed.iter().filter_map(|id| self.held.get(id)?.fold().cloned()).collect()
    }

    /// Marks all folds as contained in a snapshot.
    pub(crate) fn mark_snapshotted(&mut self) {
        self.changed.clear();
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.held.len()
    }

    pub(crate) fn are_many(&self) -> bool {
        self.held.len() > self.many
    }

    /// Drops all idle heads. A snapshot has to contain their folds by then.
    pub(crate) fn drop_idle(&mut self) {
        self.held.retain(|id, head| id.is_system() || is_busy(head));
        self.held.shrink_to(self.max);
        self.many = self.max.max(self.held.len().saturating_mul(2));
    }
}

/// Whether more events are expected: a run is open, or a restart is due.
fn is_busy(head: &StreamHead) -> bool {
    match head {
        StreamHead::Process(stream) => stream.is_open() || matches!(stream.follow_up, FollowUp::Restart { .. }),
        StreamHead::Counted(_) => false,
    }
}
