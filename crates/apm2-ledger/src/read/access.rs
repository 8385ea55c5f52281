//! The sources that events are read from: the store and the memory of an open ledger in its own process, the journal in
//! other processes.

use std::sync::Arc;

use crate::{dir::LedgerDir, shared_state::SharedState};

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

    /// The directory of the ledger that is read.
    pub(crate) fn dir(&self) -> &Arc<LedgerDir> {
        match self {
            Self::SharedState(shared) => &shared.dir,
            Self::Journal(dir) => dir,
        }
    }
}
