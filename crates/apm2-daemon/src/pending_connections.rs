//! Clients that are connected and have not sent their call yet. Their number is bounded: a new connection closes the oldest
//! pending one, so that silent clients do not block others.

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
    /// Adds the connection that `task` serves, and returns its number. Aborts the task of the oldest one where there are too
    /// many.
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

    /// A panic of another thread leaves no inconsistent state under this lock.
    fn lock(&self) -> MutexGuard<'_, ClientQueue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
