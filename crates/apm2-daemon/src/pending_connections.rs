//! Clients that are connected and have not said what they want. There is room for so many; who has waited longest has to go
//! when another one comes, so that those who say nothing keep nobody else out.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::task::AbortHandle;

/// Clients that may wait.
const WAITING_MAX: usize = 64;

/// The clients that wait, the one that came first at the front.
#[derive(Debug, Default)]
pub(crate) struct PendingConnections(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    clients: VecDeque<(u64, AbortHandle)>,
}

impl PendingConnections {
    /// Lets a client wait, whose task this is. Gives its number.
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

    /// The client with this number waits no more.
    pub(crate) fn remove(&self, number: u64) {
        self.lock().clients.retain(|(waiting, _)| *waiting != number);
    }

    /// Whether nobody waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().clients.is_empty()
    }

    /// Nothing is left half-done under this lock, so a panic of another thread does not matter.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
