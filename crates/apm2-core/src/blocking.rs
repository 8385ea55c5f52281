//! Runs work that may block (disk, fork, name lookup, `/proc`) on blocking threads, so that the async workers stay
//! responsive.
//!
//! Each kind of work has its own limit on threads. If the runtime allows more blocking threads than [`THREADS_MAX`], at
//! least one thread is always free for file reads.

use std::io;

use tokio::{sync::Semaphore, task::spawn_blocking};
use tracing::Span;

/// Largest number of concurrent steps of instances and runs.
const STEPS_MAX: usize = 256;

/// Largest number of concurrent blocking health checks.
const CHECKS_MAX: usize = 64;

/// Largest number of blocking threads that this module uses.
pub const THREADS_MAX: usize = STEPS_MAX + CHECKS_MAX;

static STEPS: Semaphore = Semaphore::const_new(STEPS_MAX);

static CHECKS: Semaphore = Semaphore::const_new(CHECKS_MAX);

/// Runs a step on a blocking thread: a record, a spawn or a signal, with the reads of `/proc` that it needs. A step
/// that has begun runs to its end even if this future is dropped.
///
/// # Errors
/// `work` panicked, or the runtime shut down before `work` began.
///
/// # Panics
/// Outside of a tokio runtime.
pub async fn step<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    run(&STEPS, work).await
}

/// Runs a blocking health check on a blocking thread.
///
/// # Errors
/// Those of [`step`].
///
/// # Panics
/// Outside of a tokio runtime.
pub(crate) async fn check<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    run(&CHECKS, work).await
}

async fn run<T: Send + 'static>(limit: &'static Semaphore, work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    let permit = limit.acquire().await.map_err(io::Error::other)?;
    let span = Span::current();
    let done = spawn_blocking(move || {
        let _permit = permit;
        span.in_scope(work)
    });
    done.await.map_err(io::Error::other)
}
