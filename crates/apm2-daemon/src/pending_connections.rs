//! The connections of clients that have not sent their call yet. Their number is limited: a new connection closes the
//! oldest pending connection, so that silent clients do not block other clients.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::task::AbortHandle;

/// Maximum number of pending connections.
const WAITING_MAX: usize = 64;

/// The pending connections, oldest first.
#[derive(Debug, Default)]
pub(crate) struct PendingConnections(Mutex<ClientQueue>);

#[derive(Debug, Default)]
struct ClientQueue {
    next: u64,
    clients: VecDeque<(u64, AbortHandle)>,
}

impl PendingConnections {
    /// Adds the connection that `task` serves, and returns its number. If there are too many pending connections,
    /// aborts the task of the oldest one.
    pub(crate) fn add(&self, task: AbortHandle) -> u64 {
        let mut waiting = self.lock();
        if waiting.clients.len() >= WAITING_MAX
            && let Some((_, longest)) = waiting.clients.pop_front()
        {
            longest.abort();
        }
        let number = waiting.next;
        waiting.next = number.wrapping_add(1);
        waiting.clients.push_back((number, task));
        number
    }

    /// Removes the connection with this number, if it is still pending.
    pub(crate) fn remove(&self, number: u64) {
        self.lock().clients.retain(|(waiting, _)| *waiting != number);
    }

    /// Whether no connection is pending.
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().clients.is_empty()
    }

    /// Poisoning of the lock is ignored: a panic of another thread leaves no inconsistent state.
    fn lock(&self) -> MutexGuard<'_, ClientQueue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
