//! What the tasks of the daemon share.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use apm2_core::supervisor::Supervisor;
use apm2_ledger::{Ledger, LedgerDir};
use apm2_model::{event::requester::Requester, spec::launch::LaunchSpec};
use tokio::sync::{mpsc, oneshot, watch};

use crate::pending_connections::PendingConnections;

/// What was asked for by `run` belongs to this group, and is forgotten when it is over.
pub(crate) const RUN_GROUP: &str = "run";

/// Clients that are being served at the same time.
pub(crate) const CLIENTS_MAX: usize = 256;

/// How the daemon is told to leave.
#[derive(Debug)]
pub(crate) enum ShutdownMode {
    /// Stop everything first.
    StopAll(Requester),
    /// Leave what runs to the next daemon.
    LeaveRunning,
    /// Leave it to the daemon that this process becomes.
    Reexec,
}

/// What the sessions share.
pub(crate) struct DaemonState {
    pub(crate) supervisor: Supervisor,
    pub(crate) ledger: Ledger,
    /// The ledger's directory.
    pub(crate) dir: Arc<LedgerDir>,
    /// Told when the daemon is to leave, with whom to tell that it is about to.
    pub(crate) leave: mpsc::Sender<(ShutdownMode, Option<oneshot::Sender<Vec<String>>>)>,
    pub(crate) pending: PendingConnections,
    /// The size of the ledger, which is told when it grows.
    pub(crate) head: watch::Receiver<u64>,
    pub(crate) clients: AtomicUsize,
    /// Whether it is leaving: no change is begun any more.
    pub(crate) is_leaving: AtomicBool,
}

/// One client that is being served.
pub(crate) struct ClientPermit(Arc<DaemonState>);

impl ClientPermit {
    /// `None` when there are too many already.
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

/// Whether a launch is one that `run` asked for.
pub(crate) fn is_run(launch: &LaunchSpec) -> bool {
    launch.group.as_deref() == Some(RUN_GROUP)
}
