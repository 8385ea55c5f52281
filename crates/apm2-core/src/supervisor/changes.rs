//! One lock for each process name: only one caller at a time changes a process.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::RwLock;

/// A read-write lock for each process name. A change holds the write lock, and a command that starts a process holds
/// the read lock, so that nothing is started in the middle of a change.
#[derive(Default)]
pub(crate) struct Changes(Mutex<HashMap<String, Arc<RwLock<()>>>>);

impl Changes {
    pub(crate) fn of(&self, name: &str) -> Arc<RwLock<()>> {
        let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        locks.retain(|_, lock| Arc::strong_count(lock) > 1);
        Arc::clone(locks.entry(name.to_owned()).or_default())
    }

    /// Waits for all changes and starts that are in progress now.
    pub(crate) async fn make_durable(&self) {
        let locks: Vec<_> = self.0.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        for lock in locks {
            drop(lock.write().await);
        }
    }
}
