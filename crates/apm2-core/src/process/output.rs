//! The output of a process, and where it goes: to files, or to whoever subscribed; what nobody subscribed to is dropped.

use std::{
    io,
    os::fd::OwnedFd,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot, watch},
};

use crate::{
    log::{LogConfig, LogFiles, LogPosition, LogThreads, LogsDir, Masks, OutputMeter, Shelf},
    process::{Clock, OutputSource, ProcessHandle},
};

/// Notices that wait for the task that owns the run; more than that are left out.
pub(super) const NOTICES_WAITING_MAX: usize = 16;

/// Chunks that wait for a slow subscriber before the process itself has to.
const CHUNKS_WAITING_MAX: usize = 64;

/// A piece of output, as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputChunk {
    /// Where it came from.
    pub source: OutputSource,
    /// At least one byte, and at most 64 KiB.
    pub bytes: Vec<u8>,
}

/// Where output goes: to the latest subscriber, if there is one.
#[derive(Debug, Clone, Default)]
pub(super) struct Outlet(Arc<Mutex<Option<mpsc::Sender<OutputChunk>>>>);

impl Outlet {
    /// A new subscription, in the place of an earlier one.
    pub(super) fn subscribe(&self) -> mpsc::Receiver<OutputChunk> {
        let (sender, receiver) = mpsc::channel(CHUNKS_WAITING_MAX);
        self.set(Some(sender));
        receiver
    }

    /// Hands a piece on, and waits while the subscriber is behind.
    pub(super) async fn deliver(&self, source: OutputSource, bytes: &[u8]) {
        let Some(subscriber) = self.get() else { return };
        let chunk = OutputChunk { source, bytes: bytes.to_vec() };
        if subscriber.send(chunk).await.is_err() && self.get().is_some_and(|now| now.same_channel(&subscriber)) {
            self.set(None);
        }
    }

    fn get(&self) -> Option<mpsc::Sender<OutputChunk>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, subscriber: Option<mpsc::Sender<OutputChunk>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = subscriber;
    }
}

/// What an output has to say beside its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OutputNotice {
    /// It cannot be kept, and is dropped from now on.
    Dropping { source: OutputSource, cause: String },
    /// So much was dropped; it is kept again.
    Resumed { source: OutputSource, bytes: u64 },
    /// So much was dropped, to the end of the run.
    Ended { source: OutputSource, bytes: u64 },
    /// So much was lost with the reader that had taken it out of the pipe.
    Lost { source: OutputSource, bytes: u64, cause: String },
}

/// Our ends of the outputs of one run: one for each, or one for both.
#[derive(Debug)]
pub(super) struct Outputs(pub(super) Vec<Output>);

/// Our end of one.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) source: OutputSource,
    pub(super) pipe: OwnedFd,
    /// Where in its file it begins, where it is kept in one and that is known.
    pub(super) begins_at: Option<LogPosition>,
}

impl Output {
    pub(super) const fn new(source: OutputSource, pipe: OwnedFd) -> Self {
        Self { source, pipe, begins_at: None }
    }
}

/// Files that the outputs of an instance are kept in.
#[derive(Clone)]
pub(crate) struct FileLogs {
    pub(crate) dir: LogsDir,
    /// The threads that may block on a slow disk.
    pub(crate) threads: Arc<LogThreads>,
    pub(crate) meter: Arc<OutputMeter>,
    pub(crate) masks: Arc<Masks>,
}

impl FileLogs {
    /// The files of this instance.
    pub(crate) fn files(&self, config: &LogConfig, handle: &ProcessHandle) -> LogFiles {
        self.dir.files(config, &handle.spec.name, handle.instance)
    }
}

/// Where the outputs of a run go.
#[derive(Clone)]
pub(super) enum Destination {
    Subscriber(Outlet),
    Files(Filing),
}

/// Files that outputs go to.
#[derive(Clone)]
pub(super) struct Filing {
    /// The threads of the files. A reader does not keep them: it ends with them.
    pub(super) threads: Weak<LogThreads>,
    pub(super) meter: Arc<OutputMeter>,
    pub(super) shelf: Arc<Shelf>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) notices: mpsc::Sender<OutputNotice>,
}

impl Filing {
    /// Hands a notice on. A full queue has told that something is wrong; how much was dropped is told at the end. Without a
    /// receiver the runtime is shutting down.
    pub(super) fn tell(&self, notice: OutputNotice) {
        let _ = self.notices.try_send(notice);
    }
}

impl Destination {
    /// The runtime on which an output is read: our own, or the thread of its file.
    pub(super) fn runtime(&self, source: OutputSource, ours: &Handle) -> io::Result<Handle> {
        match self {
            Self::Subscriber(_) => Ok(ours.clone()),
            Self::Files(Filing { threads, shelf, .. }) => {
                let threads = threads.upgrade().ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected))?;
                threads.of(shelf.files.of(source))
            }
        }
    }

    /// Whether outputs can be read no more, because the threads for it were ended.
    pub(super) fn is_gone(&self) -> bool {
        matches!(self, Self::Files(filing) if filing.threads.strong_count() == 0)
    }
}

/// What became of the outputs of a run.
#[derive(Debug, Default)]
pub(super) struct Drained {
    /// Those that somebody else holds.
    pub(super) leaked: Vec<OutputSource>,
    /// The last lines of each.
    pub(super) tails: Vec<(OutputSource, Vec<String>)>,
}

/// How the reading of an output ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct End {
    /// Whether somebody who is not of the run holds it open.
    pub(super) is_leaked: bool,
    pub(super) tail: Vec<String>,
}

/// The readers of one run.
pub(super) struct Drains {
    pub(super) ended: watch::Sender<bool>,
    pub(super) ends: Vec<(OutputSource, oneshot::Receiver<End>)>,
}

impl Drains {
    /// Readers of nothing.
    pub(super) fn none() -> Self {
        Self { ended: watch::channel(false).0, ends: Vec::new() }
    }

    /// Tells the readers that the process is gone, and waits until each is through with what it left.
    ///
    /// The outputs that others hold are read on and dropped, so that nobody blocks on them. Bounded, but for a subscriber
    /// that does not read.
    pub(super) async fn finish(self) -> Drained {
        self.ended.send_replace(true);
        let mut drained = Drained::default();
        for (source, end) in self.ends {
            let Ok(End { is_leaked, tail }) = end.await else { continue };
            if is_leaked {
                drained.leaked.push(source);
            }
            drained.tails.push((source, tail));
        }
        drained
    }
}
