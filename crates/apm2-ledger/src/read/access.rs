//! The sources that events are read from: the store and the memory of an open ledger in its own process, the journal in
//! other processes.

use std::sync::Arc;

use apm2_model::event::stream_id::StreamId;

use crate::{
    dir::LedgerDir,
    error::ReadError,
    journal::{JOURNAL_DIR, base::Base, segments::base_error},
    shared_state::SharedState,
};

/// The source of a reader's events.
#[derive(Clone)]
pub(crate) enum Access {
    /// The store and the memory of a ledger that this process has open.
    SharedState(Arc<SharedState>),
    /// The journal in the directory of a ledger that another process may have open.
    Journal(Arc<LedgerDir>),
}

impl Access {
    /// The sequence number of the last event that may be returned: the last acknowledged event. It is unknown for the
    /// journal of another process, of which every complete commit is read; then this is `u64::MAX`.
    pub(crate) fn visible(&self) -> u64 {
        match self {
            Self::SharedState(shared) => shared.head().size,
            Self::Journal(_) => u64::MAX,
        }
    }

    /// The base of the journal; `None` when the journal begins with its first segment. It does not change while this process has
    /// the ledger open.
    pub(crate) fn base(&self) -> Result<Option<Arc<Base>>, ReadError> {
        match self {
            Self::SharedState(shared) => Ok(shared.base.clone()),
            Self::Journal(dir) => {
                let base = Base::read(&dir.at().join(JOURNAL_DIR)).map_err(|error| base_error(dir, error))?;
                Ok(base.map(Arc::new))
            }
        }
    }

    /// Whether an event of `stream` is in memory and may be missing from the store.
    pub(crate) fn is_unindexed(&self, stream: StreamId) -> bool {
        match self {
            Self::SharedState(shared) => shared.base.is_some() && shared.is_unindexed(stream),
            Self::Journal(_) => false,
        }
    }

    /// The directory of the ledger that is read.
    pub(crate) fn dir(&self) -> &Arc<LedgerDir> {
        match self {
            Self::SharedState(shared) => &shared.dir,
            Self::Journal(dir) => dir,
        }
    }
}
