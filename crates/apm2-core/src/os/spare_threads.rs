//! Runs a closure on another thread at once: on one that has finished an earlier closure, or on a new one.
//!
//! The number of threads has no limit here, so no closure waits for the end of another one. The starts of runs are the only user,
//! and [`blocking`](crate::blocking) limits how many of them run at the same time.

use std::{
    io,
    sync::{Mutex, MutexGuard, PoisonError, mpsc},
    thread::{self, ThreadId},
    time::Duration,
};

use tracing::Span;

type Job = Box<dyn FnOnce() + Send>;

/// Time after which a thread without a closure ends.
const IDLE_MAX: Duration = Duration::from_secs(5);

/// Largest number of threads that wait for a closure.
const SPARE_MAX: usize = 32;

/// A thread that waits for a closure.
struct SpareThread {
    id: ThreadId,
    jobs: mpsc::Sender<Job>,
}

/// The threads that wait for a closure, the one that has waited longest first.
static SPARE: Mutex<Vec<SpareThread>> = Mutex::new(Vec::new());

fn spare() -> MutexGuard<'static, Vec<SpareThread>> {
    SPARE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `work` on another thread, in the current span. A panic of `work` ends its thread.
///
/// # Errors
/// When a new thread is needed and cannot be started.
pub(crate) fn run(work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let span = Span::current();
    let job: Job = Box::new(move || span.in_scope(work));
    // The guard is released before the thread is woken, which takes the same lock soon.
    let thread = spare().pop();
    let job = match thread {
        None => job,
        Some(thread) => match thread.jobs.send(job) {
            Ok(()) => return Ok(()),
            Err(mpsc::SendError(job)) => job,
        },
    };
    thread::Builder::new().name("apm2-barrier".to_owned()).spawn(move || work_on(job)).map(drop)
}

/// Runs `job`, and the closures after it, until none comes for [`IDLE_MAX`].
fn work_on(job: Job) {
    let (sender, jobs) = mpsc::channel();
    let mut next = Some(job);
    while let Some(job) = next {
        job();
        let mut spare = spare();
        if spare.len() >= SPARE_MAX {
            return;
        }
        spare.push(SpareThread { id: thread::current().id(), jobs: sender.clone() });
        drop(spare);
        next = jobs.recv_timeout(IDLE_MAX).ok().or_else(|| last_job(&jobs));
    }
}

/// Makes the current thread unavailable. Returns the closure that was given to it before that.
fn last_job(jobs: &mpsc::Receiver<Job>) -> Option<Job> {
    let mut spare = spare();
    match spare.iter().position(|thread| thread.id == thread::current().id()) {
        Some(at) => {
            spare.remove(at);
            None
        }
        None => {
            drop(spare);
            // The sender was taken from the list, and is dropped after it has sent.
            jobs.recv().ok()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::HashSet,
        sync::{Arc, Barrier},
        time::Instant,
    };

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// The id of the thread on which a closure runs.
    fn thread_of_closure() -> ThreadId {
        let (sender, receiver) = mpsc::channel();
        run(move || sender.send(thread::current().id()).unwrap()).unwrap();
        receiver.recv_timeout(PATIENCE).unwrap()
    }

    #[test]
    fn closures_do_not_wait_for_each_other() {
        let all = SPARE_MAX * 2;
        let (barrier, (sender, receiver)) = (Arc::new(Barrier::new(all)), mpsc::channel());
        for _ in 0..all {
            let (barrier, sender) = (Arc::clone(&barrier), sender.clone());
            run(move || {
                barrier.wait();
                sender.send(thread::current().id()).unwrap();
            })
            .unwrap();
        }
        let threads: HashSet<_> = (0..all).map(|_| receiver.recv_timeout(PATIENCE).unwrap()).collect();
        assert_eq!(threads.len(), all);
    }

    /// A closure that is given right after another one may need a new thread, but not each of them does.
    #[test]
    fn a_thread_is_used_again() {
        let (began, mut seen) = (Instant::now(), HashSet::new());
        while seen.insert(thread_of_closure()) {
            assert!(began.elapsed() < PATIENCE, "{} closures, each on a new thread", seen.len());
        }
    }

    #[test]
    fn a_panic_leaves_the_other_threads_usable() {
        let (sender, receiver) = mpsc::channel::<()>();
        run(move || {
            let _sender = sender;
            panic!("injected by a test");
        })
        .unwrap();
        assert_eq!(receiver.recv_timeout(PATIENCE), Err(mpsc::RecvTimeoutError::Disconnected));
        thread_of_closure();
    }
}
