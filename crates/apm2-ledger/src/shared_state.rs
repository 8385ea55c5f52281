//! The state that the writer, the indexing thread and the readers of one open ledger share.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
};

use apm2_model::{clock::SystemClock, event::timestamp::Clock as _};
use chrono::{DateTime, SecondsFormat, Utc};

use crate::{
    dir::LedgerDir,
    frame::Frame,
    head::Head,
    store::{index::EventKeys, sled_store::Store},
};

/// One commit in memory.
#[derive(Debug)]
pub(crate) struct Commit {
    pub(crate) bytes: Vec<u8>,
    pub(crate) frame: Frame,
    /// What each of its events is found by.
    pub(crate) keys: Vec<EventKeys>,
}

/// The acknowledged events that the store may lack, and the head.
#[derive(Debug)]
struct Acknowledged {
    head: Head,
    /// Commits that the store may not have yet, in order.
    tail: VecDeque<Arc<Commit>>,
    /// Why nothing is acknowledged any more.
    poison: Option<Poison>,
}

/// Why a ledger takes nothing any more, and since when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Poison {
    /// Since when, by wall clock.
    pub since: DateTime<Utc>,
    /// Why.
    pub why: String,
}

impl fmt::Display for Poison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "poisoned since {}, because {}", self.since.to_rfc3339_opts(SecondsFormat::Secs, true), self.why)
    }
}

/// What is called once a ledger is poisoned.
type OnPoison = Box<dyn FnOnce() + Send>;

/// Is called with the size of the ledger after each commit.
pub(crate) type Observer = Box<dyn Fn(u64) + Send + Sync>;

/// The shared part of an open ledger.
pub(crate) struct SharedState {
    pub(crate) dir: Arc<LedgerDir>,
    acknowledged: Mutex<Acknowledged>,
    on_poison: Mutex<Vec<OnPoison>>,
    /// `None` once it failed or was closed: what is read then comes from the journal.
    store: RwLock<Option<Arc<Store>>>,
    observers: RwLock<Vec<Observer>>,
}

impl SharedState {
    pub(crate) fn new(dir: Arc<LedgerDir>, head: Head, store: Option<Store>) -> Self {
        let acknowledged = Mutex::new(Acknowledged { head, tail: VecDeque::new(), poison: None });
        let (on_poison, observers) = (Mutex::default(), RwLock::default());
        Self { dir, acknowledged, on_poison, store: RwLock::new(store.map(Arc::new)), observers }
    }

    /// Poisoning of the lock is ignored: no panic can leave the state inconsistent.
    fn lock(&self) -> MutexGuard<'_, Acknowledged> {
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn head(&self) -> Head {
        self.lock().head
    }

    /// Makes a durable commit visible.
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

    /// Calls `observer` after each commit from now on.
    pub(crate) fn observe(&self, observer: Observer) {
        self.observers.write().unwrap_or_else(PoisonError::into_inner).push(observer);
    }

    /// Drops the commits that the store holds.
    pub(crate) fn forget_through(&self, last_seq: u64) {
        let mut acknowledged = self.lock();
        while acknowledged.tail.front().is_some_and(|commit| commit.frame.header().last_seq() <= last_seq) {
            acknowledged.tail.pop_front();
        }
    }

    /// The commits that the store may not have yet, with events from `seq` on.
    ///
    /// To be read before the store: a commit that is not here by then is in the store.
    pub(crate) fn unindexed_from(&self, seq: u64) -> Vec<Arc<Commit>> {
        let acknowledged = self.lock();
        acknowledged.tail.iter().filter(|commit| commit.frame.header().last_seq() >= seq).cloned().collect()
    }

    /// The commit with event `seq`, if the store may not have it yet.
    pub(crate) fn unindexed_at(&self, seq: u64) -> Option<Arc<Commit>> {
        let acknowledged = self.lock();
        let tail = &acknowledged.tail;
        let place = tail.partition_point(|commit| commit.frame.header().last_seq() < seq);
        tail.get(place).filter(|commit| commit.frame.header().first_seq <= seq).cloned()
    }

    pub(crate) fn store(&self) -> Option<Arc<Store>> {
        self.store.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Stops using the store: from now on the journal is read.
    pub(crate) fn take_store(&self) -> Option<Arc<Store>> {
        let store = self.store.write().unwrap_or_else(PoisonError::into_inner).take();
        self.lock().tail.clear();
        store
    }

    /// Poisons the ledger. The first reason stays, and is returned.
    pub(crate) fn poison(&self, why: String) -> Poison {
        let since = SystemClock.now().wall();
        let poison = self.lock().poison.get_or_insert(Poison { since, why }).clone();
        let called = std::mem::take(&mut *self.on_poison.lock().unwrap_or_else(PoisonError::into_inner));
        called.into_iter().for_each(|call| call());
        poison
    }

    pub(crate) fn poisoned(&self) -> Option<Poison> {
        self.lock().poison.clone()
    }

    /// Calls `call` once the ledger is poisoned, which may be at once.
    pub(crate) fn when_poisoned(&self, call: OnPoison) {
        // Under the lock of the list: a poison either finds the call in it, or is found here.
        let mut calls = self.on_poison.lock().unwrap_or_else(PoisonError::into_inner);
        if self.poisoned().is_none() {
            calls.push(call);
            return;
        }
        drop(calls);
        call();
    }
}
