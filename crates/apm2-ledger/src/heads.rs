//! Where the streams stand that were appended to lately, so that an append need not read them.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use apm2_model::{
    event::stream_id::StreamId,
    state::stream::{FollowUp, Stream},
};

/// Where a stream stands.
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

/// The heads that are held. What is not among them is read again when it is wanted.
pub(crate) struct Heads {
    held: HashMap<StreamId, StreamHead>,
    /// Those of them whose fold was not kept yet.
    changed: HashSet<StreamId>,
    max: usize,
    /// More than so many are many. Grows with what cannot be dropped, so that not each append looks at all of them.
    many: usize,
}

impl Heads {
    pub(crate) fn new(max: usize) -> Self {
        Self { held: HashMap::new(), changed: HashSet::new(), max, many: max }
    }

    /// Takes out a head, which is to be put back or advanced.
    pub(crate) fn take(&mut self, stream: StreamId) -> Option<StreamHead> {
        self.held.remove(&stream)
    }

    /// Holds a head that has not changed.
    pub(crate) fn put_back(&mut self, stream: StreamId, head: StreamHead) {
        self.held.insert(stream, head);
    }

    /// Holds a head that has events which are in no kept fold.
    pub(crate) fn advance(&mut self, stream: StreamId, head: StreamHead) {
        self.held.insert(stream, head);
        self.changed.insert(stream);
    }

    pub(crate) fn have_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    /// The folds that changed since they were last kept.
    pub(crate) fn changed_folds(&self) -> Vec<Arc<Stream>> {
        self.changed.iter().filter_map(|id| self.held.get(id)?.fold().cloned()).collect()
    }

    /// All folds are kept as they are.
    pub(crate) fn are_kept(&mut self) {
        self.changed.clear();
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.held.len()
    }

    pub(crate) fn are_many(&self) -> bool {
        self.held.len() > self.many
    }

    /// Lets go of all to which nothing is about to happen. Their folds have to be kept by then.
    pub(crate) fn drop_idle(&mut self) {
        self.held.retain(|id, head| id.is_system() || is_busy(head));
        self.held.shrink_to(self.max);
        self.many = self.max.max(self.held.len().saturating_mul(2));
    }
}

/// Whether more events are about to come: a run is not over, or another one is due.
fn is_busy(head: &StreamHead) -> bool {
    match head {
        StreamHead::Process(stream) => stream.is_open() || matches!(stream.follow_up, FollowUp::Restart { .. }),
        StreamHead::Counted(_) => false,
    }
}
