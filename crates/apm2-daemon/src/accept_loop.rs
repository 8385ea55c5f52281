//! The loop of a serving daemon. It accepts clients until a client or a signal asks it to end, the ledger is poisoned,
//! or the daemon is idle for too long.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use apm2_ledger::Place;
use tokio::{
    net::{UnixListener, UnixStream},
    sync::{mpsc, oneshot},
    time,
};

use crate::{
    address::ACCEPT_PAUSE,
    guard::{SocketGuard, registered},
    options::DaemonOptions,
    session,
    signals::ShutdownSignals,
    state::{DaemonState, ShutdownAck, ShutdownMode},
    watch::poisoned,
};

/// Interval of the idle checks.
const IDLE_POLL: Duration = Duration::from_secs(1);

/// Interval of the idle checks while a process runs. It is longer, because each check wakes two threads.
const BUSY_POLL: Duration = Duration::from_secs(5);

/// The recorded reason of a daemon that ends because nothing runs.
const IDLE: &str = "nothing ran, and no client was connected";

/// Serves clients until the daemon has to shut down. Returns the kind of the shutdown, and the sender of its result.
pub(crate) async fn until_leaving(
    state: &Arc<DaemonState>,
    (listener, mut guard): (&mut UnixListener, SocketGuard),
    options: &DaemonOptions,
    mut left: mpsc::Receiver<(ShutdownMode, ShutdownAck)>,
    signals: &mut ShutdownSignals,
) -> (ShutdownMode, ShutdownAck) {
    let mut busy = Instant::now();
    let mut ticks = time::interval(IDLE_POLL);
    let mut poisoned = poisoned(&state.ledger);
    let mut is_deaf = false;
    loop {
        tokio::select! {
            biased;
            Some(told) = left.recv() => return told,
            Some(place) = poisoned.recv() => match place {
                Place::Moved => return (ShutdownMode::leave_because("the directory of the ledger was moved"), None),
                Place::Same if !state.supervisor.launches().is_empty() => return (ShutdownMode::Reexec, None),
                // A new daemon could not open the ledger directory, so this daemon continues.
                Place::Same | Place::Removed | Place::Exchanged => {}
            },
            leave = signals.next() => return (leave, None),
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    is_deaf = false;
                    spawn_session(state, stream);
                }
                // accept(2) has failed, perhaps because no descriptor is free (EMFILE). The connection stays pending;
                // the pause avoids a busy loop.
                Err(error) => {
                    if !std::mem::replace(&mut is_deaf, true) {
                        tracing::warn!(%error, "could not accept a connection");
                    }
                    time::sleep(ACCEPT_PAUSE).await;
                }
            },
            made = guard.made() => match registered(made) {
                Ok(made) => *listener = made,
                Err(error) => tracing::error!(%error, "could not listen on the socket that was made again"),
            },
            _ = ticks.tick() => {
                let has_clients = state.clients.load(Ordering::Acquire) > 0 || !state.pending.is_empty();
                if has_clients || !state.supervisor.is_idle() {
                    busy = Instant::now();
                    ticks.reset_after(BUSY_POLL);
                }
                // A poisoned ledger (after a write error, it cannot be written any more) is closed as soon as no
                // process runs.
                let limit = if state.ledger.poisoned().is_some() { Some(Duration::ZERO) } else { options.idle_timeout };
                if limit.is_some_and(|limit| busy.elapsed() >= limit) && !has_clients && state.supervisor.is_idle() {
                    return (ShutdownMode::leave_because(IDLE), None);
                }
            }
        }
    }
}

/// Starts the task of a new connection, which counts as pending until its call is read.
pub(crate) fn spawn_session(state: &Arc<DaemonState>, stream: UnixStream) {
    let (admit, admitted) = oneshot::channel();
    let ours = Arc::clone(state);
    let task = tokio::spawn(async move {
        // The task waits for the number of its connection, which it has to remove from the pending connections.
        if let Ok(number) = admitted.await {
            session::serve(&ours, stream, number).await;
        }
    });
    // The receiver is gone if the task was aborted immediately.
    let _ = admit.send(state.pending.add(task.abort_handle()));
}
