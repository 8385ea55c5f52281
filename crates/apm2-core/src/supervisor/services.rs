//! The services that a supervisor uses: storage, clock, log files, descriptor store and adapters.

use std::sync::Arc;

use apm2_model::{event::timestamp::Clock, recorder::EventStore, spec::launch::LaunchSpec};

use crate::{
    adapter::Adapter,
    os::marker::LedgerPlace,
    output::{
        destination::FileLogs,
        fd_store::FdStore,
        log::{files::LogsDir, threads::LogThreads},
    },
    supervisor::launch_store::LaunchStore,
};

/// The services that a supervisor uses.
pub struct Services {
    /// Stores the events of all streams, and loads them.
    pub store: Arc<dyn EventStore>,
    /// The source of time stamps.
    pub clock: Arc<dyn Clock>,
    /// Stores launch specifications for the next supervisor.
    pub launches: Arc<dyn LaunchStore>,
    /// The identity of the ledger directory, which is part of the markers of runs. Without it, runs of a copied ledger
    /// cannot be distinguished from runs of the original ledger.
    pub place: Option<LedgerPlace>,
    /// The file descriptor store, which keeps the outputs of runs open. Without it, the content of a pipe is lost when
    /// the process and the supervisor both end.
    pub fd_store: Option<Arc<dyn FdStore>>,
    /// Where the output of processes without configured log files is stored, and the threads that write it. Without it,
    /// no output is captured.
    pub logs: Option<(LogsDir, Arc<LogThreads>)>,
    /// Chooses the adapter that observes a process.
    pub adapters: AdapterFactory,
}

/// Chooses the adapter that observes a process. If it returns `None`, [`BlackBox`](crate::adapter::BlackBox) observes
/// the process.
pub type AdapterFactory = Arc<dyn Fn(&LaunchSpec) -> Option<Box<dyn Adapter>> + Send + Sync>;

impl Services {
    pub(crate) fn files(&self) -> Option<FileLogs> {
        let (dir, threads) = self.logs.clone()?;
        Some(FileLogs { dir, threads, meter: Arc::default(), secret_filter: Arc::default() })
    }
}
