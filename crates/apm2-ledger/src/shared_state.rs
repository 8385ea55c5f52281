//! The state of an open ledger that is shared by the committing threads, the indexing thread and the readers of this
//! process.

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use apm2_model::{
    clock::SystemClock,
    event::{stream_id::StreamId, timestamp::Clock as _},
};
use chrono::{DateTime, SecondsFormat, Utc};

use crate::{
    dir::LedgerDir,
    frame::Frame,
    head::Head,
    journal::base::Base,
    record::peek_stream,
    store::{index::EventKeys, sled_store::Store},
};

/// A commit whose events are in memory until the indexing thread has added them to the store.
#[derive(Debug)]
pub(crate) struct Commit {
    pub(crate) bytes: Vec<u8>,
    pub(crate) frame: Frame,
    /// The index keys of each event, in the order of the events.
    pub(crate) keys: Vec<EventKeys>,
}

/// The head of the ledger, and the acknowledged commits that may be missing from the store.
#[derive(Debug)]
struct Acknowledged {
    head: Head,
    /// The commits that may be missing from the store, in the order of their events.
    tail: VecDeque<Arc<Commit>>,
    /// The failure after which the ledger refuses appends; `None` while it accepts appends.
    poison: Option<Poison>,
}

/// The failure that poisoned a ledger. A poisoned ledger refuses every append until it is opened again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Poison {
    /// The wall-clock time of the failure.
    pub since: DateTime<Utc>,
    /// The reason, as text for the user.
    pub why: String,
}

impl fmt::Display for Poison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "poisoned since {}, because {}", self.since.to_rfc3339_opts(SecondsFormat::Secs, true), self.why)
    }
}

/// A callback that is called once, when the ledger becomes poisoned.
type OnPoison = Box<dyn FnOnce() + Send>;

/// A callback that is called after each commit with the number of events in the ledger.
pub(crate) type Observer = Box<dyn Fn(u64) + Send + Sync>;

/// The state of an open ledger that its committing threads, its indexing thread and its readers share.
pub(crate) struct SharedState {
    pub(crate) dir: Arc<LedgerDir>,
    /// The base of the journal; `None` when the journal begins with its first segment.
    pub(crate) base: Option<Arc<Base>>,
    acknowledged: Mutex<Acknowledged>,
    on_poison: Mutex<Vec<OnPoison>>,
    /// `None` after the store failed or was closed; readers then read the journal.
    store: RwLock<Option<Arc<Store>>>,
    /// Whether the indexing thread waits for a message about the next commit, see [`Self::request_signal`].
    is_signal_wanted: AtomicBool,
    observers: RwLock<Vec<Observer>>,
}

impl SharedState {
    pub(crate) fn new(dir: Arc<LedgerDir>, base: Option<Arc<Base>>, head: Head, store: Option<Store>) -> Self {
        let acknowledged = Mutex::new(Acknowledged { head, tail: VecDeque::new(), poison: None });
        let (on_poison, observers) = (Mutex::default(), RwLock::default());
        let (store, is_signal_wanted) = (RwLock::new(store.map(Arc::new)), AtomicBool::new(true));
        Self { dir, base, acknowledged, on_poison, store, is_signal_wanted, observers }
    }

    /// Locks the state. A poisoned mutex is used all the same, since no panic can leave the state inconsistent.
    fn lock(&self) -> MutexGuard<'_, Acknowledged> {
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn head(&self) -> Head {
        self.lock().head
    }

    /// Makes a durable commit visible to readers, and calls the observers.
    pub(crate) fn publish(&self, commit: &Arc<Commit>) {
        let header = *commit.frame.header();
        let mut acknowledged = self.lock();
        acknowledged.head = Head { size: header.last_seq(), chain: header.chain_after };
        if self.store().is_some() {
            acknowledged.tail.push_back(Arc::clone(commit));
        }
        drop(acknowledged);
        for observer in self.observers.read().unwrap_or_else(PoisonError::into_inner).iter() {
            observer(header.last_seq());
        }
    }

    /// Asks for a message to the indexing thread when the next commit is acknowledged. Without the request, the thread is
    /// only woken for a number of commits together.
    pub(crate) fn request_signal(&self) {
        self.is_signal_wanted.store(true, Ordering::Release);
    }

    /// Whether the indexing thread asked for a message since the last call.
    pub(crate) fn take_signal_request(&self) -> bool {
        self.is_signal_wanted.swap(false, Ordering::AcqRel)
    }

    /// Registers `observer`, which is called after each later commit.
    pub(crate) fn observe(&self, observer: Observer) {
        self.observers.write().unwrap_or_else(PoisonError::into_inner).push(observer);
    }

    /// Drops the commits in memory whose events, up to event `last_seq`, are in the store.
    pub(crate) fn drop_indexed(&self, last_seq: u64) {
        let mut acknowledged = self.lock();
        while acknowledged.tail.front().is_some_and(|commit| commit.frame.header().last_seq() <= last_seq) {
            acknowledged.tail.pop_front();
        }
    }

    /// The commits that may be missing from the store and hold events with sequence number `seq` or higher.
    ///
    /// A reader must call this before it reads the store. A commit that is not returned is in the store by then; in the
    /// other order, a commit that is added to the store between the two reads would be missed.
    pub(crate) fn unindexed_from(&self, seq: u64) -> Vec<Arc<Commit>> {
        let acknowledged = self.lock();
        acknowledged.tail.iter().filter(|commit| commit.frame.header().last_seq() >= seq).cloned().collect()
    }

    /// Whether a commit that may be missing from the store has an event of `stream`.
    pub(crate) fn is_unindexed(&self, stream: StreamId) -> bool {
        let is_of_stream = |bytes: &[u8]| peek_stream(bytes).is_ok_and(|found| found == stream);
        self.unindexed_from(1)
            .iter()
            .any(|commit| commit.frame.iter(&commit.bytes).any(|(_, bytes)| is_of_stream(bytes)))
    }

    /// The commit with event `seq`, if that commit may be missing from the store.
    pub(crate) fn unindexed_at(&self, seq: u64) -> Option<Arc<Commit>> {
        let acknowledged = self.lock();
        let tail = &acknowledged.tail;
        let place = tail.partition_point(|commit| commit.frame.header().last_seq() < seq);
        tail.get(place).filter(|commit| commit.frame.header().first_seq <= seq).cloned()
    }

    pub(crate) fn store(&self) -> Option<Arc<Store>> {
        self.store.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Removes the store from this ledger and returns it. Readers read the journal from now on.
    pub(crate) fn take_store(&self) -> Option<Arc<Store>> {
        let store = self.store.write().unwrap_or_else(PoisonError::into_inner).take();
        self.lock().tail.clear();
        store
    }

    /// Poisons the ledger, and calls the registered callbacks. If the ledger is poisoned already, the first reason is
    /// kept. Returns the reason that is kept.
    pub(crate) fn poison(&self, why: String) -> Poison {
        let since = SystemClock.now().wall();
        let poison = self.lock().poison.get_or_insert(Poison { since, why }).clone();
        let calls = std::mem::take(&mut *self.on_poison.lock().unwrap_or_else(PoisonError::into_inner));
        calls.into_iter().for_each(|call| call());
        poison
    }

    pub(crate) fn poisoned(&self) -> Option<Poison> {
        self.lock().poison.clone()
    }

    /// Registers `call`, which is called once when the ledger becomes poisoned. Calls it now if the ledger is poisoned
    /// already.
    pub(crate) fn when_poisoned(&self, call: OnPoison) {
        // The list is locked before the check. So either the check below sees the poison, or the thread that poisons
        // the ledger locks the list after `call` was added to it.
        let mut calls = self.on_poison.lock().unwrap_or_else(PoisonError::into_inner);
        if self.poisoned().is_none() {
            calls.push(call);
            return;
        }
        drop(calls);
        call();
    }
}
