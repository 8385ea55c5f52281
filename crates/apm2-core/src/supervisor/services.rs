//! What a supervisor needs from outside.

use std::sync::Arc;

use apm2_model::{event::timestamp::Clock, recorder::EventStore, spec::launch::LaunchSpec};

use crate::{
    adapter::Adapter,
    os::group::LedgerPlace,
    output::{
        destination::FileLogs,
        fd_store::FdStore,
        log::{files::LogsDir, threads::LogThreads},
    },
    supervisor::launch_store::LaunchStore,
};

/// What a supervisor needs from outside.
pub struct Services {
    /// Where events are recorded.
    pub store: Arc<dyn EventStore>,
    /// Where stamps come from.
    pub clock: Arc<dyn Clock>,
    /// Keeps launches for the next supervisor.
    pub launches: Arc<dyn LaunchStore>,
    /// The place of the ledger, which the markers of runs name. Without one, runs of a copy cannot be told from its own.
    pub place: Option<LedgerPlace>,
    /// Who else keeps outputs open. Without one, what is in a pipe is lost when process and supervisor both end.
    pub holder: Option<Arc<dyn FdStore>>,
    /// Where output is kept that names no file, and the threads that move it there. Without them no output is kept at all.
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
