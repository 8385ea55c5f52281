//! The state that all tasks of the daemon share.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use apm2_core::supervisor::Supervisor;
use apm2_ledger::{Ledger, LedgerDir};
use apm2_model::{
    event::{actor::Actor, requester::Requester},
    spec::launch::LaunchSpec,
};
use tokio::sync::{mpsc, oneshot, watch};

use crate::pending_connections::PendingConnections;

/// The group of the processes that the call `run` has started. These processes are unregistered when they have ended.
pub(crate) const RUN_GROUP: &str = "run";

/// Maximum number of clients that are served at the same time.
pub(crate) const CLIENTS_MAX: usize = 256;

/// The kind of shutdown of a daemon.
#[derive(Debug)]
pub(crate) enum ShutdownMode {
    /// Stop all processes, and then exit. The requester is recorded with the end of the daemon.
    StopAll(Requester),
    /// Exit and leave all processes running for the next daemon. The requester is recorded with the end of the daemon.
    LeaveRunning(Requester),
    /// Leave all processes running, and execute a new daemon in this process (execve(2)), because the ledger is
    /// poisoned.
    Reexec,
}

impl ShutdownMode {
    /// The mode of a daemon that leaves without a request of a person.
    pub(crate) fn leave_because(reason: &str) -> Self {
        Self::LeaveRunning(Requester { actor: Actor::System, reason: Some(reason.to_owned()) })
    }
}

/// The sender to which the errors of a shutdown are sent when it is complete; `None` if no client requested the
/// shutdown.
pub(crate) type ShutdownAck = Option<oneshot::Sender<Vec<String>>>;

/// The state that all sessions share.
pub(crate) struct DaemonState {
    pub(crate) supervisor: Supervisor,
    pub(crate) ledger: Ledger,
    /// The ledger directory.
    pub(crate) dir: Arc<LedgerDir>,
    /// The channel to request a shutdown of the daemon.
    pub(crate) leave: mpsc::Sender<(ShutdownMode, ShutdownAck)>,
    pub(crate) pending: PendingConnections,
    /// The size of the ledger in events. Each commit updates it.
    pub(crate) head: watch::Receiver<u64>,
    pub(crate) clients: AtomicUsize,
    /// Whether the daemon is shutting down. No change is started any more after that.
    pub(crate) is_leaving: AtomicBool,
}

/// Counts a client as served until this value is dropped.
pub(crate) struct ClientPermit(Arc<DaemonState>);

impl ClientPermit {
    /// Counts one more client; `None` if [`CLIENTS_MAX`] clients are already served.
    pub(crate) fn acquire(state: &Arc<DaemonState>) -> Option<Self> {
        let before = state.clients.fetch_add(1, Ordering::AcqRel);
        let served = Self(Arc::clone(state));
        (before < CLIENTS_MAX).then_some(served)
    }
}

impl Drop for ClientPermit {
    fn drop(&mut self) {
        self.0.clients.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Whether the call `run` has started this process.
pub(crate) fn is_run(launch: &LaunchSpec) -> bool {
    launch.group.as_deref() == Some(RUN_GROUP)
}
