//! The sources of events: the state of an open ledger for its owner, the journal for other processes.

use std::sync::Arc;

use crate::{dir::LedgerDir, shared_state::SharedState};

/// What is read from.
#[derive(Clone)]
pub(crate) enum Access {
    SharedState(Arc<SharedState>),
    /// The ledger's directory.
    Journal(Arc<LedgerDir>),
}

impl Access {
    /// The last acknowledged event. A reader of another process's journal does not know it, and reads every complete commit.
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
