//! The dependencies of a supervisor.

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

/// The dependencies of a supervisor.
pub struct Services {
    /// Where events are recorded.
    pub store: Arc<dyn EventStore>,
    /// The source of time stamps.
    pub clock: Arc<dyn Clock>,
    /// Stores launch specifications for the next supervisor.
    pub launches: Arc<dyn LaunchStore>,
    /// The identity of the ledger's directory, which the markers of runs carry. Without one, runs of a copied ledger cannot be
    /// distinguished from its own.
    pub place: Option<LedgerPlace>,
    /// The file descriptor store, which keeps outputs open. Without one, what is in a pipe is lost when the process and the
    /// supervisor both end.
    pub fd_store: Option<Arc<dyn FdStore>>,
    /// Where output is captured that names no file, and the threads that write it. Without them no output is captured.
    pub logs: Option<(LogsDir, Arc<LogThreads>)>,
    /// Chooses what observes a process.
    pub adapters: AdapterFactory,
}

/// Chooses what observes a process; [`BlackBox`](crate::adapter::BlackBox) does where it chooses nothing.
pub type AdapterFactory = Arc<dyn Fn(&LaunchSpec) -> Option<Box<dyn Adapter>> + Send + Sync>;

impl Services {
    pub(crate) fn files(&self) -> Option<FileLogs> {
        let (dir, threads) = self.logs.clone()?;
        Some(FileLogs { dir, threads, meter: Arc::default(), secret_filter: Arc::default() })
    }
}
