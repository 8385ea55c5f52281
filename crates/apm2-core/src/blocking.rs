//! Work that may wait for a disk, a fork, a lookup or `/proc`: on blocking threads, so that the async workers always
//! answer.
//!
//! Each kind of work has its own limit. A runtime that allows more blocking threads than [`THREADS_MAX`] always has one
//! for what only reads.

use std::io;

use tokio::{sync::Semaphore, task::spawn_blocking};
use tracing::Span;

/// Steps of instances and runs that are taken at the same time.
const STEPS_MAX: usize = 256;

/// Health checks that wait for an answer at the same time.
const CHECKS_MAX: usize = 64;

/// Blocking threads that work of this module takes at most.
pub const THREADS_MAX: usize = STEPS_MAX + CHECKS_MAX;

static STEPS: Semaphore = Semaphore::const_new(STEPS_MAX);

static CHECKS: Semaphore = Semaphore::const_new(CHECKS_MAX);

/// Takes a step: an append, a spawn, a signal, with what has to be looked up for it. One that has begun runs to its end,
/// also when this future is dropped.
///
/// # Errors
/// When `work` panicked, or when the runtime shut down before it began.
///
/// # Panics
/// Outside of a tokio runtime.
pub async fn step<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    run(&STEPS, work).await
}

/// Makes a health check that blocks until it is answered.
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
