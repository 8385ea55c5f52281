//! What the tasks of the daemon share.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use apm2_core::supervisor::Supervisor;
use apm2_ledger::{Ledger, LedgerDir};
use apm2_model::{event::requester::Requester, spec::launch::LaunchSpec};
use tokio::sync::{mpsc, oneshot, watch};

use crate::lobby::Lobby;

/// What was asked for by `run` belongs to this group, and is forgotten when it is over.
pub(crate) const RUN_GROUP: &str = "run";

/// Clients that are being served at the same time.
pub(crate) const CLIENTS_MAX: usize = 256;

/// How the daemon is told to leave.
#[derive(Debug)]
pub(crate) enum Leave {
    /// Stop everything first.
    Stopping(Requester),
    /// Leave what runs to the next daemon.
    Running,
    /// Leave it to the daemon that this process becomes.
    Poisoned,
}

/// What the sessions share.
pub(crate) struct Shared {
    pub(crate) supervisor: Supervisor,
    pub(crate) ledger: Ledger,
    /// The ledger's directory.
    pub(crate) dir: Arc<LedgerDir>,
    /// Told when the daemon is to leave, with whom to tell that it is about to.
    pub(crate) leave: mpsc::Sender<(Leave, Option<oneshot::Sender<Vec<String>>>)>,
    pub(crate) lobby: Lobby,
    /// The size of the ledger, which is told when it grows.
    pub(crate) head: watch::Receiver<u64>,
    pub(crate) clients: AtomicUsize,
    /// Whether it is leaving: no change is begun any more.
    pub(crate) is_leaving: AtomicBool,
}

/// One client that is being served.
pub(crate) struct ServedClient(Arc<Shared>);

impl ServedClient {
    /// `None` when there are too many already.
    pub(crate) fn begin(shared: &Arc<Shared>) -> Option<Self> {
        let before = shared.clients.fetch_add(1, Ordering::AcqRel);
        let served = Self(Arc::clone(shared));
        (before < CLIENTS_MAX).then_some(served)
    }
}

impl Drop for ServedClient {
    fn drop(&mut self) {
        self.0.clients.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Whether a launch is one that `run` asked for.
pub(crate) fn is_run(launch: &LaunchSpec) -> bool {
    launch.group.as_deref() == Some(RUN_GROUP)
}
