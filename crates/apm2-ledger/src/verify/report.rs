//! The report of a verification.

use std::fmt;

use uuid::Uuid;

use crate::{head::Head, read::archived::MissingArchive};

/// Limit of findings in a report. Further findings are left out.
pub const FINDINGS_MAX: usize = 1000;

/// The kind of a [`Finding`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FindingKind {
    /// Bytes of the journal were changed, or events are missing.
    Damage,
    /// Events have correct checksums, but do not match the hash chain: they were changed together with their checksum.
    Chain,
    /// An event has a correct checksum, but cannot be decoded.
    Record,
    /// An event is not allowed in the state that its stream has after the earlier events.
    Illegal,
    /// The state of a stream after an event violates an invariant.
    Invariant,
    /// The store differs from the journal.
    Store,
}

impl FindingKind {
    /// The name of the kind in `snake_case`, for output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Damage => "damage",
            Self::Chain => "chain",
            Self::Record => "record",
            Self::Illegal => "illegal",
            Self::Invariant => "invariant",
            Self::Store => "store",
        }
    }
}

impl fmt::Display for FindingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// One problem that a verification found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The kind of the problem.
    pub kind: FindingKind,
    /// The sequence number of the first event that is affected.
    pub first_seq: u64,
    /// The sequence number of the last event that is affected.
    pub last_seq: u64,
    /// A description of the problem for the user.
    pub message: String,
}

/// Whether a verification compared the store with the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreCheck {
    /// The store was compared with the journal.
    Done,
    /// The store was not compared: another process has the ledger open, the journal is damaged, or the store cannot be
    /// used.
    Skipped,
}

/// The result of a verification.
#[derive(Debug, Clone)]
pub struct VerifyReport {
    /// The size and the hash of the ledger after the last event that could be read.
    pub head: Head,
    /// Number of journal segments that were read.
    pub segments: u64,
    /// Number of events that were checked.
    pub events: u64,
    /// Number of process instances that have events.
    pub streams: u64,
    /// The segment number and the byte offset of a torn last commit: one whose write was interrupted by a crash, so
    /// that it was never acknowledged. The next opening of the ledger cuts it off.
    pub torn: Option<(u64, u64)>,
    /// The id of the ledger; `None` if no segment header could be read.
    pub ledger: Option<Uuid>,
    /// Whether the store was compared with the journal.
    pub store: StoreCheck,
    /// The reason why the store was not compared, and what the next opening of the ledger will do with the store.
    pub store_note: Option<String>,
    /// The archives that do not exist. Their events were not checked.
    pub missing_archives: Vec<MissingArchive>,
    /// The problems that were found, at most [`FINDINGS_MAX`]; empty for a sound ledger.
    pub findings: Vec<Finding>,
}
