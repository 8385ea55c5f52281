//! The output of a process: always read, handed on, and given up on in time.
//!
//! A process whose output nobody reads blocks once the pipe is full, so its pipes are read from the moment of the spawn.
//! It goes to files, or to whoever subscribed; what nobody subscribed to is dropped here.

use std::{
    io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    net::unix::pipe,
    runtime::Handle,
    sync::{mpsc, oneshot, watch},
    time::{Instant, timeout},
};
use tracing::Instrument as _;

use crate::{
    log::{LogConfig, LogFiles, LogPosition, LogSink, LogThreads, LogsDir, Masks, Moved, OutputMeter, Shelf},
    process::{Clock, OutputSource, ProcessHandle},
};

/// Notices that wait for the task that owns the run; more than that are left out.
pub(super) const NOTICES_WAITING_MAX: usize = 16;

/// What is read at once, in bytes: what a pipe holds (pipe(7)).
const READ_BYTES_MAX: usize = 64 << 10;

/// Chunks that wait for a slow subscriber before the process itself has to.
const CHUNKS_WAITING_MAX: usize = 64;

/// After the exit, an output that is open and silent for so long is held by somebody else.
const DRAIN_QUIET: Duration = Duration::from_millis(250);

/// After the exit, an output that was read for so long and still goes on is written by somebody else.
const DRAIN_TOTAL: Duration = Duration::from_secs(5);

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
    async fn deliver(&self, source: OutputSource, bytes: &[u8]) {
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
pub(super) enum Destination {
    Subscriber(Outlet),
    Files { logs: FileLogs, shelf: Arc<Shelf>, clock: Arc<dyn Clock>, notices: mpsc::Sender<OutputNotice> },
}

impl Destination {
    /// The runtime on which an output is read: our own, or the thread of its file.
    fn runtime(&self, source: OutputSource, ours: &Handle) -> io::Result<Handle> {
        match self {
            Self::Subscriber(_) => Ok(ours.clone()),
            Self::Files { logs, shelf, .. } => logs.threads.of(shelf.files.of(source)),
        }
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
struct End {
    /// Whether somebody who is not of the run holds it open.
    is_leaked: bool,
    tail: Vec<String>,
}

/// The readers of one run.
pub(super) struct Drains {
    ended: watch::Sender<bool>,
    ends: Vec<(OutputSource, oneshot::Receiver<End>)>,
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

/// The readers of one run that have all they need, and have not begun to read.
pub(super) struct Readers(Vec<Ready>);

struct Ready {
    source: OutputSource,
    /// Where it is going to be read.
    runtime: Handle,
    reader: Reader,
    begins_at: Option<LogPosition>,
}

impl Readers {
    /// Makes all that can fail to be made: what is ready can be started whatever happens.
    ///
    /// # Errors
    /// When the outputs cannot be watched: there is no thread or descriptor for it, or they are not pipes.
    pub(super) fn ready(runtime: &Handle, outputs: Outputs, destination: &Destination) -> io::Result<Self> {
        let ready = outputs.0.into_iter().map(|Output { source, pipe, begins_at }| {
            let runtime = destination.runtime(source, runtime)?;
            let entered = runtime.enter();
            let pipe = pipe::Receiver::from_owned_fd(pipe)?;
            drop(entered);
            let reader = Reader { pipe, target: Target::new(source, begins_at, destination) };
            Ok(Ready { source, runtime, reader, begins_at })
        });
        ready.collect::<io::Result<_>>().map(Self)
    }

    /// All of the outputs, for somebody to hold.
    pub(super) fn to_hold(&self) -> Vec<(BorrowedFd<'_>, Option<LogPosition>)> {
        self.0.iter().map(|ready| (ready.reader.pipe.as_fd(), ready.begins_at)).collect()
    }

    /// Starts to read.
    pub(super) fn start(self) -> Drains {
        let mut drains = Drains::none();
        for Ready { source, runtime, reader, .. } in self.0 {
            let (told, end) = oneshot::channel();
            let reading = reader.run(drains.ended.subscribe(), told);
            runtime.spawn(reading.in_current_span());
            drains.ends.push((source, end));
        }
        drains
    }
}

/// Where one output goes.
enum Target {
    Subscriber { source: OutputSource, outlet: Outlet, buffer: Vec<u8> },
    File { sink: Box<LogSink>, meter: Arc<OutputMeter>, clock: Arc<dyn Clock>, notices: mpsc::Sender<OutputNotice> },
}

impl Target {
    fn new(source: OutputSource, begins_at: Option<LogPosition>, destination: &Destination) -> Self {
        match destination {
            Destination::Subscriber(outlet) => {
                Self::Subscriber { source, outlet: outlet.clone(), buffer: vec![0; READ_BYTES_MAX] }
            }
            Destination::Files { logs, shelf, clock, notices } => Self::File {
                sink: Box::new(LogSink::new(source, Arc::clone(shelf), Arc::clone(clock), begins_at)),
                meter: Arc::clone(&logs.meter),
                clock: Arc::clone(clock),
                notices: notices.clone(),
            },
        }
    }
}

/// Reads one output from the spawn to its end.
struct Reader {
    pipe: pipe::Receiver,
    target: Target,
}

impl Reader {
    async fn run(mut self, ended: watch::Receiver<bool>, told: oneshot::Sender<End>) {
        let is_leaked = match self.until_ended(ended).await {
            Some(is_leaked) => is_leaked,
            None => self.drain().await,
        };
        let tail = self.finish();
        let Self { pipe, target } = self;
        // Whoever holds the output now is not the subscriber's business: the subscription can end without it.
        drop(target);
        // Nobody waits for the result when the runtime is shutting down.
        let _ = told.send(End { is_leaked, tail });
        if is_leaked {
            discard(&pipe).await;
        }
    }

    /// Reads until the process is gone, `None`, or until the output ends before that.
    async fn until_ended(&mut self, mut ended: watch::Receiver<bool>) -> Option<bool> {
        loop {
            let ready = tokio::select! {
                biased;
                // An error means that nobody watches the process any more, which ends this phase too.
                _ = ended.wait_for(|ended| *ended) => return None,
                ready = self.pipe.readable() => ready,
            };
            if ready.is_err() || self.step().await.is_some_and(|bytes| bytes == 0) {
                return Some(false);
            }
        }
    }

    /// Reads what the process left; whether somebody else holds the output. Time spent on a slow subscriber is nobody's
    /// fault and does not count.
    async fn drain(&mut self) -> bool {
        let mut spent = Duration::ZERO;
        while spent < DRAIN_TOTAL {
            let began = Instant::now();
            let Ok(ready) = timeout(DRAIN_QUIET, self.pipe.readable()).await else { return true };
            spent = spent.saturating_add(began.elapsed());
            if ready.is_err() || self.step().await.is_some_and(|bytes| bytes == 0) {
                return false;
            }
        }
        true
    }

    /// Reads once what there is, and hands it on. `Some(0)` at the end, `None` when there was nothing.
    async fn step(&mut self) -> Option<usize> {
        let read = match &mut self.target {
            Target::Subscriber { buffer, .. } => self.pipe.try_read(buffer),
            Target::File { sink, notices, .. } => {
                let pipe = &self.pipe;
                // A full queue has told that something is wrong; how much was dropped is told at the end.
                let mut notice = |notice| drop(notices.try_send(notice));
                pipe.try_io(|| sink.absorb(pipe.as_fd(), &mut notice)).map(bytes_of)
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
            Target::Subscriber { source, outlet, buffer } if bytes > 0 => {
                outlet.deliver(*source, buffer.get(..bytes).unwrap_or_default()).await;
            }
            Target::File { sink, meter, clock, .. } if bytes > 0 => {
                meter.count(sink.source(), u64::try_from(bytes).unwrap_or(u64::MAX), &clock.now());
                // A process that writes without end must not keep the others from being read.
                tokio::task::yield_now().await;
            }
            Target::Subscriber { .. } | Target::File { .. } => {}
        }
        Some(bytes)
    }

    /// The last lines, once all is read.
    fn finish(&mut self) -> Vec<String> {
        let Target::File { sink, notices, .. } = &mut self.target else { return Vec::new() };
        if let Some(notice) = sink.finish() {
            // Nobody listens any more when the runtime is shutting down.
            let _ = notices.try_send(notice);
        }
        sink.tail()
    }
}

const fn bytes_of(moved: Moved) -> usize {
    match moved {
        Moved::Kept(bytes) | Moved::Dropped(bytes) => bytes,
        Moved::End => 0,
    }
}

/// Reads on for those who hold an output that is not theirs.
async fn discard(pipe: &pipe::Receiver) {
    let mut buffer = vec![0; READ_BYTES_MAX];
    while pipe.readable().await.is_ok() {
        match pipe.try_read(&mut buffer) {
            Ok(0) => return,
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return,
            Ok(_) | Err(_) => {}
        }
    }
}
