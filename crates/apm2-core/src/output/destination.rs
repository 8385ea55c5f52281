//! The destination of the output of a run: a subscriber or log files.

use std::{
    io,
    sync::{Arc, Weak},
};

use apm2_model::{
    event::{kind::OutputSource, timestamp::Clock},
    spec::config::log::LogConfig,
    state::handle::ProcessHandle,
};
use tokio::{runtime::Handle, sync::mpsc};

use crate::output::{
    log::{
        files::{LogFiles, LogsDir},
        log_set::LogSet,
        meter::OutputMeter,
        secret_filter::SecretFilter,
        threads::LogThreads,
    },
    notice::OutputNotice,
    subscriber::OutputSubscriber,
};

/// The log files of an instance, with the threads that write them.
#[derive(Clone)]
pub(crate) struct FileLogs {
    pub(crate) dir: LogsDir,
    /// The threads that write log files, which may block on a slow disk.
    pub(crate) threads: Arc<LogThreads>,
    pub(crate) meter: Arc<OutputMeter>,
    pub(crate) secret_filter: Arc<SecretFilter>,
}

impl FileLogs {
    /// The paths of the log files.
    pub(crate) fn files(&self, config: &LogConfig, handle: &ProcessHandle) -> LogFiles {
        self.dir.files(config, &handle.spec.name, handle.instance)
    }
}

/// The destination of the outputs of a run.
#[derive(Clone)]
pub(crate) enum Destination {
    Subscriber(OutputSubscriber),
    Files(Filing),
}

/// The log files of one run, with what the readers of its output need to write them.
#[derive(Clone)]
pub(crate) struct Filing {
    /// The threads that write files. Weak: a reader must not keep its own thread alive.
    pub(crate) threads: Weak<LogThreads>,
    pub(crate) meter: Arc<OutputMeter>,
    pub(crate) log_set: Arc<LogSet>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Notices are boxed, because a channel allocates memory for several of them at once.
    pub(crate) notices: mpsc::Sender<Box<OutputNotice>>,
}

impl Filing {
    /// Sends a notice to the task of the run. Drops the notice if the queue is full: the queue then already contains a
    /// notice about the same loss, and the number of lost bytes is reported at the end of the run. The receiver is gone
    /// when the runtime is shutting down.
    pub(crate) fn notify(&self, notice: OutputNotice) {
        let _ = self.notices.try_send(Box::new(notice));
    }
}

impl Destination {
    /// The runtime on which an output is read. Output to a file is read on the runtime of its log thread, other output
    /// on the runtime `ours` of the supervisor.
    pub(crate) fn runtime(&self, source: OutputSource, ours: &Handle) -> io::Result<Handle> {
        match self {
            Self::Subscriber(_) => Ok(ours.clone()),
            Self::Files(Filing { threads, log_set, .. }) => {
                let threads = threads.upgrade().ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected))?;
                threads.of(log_set.files.of(source))
            }
        }
    }

    /// Whether outputs can no longer be read, because the log threads have ended.
    pub(crate) fn is_gone(&self) -> bool {
        matches!(self, Self::Files(filing) if filing.threads.strong_count() == 0)
    }
}
