//! The last segment of the journal as it was read first, for all questions of a reader. Reading and checking it takes
//! milliseconds.

use std::sync::{Arc, OnceLock};

use crate::journal::plain_segment::PlainSegment;

/// The segment, once it was read, with its valid commits.
#[derive(Debug, Clone, Default)]
pub(crate) struct KeptSegment(Arc<OnceLock<PlainSegment>>);

impl KeptSegment {
    /// The segment, with the position before its first commit; `None` before one was kept.
    pub(crate) fn get(&self) -> Option<&PlainSegment> {
        self.0.get()
    }

    /// Remembers the valid commits of `segment`, and keeps it if none was kept yet.
    pub(crate) fn keep(&self, segment: PlainSegment) -> PlainSegment {
        let segment = segment.remembered().rewound();
        // Another thread may have kept one at the same time, which is as good.
        let _ = self.0.set(segment.clone());
        segment
    }
}

impl From<PlainSegment> for KeptSegment {
    fn from(segment: PlainSegment) -> Self {
        Self(Arc::new(OnceLock::from(segment)))
    }
}
