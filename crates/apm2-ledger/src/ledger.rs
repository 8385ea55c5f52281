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
    clean,
    dir::LedgerDir,
    error::{AppendError, OpenError},
    extent,
    feeder::Feeder,
    head::Head,
    limits::{CLOSE_WAIT, FEED_QUEUE_LEN},
    live::{Live, Poison},
    lock::Lock,
    options::Options,
    packer::Packer,
    pending,
    queue::Queue,
    reader::Reader,
    recovery::{self, KnownLedger, Recovered},
    request::Answer,
    store::STORE_DIR,
    writer::Writer,
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
    live: Arc<Live>,
    queue: Queue,
    held: Mutex<Option<Held>>,
}

/// What ends when the ledger is closed.
struct Held {
    feeder: JoinHandle<bool>,
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
    pub fn open_again(lock: Arc<Lock>, known: KnownLedger) -> Result<Self, OpenError> {
        let options = Options::default();
        Self::start(recovery::recover_locked(lock, Some(known), &options)?, &options)
    }

    fn start(recovered: Recovered, options: &Options) -> Result<Self, OpenError> {
        let Recovered { lock, journal, store, findings } = recovered;
        let head = Head { size: journal.next_seq() - 1, chain: journal.chain() };
        let packer = Packer::new(journal.next_seq(), journal.chain());
        let id = journal.ledger();
        let dir = Arc::clone(lock.dir());
        extent::write(dir.at(), id, head);
        let live = Arc::new(Live::new(Arc::clone(&dir), head, store));
        let (feeds, fed) = sync_channel(FEED_QUEUE_LEN);
        let feeder = Feeder::new(Arc::clone(&live), id, packer);
        let writer = Writer::new(journal, Arc::clone(&live), feeds, options.heads_max);
        let feeder = thread::Builder::new()
            .name("apm2-feeder".to_owned())
            .spawn(move || feeder.run(&fed))
            .map_err(OpenError::io(dir.named()))?;
        let held = Mutex::new(Some(Held { feeder, _lock: lock }));
        let ledger = Self { inner: Arc::new(Inner { id, live, queue: Queue::new(writer), held }) };
        ledger.record_findings(findings);
        Ok(ledger)
    }

    /// Records what was found on opening. On a disk that is full now it stays pending until the next opening.
    fn record_findings(&self, findings: Vec<EventKind>) {
        if findings.is_empty() {
            return;
        }
        let drafts = findings.into_iter().map(pending::system_draft).collect();
        let recorded = self.request(StreamId::SYSTEM, None, drafts).map_err(|error| causes(&error));
        let cleared = recorded.and_then(|_| pending::clear(self.dir().at()).map_err(|error| error.to_string()));
        if let Err(error) = cleared {
            tracing::warn!(%error, "what was found on opening is not recorded yet");
        }
    }

    /// Appends events to a stream that is at `version`, which is 0 before its first event. All of them or none, durable
    /// when this returns.
    ///
    /// # Errors
    /// See [`AppendError`]; only [`AppendError::Poisoned`] leaves open whether the events were written.
    pub fn append(&self, stream: StreamId, version: u64, drafts: Vec<NewEvent>) -> Result<Vec<Event>, AppendError> {
        Ok(self.request(stream, Some(version), drafts)?.events)
    }

    /// Appends an event of the supervisor's own.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub fn append_system(&self, kind: EventKind) -> Result<Event, AppendError> {
        let draft = pending::system_draft(kind);
        self.request(StreamId::SYSTEM, None, vec![draft])?.events.pop().ok_or(AppendError::Closed)
    }

    pub(crate) fn request(&self, stream: StreamId, version: Option<u64>, drafts: Vec<NewEvent>) -> Answer {
        self.inner.queue.append(stream, version, drafts)
    }

    /// Has `observer` told the size of the ledger after each commit from now on, once readers see it. It is called by the
    /// thread that commits, which it must not keep.
    pub fn on_commit(&self, observer: impl Fn(u64) + Send + Sync + 'static) {
        self.inner.live.observe(Box::new(observer));
    }

    /// A reader that sees everything that was acknowledged.
    #[must_use]
    pub fn reader(&self) -> Reader {
        Reader::live(Arc::clone(&self.inner.live))
    }

    /// Since when and why the ledger is poisoned, if it is.
    #[must_use]
    pub fn poisoned(&self) -> Option<Poison> {
        self.inner.live.poisoned()
    }

    /// Calls `call` once the ledger is poisoned, on the thread that detects it.
    pub fn when_poisoned(&self, call: impl FnOnce() + Send + 'static) {
        self.inner.live.when_poisoned(Box::new(call));
    }

    /// What the next opening of this ledger must find.
    #[must_use]
    pub fn known(&self) -> KnownLedger {
        KnownLedger { id: self.inner.id, size: self.inner.live.head().size }
    }

    /// The directory that this ledger is in.
    #[must_use]
    pub fn dir(&self) -> &Arc<LedgerDir> {
        &self.inner.live.dir
    }

    /// Poisons the ledger if its directory was moved or removed. To be called at intervals: an append does not check it.
    pub fn check_place(&self) {
        if let Err(error) = self.dir().check_place()
            && self.poisoned().is_none()
        {
            tracing::error!(%error, "the ledger is not written any more");
            self.inner.live.poison(error.to_string());
        }
    }

    /// Waits until the store holds every appended event, and releases the directory once no reader uses the store any more. Clones get [`AppendError::Closed`] from then on.
    ///
    /// # Errors
    /// When the ledger is poisoned.
    pub fn close(self) -> Result<(), AppendError> {
        self.inner.close();
        self.inner.live.poisoned().map_or(Ok(()), |poison| Err(AppendError::Poisoned(poison.to_string())))
    }
}

impl Inner {
    fn close(&self) {
        // Locked until the close is complete: a second caller returns after it.
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Held { feeder, _lock }) = held.take() else { return };
        if let Some(mut writer) = self.queue.close() {
            writer.keep_snapshot();
        }
        // Without the writer the indexing thread ends, unless sled hangs.
        let began = Instant::now();
        while !feeder.is_finished() {
            if began.elapsed() > CLOSE_WAIT {
                tracing::error!("the store stands still; it is fed at the next opening");
                return;
            }
            thread::sleep(CLOSE_POLL);
        }
        let is_fed = feeder.join().unwrap_or(false);
        let head = self.live.head();
        extent::write(self.live.dir.at(), self.id, head);
        let Some(store) = self.live.take_store().and_then(Arc::into_inner) else { return };
        if let Err(error) = store.close() {
            tracing::warn!(%error, "the store was not closed cleanly");
            return;
        }
        if is_fed && self.live.poisoned().is_none() {
            clean::mark(self.live.dir.at(), &self.live.dir.at().join(STORE_DIR), head);
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}
