//! Everything that can be asked of a ledger.

use std::{fmt, path::Path, sync::Arc};

use apm2_model::{event::stream_id::StreamId, state::stream::Stream};
use chrono::{DateTime, Utc};

use crate::{
    dir::{LedgerDir, without_journal},
    error::{OpenError, ReadError},
    head::Head,
    journal::{
        JOURNAL_DIR,
        reader::{JournalReader, read_header},
        segment::{FORMAT_VERSION, SegmentError},
        segments,
    },
    read::{
        access::Access,
        events::{Events, Wanted},
    },
    recovery::extent,
    shared_state::SharedState,
    store::{clean_shutdown, key, sled_store::Store},
};

/// Which way a reader reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// From the store, as the owner of the ledger.
    Store,
    /// From the journal, without a lock.
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

/// Reads a ledger. Cheap to clone.
///
/// Beside a live writer of another process it reads the journal, and may then see a commit a moment before it is
/// acknowledged. In the process of the writer it sees all that was acknowledged, and nothing else.
#[derive(Clone)]
pub struct Reader {
    access: Access,
    head: Option<Head>,
    /// Whether the journal ends there without damage.
    is_whole: bool,
    /// What the ledger is known to have had before its journal was read.
    known_size: u64,
}

impl Reader {
    /// Opens the ledger in `dir` to be read, from its journal. Nothing is made, written, locked or put in order.
    ///
    /// # Errors
    /// When there is no ledger, when it is of a newer format, or when it cannot be read at all. One that is damaged is
    /// opened, and read up to the damage.
    pub fn open(dir: &Path) -> Result<Self, OpenError> {
        crate::dir::prepare(dir, false)?;
        Self::of_journal(Arc::new(LedgerDir::open(dir)?))
    }

    /// The same, of a directory that is open.
    pub(crate) fn of_journal(dir: Arc<LedgerDir>) -> Result<Self, OpenError> {
        let journal = dir.at().join(JOURNAL_DIR);
        let all = match segments(&journal) {
            Ok(all) if !all.is_empty() => all,
            Ok(_) => return Err(without_journal(&dir)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(without_journal(&dir)),
            Err(error) => return Err(dir.as_named(OpenError::io(&journal)(error))),
        };
        let extent = extent::read(dir.at());
        let mut known_size = clean_shutdown::size_at_close(dir.at()).unwrap_or(0);
        for (_, path) in all {
            match read_header(&path) {
                Ok(Err(SegmentError::Newer(found))) => {
                    return Err(OpenError::Newer { path: dir.named().to_owned(), found, known: FORMAT_VERSION });
                }
                Ok(Ok(header)) => {
                    let reached =
                        extent.filter(|extent| extent.ledger == header.ledger).map_or(0, |extent| extent.size);
                    known_size = known_size.max(reached);
                }
                Ok(Err(_)) | Err(_) => {}
            }
        }
        let (head, is_whole) = journal_head(&dir);
        Ok(Self { access: Access::Journal(dir), head, is_whole, known_size })
    }

    pub(crate) fn shared(shared: Arc<SharedState>) -> Self {
        Self { access: Access::SharedState(shared), head: None, is_whole: true, known_size: 0 }
    }

    /// Which way this reader reads.
    #[must_use]
    pub fn source(&self) -> Source {
        match &self.access {
            Access::SharedState(shared) if shared.store().is_some() => Source::Store,
            Access::SharedState(_) | Access::Journal(_) => Source::Journal,
        }
    }

    /// The store, when that is what is read from.
    pub(crate) fn store(&self) -> Option<Arc<Store>> {
        match &self.access {
            Access::SharedState(shared) => shared.store(),
            Access::Journal(_) => None,
        }
    }

    /// The ledger's size and hash; in a damaged journal, those before the damage. `None` when its first event cannot be
    /// reached.
    #[must_use]
    pub fn head(&self) -> Option<Head> {
        match &self.access {
            Access::SharedState(shared) => Some(shared.head()),
            Access::Journal(_) => self.head,
        }
    }

    /// The events that are known to be missing from the end of the journal, first and last: the ledger had them at its last close,
    /// or by its extent mark. Only an opening or `verify` can find, from the store, that later events are missing.
    #[must_use]
    pub fn missing(&self) -> Option<(u64, u64)> {
        let size = self.head.map_or(0, |head| head.size);
        // Damage is said by reading as far as it is.
        (self.is_whole && self.known_size > size).then_some((size + 1, self.known_size))
    }

    /// The events from `first` to `last`, both included, in order.
    #[must_use]
    pub fn events(&self, first: u64, last: u64) -> Events {
        Events::new(self.access.clone(), Wanted::All, first, last)
    }

    /// The events of one stream, in order.
    #[must_use]
    pub fn stream_events(&self, stream: StreamId) -> Events {
        self.stream_events_from(stream, 1)
    }

    pub(crate) fn stream_events_from(&self, stream: StreamId, first: u64) -> Events {
        Events::new(self.access.clone(), Wanted::Stream(stream), first, u64::MAX)
    }

    /// The events from `from` to `to`, both included, by wall clock, in the order of the ledger.
    ///
    /// # Errors
    /// When the index of times cannot be read.
    pub fn between(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> Result<Events, ReadError> {
        let (from_ns, to_ns) = (wall_ns(from), wall_ns(to));
        // The memory is asked before the store: what has left it by then is in the store.
        let (unindexed, size) = (self.first_unindexed(), self.head().map_or(0, |head| head.size));
        let first = match self.store() {
            Some(store) => {
                let frames = store.frames_between(key::minute_of(from_ns), u64::MAX)?;
                frames.into_iter().min().unwrap_or(size.saturating_add(1)).min(unindexed)
            }
            None => 1,
        };
        Ok(Events::new(self.access.clone(), Wanted::Between(from_ns, to_ns), first, u64::MAX))
    }

    /// The events that the store may not have yet.
    pub(crate) fn unindexed_events(&self) -> Events {
        let first = self.first_unindexed();
        let last = if first == u64::MAX { 0 } else { u64::MAX };
        self.events(first, last)
    }

    /// The first event that the store may not have yet.
    fn first_unindexed(&self) -> u64 {
        match &self.access {
            Access::SharedState(shared) => {
                shared.unindexed_from(1).first().map_or(u64::MAX, |commit| commit.frame.header().first_seq)
            }
            Access::Journal(_) => 1,
        }
    }

    /// The seq of the last event that is not later than `time` by wall clock; 0 when there is none.
    ///
    /// # Errors
    /// When events cannot be read.
    pub fn seq_at(&self, time: DateTime<Utc>) -> Result<u64, ReadError> {
        let limit_ns = wall_ns(time);
        let mut found = 0;
        for event in self.events(1, u64::MAX) {
            let event = event?;
            if event.stamp.wall_ns <= limit_ns {
                found = event.seq;
            }
        }
        Ok(found)
    }

    /// The fold of one stream; `None` when there is no such stream.
    ///
    /// # Errors
    /// When its events cannot be read, or are not legal.
    pub fn stream(&self, id: StreamId) -> Result<Option<Stream>, ReadError> {
        let mut fold = match self.store() {
            Some(store) => store.snapshot(id).unwrap_or_default(),
            None => None,
        };
        let events = match &fold {
            Some(kept) => self.stream_events_from(id, kept.last_seq + 1).expecting(kept.version + 1),
            None => self.stream_events(id),
        };
        for event in events {
            let event = event?;
            let illegal = |source| ReadError::Illegal { seq: event.seq, source };
            match &mut fold {
                Some(stream) => stream.apply(&event).map_err(illegal)?,
                None => fold = Some(Stream::begin(&event).map_err(illegal)?),
            }
        }
        Ok(fold)
    }

    /// The version of a stream: how many events it has.
    pub(crate) fn version(&self, id: StreamId) -> Result<u64, ReadError> {
        let first = match self.store() {
            Some(store) => store.stream_frame_at(id, u64::MAX).ok().flatten().unwrap_or(1),
            None => 1,
        };
        self.stream_events_from(id, first).try_fold(0, |_, event| Ok(event?.version))
    }
}

/// A time as events have it. What nanoseconds cannot reach, before 1677 and after 2262, is as far as they do reach.
fn wall_ns(time: DateTime<Utc>) -> i64 {
    let far = if time.timestamp() < 0 { i64::MIN } else { i64::MAX };
    time.timestamp_nanos_opt().unwrap_or(far)
}

/// The head of the journal, as far as it is sound, and whether that is its end.
fn journal_head(dir: &Arc<LedgerDir>) -> (Option<Head>, bool) {
    let Ok(mut reader) = JournalReader::starting_at(dir, u64::MAX) else { return (None, false) };
    let Some(mut head) = reader.head() else { return (None, false) };
    loop {
        match reader.next_commit() {
            Ok(Some(commit)) => {
                let header = commit.frame.header();
                head = Head { size: header.last_seq(), chain: header.chain_after };
            }
            end => return (Some(head), end.is_ok()),
        }
    }
}
