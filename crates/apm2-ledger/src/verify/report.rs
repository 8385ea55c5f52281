//! What a verification finds.

use std::fmt;

use uuid::Uuid;

use crate::head::Head;

/// Findings that are listed; more of them would tell no more.
pub const FINDINGS_MAX: usize = 1000;

/// What kind of thing is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FindingKind {
    /// Bytes are not what they were, or are missing.
    Damage,
    /// Events are whole, and are not those that the chain was made of.
    Chain,
    /// An event's bytes are whole and cannot be understood.
    Record,
    /// An event does not fit what came before it.
    Illegal,
    /// An invariant does not hold after an event.
    Invariant,
    /// The store says something else than the journal.
    Store,
}

impl FindingKind {
    /// Its name, in `snake_case`.
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

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What kind of thing.
    pub kind: FindingKind,
    /// The first event concerned.
    pub first_seq: u64,
    /// The last event concerned.
    pub last_seq: u64,
    /// What it is, for a person.
    pub message: String,
}

/// Whether the store was held against the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreCheck {
    /// It was.
    Done,
    /// It was not: another process has the ledger open, the journal is damaged, or the store cannot be used.
    Skipped,
}

/// What a verification found.
#[derive(Debug, Clone)]
pub struct VerifyReport {
    /// The size and hash of the ledger, as far as it could be followed.
    pub head: Head,
    /// Journal segments read.
    pub segments: u64,
    /// Events checked.
    pub events: u64,
    /// Process instances with a history.
    pub streams: u64,
    /// Where a last commit begins that was cut short by a crash and never acknowledged: the segment and the byte. The next
    /// opening cuts it off.
    pub torn: Option<(u64, u64)>,
    /// The ledger's id, where a segment says it.
    pub ledger: Option<Uuid>,
    /// Whether the store was compared.
    pub store: StoreCheck,
    /// Why it was not, or what the next opening will do about it.
    pub store_note: Option<String>,
    /// What is wrong; empty when nothing is.
    pub findings: Vec<Finding>,
}
