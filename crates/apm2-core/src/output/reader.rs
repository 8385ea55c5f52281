//! The reader of one output of a run, from the spawn to the end of the output, and no longer.
//!
//! A process whose output is not read blocks once the pipe is full (pipe(7)), so the output is read until it ends, also where
//! what is read can be neither written nor delivered.

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

/// The most that is read at once, in bytes: the default capacity of a pipe (pipe(7)).
pub(crate) const READ_BYTES_MAX: usize = 64 << 10;

/// After the exit of the main process, an output that stays open and silent for this long is held open by another process.
const DRAIN_QUIET: Duration = Duration::from_millis(250);

/// After the exit of the main process, an output that still has data after this time is written by another process.
const DRAIN_TOTAL: Duration = Duration::from_secs(5);

/// A reader that has not begun.
pub(crate) struct ReadyReader {
    /// The runtime that it reads on.
    pub(crate) runtime: Handle,
    pub(crate) reader: OutputReader,
}

impl ReadyReader {
    /// Begins to read. The sender of the result is dropped when the task ends before the output does.
    pub(crate) fn start(self, ended: &watch::Receiver<bool>) -> oneshot::Receiver<ReaderEnd> {
        let (result, end) = oneshot::channel();
        self.runtime.spawn(self.reader.run(ended.clone(), result).in_current_span());
        end
    }
}

/// Where one output goes.
pub(crate) enum ReaderTarget {
    Subscriber { source: OutputSource, subscriber: OutputSubscriber, buffer: Vec<u8> },
    File { sink: Box<LogSink>, filing: Filing },
}

/// Reads one output from the spawn to its end.
pub(crate) struct OutputReader {
    pub(crate) pipe: AsyncFd<Arc<OwnedFd>>,
    pub(crate) target: ReaderTarget,
}

impl OutputReader {
    async fn run(mut self, ended: watch::Receiver<bool>, result: oneshot::Sender<ReaderEnd>) {
        let is_leaked = match self.until_ended(ended).await {
            Some(is_leaked) => is_leaked,
            None => self.drain().await,
        };
        let tail = self.finish();
        let Self { pipe, target } = self;
        // A process that still holds the output does not keep the subscription open.
        drop(target);
        // The receiver is gone when the runtime is shutting down.
        let _ = result.send(ReaderEnd { is_leaked, tail });
        if is_leaked {
            discard(&pipe).await;
        }
    }

    /// Reads until the main process has ended (`None`), or until the output ends before that (`Some`: whether it is leaked).
    async fn until_ended(&mut self, mut ended: watch::Receiver<bool>) -> Option<bool> {
        loop {
            let ready = tokio::select! {
                biased;
                // An error means that the task that waits for the process is gone, which ends this phase too.
                _ = ended.wait_for(|ended| *ended) => return None,
                ready = self.pipe.readable() => ready.map(drop),
            };
            if ready.is_err() || self.step().await.is_some_and(|bytes| bytes == 0) {
                return Some(false);
            }
        }
    }

    /// Reads what the process has left in the pipe. Returns whether another process holds the output open. Time that a slow
    /// subscriber takes does not count.
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
                // A process that writes without end must not keep the others from being read.
                tokio::task::yield_now().await;
            }
            ReaderTarget::Subscriber { .. } | ReaderTarget::File { .. } => {}
        }
        Some(bytes)
    }

    /// The last lines, once all is read.
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

/// Reads and discards what other processes write to a leaked output, so that they do not block.
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

/// Reads once. `WouldBlock` where there is no data.
fn read_some(pipe: &AsyncFd<Arc<OwnedFd>>, buffer: &mut [u8]) -> io::Result<usize> {
    pipe.try_io(Interest::READABLE, |pipe| Ok(rustix::io::read(pipe, buffer)?))
}
