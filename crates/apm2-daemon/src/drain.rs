//! The end of service: the listening socket is closed, and connected clients receive their answers.

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use rustix::net::{Shutdown, SocketFlags, accept_with, shutdown};
use tokio::{
    net::{UnixListener, UnixStream},
    task::JoinHandle,
    time,
};

use crate::{accept_loop::spawn_session, address::ACCEPT_PAUSE, state::DaemonState};

/// Maximum time to wait for clients that still receive their answers.
const LEAVE_MAX: Duration = Duration::from_secs(1);

/// The listening socket of a daemon that shuts down. Calls that only read are answered; calls that change something are
/// refused.
pub(crate) struct ClosingListener {
    listener: OwnedFd,
    accepting: JoinHandle<()>,
}

impl ClosingListener {
    pub(crate) fn of(state: &Arc<DaemonState>, listener: UnixListener) -> io::Result<Self> {
        let handle = listener.as_fd().try_clone_to_owned()?;
        let state = Arc::clone(state);
        let accepting = tokio::spawn(async move {
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => spawn_session(&state, stream),
                    Err(_) => time::sleep(ACCEPT_PAUSE).await,
                }
            }
        });
        Ok(Self { listener: handle, accepting })
    }

    /// Closes the socket. Connections that the kernel has already accepted are served. Later connections are refused
    /// (ECONNREFUSED), as if no daemon ran.
    async fn close(self, state: &Arc<DaemonState>) {
        // The accept loop is ended first, because accept(2) on a socket fails immediately after shutdown(2).
        self.accepting.abort();
        drop(self.accepting.await);
        if let Err(error) = shutdown(&self.listener, Shutdown::Both) {
            tracing::debug!(%error, "could not shut down the socket; it is closed when the process ends");
            return;
        }
        while let Ok(connection) = accept_with(&self.listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
            match UnixStream::from_std(connection.into()) {
                Ok(stream) => spawn_session(state, stream),
                Err(error) => tracing::debug!(%error, "could not serve a connection"),
            }
        }
    }
}

/// Closes the socket and waits until all clients have received their answers.
pub(crate) async fn drain_clients(state: &Arc<DaemonState>, door: ClosingListener) {
    door.close(state).await;
    let began = Instant::now();
    let has_clients = || state.clients.load(Ordering::Acquire) > 0 || !state.pending.is_empty();
    while has_clients() && began.elapsed() < LEAVE_MAX {
        time::sleep(Duration::from_millis(2)).await;
    }
}
