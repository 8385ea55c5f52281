//! Where the output of a run goes.

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
        meter::OutputMeter,
        secret_filter::SecretFilter,
        sink::LogSet,
        threads::LogThreads,
    },
    notice::OutputNotice,
    subscriber::OutputSubscriber,
};

/// Files that the outputs of an instance are kept in.
#[derive(Clone)]
pub(crate) struct FileLogs {
    pub(crate) dir: LogsDir,
    /// The threads that may block on a slow disk.
    pub(crate) threads: Arc<LogThreads>,
    pub(crate) meter: Arc<OutputMeter>,
    pub(crate) secret_filter: Arc<SecretFilter>,
}

impl FileLogs {
    /// The files of this instance.
    pub(crate) fn files(&self, config: &LogConfig, handle: &ProcessHandle) -> LogFiles {
        self.dir.files(config, &handle.spec.name, handle.instance)
    }
}

/// Where the outputs of a run go.
#[derive(Clone)]
pub(crate) enum Destination {
    Subscriber(OutputSubscriber),
    Files(Filing),
}

/// Files that outputs go to.
#[derive(Clone)]
pub(crate) struct Filing {
    /// The threads of the files. A reader does not keep them: it ends with them.
    pub(crate) threads: Weak<LogThreads>,
    pub(crate) meter: Arc<OutputMeter>,
    pub(crate) log_set: Arc<LogSet>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) notices: mpsc::Sender<OutputNotice>,
}

impl Filing {
    /// Hands a notice on. A full queue has told that something is wrong; how much was dropped is told at the end. Without a
    /// receiver the runtime is shutting down.
    pub(crate) fn tell(&self, notice: OutputNotice) {
        let _ = self.notices.try_send(notice);
    }
}

impl Destination {
    /// The runtime on which an output is read: our own, or the thread of its file.
    pub(crate) fn runtime(&self, source: OutputSource, ours: &Handle) -> io::Result<Handle> {
        match self {
            Self::Subscriber(_) => Ok(ours.clone()),
            Self::Files(Filing { threads, log_set, .. }) => {
                let threads = threads.upgrade().ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected))?;
                threads.of(log_set.files.of(source))
            }
        }
    }

    /// Whether outputs can be read no more, because the threads for it were ended.
    pub(crate) fn is_gone(&self) -> bool {
        matches!(self, Self::Files(filing) if filing.threads.strong_count() == 0)
    }
}
