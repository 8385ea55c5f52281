//! Keeps the daemon's socket where clients look for it: a cleaner of old files, or a copy that deletes what it does not
//! know, removes its file and leaves the daemon out of reach.

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

/// How long is waited at most before it is looked again whether the socket is in its place.
const LOOK_MAX: Duration = Duration::from_secs(60);

/// How long is waited before it is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// A thread that looks after a socket's file: a disk that hangs holds up no client.
pub(crate) struct SocketGuard {
    waker: Waker,
    is_over: Arc<AtomicBool>,
    made: mpsc::Receiver<StdListener>,
}

impl SocketGuard {
    /// Looks after `file` from here on.
    ///
    /// # Errors
    /// When no descriptor or thread is left.
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

    /// The socket that had to be made in the place of the one that was lost. Never, if none had to.
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

/// Listens on this socket with the runtime.
///
/// # Errors
/// When the runtime does not take it.
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
                // Once for each reason, and not at each look.
                if said.as_ref() != Some(&error) {
                    tracing::error!("the daemon's socket was removed, and cannot be made again: {error}");
                }
                said = Some(error);
            }
        }
        // One that could not be made is tried again before long.
        watch.wait(if said.is_some() { RETRY } else { LOOK_MAX });
    }
}

fn restore(file: &mut SocketFile) -> io::Result<Option<StdListener>> {
    match file.location() {
        // Without a directory there is nothing to be reached by, and a ledger that is gone has no clients.
        SocketLocation::Own | SocketLocation::NoDirectory => Ok(None),
        // The ledger is ours: what has the name has no right to it.
        SocketLocation::Missing | SocketLocation::Taken => file.make(OnExisting::Replace, StdListener::bind).map(Some),
    }
}
