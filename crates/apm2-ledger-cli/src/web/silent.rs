//! The connections over which no request has arrived yet. The oldest one is closed when a new connection needs its place.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

/// The silent connections, oldest first.
#[derive(Clone, Default)]
pub(crate) struct SilentConnections(Arc<Mutex<List>>);

#[derive(Default)]
struct List {
    /// The number of connections so far.
    count: u64,
    /// The senders that close a connection, by its number.
    silent: BTreeMap<u64, oneshot::Sender<()>>,
}

/// A connection in the list. It is taken from the list when this value is dropped.
pub(crate) struct Silence {
    list: SilentConnections,
    number: u64,
}

impl SilentConnections {
    /// Adds a connection. The future completes when the connection has to be closed.
    pub(crate) fn add(&self) -> (Silence, impl Future<Output = ()> + Send + use<>) {
        let (close, closed) = oneshot::channel();
        let mut list = self.list();
        list.count = list.count.saturating_add(1);
        let number = list.count;
        list.silent.insert(number, close);
        let closed = async {
            // The sender is dropped when the connection is silent no longer.
            if closed.await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        (Silence { list: self.clone(), number }, closed)
    }

    /// Closes the oldest silent connection. Returns whether there is one.
    pub(crate) fn close_oldest(&self) -> bool {
        let mut list = self.list();
        while let Some((_, close)) = list.silent.pop_first() {
            // It fails if the connection has just ended.
            if close.send(()).is_ok() {
                return true;
            }
        }
        false
    }

    fn list(&self) -> MutexGuard<'_, List> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        self.list.list().silent.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn the_oldest_connection_that_is_still_silent_is_closed() {
        let connections = SilentConnections::default();
        let (first, second, third, fourth) =
            (connections.add(), connections.add(), connections.add(), connections.add());
        drop(first.0);
        drop(second);
        assert!(connections.close_oldest());
        assert!(third.1.now_or_never().is_some(), "the first has sent a request, the second has ended");
        assert!(first.1.now_or_never().is_none());
        drop(fourth.1);
        assert!(!connections.close_oldest());
        drop(fourth.0);
    }
}
