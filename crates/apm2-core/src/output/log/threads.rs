//! The threads that move output into files.
//!
//! A write to a disk may take any time, and there is no asynchronous form of it. For that reason, output has its own
//! threads, one for each file system. A file system that hangs then blocks only the output to this file system. A
//! thread that panicked is replaced.

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

/// Largest number of log threads. Further file systems share these threads.
const THREADS_MAX: usize = 16;

/// The log threads. They are started on demand, and end when this value is dropped.
#[derive(Debug, Default)]
pub struct LogThreads(Mutex<HashMap<u64, LogThread>>);

#[derive(Debug)]
struct LogThread {
    handle: Handle,
    /// Whether the thread runs. Cleared before the thread drops the readers on its runtime.
    is_alive: Arc<AtomicBool>,
    /// Dropping this sender ends the thread.
    _stop: oneshot::Sender<()>,
}

impl LogThreads {
    /// The runtime of the thread for the file system of `path`. The file need not exist.
    ///
    /// # Errors
    /// When a new thread is needed and cannot be started.
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
    /// Makes every log thread panic.
    pub(crate) fn panic_all(&self) {
        for thread in self.0.lock().unwrap().values_mut() {
            std::mem::replace(&mut thread._stop, oneshot::channel().0).send(()).unwrap();
        }
    }
}

impl LogThread {
    fn start() -> io::Result<Self> {
        // A runtime with one blocking thread, which compresses files.
        let runtime = Builder::new_current_thread().enable_all().max_blocking_threads(1).build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let is_alive = Arc::new(AtomicBool::new(true));
        let alive = Alive(Arc::clone(&is_alive));
        thread::Builder::new().name("apm2-logs".to_owned()).spawn(move || {
            let runtime = runtime;
            // The thread drops this value before the runtime. When a reader is dropped with the runtime, the thread is
            // then already marked as ended, and the reader is replaced on another thread.
            let alive = alive;
            // An error means that the sender was dropped, and the thread ends.
            let _panic = runtime.block_on(stopped);
            #[cfg(test)]
            assert!(_panic.is_err(), "injected by a test");
            drop(alive);
            runtime.shutdown_background();
        })?;
        Ok(Self { handle, is_alive, _stop: stop })
    }
}

/// Clears `is_alive` when the thread ends, also if it ends by a panic.
struct Alive(Arc<AtomicBool>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// The device number of the file at `path`, or of its nearest existing ancestor; 0 if no ancestor can be read.
fn device_of(path: &Path) -> u64 {
    path.ancestors().find_map(|path| fs::metadata(path).ok()).map_or(0, |metadata| metadata.dev())
}
