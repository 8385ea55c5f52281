//! Combines concurrent syncs of one directory: a sync that begins after a call serves this call.

use std::{
    io,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

/// The syncs of one directory. They are numbered from 1.
#[derive(Debug, Default)]
pub(crate) struct SharedSync {
    state: Mutex<SyncState>,
    /// Notified at the end of each sync.
    ended: Condvar,
}

#[derive(Debug, Default)]
struct SyncState {
    is_syncing: bool,
    begun: u64,
    /// The latest sync that succeeded.
    succeeded: u64,
    /// The latest sync that failed, with its error.
    failed: Option<(u64, io::ErrorKind, String)>,
}

impl SharedSync {
    /// Returns when a sync that began after this call has ended. It is made by `sync`, or by another caller for this one.
    /// Blocks.
    ///
    /// # Errors
    /// The error of that sync. A sync that failed is not repeated for any of its callers, because the kernel reports a
    /// failed write only once (fsync(2)).
    pub(crate) fn sync(&self, sync: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let mut state = self.state();
        let needed = state.begun.saturating_add(1);
        while state.is_syncing {
            state = self.ended.wait(state).unwrap_or_else(PoisonError::into_inner);
            match &state.failed {
                Some((number, kind, why)) if *number >= needed => return Err(io::Error::new(*kind, why.clone())),
                _ if state.succeeded >= needed => return Ok(()),
                _ => {}
            }
        }
        state.is_syncing = true;
        state.begun = state.begun.saturating_add(1);
        let number = state.begun;
        drop(state);
        let synced = sync();
        let mut state = self.state();
        state.is_syncing = false;
        match &synced {
            Ok(()) => state.succeeded = number,
            Err(error) => state.failed = Some((number, error.kind(), error.to_string())),
        }
        drop(state);
        self.ended.notify_all();
        synced
    }

    /// Poisoning of the lock is ignored, because no call can panic while it holds the lock.
    fn state(&self) -> MutexGuard<'_, SyncState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        sync::{
            atomic::{AtomicUsize, Ordering},
            mpsc,
        },
        thread,
        time::{Duration, Instant},
    };

    use nix::unistd::{Pid, gettid};

    use super::*;

    /// Waits until the thread sleeps (proc_pid_stat(5)), as in a call that waits.
    fn wait_until_asleep(thread: Pid) {
        let deadline = Instant::now() + Duration::from_secs(20);
        let is_asleep = || {
            let stat = fs::read_to_string(format!("/proc/self/task/{thread}/stat")).unwrap();
            stat.rsplit_once(") ").is_some_and(|(_, fields)| fields.starts_with('S'))
        };
        while !is_asleep() {
            assert!(Instant::now() < deadline, "the thread does not sleep");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Makes one sync that waits, and meanwhile eight calls whose sync has the result `of_later`. Returns the results of
    /// the calls and the number of syncs.
    fn eight_calls_during_a_sync(of_later: impl Fn() -> io::Result<()> + Sync) -> (Vec<io::Result<()>>, usize) {
        let (shared, syncs) = (SharedSync::default(), AtomicUsize::new(0));
        let (began, has_begun) = mpsc::channel();
        let (end, ending) = mpsc::channel::<()>();
        let (calling, calls) = mpsc::channel();
        let results = thread::scope(|scope| {
            let (shared, syncs, of_later) = (&shared, &syncs, &of_later);
            let first = scope.spawn(move || {
                shared.sync(|| {
                    syncs.fetch_add(1, Ordering::SeqCst);
                    began.send(()).unwrap();
                    ending.recv().unwrap();
                    Ok(())
                })
            });
            has_begun.recv().unwrap();
            let later: Vec<_> = (0..8)
                .map(|_| {
                    let calling = calling.clone();
                    scope.spawn(move || {
                        calling.send(gettid()).unwrap();
                        shared.sync(|| {
                            syncs.fetch_add(1, Ordering::SeqCst);
                            of_later()
                        })
                    })
                })
                .collect();
            // A call that is late all the same only needs a sync of its own.
            (0..8).for_each(|_| wait_until_asleep(calls.recv().unwrap()));
            end.send(()).unwrap();
            first.join().unwrap().unwrap();
            later.into_iter().map(|call| call.join().unwrap()).collect()
        });
        (results, syncs.into_inner())
    }

    #[test]
    fn calls_during_a_sync_share_one_sync_after_it() {
        // A busy machine can delay some of the calls.
        let most_shared = (0..20).map(|_| {
            let (results, syncs) = eight_calls_during_a_sync(|| Ok(()));
            assert!(
                results.iter().all(Result::is_ok) && syncs >= 2,
                "no call is served by a sync that began before it"
            );
            syncs
        });
        assert!(most_shared.into_iter().any(|syncs| syncs == 2));
    }

    #[test]
    fn a_failed_sync_fails_for_each_of_its_callers() {
        let (results, _) = eight_calls_during_a_sync(|| Err(io::Error::from(io::ErrorKind::StorageFull)));
        assert!(
            results.iter().all(|result| result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::StorageFull))
        );
    }
}
