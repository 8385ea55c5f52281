//! The threads on which output is moved into files.
//!
//! A write to a disk may take any time, and there is no asynchronous form of it. So output has threads of its own, one for
//! each file system: where one hangs, only those wait whose output goes there. One that panicked is replaced.

use std::{
    collections::HashMap,
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use tokio::{
    runtime::{Builder, Handle},
    sync::oneshot,
};

/// File systems that have a thread of their own; more than these share them.
const THREADS_MAX: usize = 16;

/// The threads, which are made when they are needed and end when this is dropped.
#[derive(Debug, Default)]
pub struct LogThreads(Mutex<HashMap<u64, LogThread>>);

#[derive(Debug)]
struct LogThread {
    handle: Handle,
    /// Cleared before anything of the thread goes.
    is_alive: Arc<AtomicBool>,
    /// Ends the thread when it is dropped.
    _stop: oneshot::Sender<()>,
}

impl LogThreads {
    /// The runtime of the thread for a file that is, or will be, at `path`.
    ///
    /// # Errors
    /// When there is none yet and none can be made.
    pub(crate) fn of(&self, path: &Path) -> io::Result<Handle> {
        let device = device_of(path);
        let mut threads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        threads.retain(|_, thread| thread.is_alive.load(Ordering::Acquire));
        let is_full = threads.len() >= THREADS_MAX;
        if let Some(thread) = threads.get(&device).or_else(|| threads.values().next().filter(|_| is_full)) {
            return Ok(thread.handle.clone());
        }
        let thread = LogThread::start()?;
        let handle = thread.handle.clone();
        threads.insert(device, thread);
        Ok(handle)
    }
}

#[cfg(test)]
impl LogThreads {
    /// Has every thread panic.
    pub(crate) fn have_all_panic(&self) {
        for thread in self.0.lock().unwrap().values_mut() {
            std::mem::replace(&mut thread._stop, oneshot::channel().0).send(()).unwrap();
        }
    }
}

impl LogThread {
    fn start() -> io::Result<Self> {
        // One more for what is compressed.
        let runtime = Builder::new_current_thread().enable_all().max_blocking_threads(1).build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let is_alive = Arc::new(AtomicBool::new(true));
        let alive = Alive(Arc::clone(&is_alive));
        thread::Builder::new().name("apm2-logs".to_owned()).spawn(move || {
            let runtime = runtime;
            // Made after the runtime, dropped before it: a reader that is dropped with it is replaced on another thread.
            let alive = alive;
            // An error means that the other end was dropped, which is how it is told to end.
            let _ordered = runtime.block_on(stopped);
            #[cfg(test)]
            assert!(_ordered.is_err(), "a test has this thread panic");
            drop(alive);
            runtime.shutdown_background();
        })?;
        Ok(Self { handle, is_alive, _stop: stop })
    }
}

/// The mark of a thread that is alive.
struct Alive(Arc<AtomicBool>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// The file system of the nearest directory that is there; 0 without any.
fn device_of(path: &Path) -> u64 {
    path.ancestors().find_map(|path| fs::metadata(path).ok()).map_or(0, |metadata| metadata.dev())
}
