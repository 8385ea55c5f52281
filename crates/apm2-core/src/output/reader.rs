//! The reader of one output of a run. It reads from the spawn of the process until the output ends.
//!
//! A process whose output is not read blocks when the pipe is full (pipe(7)). The output is therefore read until it
//! ends, even if the data can be neither written nor delivered.

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
    sync::Arc,
    time::Duration,
};

use apm2_model::event::kind::OutputSource;
use tokio::{
    io::{Interest, unix::AsyncFd},
    runtime::Handle,
    sync::{oneshot, watch},
    time::{Instant, timeout},
};
use tracing::Instrument as _;

use crate::output::{
    destination::Filing,
    drain::ReaderEnd,
    log::sink::{LogSink, Moved},
    subscriber::OutputSubscriber,
};

/// Largest number of bytes that are read at once: the default capacity of a pipe (pipe(7)).
pub(crate) const READ_BYTES_MAX: usize = 64 << 10;

/// If an output stays open for this long after the exit of the main process without any data, another process holds it
/// open.
const DRAIN_QUIET: Duration = Duration::from_millis(250);

/// If an output still has data this long after the exit of the main process, another process writes to it.
const DRAIN_TOTAL: Duration = Duration::from_secs(5);

/// A reader that does not read yet.
pub(crate) struct ReadyReader {
    /// The runtime on which the reader runs.
    pub(crate) runtime: Handle,
    pub(crate) reader: OutputReader,
}

impl ReadyReader {
    /// Starts to read. If the task ends before the output does, the sender of the result is dropped.
    pub(crate) fn start(self, ended: &watch::Receiver<bool>) -> oneshot::Receiver<ReaderEnd> {
        let (result, end) = oneshot::channel();
        self.runtime.spawn(self.reader.run(ended.clone(), result).in_current_span());
        end
    }
}

/// The destination of one output.
pub(crate) enum ReaderTarget {
    Subscriber { source: OutputSource, subscriber: OutputSubscriber, buffer: Vec<u8> },
    File { sink: Box<LogSink>, filing: Filing },
}

/// Reads one output from the spawn of the process to the end of the output.
pub(crate) struct OutputReader {
    pub(crate) pipe: AsyncFd<Arc<OwnedFd>>,
    pub(crate) target: ReaderTarget,
}

impl OutputReader {
    async fn run(mut self, ended: watch::Receiver<bool>, result: oneshot::Sender<ReaderEnd>) {
        let is_leaked = match self.until_ended(ended).await {
            Some(is_leaked) => is_leaked,
            // Boxed, because the future of this function is in memory as long as the process runs.
            None => Box::pin(self.drain()).await,
        };
        let tail = self.finish();
        let Self { pipe, target } = self;
        // The subscription ends with the run, even if another process still holds the output open.
        drop(target);
        // The receiver is gone when the runtime is shutting down.
        let _ = result.send(ReaderEnd { is_leaked, tail });
        if is_leaked {
            Box::pin(discard(&pipe)).await;
        }
    }

    /// Reads until the main process has ended (returns `None`) or the output has ended before that (returns `Some`,
    /// which says whether the output is leaked).
    async fn until_ended(&mut self, mut ended: watch::Receiver<bool>) -> Option<bool> {
        loop {
            let ready = tokio::select! {
                biased;
                // An error means that the task that waits for the process is gone. This also ends the phase.
                _ = ended.wait_for(|ended| *ended) => return None,
                ready = self.pipe.readable() => ready.map(drop),
            };
            if ready.is_err() || self.step().await.is_some_and(|bytes| bytes == 0) {
                return Some(false);
            }
        }
    }

    /// Reads the data that the process has left in the pipe. Returns whether another process holds the output open. The
    /// time during which a slow subscriber blocks does not count.
    async fn drain(&mut self) -> bool {
        let mut spent = Duration::ZERO;
        while spent < DRAIN_TOTAL {
            let began = Instant::now();
            let Ok(ready) = timeout(DRAIN_QUIET, self.pipe.readable()).await else { return true };
            let ready = ready.map(drop);
            spent = spent.saturating_add(began.elapsed());
            if ready.is_err() || self.step().await.is_some_and(|bytes| bytes == 0) {
                return false;
            }
        }
        true
    }

    /// Reads once and passes the data on. `Some(0)` at the end of the output, `None` when there was no data.
    async fn step(&mut self) -> Option<usize> {
        let read = match &mut self.target {
            ReaderTarget::Subscriber { buffer, .. } => read_some(&self.pipe, buffer),
            ReaderTarget::File { sink, filing } => {
                let absorb = |pipe: &Arc<OwnedFd>| sink.absorb(pipe.as_fd(), &mut |notice| filing.notify(notice));
                self.pipe.try_io(Interest::READABLE, absorb).map(bytes_of)
            }
        };
        let bytes = match read {
            Ok(bytes) => bytes,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                return None;
            }
            Err(error) => {
                tracing::warn!(%error, "an output could not be read to its end");
                0
            }
        };
        match &self.target {
            ReaderTarget::Subscriber { source, subscriber, buffer } if bytes > 0 => {
                subscriber.deliver(*source, buffer.get(..bytes).unwrap_or_default()).await;
            }
            ReaderTarget::File { sink, filing: Filing { meter, clock, .. } } if bytes > 0 => {
                meter.count(sink.source(), u64::try_from(bytes).unwrap_or(u64::MAX), &clock.now());
                // The loop yields, so that a process that writes without end does not keep other outputs from being
                // read.
                tokio::task::yield_now().await;
            }
            ReaderTarget::Subscriber { .. } | ReaderTarget::File { .. } => {}
        }
        Some(bytes)
    }

    /// The last lines of the output, after all output is read.
    fn finish(&mut self) -> Vec<String> {
        let ReaderTarget::File { sink, filing } = &mut self.target else { return Vec::new() };
        if let Some(notice) = sink.finish() {
            filing.notify(notice);
        }
        sink.tail()
    }
}

const fn bytes_of(moved: Moved) -> usize {
    match moved {
        Moved::Written(bytes) | Moved::Dropped(bytes) => bytes,
        Moved::End => 0,
    }
}

/// Reads and discards the data that other processes write to a leaked output (an output that outlives its run), so that
/// these processes do not block.
async fn discard(pipe: &AsyncFd<Arc<OwnedFd>>) {
    let mut buffer = vec![0; READ_BYTES_MAX];
    while pipe.readable().await.map(drop).is_ok() {
        match read_some(pipe, &mut buffer) {
            Ok(0) => return,
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return,
            Ok(_) | Err(_) => {}
        }
    }
}

/// Reads once. Returns `WouldBlock` if there is no data.
fn read_some(pipe: &AsyncFd<Arc<OwnedFd>>, buffer: &mut [u8]) -> io::Result<usize> {
    pipe.try_io(Interest::READABLE, |pipe| Ok(rustix::io::read(pipe, buffer)?))
}
