//! The state that the tasks of the daemon share.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use apm2_core::supervisor::Supervisor;
use apm2_ledger::{Ledger, LedgerDir};
use apm2_model::{event::requester::Requester, spec::launch::LaunchSpec};
use tokio::sync::{mpsc, oneshot, watch};

use crate::pending_connections::PendingConnections;

/// The group of the processes that `run` has started. They are unregistered when they have ended.
pub(crate) const RUN_GROUP: &str = "run";

/// Maximum number of clients that are served at the same time.
pub(crate) const CLIENTS_MAX: usize = 256;

/// How the daemon shuts down.
#[derive(Debug)]
pub(crate) enum ShutdownMode {
    /// Stop all processes first.
    StopAll(Requester),
    /// Leave all processes running, for the next daemon.
    LeaveRunning,
    /// Leave all processes running, and execve(2) a new daemon in this process: the ledger is poisoned.
    Reexec,
}

/// Where the problems of a shutdown are sent when it is complete; `None` where no client asked for it.
pub(crate) type ShutdownAck = Option<oneshot::Sender<Vec<String>>>;

/// The state that all sessions share.
pub(crate) struct DaemonState {
    pub(crate) supervisor: Supervisor,
    pub(crate) ledger: Ledger,
    /// The ledger's directory.
    pub(crate) dir: Arc<LedgerDir>,
    /// Requests a shutdown.
    pub(crate) leave: mpsc::Sender<(ShutdownMode, ShutdownAck)>,
    pub(crate) pending: PendingConnections,
    /// The size of the ledger in events, updated at each commit.
    pub(crate) head: watch::Receiver<u64>,
    pub(crate) clients: AtomicUsize,
    /// Whether the daemon is shutting down: no change is begun any more.
    pub(crate) is_leaving: AtomicBool,
}

/// Counts a client as served until it is dropped.
pub(crate) struct ClientPermit(Arc<DaemonState>);

impl ClientPermit {
    /// Counts one more client; `None` at [`CLIENTS_MAX`].
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

/// Whether `run` has started this process.
pub(crate) fn is_run(launch: &LaunchSpec) -> bool {
    launch.group.as_deref() == Some(RUN_GROUP)
}
