//! What can go wrong with a ledger, one type for each operation.

use std::{io, path::PathBuf};

use apm2_model::{event::stream_id::StreamId, id_query::UnclearId, state::stream::IllegalEvent};

use uuid::Uuid;

use crate::{frame::FrameError, record::RecordError, store::error::StoreError};

/// Damage in the journal: bytes that were written once and are not what they were.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("events {first_seq} to {last_seq} are damaged, in segment {segment} of the journal at byte {offset}: {what}")]
pub struct Damage {
    /// The first event concerned.
    pub first_seq: u64,
    /// The last event concerned, or the same where it cannot be known.
    pub last_seq: u64,
    /// The journal segment.
    pub segment: u64,
    /// Where in it the damage begins, in bytes.
    pub offset: u64,
    /// What is wrong.
    pub what: String,
}

/// Why a ledger cannot be opened. Nothing was changed that a later opening would miss.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is none, and none was to be made.
    #[error("there is no ledger in {}", path.display())]
    Missing {
        /// Its directory.
        path: PathBuf,
    },
    /// Another process owns it.
    #[error("the ledger in {} is in use{}", path.display(), owner.map(|pid| format!(" by process {pid}")).unwrap_or_default())]
    Locked {
        /// Its directory.
        path: PathBuf,
        /// Who, where that is known.
        owner: Option<u32>,
    },
    /// Its path came to name another directory, or none, while its lock was waited for.
    #[error("the ledger in {} was moved or removed while its lock was waited for", path.display())]
    Moved {
        /// Its directory.
        path: PathBuf,
    },
    /// The journal of a ledger that is opened again is gone. No other ledger is made in its place.
    #[error(
        "the journal of the ledger in {} was removed while the ledger was open, with its {size} events; no other ledger is made there",
        path.display()
    )]
    JournalGone {
        /// The directory of the ledger.
        path: PathBuf,
        /// The last event that was acknowledged.
        size: u64,
    },
    /// A ledger that is opened again is another one than before.
    #[error("the ledger in {} is another one: its id is {found}, and the ledger that was open has the id {expected}", path.display())]
    OtherLedger {
        /// The directory of the ledger.
        path: PathBuf,
        /// The id of the ledger that was open.
        expected: Uuid,
        /// The id of the ledger that is there now.
        found: Uuid,
    },
    /// Its directory is not one that a ledger may be kept in.
    #[error("{} cannot hold a ledger: {why}", path.display())]
    Unsafe {
        /// The directory.
        path: PathBuf,
        /// Why.
        why: &'static str,
    },
    /// It was written by a newer version of this program.
    #[error("the ledger in {} has format {found}, newer than the {known} that this program knows", path.display())]
    Newer {
        /// Its directory.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest format known here.
        known: u32,
    },
    /// The journal is damaged where it had been acknowledged.
    #[error(transparent)]
    Damaged(#[from] Damage),
    /// The store holds acknowledged events that the journal has lost, or the ledger held them when it was last closed.
    #[error(
        "the journal ends at event {journal}, and the ledger held events up to {store}: acknowledged events are missing from the journal"
    )]
    JournalShort {
        /// The last event of the journal.
        journal: u64,
        /// The last event that the ledger is known to have held.
        store: u64,
    },
    /// The journal and the store are both whole, of the same ledger, and tell different histories. No crash does that.
    #[error(
        "the journal and the store are both whole and differ from event {seq} on: one of them was edited or exchanged"
    )]
    Diverged {
        /// The first event that differs.
        seq: u64,
    },
    /// The store could not be used, nor rebuilt.
    #[error("the store beside the journal cannot be rebuilt")]
    Store(#[from] StoreError),
    /// The operating system said no.
    #[error("{}", path.display())]
    Io {
        /// What it was about.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

impl OpenError {
    /// Whether the record itself is broken, rather than out of reach.
    #[must_use]
    pub const fn is_integrity(&self) -> bool {
        matches!(self, Self::Damaged(_) | Self::JournalShort { .. } | Self::JournalGone { .. } | Self::Diverged { .. })
    }

    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}

/// Why events were not appended. Unless it says otherwise, nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The stream is not at the expected version: another caller has appended first.
    #[error("stream {}/{} is at version {actual}, not {expected}", stream.process_id, stream.instance)]
    Conflict {
        /// The stream.
        stream: StreamId,
        /// What the caller expected.
        expected: u64,
        /// Where it is.
        actual: u64,
    },
    /// An event does not fit what came before it.
    #[error("event {kind} refused: {source}")]
    Illegal {
        /// The event.
        kind: &'static str,
        /// Why.
        source: IllegalEvent,
    },
    /// After these events an invariant of the specification would be broken.
    #[error("these events would break {0}")]
    Invariant(&'static str),
    /// No events, too many, of several streams, or system events in a process's stream.
    #[error("not one append: {0}")]
    Shape(&'static str),
    /// An event cannot be recorded, for its size.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The earlier events of the stream could not be read.
    #[error("the history of the stream cannot be read")]
    History(#[source] Box<ReadError>),
    /// New starts are refused while the disk is nearly full; exits are still recorded.
    #[error("only {free_bytes} bytes are free for the ledger; no new start is recorded below {min_bytes}")]
    DiskLow {
        /// Free space, in bytes.
        free_bytes: u64,
        /// The low-water mark, in bytes.
        min_bytes: u64,
    },
    /// A write or sync failed, now or before: what is on the disk is not known until the ledger is opened again.
    #[error("the ledger is {0}")]
    Poisoned(String),
    /// The ledger was closed.
    #[error("the ledger is closed")]
    Closed,
}

/// Why events could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The journal is damaged here.
    #[error(transparent)]
    Damaged(#[from] Damage),
    /// A frame of the store is damaged.
    #[error("the frame at event {seq} is damaged")]
    Frame {
        /// The event that was looked for.
        seq: u64,
        /// What is wrong.
        source: FrameError,
    },
    /// Event `seq` is nowhere, although later ones are.
    #[error("event {seq} is missing")]
    Gap {
        /// The missing event.
        seq: u64,
    },
    /// An event's bytes are whole and cannot be understood.
    #[error("event {seq} cannot be read")]
    Record {
        /// The event.
        seq: u64,
        /// Why.
        source: RecordError,
    },
    /// An event does not fit what came before it.
    #[error("event {seq} is not legal where it stands")]
    Illegal {
        /// The event.
        seq: u64,
        /// Why.
        source: IllegalEvent,
    },
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The operating system said no.
    #[error("{}", path.display())]
    Io {
        /// What it was about.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

impl ReadError {
    /// Whether the record itself is broken, rather than out of reach.
    #[must_use]
    pub const fn is_integrity(&self) -> bool {
        matches!(
            self,
            Self::Damaged(_) | Self::Frame { .. } | Self::Gap { .. } | Self::Record { .. } | Self::Illegal { .. }
        )
    }
}

/// Why a process was not found.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// It means none, or several.
    #[error(transparent)]
    Unclear(#[from] UnclearId),
    /// The ledger could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}
