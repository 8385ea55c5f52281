//! Checks whether threads can be created. The async runtime panics where it cannot create those that it needs.

use std::{io, sync::mpsc, thread};

/// Checks that `count` threads can be created in addition to those that there are.
///
/// # Errors
/// EAGAIN at the limit on processes and threads (pthread_create(3)).
pub(crate) fn check_thread_limit(count: usize) -> io::Result<()> {
    let mut threads = Vec::new();
    for _ in 0..count {
        let (end, ended) = mpsc::channel::<()>();
        let waiting = thread::Builder::new().name("apm2-check".to_owned());
        threads.push((end, waiting.spawn(move || ended.recv())?));
    }
    for (end, thread) in threads {
        drop(end);
        // The thread does not panic.
        let _ = thread.join();
    }
    Ok(())
}
