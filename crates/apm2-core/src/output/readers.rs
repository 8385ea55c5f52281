//! The readers of all outputs of a run. A reader whose task ends before the output does is replaced.

use std::{
    io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use apm2_model::event::kind::OutputSource;
use rustix::io::{ioctl_fionbio, ioctl_fionread};
use tokio::{
    runtime::Handle,
    sync::{oneshot, watch},
    time::{Instant, sleep_until},
};
use tracing::Instrument as _;

use crate::{
    blocking,
    os::child,
    output::{
        destination::{Destination, Filing},
        drain::{OutputDrain, ReaderEnd},
        log::{follow::LogPosition, sink::LogSink},
        notice::OutputNotice,
        reader::{OutputReader, READ_BYTES_MAX, ReaderTarget, ReadyReader},
        source::{Output, Outputs},
    },
};

/// Shortest time between two replacements of a reader whose task has ended.
const REPLACE_INTERVAL: Duration = Duration::from_secs(1);

/// The recorded cause of the loss of bytes that a failed reader had read.
const READER_GONE: &str = "the thread that kept it ended unexpectedly";

/// The readers of one run. All their resources are allocated, but they do not read yet.
pub(crate) struct Readers {
    /// The runtime of the tasks that replace failed readers.
    runtime: Handle,
    ready: Vec<(Reading, ReadyReader)>,
}

impl Readers {
    /// Allocates everything that can fail, so that [`start`](Self::start) cannot.
    ///
    /// # Errors
    /// No thread or file descriptor is available.
    pub(crate) fn ready(runtime: &Handle, outputs: Outputs, destination: &Destination) -> io::Result<Self> {
        let ready = outputs.0.into_iter().map(|Output { source, pipe, begins_at }| {
            ioctl_fionbio(&pipe, true)?;
            let (pipe, lost) = (Arc::new(pipe), Arc::default());
            let reading = Reading { source, pipe, begins_at, destination: destination.clone(), lost };
            let first = reading.ready(runtime, None)?;
            Ok((reading, first))
        });
        Ok(Self { runtime: runtime.clone(), ready: ready.collect::<io::Result<_>>()? })
    }

    /// The sources of all outputs, for the file descriptor store.
    pub(crate) fn stored_outputs(&self) -> Vec<(BorrowedFd<'_>, Option<LogPosition>)> {
        self.ready.iter().map(|(reading, _)| (reading.pipe.as_fd(), reading.begins_at)).collect()
    }

    /// Starts all readers.
    pub(crate) fn start(self) -> OutputDrain {
        let mut drains = OutputDrain::none();
        for (reading, first) in self.ready {
            let (result, end) = oneshot::channel();
            drains.ends.push((reading.source, end));
            let ended = drains.ended.subscribe();
            let first = first.start(&ended);
            self.runtime.spawn(reading.keep_reading(first, ended, result).in_current_span());
        }
        drains
    }
}

/// One output, and everything that is needed to create another reader for it.
struct Reading {
    source: OutputSource,
    pipe: Arc<OwnedFd>,
    begins_at: Option<LogPosition>,
    destination: Destination,
    /// Number of bytes that were read from the pipe, are not written yet, and are not reported as lost.
    lost: Arc<AtomicU64>,
}

impl Reading {
    /// Creates a reader. With a cause in `dropping`, the reader discards the output until it tries to write again.
    fn ready(&self, ours: &Handle, dropping: Option<&str>) -> io::Result<ReadyReader> {
        let runtime = self.destination.runtime(self.source, ours)?;
        let entered = runtime.enter();
        let pipe = child::readiness(Arc::clone(&self.pipe))?;
        drop(entered);
        Ok(ReadyReader { runtime, reader: OutputReader { pipe, target: self.target(dropping) } })
    }

    fn target(&self, dropping: Option<&str>) -> ReaderTarget {
        match &self.destination {
            Destination::Subscriber(subscriber) => ReaderTarget::Subscriber {
                source: self.source,
                subscriber: subscriber.clone(),
                buffer: vec![0; READ_BYTES_MAX],
            },
            Destination::Files(filing) => {
                let Filing { log_set, clock, .. } = filing;
                let (log_set, clock, lost) = (Arc::clone(log_set), Arc::clone(clock), Arc::clone(&self.lost));
                let mut sink = LogSink::new(self.source, log_set, clock, self.begins_at, lost);
                if let Some(notice) = dropping.and_then(|cause| sink.drop_for_now(cause.to_owned())) {
                    filing.notify(notice);
                }
                ReaderTarget::File { sink: Box::new(sink), filing: filing.clone() }
            }
        }
    }

    /// Waits for the end of the output. Creates another reader each time the task of a reader ends before the output
    /// does, because the reader or its thread panicked. The bytes that the failed reader had read are recorded as lost;
    /// the remaining output is still in the pipe.
    async fn keep_reading(
        self,
        first: oneshot::Receiver<ReaderEnd>,
        ended: watch::Receiver<bool>,
        result: oneshot::Sender<ReaderEnd>,
    ) {
        let mut end = first;
        let mut replaced_at: Option<Instant> = None;
        loop {
            if let Ok(end) = end.await {
                // The receiver is gone when the runtime is shutting down.
                let _ = result.send(end);
                return;
            }
            if self.destination.is_gone() {
                return;
            }
            tracing::error!(source = ?self.source, "the reader of an output has ended unexpectedly, and is replaced");
            // A reader that fails at once must not block the process. The next reader therefore discards output before
            // it tries to write again.
            let again_at = replaced_at.map(|at| at + REPLACE_INTERVAL).filter(|at| *at > Instant::now());
            let is_given_up = again_at.is_some() && *ended.borrow();
            self.report_loss(is_given_up);
            if is_given_up {
                return;
            }
            if let Some(again_at) = again_at {
                sleep_until(again_at).await;
            }
            // Boxed, because each output has a future of this function in memory, and a replacement is rare.
            let next = Box::pin(self.replacement(again_at.map(|_| READER_GONE))).await;
            let Some(next) = next else { return };
            end = next.start(&ended);
            replaced_at = Some(Instant::now());
        }
    }

    /// Creates the next reader, as soon as that is possible. Returns `None` if the destination is gone.
    async fn replacement(&self, dropping: Option<&'static str>) -> Option<ReadyReader> {
        loop {
            if self.destination.is_gone() {
                return None;
            }
            let (reading, ours) = (self.again(), Handle::current());
            // `ready` runs on a blocking thread, because it determines the file system of the log file and may start a
            // thread for it.
            match blocking::step(move || reading.ready(&ours, dropping)).await.and_then(|made| made) {
                Ok(ready) => return Some(ready),
                Err(error) => tracing::error!(%error, "the reader of an output cannot be replaced yet"),
            }
            sleep_until(Instant::now() + REPLACE_INTERVAL).await;
        }
    }

    /// A copy of this output and its data, for a blocking thread.
    fn again(&self) -> Self {
        let (pipe, lost) = (Arc::clone(&self.pipe), Arc::clone(&self.lost));
        Self { source: self.source, pipe, begins_at: self.begins_at, destination: self.destination.clone(), lost }
    }

    /// Records the bytes that are lost with a failed reader. If no further reader can be created, the bytes that remain
    /// in the pipe are also recorded as lost.
    fn report_loss(&self, is_given_up: bool) {
        let left = if is_given_up { ioctl_fionread(&self.pipe).unwrap_or(0) } else { 0 };
        let bytes = self.lost.swap(0, Ordering::Relaxed).saturating_add(left);
        if bytes > 0
            && let Destination::Files(filing) = &self.destination
        {
            filing.notify(OutputNotice::Lost { source: self.source, bytes, cause: READER_GONE.to_owned() });
        }
    }
}

#[cfg(test)]
mod tests;
