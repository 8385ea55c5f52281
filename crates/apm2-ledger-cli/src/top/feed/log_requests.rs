//! Which output the screen asks for. Only the latest request counts.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use apm2_core::notify::Waker;

use crate::top::feed::log_update::LogTarget;

/// The output that the screen asks for.
#[derive(Default)]
pub(crate) struct LogRequests {
    wanted: Mutex<Wanted>,
    is_changed: Condvar,
}

#[derive(Default)]
struct Wanted {
    target: Option<LogTarget>,
    /// Increases with each request.
    number: u64,
    /// Ends the wait for the files of the request before.
    waker: Option<Waker>,
}

impl LogRequests {
    fn lock(&self) -> MutexGuard<'_, Wanted> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for other output, or for none.
    pub(crate) fn put(&self, target: Option<LogTarget>) {
        let mut wanted = self.lock();
        wanted.target = target;
        wanted.number += 1;
        if let Some(waker) = wanted.waker.take() {
            waker.wake();
        }
        self.is_changed.notify_one();
    }

    /// Waits for a request after the one with this number that asks for output.
    pub(crate) fn next(&self, served: u64) -> (LogTarget, u64) {
        let mut wanted = self.lock();
        loop {
            match &wanted.target {
                Some(target) if wanted.number != served => return (target.clone(), wanted.number),
                _ => wanted = self.is_changed.wait(wanted).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// Has `waker` end a wait as soon as there is another request. False if there is one already.
    pub(crate) fn wakes(&self, number: u64, waker: Waker) -> bool {
        let mut wanted = self.lock();
        wanted.waker = Some(waker);
        wanted.number == number
    }

    /// Whether there was no request after the one with this number.
    pub(crate) fn is_current(&self, number: u64) -> bool {
        self.lock().number == number
    }
}
