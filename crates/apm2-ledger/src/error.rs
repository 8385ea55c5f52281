//! Error types of the ledger, one for each operation.

use std::{io, path::PathBuf};

use apm2_model::{event::stream_id::StreamId, id_query::UnclearId, state::stream::IllegalEvent};

use uuid::Uuid;

use crate::{record::RecordError, store::error::StoreError};

/// Damage in the journal: bytes that differ from the bytes that were written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("events {first_seq} to {last_seq} are damaged, in segment {segment} of the journal at byte {offset}: {what}")]
pub struct Damage {
    /// Sequence number of the first damaged event.
    pub first_seq: u64,
    /// Sequence number of the last damaged event. Equal to `first_seq` when the last one is not known.
    pub last_seq: u64,
    /// Number of the damaged journal segment.
    pub segment: u64,
    /// Byte offset in the segment at which the damage begins.
    pub offset: u64,
    /// Description of the damage.
    pub what: String,
}

/// Error from opening a ledger. A failed opening changes nothing that a later opening needs.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory contains no ledger, and the caller did not ask to create one.
    #[error("there is no ledger in {}", path.display())]
    Missing {
        /// Directory of the ledger.
        path: PathBuf,
    },
    /// Another process has the ledger open.
    #[error("the ledger in {} is in use{}", path.display(), owner.map(|pid| format!(" by process {pid}")).unwrap_or_default())]
    Locked {
        /// Directory of the ledger.
        path: PathBuf,
        /// PID of the other process, if it is known.
        owner: Option<u32>,
    },
    /// While the lock was waited for, the path of the ledger directory was removed or came to refer to another
    /// directory.
    #[error("the ledger in {} was moved or removed while its lock was waited for", path.display())]
    Moved {
        /// Directory of the ledger.
        path: PathBuf,
    },
    /// A ledger is opened again, and its journal is gone. No new ledger is created in its place.
    #[error(
        "the journal of the ledger in {} was removed while the ledger was open, with its {size} events; no new ledger is created there",
        path.display()
    )]
    JournalGone {
        /// Directory of the ledger.
        path: PathBuf,
        /// Sequence number of the last acknowledged event.
        size: u64,
    },
    /// A ledger is opened again, and the directory now contains another ledger.
    #[error("the ledger in {} was replaced: its id is {found}, and the ledger that was open before has the id {expected}", path.display())]
    OtherLedger {
        /// Directory of the ledger.
        path: PathBuf,
        /// ID of the ledger that was open before.
        expected: Uuid,
        /// ID of the ledger that the directory contains now.
        found: Uuid,
    },
    /// The directory cannot be used for a ledger, for example because of its owner or its mode.
    #[error("{} cannot hold a ledger: {why}", path.display())]
    Unsafe {
        /// The directory that was rejected.
        path: PathBuf,
        /// Reason for the rejection.
        why: &'static str,
    },
    /// The directory holds a backup of a ledger, which is not opened for appending.
    #[error("{} holds a backup of a ledger, to which no events are appended", path.display())]
    Backup {
        /// The directory of the backup.
        path: PathBuf,
    },
    /// The ledger was written by a newer version of this program.
    #[error("the ledger in {} has format {found}, newer than the {known} that this program knows", path.display())]
    Newer {
        /// Directory of the ledger.
        path: PathBuf,
        /// Format version of the ledger.
        found: u32,
        /// Newest format version that this program reads.
        known: u32,
    },
    /// The journal is damaged in a part that had been acknowledged.
    #[error(transparent)]
    Damaged(#[from] Damage),
    /// Acknowledged events are missing at the end of the journal. The store, or a file that records how many events the
    /// ledger contained, shows that there were more events.
    #[error(
        "the journal ends at event {journal}, and the ledger held events up to {store}: acknowledged events are missing from the journal"
    )]
    JournalShort {
        /// Sequence number of the last event in the journal.
        journal: u64,
        /// Sequence number of the last event that the ledger is known to have contained.
        store: u64,
    },
    /// The journal and the store are each valid and belong to the same ledger, but contain different events. A crash
    /// cannot cause this.
    #[error(
        "the journal and the store are both undamaged but differ from event {seq} on: one of them was edited or replaced"
    )]
    Diverged {
        /// Sequence number of the first event that differs.
        seq: u64,
    },
    /// The store cannot be used, and rebuilding it failed.
    #[error("the store cannot be rebuilt from the journal")]
    Store(#[from] StoreError),
    /// I/O error on `path`.
    #[error("{}", path.display())]
    Io {
        /// The file or directory of the failed operation.
        path: PathBuf,
        /// The I/O error.
        source: io::Error,
    },
}

impl OpenError {
    /// Whether the error shows damaged or missing data, and not only a ledger that cannot be accessed.
    #[must_use]
    pub const fn is_integrity(&self) -> bool {
        matches!(self, Self::Damaged(_) | Self::JournalShort { .. } | Self::JournalGone { .. } | Self::Diverged { .. })
    }

    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}

/// Error from appending events. Nothing was written, unless the description of the variant says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The stream is not at the expected version: another caller has appended first.
    #[error("stream {}/{} is at version {actual}, not {expected}", stream.process_id, stream.instance)]
    Conflict {
        /// The stream of the append.
        stream: StreamId,
        /// Stream version that the caller expected.
        expected: u64,
        /// Version that the stream has.
        actual: u64,
    },
    /// An event is not valid after the earlier events of its stream.
    #[error("event {kind} refused: {source}")]
    Illegal {
        /// Name of the event kind.
        kind: &'static str,
        /// Reason why the event is not valid.
        source: IllegalEvent,
    },
    /// The stream state after these events would violate an invariant. Contains the name of the invariant, as in
    /// `docs/lifecycle.md`.
    #[error("these events would violate the invariant {0}")]
    Invariant(&'static str),
    /// The append has no events, too many events, events of several streams, or a system event outside of the
    /// supervisor's stream.
    #[error("invalid append: {0}")]
    Shape(&'static str),
    /// The stream is in an archive: its process ended long ago, and its id is not used again.
    #[error("the history of stream {}/{} is in an archive, so that no event can be added to it", stream.process_id, stream.instance)]
    Retained {
        /// The stream of the append.
        stream: StreamId,
    },
    /// An event cannot be encoded, for example because it is too large.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The earlier events of the stream cannot be read.
    #[error("the history of the stream cannot be read")]
    History(#[source] Box<ReadError>),
    /// The disk is nearly full. Start requests are refused, but exits are still recorded.
    #[error("only {free_bytes} bytes are free for the ledger; no new start is recorded below {min_bytes}")]
    DiskLow {
        /// Free space for the ledger, in bytes.
        free_bytes: u64,
        /// Free space below which start requests are refused, in bytes.
        min_bytes: u64,
    },
    /// A write or a sync has failed, in this append or an earlier one. The ledger must be opened again to find out
    /// whether the events of the append are on the disk.
    #[error("the ledger is {0}")]
    Poisoned(String),
    /// The ledger was closed.
    #[error("the ledger is closed")]
    Closed,
}

/// Error from reading events.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The journal is damaged at the position that was read.
    #[error(transparent)]
    Damaged(#[from] Damage),
    /// An event is missing, although later events exist.
    #[error("event {seq} is missing")]
    Gap {
        /// Sequence number of the missing event.
        seq: u64,
    },
    /// An archive with events that are needed was moved away or removed. The other events can be read.
    #[error("events {first_seq} to {last_seq} are in the archive {}, which is missing", path.display())]
    ArchiveMissing {
        /// The file of the archive.
        path: PathBuf,
        /// Sequence number of its first event.
        first_seq: u64,
        /// Sequence number of its last event.
        last_seq: u64,
    },
    /// The bytes of an event are undamaged, but cannot be decoded.
    #[error("event {seq} cannot be read")]
    Record {
        /// Sequence number of the event.
        seq: u64,
        /// The decoding error.
        source: RecordError,
    },
    /// An event is not valid after the earlier events of its stream.
    #[error("event {seq} is not valid after the earlier events of its stream")]
    Illegal {
        /// Sequence number of the event.
        seq: u64,
        /// Reason why the event is not valid.
        source: IllegalEvent,
    },
    /// The store reported an error.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The caller has cancelled the reading, see [`Cancel`](crate::Cancel).
    #[error("the reading was cancelled")]
    Cancelled,
    /// I/O error on `path`.
    #[error("{}", path.display())]
    Io {
        /// The file or directory of the failed operation.
        path: PathBuf,
        /// The I/O error.
        source: io::Error,
    },
}

impl ReadError {
    /// Whether the error shows damaged or missing data, and not only data that cannot be accessed.
    #[must_use]
    pub const fn is_integrity(&self) -> bool {
        matches!(self, Self::Damaged(_) | Self::Gap { .. } | Self::Record { .. } | Self::Illegal { .. })
    }
}

/// Error from finding a process by its name or by a prefix of its ID.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// The text matches no process, or several processes.
    #[error(transparent)]
    Unclear(#[from] UnclearId),
    /// The ledger could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}
