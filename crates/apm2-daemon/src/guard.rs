//! Keeps the daemon's socket where clients look for it: a cleaner of old files, or a copy that deletes what it does not
//! know, removes its file and leaves the daemon out of reach.

use std::{io, os::unix::net::UnixListener as StdListener, time::Duration};

use tokio::{
    net::UnixListener,
    sync::mpsc,
    task::{JoinHandle, spawn_blocking},
    time::sleep,
};

use crate::address::{Existing, Place, SocketFile};

/// How often it is looked whether the socket is in its place.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// A task that looks after a socket's file.
pub(crate) struct Guard {
    task: JoinHandle<()>,
    made: mpsc::Receiver<StdListener>,
}

impl Guard {
    /// Looks after `file` from here on.
    pub(crate) fn new(file: SocketFile) -> Self {
        let (sender, made) = mpsc::channel(1);
        Self { task: tokio::spawn(watch(file, sender)), made }
    }

    /// The socket that had to be made in the place of the one that was lost. Never, if none had to.
    pub(crate) async fn made(&mut self) -> StdListener {
        match self.made.recv().await {
            Some(listener) => listener,
            None => std::future::pending().await,
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.task.abort();
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

async fn watch(mut file: SocketFile, made: mpsc::Sender<StdListener>) {
    let mut said = None;
    loop {
        sleep(LOOK_INTERVAL).await;
        // A disk that hangs holds up this thread and no client.
        let looked = spawn_blocking(move || {
            let restored = restore(&mut file);
            (file, restored)
        });
        let Ok((returned, restored)) = looked.await else { return };
        file = returned;
        match restored {
            Ok(None) => said = None,
            Ok(Some(listener)) => {
                tracing::warn!("the daemon's socket was removed; it is made again");
                if made.send(listener).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                let error = error.to_string();
                // Once for each reason, and not each second.
                if said.as_ref() != Some(&error) {
                    tracing::error!("the daemon's socket was removed, and cannot be made again: {error}");
                }
                said = Some(error);
            }
        }
    }
}

fn restore(file: &mut SocketFile) -> io::Result<Option<StdListener>> {
    match file.place() {
        // Without a directory there is nothing to be reached by, and a ledger that is gone has no clients.
        Place::Own | Place::NoDirectory => Ok(None),
        // The ledger is ours: what has the name has no right to it.
        Place::Missing | Place::Taken => file.make(Existing::Replaced, StdListener::bind).map(Some),
    }
}
