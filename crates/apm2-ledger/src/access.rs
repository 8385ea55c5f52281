//! The ways to the events of a ledger: those of its owner, and those of everyone else.

use std::sync::Arc;

use crate::{dir::LedgerDir, live::Live};

/// What is read from.
#[derive(Clone)]
pub(crate) enum Access {
    Live(Arc<Live>),
    /// The ledger's directory.
    Journal(Arc<LedgerDir>),
}

impl Access {
    /// The last event that may be shown. Whoever reads another process's journal cannot tell, and sees all of it.
    pub(crate) fn visible(&self) -> u64 {
        match self {
            Self::Live(live) => live.head().size,
            Self::Journal(_) => u64::MAX,
        }
    }

    /// The directory of the ledger that is read.
    pub(crate) fn dir(&self) -> &Arc<LedgerDir> {
        match self {
            Self::Live(live) => &live.dir,
            Self::Journal(dir) => dir,
        }
    }
}
