//! A blocking thread that is kept for work that no other thread begins.
//!
//! At the limit on processes and threads (RLIMIT_NPROC, `pids.max` of a cgroup) no thread can be created (EAGAIN,
//! pthread_create(3)). tokio's `spawn_blocking` then panics if the runtime has no blocking thread, and else leaves the work to
//! the threads that there are, which end when they are idle. The reserve is a thread that never ends. It does no work
//! as long as other threads do.
//!
//! It is one thread: work on it that waits for other work, such as a step for a search in `/proc`, or for a client, holds up
//! the rest while no thread can be created.

use std::{
    sync::{
        Condvar, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::Notify,
    task::{JoinHandle, spawn_blocking},
    time::sleep,
};

/// Time after which the reserve begins work that no other thread has begun.
const BEGIN_MAX: Duration = Duration::from_millis(100);

/// The amount of work that no thread has begun.
static WAITING: AtomicUsize = AtomicUsize::new(0);

/// Is notified when work waits and none waited before.
static ADDED: Notify = Notify::const_new();

/// How often the reserve was released.
static RELEASES: Mutex<u64> = Mutex::new(0);

static RELEASED: Condvar = Condvar::new();

/// Work that waits for a thread. It does not wait any more once this is dropped.
struct Waiting;

impl Waiting {
    fn new() -> Self {
        if WAITING.fetch_add(1, Ordering::AcqRel) == 0 {
            ADDED.notify_one();
        }
        Self
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        WAITING.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Runs `work` on a blocking thread, as [`spawn_blocking`] does. If no thread begins it, the reserve of the runtime does, see
/// [`keep_reserve`].
///
/// # Panics
/// Outside of a tokio runtime. If no thread can be created and the runtime has none.
pub fn spawn<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    let waiting = Waiting::new();
    spawn_blocking(move || {
        drop(waiting);
        work()
    })
}

/// Creates the reserve of this runtime, and lets it begin work that waits. Is to be spawned once in a process, and does not
/// end. Neither does the thread: the runtime must be ended with `shutdown_background`, since its drop waits for the thread.
///
/// # Panics
/// If no thread can be created.
pub async fn keep_reserve() {
    drop(spawn_blocking(hold));
    loop {
        ADDED.notified().await;
        loop {
            sleep(BEGIN_MAX).await;
            if WAITING.load(Ordering::Acquire) == 0 {
                break;
            }
            *RELEASES.lock().unwrap_or_else(PoisonError::into_inner) += 1;
            RELEASED.notify_all();
        }
    }
}

/// Holds the thread until it is released. It then does the work that waits, and after that this again.
fn hold() {
    let releases = RELEASES.lock().unwrap_or_else(PoisonError::into_inner);
    let before = *releases;
    drop(RELEASED.wait_while(releases, |releases| *releases == before).unwrap_or_else(PoisonError::into_inner));
    drop(spawn_blocking(hold));
}
