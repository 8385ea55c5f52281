//! An open ledger.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError, mpsc::sync_channel},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use apm2_model::{
    causes::causes,
    event::{Event, NewEvent, kind::EventKind, stream_id::StreamId},
};
use uuid::Uuid;

use crate::{
    append::{commit_writer::CommitWriter, group_commit::GroupCommit, request::AppendResult},
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

/// Interval at which a close checks whether the store is complete. A short command waits for this.
const CLOSE_POLL: Duration = Duration::from_micros(500);

/// A ledger, open for appending and reading. Clones share it; the last one to go closes it.
///
/// `append` blocks until the events are on the disk. It may be called from any number of threads: what arrives together
/// is synced together.
#[derive(Clone)]
pub struct Ledger {
    inner: Arc<Inner>,
}

struct Inner {
    id: Uuid,
    shared: Arc<SharedState>,
    group_commit: GroupCommit,
    held: Mutex<Option<OpenResources>>,
}

/// What ends when the ledger is closed.
struct OpenResources {
    indexer: JoinHandle<bool>,
    _lock: Arc<Lock>,
}

impl Ledger {
    /// Opens the ledger in `dir`, or creates one.
    ///
    /// Recovers from a crash first, by the cases in `docs/recovery.md`.
    ///
    /// # Errors
    /// When it is in use, damaged, of a newer format, or out of reach.
    pub fn open(dir: &Path) -> Result<Self, OpenError> {
        Self::open_with(dir, &Options::default())
    }

    /// The same, with options.
    ///
    /// # Errors
    /// See [`open`](Self::open).
    pub fn open_with(dir: &Path, options: &Options) -> Result<Self, OpenError> {
        Self::start(recovery::recover(dir, options)?, options)
    }

    /// Opens the ledger whose lock this is again. Makes none where that ledger is gone.
    ///
    /// # Errors
    /// See [`open`](Self::open); also when it is another ledger, or lacks events that were acknowledged.
    pub fn open_again(lock: Arc<Lock>, known: ExpectedLedger) -> Result<Self, OpenError> {
        let options = Options::default();
        Self::start(recovery::recover_locked(lock, Some(known), &options)?, &options)
    }

    fn start(recovered: Recovered, options: &Options) -> Result<Self, OpenError> {
        let Recovered { lock, journal, store, findings } = recovered;
        let head = Head { size: journal.next_seq() - 1, chain: journal.chain() };
        let frame_builder = IndexedFrameBuilder::new(journal.next_seq(), journal.chain());
        let id = journal.ledger();
        let dir = Arc::clone(lock.dir());
        extent::write(dir.at(), id, head);
        let shared = Arc::new(SharedState::new(Arc::clone(&dir), head, store));
        let (messages, received) = sync_channel(INDEXER_QUEUE_LEN);
        let indexer = StoreIndexer::new(Arc::clone(&shared), id, frame_builder);
        let writer = CommitWriter::new(journal, Arc::clone(&shared), messages, options.stream_heads_max);
        let indexer = thread::Builder::new()
            .name("apm2-indexer".to_owned())
            .spawn(move || indexer.run(&received))
            .map_err(OpenError::io(dir.named()))?;
        let held = Mutex::new(Some(OpenResources { indexer, _lock: lock }));
        let ledger = Self { inner: Arc::new(Inner { id, shared, group_commit: GroupCommit::new(writer), held }) };
        ledger.record_findings(findings);
        Ok(ledger)
    }

    /// Records what was found on opening. On a disk that is full now it stays pending until the next opening.
    fn record_findings(&self, findings: Vec<EventKind>) {
        if findings.is_empty() {
            return;
        }
        let new_events = findings.into_iter().map(unrecorded_findings::system_event).collect();
        let recorded = self.request(StreamId::SYSTEM, None, new_events).map_err(|error| causes(&error));
        let cleared =
            recorded.and_then(|_| unrecorded_findings::clear(self.dir().at()).map_err(|error| error.to_string()));
        if let Err(error) = cleared {
            tracing::warn!(%error, "what was found on opening is not recorded yet");
        }
    }

    /// Appends events to a stream that is at `version`, which is 0 before its first event. All of them or none, durable
    /// when this returns.
    ///
    /// # Errors
    /// See [`AppendError`]; only [`AppendError::Poisoned`] leaves open whether the events were written.
    pub fn append(&self, stream: StreamId, version: u64, new_events: Vec<NewEvent>) -> Result<Vec<Event>, AppendError> {
        Ok(self.request(stream, Some(version), new_events)?.events)
    }

    /// Appends an event of the supervisor's own.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub fn append_system(&self, kind: EventKind) -> Result<Event, AppendError> {
        let new_event = unrecorded_findings::system_event(kind);
        self.request(StreamId::SYSTEM, None, vec![new_event])?.events.pop().ok_or(AppendError::Closed)
    }

    pub(crate) fn request(&self, stream: StreamId, version: Option<u64>, new_events: Vec<NewEvent>) -> AppendResult {
        self.inner.group_commit.append(stream, version, new_events)
    }

    /// Has `observer` told the size of the ledger after each commit from now on, once readers see it. It is called by the
    /// thread that commits, which it must not keep.
    pub fn on_commit(&self, observer: impl Fn(u64) + Send + Sync + 'static) {
        self.inner.shared.observe(Box::new(observer));
    }

    /// A reader that sees everything that was acknowledged.
    #[must_use]
    pub fn reader(&self) -> Reader {
        Reader::shared(Arc::clone(&self.inner.shared))
    }

    /// Since when and why the ledger is poisoned, if it is.
    #[must_use]
    pub fn poisoned(&self) -> Option<Poison> {
        self.inner.shared.poisoned()
    }

    /// Calls `call` once the ledger is poisoned, on the thread that detects it.
    pub fn when_poisoned(&self, call: impl FnOnce() + Send + 'static) {
        self.inner.shared.when_poisoned(Box::new(call));
    }

    /// What the next opening of this ledger must find.
    #[must_use]
    pub fn known(&self) -> ExpectedLedger {
        ExpectedLedger { id: self.inner.id, size: self.inner.shared.head().size }
    }

    /// The directory that this ledger is in.
    #[must_use]
    pub fn dir(&self) -> &Arc<LedgerDir> {
        &self.inner.shared.dir
    }

    /// Poisons the ledger if its directory was moved or removed. To be called at intervals: an append does not check it.
    pub fn check_place(&self) {
        if let Err(error) = self.dir().check_place()
            && self.poisoned().is_none()
        {
            tracing::error!(%error, "the ledger is not written any more");
            self.inner.shared.poison(error.to_string());
        }
    }

    /// Waits until the store holds every appended event, and releases the directory once no reader uses the store any more. Clones get [`AppendError::Closed`] from then on.
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
        // Locked until the close is complete: a second caller returns after it.
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(OpenResources { indexer, _lock }) = held.take() else { return };
        if let Some(mut writer) = self.group_commit.close() {
            writer.write_snapshot();
        }
        // Without the writer the indexing thread ends, unless sled hangs.
        let began = Instant::now();
        while !indexer.is_finished() {
            if began.elapsed() > CLOSE_WAIT {
                tracing::error!("the store stands still; it is fed at the next opening");
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
