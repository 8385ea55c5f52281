//! The threads on which output is moved into files.
//!
//! A write to a disk may take any time, and there is no asynchronous form of it. So output has threads of its own, one for
//! each file system: where one hangs, only those wait whose output goes there.

use std::{
    collections::HashMap,
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::Path,
    sync::{Mutex, PoisonError},
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

impl LogThread {
    fn start() -> io::Result<Self> {
        // One more for what is compressed.
        let runtime = Builder::new_current_thread().enable_all().max_blocking_threads(1).build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        thread::Builder::new().name("apm2-logs".to_owned()).spawn(move || {
            // An error means that the other end was dropped, which is how it is told to end.
            let _ = runtime.block_on(stopped);
            runtime.shutdown_background();
        })?;
        Ok(Self { handle, _stop: stop })
    }
}

/// The file system of the nearest directory that is there; 0 without any.
fn device_of(path: &Path) -> u64 {
    path.ancestors().find_map(|path| fs::metadata(path).ok()).map_or(0, |metadata| metadata.dev())
}
