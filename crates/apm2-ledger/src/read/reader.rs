//! [`Reader`]: reads the events and stream states of a ledger.

use std::{fmt, ops::ControlFlow, path::Path, sync::Arc};

use apm2_model::event::stream_id::StreamId;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::{
    backup::head_file::BackupHead,
    dir::{LedgerDir, without_journal},
    error::{OpenError, ReadError},
    head::Head,
    journal::{
        JOURNAL_DIR,
        base::{Base, BaseError},
        kept_segment::KeptSegment,
        plain_segment::PlainSegment,
        reader::{JournalReader, header_damage},
        segment::{FORMAT_VERSION, SegmentError},
        segment_file::segment_files,
        segments::base_damage,
    },
    read::{access::Access, cancel::Cancel, events::Events, query::EventQuery},
    recovery::extent,
    shared_state::SharedState,
    store::{clean_shutdown, key, sled_store::Store},
};

/// The source that a [`Reader`] reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The store, in the process that has the ledger open.
    Store,
    /// The journal, without a lock.
    Journal,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Store => "store",
            Self::Journal => "journal",
        })
    }
}

/// Reads a ledger. Clones are cheap.
///
/// In the process that has the ledger open, a reader returns every acknowledged event and no others. In another
/// process, a reader reads the journal, and may return the events of a commit shortly before they are acknowledged. It holds
/// the last segment in memory, as it was when the journal was opened ([`SEGMENT_BYTES`](crate::limits::SEGMENT_BYTES)).
#[derive(Clone)]
pub struct Reader {
    access: Access,
    head: Option<Head>,
    /// Whether the journal ends at `head` without damage.
    is_whole: bool,
    /// The number of events that the ledger held before its journal was read, by its clean-shutdown mark, its extent mark and
    /// the file of a backup.
    known_size: u64,
    cancel: Option<Cancel>,
}

impl Reader {
    /// Opens the journal of the ledger in `dir` for reading. Creates, writes, locks and repairs nothing.
    ///
    /// # Errors
    /// When there is no ledger, or the ledger has a newer format or cannot be read. A damaged journal is not an error
    /// here; its events can be read up to the damage.
    pub fn open(dir: &Path) -> Result<Self, OpenError> {
        crate::dir::prepare(dir, false)?;
        Self::of_journal(Arc::new(LedgerDir::open(dir)?))
    }

    /// Opens the journal in the open directory `dir` for reading, as [`open`](Self::open) does.
    pub(crate) fn of_journal(dir: Arc<LedgerDir>) -> Result<Self, OpenError> {
        let journal = dir.at().join(JOURNAL_DIR);
        if let Err(error @ (BaseError::Damaged(_) | BaseError::Newer(_))) = Base::read(&journal) {
            return Err(base_damage(&error).into());
        }
        let all = match segment_files(&journal) {
            Ok(all) if !all.is_empty() => all,
            Ok(_) => return Err(without_journal(&dir)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(without_journal(&dir)),
            Err(error) => return Err(dir.as_named(OpenError::io(&journal)(error))),
        };
        let extent = extent::read(dir.at());
        let mut known_size = clean_shutdown::size_at_close(dir.at()).unwrap_or(0);
        // A segment is of the format of the program that created it, so the last ones are of the newest format. The ledger
        // is that of any segment with a valid header.
        for file in all.iter().rev() {
            match file.start() {
                Ok(Err(SegmentError::Newer(found))) => {
                    return Err(OpenError::Newer { path: dir.named().to_owned(), found, known: FORMAT_VERSION });
                }
                Ok(Ok(header)) => {
                    let reached =
                        extent.filter(|extent| extent.ledger == header.ledger).map_or(0, |extent| extent.size);
                    let in_backup = BackupHead::expected_size(dir.at(), header.ledger).unwrap_or(0);
                    known_size = known_size.max(reached).max(in_backup);
                    break;
                }
                Ok(Err(_)) | Err(_) => {}
            }
        }
        let (head, is_whole, last) = journal_head(&dir);
        let kept = last.map(KeptSegment::from);
        Ok(Self { access: Access::Journal { dir, kept }, head, is_whole, known_size, cancel: None })
    }

    /// A reader of the segments of the journal in the open directory `dir`, whose head is not read.
    pub(crate) const fn of_segments(dir: Arc<LedgerDir>) -> Self {
        Self { access: Access::Journal { dir, kept: None }, head: None, is_whole: true, known_size: 0, cancel: None }
    }

    pub(crate) fn shared(shared: Arc<SharedState>) -> Self {
        Self {
            access: Access::SharedState { shared, kept: None },
            head: None,
            is_whole: true,
            known_size: 0,
            cancel: None,
        }
    }

    /// Ends every reading of this reader with [`ReadError::Cancelled`] once `cancel` is set.
    #[must_use]
    pub fn cancelled_by(self, cancel: Cancel) -> Self {
        Self { cancel: Some(cancel), ..self }
    }

    /// Reads the last segment of the journal once for all questions to this reader, and keeps it in memory: a few MiB.
    #[must_use]
    pub fn keeping_last_segment(self) -> Self {
        let access = match self.access {
            Access::SharedState { shared, .. } => Access::SharedState { shared, kept: Some(KeptSegment::default()) },
            journal @ Access::Journal { .. } => journal,
        };
        Self { access, ..self }
    }

    pub(crate) fn check_cancelled(&self) -> Result<(), ReadError> {
        if self.cancel.as_ref().is_some_and(Cancel::is_set) { Err(ReadError::Cancelled) } else { Ok(()) }
    }

    /// Whether the journal ends at the head without damage.
    pub(crate) const fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// The source that this reader reads now. It changes from the store to the journal when the store fails.
    #[must_use]
    pub fn source(&self) -> Source {
        match &self.access {
            Access::SharedState { shared, .. } if shared.store().is_some() => Source::Store,
            Access::SharedState { .. } | Access::Journal { .. } => Source::Journal,
        }
    }

    /// The id of the ledger.
    ///
    /// # Errors
    /// When the header of the first segment cannot be read.
    pub fn ledger_id(&self) -> Result<Uuid, ReadError> {
        let files = self.segment_files()?;
        let first = files.first().ok_or(ReadError::Gap { seq: 1 })?;
        let start = first.start().map_err(|source| ReadError::Io { path: self.dir().shown(&first.path), source })?;
        Ok(start.map_err(|error| header_damage(first.number, error, 1))?.ledger)
    }

    pub(crate) const fn access(&self) -> &Access {
        &self.access
    }

    /// The directory of the ledger.
    pub(crate) fn dir(&self) -> &Arc<LedgerDir> {
        self.access.dir()
    }

    /// The sequence number of the last event that may be returned.
    pub(crate) fn visible(&self) -> u64 {
        self.access.visible()
    }

    /// The base of the journal; `None` when the journal begins with its first segment.
    pub(crate) fn base(&self) -> Result<Option<Arc<Base>>, ReadError> {
        self.access.base()
    }

    /// The store; `None` if this reader reads the journal.
    pub(crate) fn store(&self) -> Option<Arc<Store>> {
        match &self.access {
            Access::SharedState { shared, .. } => shared.store(),
            Access::Journal { .. } => None,
        }
    }

    /// The size and the hash of the ledger; in a damaged journal, those before the damage. `None` if the beginning of
    /// the journal cannot be read.
    #[must_use]
    pub fn head(&self) -> Option<Head> {
        match &self.access {
            Access::SharedState { shared, .. } => Some(shared.head()),
            Access::Journal { .. } => self.head,
        }
    }

    /// The first and the last of the events that are known to be missing at the end of the journal. The clean-shutdown
    /// mark and the extent mark of the ledger say that it held them. Events after those of the marks may be missing,
    /// too; only opening the ledger and [`verify`](crate::verify()) can detect that, since they also read the store.
    #[must_use]
    pub fn missing(&self) -> Option<(u64, u64)> {
        let size = self.head.map_or(0, |head| head.size);
        // A damaged journal is not reported here: reading its events returns an error at the damage.
        (self.is_whole && self.known_size > size).then_some((size + 1, self.known_size))
    }

    /// The events from `first` to `last`, both included, in order.
    #[must_use]
    pub fn events(&self, first: u64, last: u64) -> Events {
        self.query(EventQuery::default(), first, last)
    }

    /// The events from `first` to `last`, both included, that `query` accepts, in order.
    #[must_use]
    pub fn query(&self, query: EventQuery, first: u64, last: u64) -> Events {
        self.until_cancelled(Events::new(self.access.clone(), query, first, last))
    }

    /// The events, until this reader is cancelled.
    pub(crate) fn until_cancelled(&self, events: Events) -> Events {
        events.cancelled_by(self.cancel.clone())
    }

    /// Calls `visit` with the sequence number and the record of each event up to event `last`, in order, until it returns
    /// `Break`. Reads the journal.
    ///
    /// # Errors
    /// When the journal cannot be read up to the event, or an event was erased and has no record.
    pub fn each_record(
        &self,
        last: u64,
        mut visit: impl FnMut(u64, &[u8]) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        let (mut journal, mut expected) = (JournalReader::starting_at(self.dir(), 1)?, 1);
        while expected <= last
            && let Some(batch) = journal.next_batch()?
        {
            self.check_cancelled()?;
            for (seq, record) in batch.iter().take_while(|(seq, _)| *seq <= last) {
                if seq != expected {
                    return Err(ReadError::Gap { seq: expected });
                }
                expected += 1;
                if visit(seq, record).is_break() {
                    return Ok(());
                }
            }
        }
        if expected > last { Ok(()) } else { Err(ReadError::Gap { seq: expected }) }
    }

    /// All events of the stream `stream`, in order.
    #[must_use]
    pub fn stream_events(&self, stream: StreamId) -> Events {
        self.stream_events_from(stream, 1)
    }

    pub(crate) fn stream_events_from(&self, stream: StreamId, first: u64) -> Events {
        self.query(EventQuery::stream(stream), first, u64::MAX)
    }

    /// The events whose wall-clock time is from `from` to `to`, both included, in the order of the ledger.
    ///
    /// # Errors
    /// When the index of minutes in the store cannot be read.
    pub fn between(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> Result<Events, ReadError> {
        let (from_ns, to_ns) = (wall_ns(from), wall_ns(to));
        // The events in memory are read before the store, because an event that has left the memory is in the store.
        let (unindexed, size) = (self.first_unindexed(), self.head().map_or(0, |head| head.size));
        let first = match self.store() {
            Some(store) => {
                let frames = store.frames_between(key::minute_of(from_ns), u64::MAX)?;
                let archived =
                    self.base()?.filter(|base| base.archives.iter().any(|entry| entry.summary.max_wall_ns >= from_ns));
                let stored = frames.into_iter().min().unwrap_or(size.saturating_add(1)).min(unindexed);
                archived.map_or(stored, |_| 1)
            }
            None => 1,
        };
        let query = EventQuery { wall_ns: Some((from_ns, to_ns)), ..EventQuery::default() };
        Ok(self.query(query, first, u64::MAX))
    }

    /// The events in memory that may be missing from the store.
    pub(crate) fn unindexed_events(&self) -> Events {
        let first = self.first_unindexed();
        let last = if first == u64::MAX { 0 } else { u64::MAX };
        self.events(first, last)
    }

    /// The first event that may be missing from the store; `u64::MAX` if the store holds all events, and 1 without a
    /// store.
    fn first_unindexed(&self) -> u64 {
        match &self.access {
            Access::SharedState { shared, .. } => {
                shared.unindexed_from(1).first().map_or(u64::MAX, |commit| commit.frame.header().first_seq)
            }
            Access::Journal { .. } => 1,
        }
    }

    /// The sequence number of the last event whose wall-clock time is not later than `time`; 0 if there is none.
    ///
    /// # Errors
    /// When events cannot be read.
    pub fn seq_at(&self, time: DateTime<Utc>) -> Result<u64, ReadError> {
        let query = EventQuery { wall_ns: Some((i64::MIN, wall_ns(time))), ..EventQuery::default() };
        Ok(self.last_events(&query, u64::MAX, 1)?.first().map_or(0, |event| event.seq))
    }

    /// The version of the stream `id`, which is the number of its events.
    pub(crate) fn version(&self, id: StreamId) -> Result<u64, ReadError> {
        let base = self.base()?.filter(|_| id.is_system());
        let (after_base, archived) = base.map_or((1, 0), |base| (base.seq() + 1, base.system_version));
        let window = self.store().and_then(|store| store.last_stream_window(id).ok().flatten());
        let first = window.map_or(1, key::window_start).max(after_base);
        self.stream_events_from(id, first).try_fold(archived, |_, event| Ok(event?.version))
    }
}

/// Converts a time to nanoseconds since 1970, the form in which events hold their time. A time before 1677 or after
/// 2262 does not fit into 64 bits, and gives the lowest or the highest value.
pub(crate) fn wall_ns(time: DateTime<Utc>) -> i64 {
    let far = if time.timestamp() < 0 { i64::MIN } else { i64::MAX };
    time.timestamp_nanos_opt().unwrap_or(far)
}

/// The head of the journal after its last sound commit, whether the journal ends there without damage, and the last segment.
fn journal_head(dir: &Arc<LedgerDir>) -> (Option<Head>, bool, Option<PlainSegment>) {
    let Ok(reader) = JournalReader::starting_at(dir, u64::MAX) else { return (None, false, None) };
    let mut reader = reader.remember_commits();
    let Some(mut head) = reader.head() else { return (None, false, None) };
    loop {
        match reader.next_batch() {
            Ok(Some(_)) => head = reader.head().unwrap_or(head),
            end => return (Some(head), end.is_ok(), reader.into_plain().map(PlainSegment::rewound)),
        }
    }
}
