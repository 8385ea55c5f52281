//! Runs work that may block (disk, fork, name lookup, `/proc`) on blocking threads, so that the async workers stay
//! responsive.
//!
//! Each kind of work has its own limit on threads. If the runtime allows more blocking threads than [`THREADS_MAX`], at
//! least one thread is always free for file reads. Where no thread can be created, the work waits for those that there are, of
//! which [`keep_reserve`] keeps one.
//!
//! Steps have a second, lower limit. A thread that waits costs memory: its stack, its arena of malloc(3), and the memory of
//! the step that it interrupts, and free memory between the allocations of many steps stays with the process. So only
//! `PROMPT_STEPS_MAX` steps run at the same time as long as steps are prompt. A step that takes longer, because a file
//! system hangs for instance, stops counting after `PROMPT_STEP_TIME`, so that it does not delay other instances.

use std::{io, time::Duration};

use tokio::{sync::Semaphore, time::timeout};
use tracing::Span;

mod reserve;

pub use self::reserve::{keep_reserve, spawn};

/// Largest number of concurrent steps of instances and runs.
const STEPS_MAX: usize = 256;

/// Largest number of concurrent steps that have not yet taken longer than `PROMPT_STEP_TIME`. So many appends share one
/// fdatasync(2) of the journal.
const PROMPT_STEPS_MAX: usize = 32;

/// Time after which a step does not count as prompt any more.
const PROMPT_STEP_TIME: Duration = Duration::from_millis(250);

/// Largest number of concurrent blocking health checks.
const CHECKS_MAX: usize = 64;

/// Largest number of concurrent searches in `/proc`. Steps may wait for a search, so it does not count as a step.
const SEARCHES_MAX: usize = 2;

/// Largest number of blocking threads that this module uses.
pub const THREADS_MAX: usize = STEPS_MAX + CHECKS_MAX + SEARCHES_MAX;

static STEPS: Semaphore = Semaphore::const_new(STEPS_MAX);

static PROMPT_STEPS: Semaphore = Semaphore::const_new(PROMPT_STEPS_MAX);

static CHECKS: Semaphore = Semaphore::const_new(CHECKS_MAX);

static SEARCHES: Semaphore = Semaphore::const_new(SEARCHES_MAX);

/// Runs a step on a blocking thread: a record, a spawn or a signal, with the reads of `/proc` that it needs. A step
/// that has begun runs to its end even if this future is dropped.
///
/// # Errors
/// `work` panicked, or the runtime shut down before `work` began.
///
/// # Panics
/// Outside of a tokio runtime.
pub fn step<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> impl Future<Output = io::Result<T>> + Send + 'static {
    run_step(Box::new(work))
}

/// Runs a blocking health check on a blocking thread.
///
/// # Errors
/// Those of [`step`].
///
/// # Panics
/// Outside of a tokio runtime.
pub(crate) fn check<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> impl Future<Output = io::Result<T>> + Send + 'static {
    run(&CHECKS, Box::new(work))
}

/// Runs a search in `/proc` on a blocking thread.
///
/// # Errors
/// Those of [`step`].
///
/// # Panics
/// Outside of a tokio runtime.
pub(crate) fn search<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> impl Future<Output = io::Result<T>> + Send + 'static {
    run(&SEARCHES, Box::new(work))
}

async fn run_step<T: Send + 'static>(work: Box<dyn FnOnce() -> T + Send + 'static>) -> io::Result<T> {
    let prompt = PROMPT_STEPS.acquire().await.map_err(io::Error::other)?;
    let done = run(&STEPS, work);
    tokio::pin!(done);
    match timeout(PROMPT_STEP_TIME, &mut done).await {
        Ok(done) => done,
        Err(_) => {
            drop(prompt);
            done.await
        }
    }
}

/// `work` is boxed, because the future would otherwise contain several copies of what it captures, and each instance has
/// such a future in memory all the time.
async fn run<T: Send + 'static>(
    limit: &'static Semaphore,
    work: Box<dyn FnOnce() -> T + Send + 'static>,
) -> io::Result<T> {
    let permit = limit.acquire().await.map_err(io::Error::other)?;
    let span = Span::current();
    let done = spawn(move || {
        let _permit = permit;
        span.in_scope(work)
    });
    done.await.map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicUsize, Ordering},
    };

    use tokio::{task::JoinSet, time::Instant};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// Steps wait here until they are released.
    #[derive(Default)]
    struct Gate {
        is_open: Mutex<bool>,
        changed: Condvar,
        begun: AtomicUsize,
    }

    impl Gate {
        fn pass(&self) {
            self.begun.fetch_add(1, Ordering::SeqCst);
            let is_open = self.is_open.lock().unwrap();
            drop(self.changed.wait_timeout_while(is_open, PATIENCE, |is_open| !*is_open).unwrap());
        }

        fn open(&self) {
            *self.is_open.lock().unwrap() = true;
            self.changed.notify_all();
        }
    }

    #[tokio::test]
    async fn few_steps_run_at_once_unless_they_are_slow() {
        let gate = Arc::new(Gate::default());
        let began = Instant::now();
        let mut steps = JoinSet::new();
        for _ in 0..PROMPT_STEPS_MAX * 2 {
            let gate = Arc::clone(&gate);
            steps.spawn(step(move || gate.pass()));
        }
        loop {
            let begun = gate.begun.load(Ordering::SeqCst);
            // No step is slow yet when this time is read after the number.
            assert!(begun <= PROMPT_STEPS_MAX || began.elapsed() >= PROMPT_STEP_TIME, "{begun} steps at once");
            if begun == PROMPT_STEPS_MAX * 2 {
                break;
            }
            assert!(began.elapsed() < PATIENCE, "slow steps delay other steps");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        gate.open();
        while let Some(stepped) = steps.join_next().await {
            stepped.unwrap().unwrap();
        }
    }

    /// Each instance has such a future in memory.
    #[test]
    fn the_future_of_a_step_does_not_contain_what_it_captures() {
        let captured = [0_u8; 4096];
        let step = step(move || captured.len());
        assert!(size_of_val(&step) < 1024, "{}", size_of_val(&step));
    }
}
