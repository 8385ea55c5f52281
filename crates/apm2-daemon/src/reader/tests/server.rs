//! A server that answers on the socket of a ledger's directory as a daemon does, in this process.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize},
};

use apm2_core::supervisor::Supervisor;
use apm2_ledger::Ledger;
use apm2_model::recorder::NullRecorder;
use tokio::{
    runtime::{self, Runtime},
    sync::{mpsc, watch},
};

use crate::{
    accept_loop::spawn_session,
    address::{DAEMON_SOCKET, listen},
    guard::registered,
    pending_connections::PendingConnections,
    state::DaemonState,
};

/// Serves until it is dropped.
pub(super) struct Server {
    pub(super) state: Arc<DaemonState>,
    runtime: Option<Runtime>,
}

impl Server {
    pub(super) fn start(ledger: &Ledger) -> Self {
        let runtime = runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let state = runtime.block_on(async {
            // A supervisor that records elsewhere, so that it adds no events to the ledger.
            let (supervisor, _) = Supervisor::builder(NullRecorder).recover().await.unwrap();
            let (ledger, dir) = (ledger.clone(), Arc::clone(ledger.dir()));
            let state = Arc::new(DaemonState {
                supervisor,
                ledger,
                dir,
                leave: mpsc::channel(1).0,
                pending: PendingConnections::default(),
                head: watch::channel(0).1,
                clients: AtomicUsize::new(0),
                is_leaving: AtomicBool::new(false),
            });
            let listening = listen(state.dir.at(), DAEMON_SOCKET).unwrap().0;
            let (listener, serving) = (registered(listening).unwrap(), Arc::clone(&state));
            tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    spawn_session(&serving, stream);
                }
            });
            state
        });
        Self { state, runtime: Some(runtime) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The sessions are dropped, and with them their readers of the ledger.
        drop(self.runtime.take());
    }
}
