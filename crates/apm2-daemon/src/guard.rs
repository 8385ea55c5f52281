//! Restores the file of the daemon's socket. A program that deletes old or unknown files may remove the socket file,
//! and clients could then not find the daemon.

use std::{
    io,
    os::unix::net::UnixListener as StdListener,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use apm2_core::notify::{FileWatch, Waker};
use tokio::{net::UnixListener, sync::mpsc};

use crate::address::{OnExisting, SocketFile, SocketLocation};

/// Maximum time between two checks of the file, in case no inotify event arrives.
const LOOK_MAX: Duration = Duration::from_secs(60);

/// Pause before a failed restore is repeated.
const RETRY: Duration = Duration::from_secs(1);

/// A thread that watches the file of a socket. It is a thread of its own, so that a disk that hangs delays no client.
pub(crate) struct SocketGuard {
    waker: Waker,
    is_over: Arc<AtomicBool>,
    made: mpsc::Receiver<StdListener>,
}

impl SocketGuard {
    /// Starts the thread that watches `file`.
    ///
    /// # Errors
    /// The inotify(7) instance or the thread cannot be created.
    pub(crate) fn new(file: SocketFile) -> io::Result<Self> {
        let (sender, made) = mpsc::channel(1);
        let mut watch = FileWatch::new()?;
        watch.add_file(&file.path());
        let (waker, is_over) = (watch.waker(), Arc::<AtomicBool>::default());
        let over = Arc::clone(&is_over);
        thread::Builder::new()
            .name("apm2-guard".to_owned())
            .spawn(move || look_after(file, &mut watch, &over, &sender))?;
        Ok(Self { waker, is_over, made })
    }

    /// Waits until the socket file is removed and replaced. Returns the new socket. Waits forever if the file is never
    /// removed.
    pub(crate) async fn made(&mut self) -> StdListener {
        match self.made.recv().await {
            Some(listener) => listener,
            None => std::future::pending().await,
        }
    }
}

impl Drop for SocketGuard {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
        self.waker.wake();
    }
}

/// Registers a listening socket with the async runtime.
///
/// # Errors
/// The socket cannot be registered.
pub(crate) fn registered(listener: StdListener) -> io::Result<UnixListener> {
    listener.set_nonblocking(true)?;
    UnixListener::from_std(listener)
}

fn look_after(mut file: SocketFile, watch: &mut FileWatch, is_over: &AtomicBool, made: &mpsc::Sender<StdListener>) {
    let mut said = None;
    while !is_over.load(Ordering::Acquire) {
        match restore(&mut file) {
            Ok(None) => said = None,
            Ok(Some(listener)) => {
                tracing::warn!("the daemon's socket was removed; it is made again");
                if made.blocking_send(listener).is_err() {
                    return;
                }
            }
            Err(error) => {
                let error = error.to_string();
                // An error is logged once for each reason.
                if said.as_ref() != Some(&error) {
                    tracing::error!("the daemon's socket was removed, and cannot be made again: {error}");
                }
                said = Some(error);
            }
        }
        // A failed restore is repeated soon.
        watch.wait(if said.is_some() { RETRY } else { LOOK_MAX });
    }
}

fn restore(file: &mut SocketFile) -> io::Result<Option<StdListener>> {
    match file.location() {
        // No client can reach a socket in a directory that was removed.
        SocketLocation::Own | SocketLocation::NoDirectory => Ok(None),
        // This process holds the lock of the ledger, so any other file with the name of the socket was left by a
        // process that has ended.
        SocketLocation::Missing | SocketLocation::Taken => file.make(OnExisting::Replace, StdListener::bind).map(Some),
    }
}
