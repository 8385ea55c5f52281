//! The output of a process: always read, handed on to whoever subscribed, and given up on in time.
//!
//! A process whose output nobody reads blocks once the pipe is full, so both pipes are read from the moment of the
//! spawn. What nobody subscribed to is dropped here; keeping it is somebody else's matter.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::Child,
    runtime::Handle,
    sync::{mpsc, oneshot, watch},
    time::{Instant, timeout},
};

use crate::process::OutputSource;

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

/// How the reading of an output ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Drained {
    /// At its end.
    Complete,
    /// Somebody who is not of the run holds it open.
    Leaked,
}

/// The two readers of one run.
pub(super) struct Drains {
    ended: watch::Sender<bool>,
    results: Vec<(OutputSource, oneshot::Receiver<Drained>)>,
}

impl Drains {
    /// Starts to read both outputs of `child`.
    pub(super) fn start(runtime: &Handle, child: &mut Child, outlet: &Outlet) -> Self {
        let (ended, _) = watch::channel(false);
        let mut results = Vec::new();
        if let Some(pipe) = child.stdout.take() {
            results.push(Reader::start(runtime, OutputSource::Stdout, pipe, outlet, &ended));
        }
        if let Some(pipe) = child.stderr.take() {
            results.push(Reader::start(runtime, OutputSource::Stderr, pipe, outlet, &ended));
        }
        Self { ended, results }
    }

    /// Tells the readers that the process is gone, and waits until each is through with what it left.
    ///
    /// Returns the outputs that others hold. Those are read and dropped from now on, so that nobody blocks on them.
    /// Bounded, but for a subscriber that does not read.
    pub(super) async fn finish(self) -> Vec<OutputSource> {
        self.ended.send_replace(true);
        let mut leaked = Vec::new();
        for (source, result) in self.results {
            if result.await == Ok(Drained::Leaked) {
                leaked.push(source);
            }
        }
        leaked
    }
}

/// Reads one output from the spawn to its end.
struct Reader<P> {
    source: OutputSource,
    pipe: P,
    buffer: Vec<u8>,
}

impl<P: AsyncRead + Unpin + Send + 'static> Reader<P> {
    fn start(
        runtime: &Handle,
        source: OutputSource,
        pipe: P,
        outlet: &Outlet,
        ended: &watch::Sender<bool>,
    ) -> (OutputSource, oneshot::Receiver<Drained>) {
        let (result, receiver) = oneshot::channel();
        let reader = Self { source, pipe, buffer: vec![0; READ_BYTES_MAX] };
        runtime.spawn(reader.run(outlet.clone(), ended.subscribe(), result));
        (source, receiver)
    }

    async fn run(mut self, outlet: Outlet, ended: watch::Receiver<bool>, result: oneshot::Sender<Drained>) {
        let drained = match self.until_ended(&outlet, ended).await {
            Some(drained) => drained,
            None => self.drain(&outlet).await,
        };
        // Whoever holds the output now is not the subscriber's business: the subscription can end without it.
        drop(outlet);
        // Nobody waits for the result when the runtime is shutting down.
        let _ = result.send(drained);
        if drained == Drained::Leaked {
            while self.read().await.is_some() {}
        }
    }

    /// Reads until the process is gone, `None`, or until the output ends before that.
    async fn until_ended(&mut self, outlet: &Outlet, mut ended: watch::Receiver<bool>) -> Option<Drained> {
        loop {
            let bytes = tokio::select! {
                biased;
                // An error means that nobody watches the process any more, which ends this phase too.
                _ = ended.wait_for(|ended| *ended) => return None,
                bytes = self.read() => bytes,
            };
            let Some(bytes) = bytes else { return Some(Drained::Complete) };
            outlet.deliver(self.source, self.buffer.get(..bytes).unwrap_or_default()).await;
        }
    }

    /// Reads what the process left. Time spent on a slow subscriber is nobody's fault and does not count.
    async fn drain(&mut self, outlet: &Outlet) -> Drained {
        let mut spent = Duration::ZERO;
        while spent < DRAIN_TOTAL {
            let began = Instant::now();
            match timeout(DRAIN_QUIET, self.read()).await {
                Ok(Some(bytes)) => {
                    spent = spent.saturating_add(began.elapsed());
                    outlet.deliver(self.source, self.buffer.get(..bytes).unwrap_or_default()).await;
                }
                Ok(None) => return Drained::Complete,
                Err(_) => return Drained::Leaked,
            }
        }
        Drained::Leaked
    }

    /// The number of bytes read into the buffer, at least one; `None` at the end.
    async fn read(&mut self) -> Option<usize> {
        match self.pipe.read(&mut self.buffer).await {
            Ok(0) => None,
            Ok(bytes) => Some(bytes),
            Err(error) => {
                tracing::warn!(source = ?self.source, %error, "an output could not be read to its end");
                None
            }
        }
    }
}
