//! [`Ledger`]: a ledger that this process has opened for appending and reading.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError, mpsc::sync_channel},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use apm2_model::{
    causes::causes,
    event::{Event, NewEvent, kind::EventKind, requester::Requester, stream_id::StreamId},
};
use uuid::Uuid;

use crate::{
    append::{
        commit_writer::CommitWriter,
        encoded_append::{EncodedAppend, check_append, check_disk},
        group_commit::GroupCommit,
        request::{AppendResult, RequestedEvents},
        sealer::Sealer,
    },
    dir::LedgerDir,
    error::{AppendError, OpenError},
    head::Head,
    limits::{CLOSE_WAIT, INDEXER_QUEUE_LEN},
    lock::Lock,
    options::Options,
    read::reader::Reader,
    recovery::{self, ExpectedLedger, Recovered, extent, unrecorded_findings},
    shared_state::{Poison, SharedState},
    store::{STORE_DIR, clean_shutdown, indexed_frame_builder::IndexedFrameBuilder, indexer::StoreIndexer},
};

/// Interval at which [`Ledger::close`] checks whether the indexing thread has ended. It is short because a command that
/// opens a ledger, appends an event and exits waits at least one interval.
const CLOSE_POLL: Duration = Duration::from_micros(500);

/// A ledger that is open for appending and reading. Clones share the open ledger; dropping the last clone closes it.
///
/// [`append`](Self::append) blocks until its events are durable. Any number of threads may call it: appends that wait
/// at the same time are written and synced together (group commit).
#[derive(Clone)]
pub struct Ledger {
    inner: Arc<Inner>,
}

struct Inner {
    id: Uuid,
    shared: Arc<SharedState>,
    group_commit: GroupCommit,
    /// `None` once the ledger is closed.
    resources: Mutex<Option<OpenResources>>,
}

/// The indexing thread, which a close joins, and the lock of the ledger's directory, which a close releases.
struct OpenResources {
    indexer: JoinHandle<bool>,
    sealer: Option<Sealer>,
    _lock: Arc<Lock>,
}

impl Ledger {
    /// Opens the ledger in the directory `dir`. Creates a ledger if the directory is missing or holds no files of a
    /// ledger.
    ///
    /// A ledger that was not closed cleanly is recovered first; `docs/recovery.md` lists the cases.
    ///
    /// # Errors
    /// When another process has the ledger open, or the ledger is damaged, has a newer format, or cannot be read or
    /// written.
    pub fn open(dir: &Path) -> Result<Self, OpenError> {
        Self::open_with(dir, &Options::default())
    }

    /// Opens the ledger in the directory `dir` as [`open`](Self::open) does, with `options` in place of the defaults.
    ///
    /// # Errors
    /// See [`open`](Self::open).
    pub fn open_with(dir: &Path, options: &Options) -> Result<Self, OpenError> {
        Self::start(recovery::recover(dir, options)?, options)
    }

    /// Opens the ledger in the directory that `lock` locks, after this process had that ledger open before. Creates no
    /// ledger if the journal is missing.
    ///
    /// # Errors
    /// See [`open`](Self::open); also when the ledger has another id than `expected`, or lacks events that were
    /// acknowledged.
    pub fn open_again(lock: Arc<Lock>, expected: ExpectedLedger) -> Result<Self, OpenError> {
        let options = Options::default();
        Self::start(recovery::recover_locked(lock, Some(expected), &options)?, &options)
    }

    /// Opens the ledger in the directory that `lock` locks, as [`open_with`](Self::open_with) does. The lock outlives the
    /// close of the ledger.
    pub(crate) fn open_locked(lock: &Arc<Lock>, options: &Options) -> Result<Self, OpenError> {
        Self::start(recovery::recover_locked(Arc::clone(lock), None, options)?, options)
    }

    fn start(recovered: Recovered, options: &Options) -> Result<Self, OpenError> {
        let Recovered { lock, mut journal, store, findings } = recovered;
        let head = Head { size: journal.next_seq() - 1, chain: journal.chain() };
        let frame_builder =
            IndexedFrameBuilder::new(journal.next_seq(), journal.chain()).map_err(OpenError::io(lock.dir().named()))?;
        let id = journal.ledger();
        let dir = Arc::clone(lock.dir());
        extent::write(dir.at(), id, head);
        let shared = Arc::new(SharedState::new(Arc::clone(&dir), journal.base().cloned(), head, store));
        let sealer = if options.seal {
            Some(Sealer::start(Arc::clone(&dir)).map_err(OpenError::io(dir.named()))?)
        } else {
            None
        };
        if let Some(sealer) = &sealer {
            journal.signal_full(sealer.signal());
        }
        let (messages, received) = sync_channel(INDEXER_QUEUE_LEN);
        let indexer = StoreIndexer::new(Arc::clone(&shared), id, frame_builder);
        let writer = CommitWriter::new(journal, Arc::clone(&shared), messages, options.stream_heads_max);
        let indexer = thread::Builder::new()
            .name("apm2-indexer".to_owned())
            .spawn(move || indexer.run(&received))
            .map_err(OpenError::io(dir.named()))?;
        let resources = Mutex::new(Some(OpenResources { indexer, sealer, _lock: lock }));
        let ledger = Self { inner: Arc::new(Inner { id, shared, group_commit: GroupCommit::new(writer), resources }) };
        ledger.record_findings(findings);
        Ok(ledger)
    }

    /// Appends events for the findings of the recovery, for example `tail_cut`. If the append fails, for example on a
    /// full disk, the findings stay in the file `pending`, and the next opening of the ledger appends them.
    fn record_findings(&self, findings: Vec<EventKind>) {
        if findings.is_empty() {
            return;
        }
        let new_events = findings.into_iter().map(unrecorded_findings::system_event).collect();
        let recorded = self.request(StreamId::SYSTEM, None, new_events).map_err(|error| causes(&error));
        let cleared =
            recorded.and_then(|_| unrecorded_findings::clear(self.dir().at()).map_err(|error| error.to_string()));
        if let Err(error) = cleared {
            tracing::warn!(%error, "the findings of the recovery are not recorded; the next opening records them");
        }
    }

    /// Appends `new_events` to `stream`. Appends all of them or none, and returns after they are durable. `version` is
    /// the version that the stream must have now: the number of its events.
    ///
    /// # Errors
    /// See [`AppendError`]. After [`AppendError::Poisoned`] it is unknown whether the events were written; after any
    /// other error they were not.
    pub fn append(&self, stream: StreamId, version: u64, new_events: Vec<NewEvent>) -> Result<Vec<Event>, AppendError> {
        Ok(self.request(stream, Some(version), new_events)?.events)
    }

    /// Appends an event about the supervisor or the ledger itself, to the stream [`StreamId::SYSTEM`].
    ///
    /// # Errors
    /// See [`AppendError`].
    pub fn append_system(&self, kind: EventKind) -> Result<Event, AppendError> {
        self.append_system_by(kind, Requester::default())
    }

    /// Like [`append_system`](Self::append_system), for an event that `request` asked for.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub fn append_system_by(&self, kind: EventKind, request: Requester) -> Result<Event, AppendError> {
        let Requester { actor, reason } = request;
        let new_event = NewEvent { actor, reason, ..unrecorded_findings::system_event(kind) };
        self.request(StreamId::SYSTEM, None, vec![new_event])?.events.pop().ok_or(AppendError::Closed)
    }

    pub(crate) fn request(&self, stream: StreamId, version: Option<u64>, new_events: Vec<NewEvent>) -> AppendResult {
        check_append(stream, &new_events)?;
        check_disk(self.dir().at(), &new_events)?;
        let events = match version {
            Some(version) => RequestedEvents::Encoded { version, events: EncodedAppend::new(new_events, version)? },
            None => RequestedEvents::AnyVersion(new_events),
        };
        self.inner.group_commit.append(stream, events)
    }

    /// Registers `observer`, which is called after each commit with the number of events in the ledger. Readers can
    /// read the commit at that time. The committing thread calls `observer`, so `observer` must not block.
    pub fn on_commit(&self, observer: impl Fn(u64) + Send + Sync + 'static) {
        self.inner.shared.observe(Box::new(observer));
    }

    /// Returns a reader of this ledger. The reader returns every acknowledged event and no others.
    #[must_use]
    pub fn reader(&self) -> Reader {
        Reader::shared(Arc::clone(&self.inner.shared))
    }

    /// The time and the reason of the failure after which the ledger refuses appends; `None` while the ledger accepts
    /// appends.
    #[must_use]
    pub fn poisoned(&self) -> Option<Poison> {
        self.inner.shared.poisoned()
    }

    /// Registers `call`, which is called once when the ledger becomes poisoned, on the thread that poisons the ledger.
    /// If the ledger is poisoned already, `call` is called now.
    pub fn when_poisoned(&self, call: impl FnOnce() + Send + 'static) {
        self.inner.shared.when_poisoned(Box::new(call));
    }

    /// The id of this ledger and the number of its acknowledged events. [`open_again`](Self::open_again) refuses a
    /// ledger that has another id or fewer events.
    #[must_use]
    pub fn known(&self) -> ExpectedLedger {
        ExpectedLedger { id: self.inner.id, size: self.inner.shared.head().size }
    }

    /// The open directory of this ledger.
    #[must_use]
    pub fn dir(&self) -> &Arc<LedgerDir> {
        &self.inner.shared.dir
    }

    /// Poisons the ledger if its directory was moved or removed, or if its journal was removed or replaced. The owner
    /// of the ledger must call this at intervals, because an append does not check the directory.
    pub fn check_place(&self) {
        if let Err(error) = self.dir().check_place()
            && self.poisoned().is_none()
        {
            tracing::error!(%error, "the ledger accepts no more appends");
            self.inner.shared.poison(error.to_string());
        }
    }

    /// Closes the ledger: waits until the store holds every appended event, and releases the lock of the directory. If
    /// readers of this ledger still use the store, the lock is released when the last of them is dropped. Every later
    /// append by a clone returns [`AppendError::Closed`].
    ///
    /// # Errors
    /// When the ledger is poisoned.
    pub fn close(self) -> Result<(), AppendError> {
        self.inner.close();
        self.inner.shared.poisoned().map_or(Ok(()), |poison| Err(AppendError::Poisoned(poison.to_string())))
    }
}

impl Inner {
    fn close(&self) {
        // The mutex stays locked until the close is complete, so that a second concurrent call returns only after the
        // close.
        let mut resources = self.resources.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(OpenResources { indexer, sealer, _lock }) = resources.take() else { return };
        if let Some(mut writer) = self.group_commit.close() {
            writer.write_snapshot();
            writer.send_commits();
        }
        drop(sealer);
        // The writer was dropped above, so the channel is closed and the indexing thread ends, unless a call of sled
        // hangs.
        let began = Instant::now();
        while !indexer.is_finished() {
            if began.elapsed() > CLOSE_WAIT {
                tracing::error!(
                    "the store did not finish in time; the next opening of the ledger adds the events that it lacks"
                );
                return;
            }
            thread::sleep(CLOSE_POLL);
        }
        let is_complete = indexer.join().unwrap_or(false);
        let head = self.shared.head();
        extent::write(self.shared.dir.at(), self.id, head);
        let Some(store) = self.shared.take_store().and_then(Arc::into_inner) else { return };
        if let Err(error) = store.close() {
            tracing::warn!(%error, "the store was not closed cleanly");
            return;
        }
        if is_complete && self.shared.poisoned().is_none() {
            clean_shutdown::write(self.shared.dir.at(), &self.shared.dir.at().join(STORE_DIR), head);
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}
