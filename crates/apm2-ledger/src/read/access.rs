//! The sources that events are read from: the store and the memory of an open ledger in its own process, the journal in
//! other processes.

use std::sync::Arc;

use apm2_model::event::stream_id::StreamId;

use crate::{
    dir::LedgerDir,
    error::ReadError,
    journal::{
        JOURNAL_DIR,
        base::Base,
        kept_segment::KeptSegment,
        reader::JournalReader,
        segments::{Segments, base_error},
    },
    read::query::EventQuery,
    shared_state::SharedState,
};

/// The source of a reader's events.
#[derive(Clone)]
pub(crate) enum Access {
    /// The store and the memory of a ledger that this process has open.
    SharedState {
        shared: Arc<SharedState>,
        /// The last segment of the journal, if the reader keeps it once it is read.
        kept: Option<KeptSegment>,
    },
    /// The journal in the directory of a ledger that another process may have open.
    Journal {
        dir: Arc<LedgerDir>,
        /// The last segment when the journal was opened.
        kept: Option<KeptSegment>,
    },
}

impl Access {
    /// The sequence number of the last event that may be returned: the last acknowledged event. It is unknown for the
    /// journal of another process, of which every complete commit is read; then this is `u64::MAX`.
    pub(crate) fn visible(&self) -> u64 {
        match self {
            Self::SharedState { shared, .. } => shared.head().size,
            Self::Journal { .. } => u64::MAX,
        }
    }

    /// The base of the journal; `None` when the journal begins with its first segment. It does not change while this process has
    /// the ledger open.
    pub(crate) fn base(&self) -> Result<Option<Arc<Base>>, ReadError> {
        match self {
            Self::SharedState { shared, .. } => Ok(shared.base.clone()),
            Self::Journal { dir, .. } => {
                let base = Base::read(&dir.at().join(JOURNAL_DIR)).map_err(|error| base_error(dir, error))?;
                Ok(base.map(Arc::new))
            }
        }
    }

    /// Whether an event of `stream` is in memory and may be missing from the store.
    pub(crate) fn is_unindexed(&self, stream: StreamId) -> bool {
        match self {
            Self::SharedState { shared, .. } => shared.base.is_some() && shared.is_unindexed(stream),
            Self::Journal { .. } => false,
        }
    }

    /// The directory of the ledger that is read.
    pub(crate) fn dir(&self) -> &Arc<LedgerDir> {
        match self {
            Self::SharedState { shared, .. } => &shared.dir,
            Self::Journal { dir, .. } => dir,
        }
    }

    /// This access to the journal, or access to the journal in the place of the store.
    pub(crate) fn of_journal(&self) -> Self {
        match self {
            Self::SharedState { shared, kept } => Self::Journal { dir: Arc::clone(&shared.dir), kept: kept.clone() },
            Self::Journal { .. } => self.clone(),
        }
    }

    /// The last segment of the journal as it was read earlier, or where it is to be kept.
    pub(crate) fn kept(&self) -> Option<KeptSegment> {
        match self {
            Self::SharedState { kept, .. } | Self::Journal { kept, .. } => kept.clone(),
        }
    }

    /// A reader of the journal, see [`JournalReader::of_query`].
    pub(crate) fn journal_reader(&self, seq: u64, query: EventQuery) -> Result<JournalReader, ReadError> {
        JournalReader::of_query(self.dir(), self.kept(), seq, query)
    }

    /// Like [`journal_reader`](Self::journal_reader), with the segments as they were listed.
    pub(crate) fn reader_of_segments(
        &self,
        segments: Segments,
        seq: u64,
        query: EventQuery,
    ) -> Result<JournalReader, ReadError> {
        JournalReader::of_segments(self.dir(), segments, self.kept(), seq, query)
    }
}
