//! The readers of the outputs of a run: from the spawn to the end of each output, and not beyond it.
//!
//! A process whose output nobody reads blocks once the pipe is full, so its pipes are read from the moment of the spawn, and
//! given up on in time. A reader that is gone before the end is replaced.

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
    io::{Interest, unix::AsyncFd},
    runtime::Handle,
    sync::{oneshot, watch},
    time::{Instant, sleep_until, timeout},
};
use tracing::Instrument as _;

use crate::{
    blocking,
    os::child,
    output::{
        destination::{Destination, Filing},
        drain::{End, OutputDrain},
        log::{
            follow::LogPosition,
            sink::{LogSink, Moved},
        },
        notice::OutputNotice,
        source::{Output, Outputs},
        subscriber::OutputSubscriber,
    },
};

/// What is read at once, in bytes: what a pipe holds (pipe(7)).
const READ_BYTES_MAX: usize = 64 << 10;

/// After the exit, an output that is open and silent for so long is held by somebody else.
const DRAIN_QUIET: Duration = Duration::from_millis(250);

/// After the exit, an output that was read for so long and still goes on is written by somebody else.
const DRAIN_TOTAL: Duration = Duration::from_secs(5);

/// A reader that is gone is replaced at once, but not more often than this.
const REPLACE_INTERVAL: Duration = Duration::from_secs(1);

/// Why what a reader had taken out of its pipe is lost.
const READER_GONE: &str = "the thread that kept it ended unexpectedly";

/// The readers of one run that have all they need, and have not begun to read.
pub(crate) struct Readers {
    /// Where it is watched that there is a reader.
    runtime: Handle,
    ready: Vec<(Reading, Ready)>,
}

impl Readers {
    /// Makes all that can fail to be made: what is ready can be started whatever happens.
    ///
    /// # Errors
    /// When the outputs cannot be watched: there is no thread or descriptor for it.
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

    /// All of the outputs, for somebody to hold.
    pub(crate) fn to_hold(&self) -> Vec<(BorrowedFd<'_>, Option<LogPosition>)> {
        self.ready.iter().map(|(reading, _)| (reading.pipe.as_fd(), reading.begins_at)).collect()
    }

    /// Starts to read.
    pub(crate) fn start(self) -> OutputDrain {
        let mut drains = OutputDrain::none();
        for (reading, first) in self.ready {
            let (told, end) = oneshot::channel();
            drains.ends.push((reading.source, end));
            let ended = drains.ended.subscribe();
            let first = first.start(&ended);
            self.runtime.spawn(reading.see_through(first, ended, told).in_current_span());
        }
        drains
    }
}

/// The reading of one output, by one reader after the other if need be.
struct Reading {
    source: OutputSource,
    pipe: Arc<OwnedFd>,
    begins_at: Option<LogPosition>,
    destination: Destination,
    /// Bytes that were taken out of the pipe, are not where they belong, and were not told of yet.
    lost: Arc<AtomicU64>,
}

impl Reading {
    /// A reader, which drops what there is for a while where that has a cause.
    fn ready(&self, ours: &Handle, dropping: Option<&str>) -> io::Result<Ready> {
        let runtime = self.destination.runtime(self.source, ours)?;
        let entered = runtime.enter();
        let pipe = child::readiness(Arc::clone(&self.pipe))?;
        drop(entered);
        Ok(Ready { runtime, reader: Reader { pipe, target: self.target(dropping) } })
    }

    fn target(&self, dropping: Option<&str>) -> Target {
        match &self.destination {
            Destination::Subscriber(subscriber) => Target::Subscriber {
                source: self.source,
                subscriber: subscriber.clone(),
                buffer: vec![0; READ_BYTES_MAX],
            },
            Destination::Files(filing) => {
                let Filing { log_set, clock, .. } = filing;
                let (log_set, clock, lost) = (Arc::clone(log_set), Arc::clone(clock), Arc::clone(&self.lost));
                let mut sink = LogSink::new(self.source, log_set, clock, self.begins_at, lost);
                if let Some(notice) = dropping.and_then(|cause| sink.drop_for_now(cause.to_owned())) {
                    filing.tell(notice);
                }
                Target::File { sink: Box::new(sink), filing: filing.clone() }
            }
        }
    }

    /// Sees the output through: a reader that is gone before its end, because it panicked or its thread did, is replaced,
    /// and what it had taken is told to be lost. The rest is in the pipe still.
    async fn see_through(
        self,
        first: oneshot::Receiver<End>,
        ended: watch::Receiver<bool>,
        told: oneshot::Sender<End>,
    ) {
        let mut end = first;
        let mut replaced_at: Option<Instant> = None;
        loop {
            if let Ok(end) = end.await {
                // Nobody waits for the result when the runtime is shutting down.
                let _ = told.send(end);
                return;
            }
            if self.destination.is_gone() {
                return;
            }
            tracing::error!(source = ?self.source, "the reader of an output is gone, and is replaced");
            // One that is gone as soon as it is there must not keep the process waiting: it drops before it tries again.
            let again_at = replaced_at.map(|at| at + REPLACE_INTERVAL).filter(|at| *at > Instant::now());
            let is_given_up = again_at.is_some() && *ended.borrow();
            self.tell_loss(is_given_up);
            if is_given_up {
                return;
            }
            if let Some(again_at) = again_at {
                sleep_until(again_at).await;
            }
            let Some(next) = self.replacement(again_at.map(|_| READER_GONE)).await else { return };
            end = next.start(&ended);
            replaced_at = Some(Instant::now());
        }
    }

    /// The next reader, once one can be made. `None` when there will be none any more.
    async fn replacement(&self, dropping: Option<&'static str>) -> Option<Ready> {
        loop {
            if self.destination.is_gone() {
                return None;
            }
            let (reading, ours) = (self.again(), Handle::current());
            // It is looked at the file system, and a thread may be made.
            match blocking::step(move || reading.ready(&ours, dropping)).await.and_then(|made| made) {
                Ok(ready) => return Some(ready),
                Err(error) => tracing::error!(%error, "the reader of an output cannot be replaced yet"),
            }
            sleep_until(Instant::now() + REPLACE_INTERVAL).await;
        }
    }

    /// The same reading, for somebody else to look at.
    fn again(&self) -> Self {
        let (pipe, lost) = (Arc::clone(&self.pipe), Arc::clone(&self.lost));
        Self { source: self.source, pipe, begins_at: self.begins_at, destination: self.destination.clone(), lost }
    }

    /// Tells what is lost with a reader, and with the pipe where that is given up, too.
    fn tell_loss(&self, is_given_up: bool) {
        let left = if is_given_up { ioctl_fionread(&self.pipe).unwrap_or(0) } else { 0 };
        let bytes = self.lost.swap(0, Ordering::Relaxed).saturating_add(left);
        if bytes > 0
            && let Destination::Files(filing) = &self.destination
        {
            filing.tell(OutputNotice::Lost { source: self.source, bytes, cause: READER_GONE.to_owned() });
        }
    }
}

/// A reader that has not begun.
struct Ready {
    /// Where it is going to read.
    runtime: Handle,
    reader: Reader,
}

impl Ready {
    /// Begins to read. The answer is dropped when the reader is gone before the end.
    fn start(self, ended: &watch::Receiver<bool>) -> oneshot::Receiver<End> {
        let (told, end) = oneshot::channel();
        self.runtime.spawn(self.reader.run(ended.clone(), told).in_current_span());
        end
    }
}

/// Where one output goes.
enum Target {
    Subscriber { source: OutputSource, subscriber: OutputSubscriber, buffer: Vec<u8> },
    File { sink: Box<LogSink>, filing: Filing },
}

/// Reads one output from the spawn to its end.
struct Reader {
    pipe: AsyncFd<Arc<OwnedFd>>,
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
                ready = self.pipe.readable() => ready.map(drop),
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
            let ready = ready.map(drop);
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
            Target::Subscriber { buffer, .. } => read_some(&self.pipe, buffer),
            Target::File { sink, filing } => {
                let absorb = |pipe: &Arc<OwnedFd>| sink.absorb(pipe.as_fd(), &mut |notice| filing.tell(notice));
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
            Target::Subscriber { source, subscriber, buffer } if bytes > 0 => {
                subscriber.deliver(*source, buffer.get(..bytes).unwrap_or_default()).await;
            }
            Target::File { sink, filing: Filing { meter, clock, .. } } if bytes > 0 => {
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
        let Target::File { sink, filing } = &mut self.target else { return Vec::new() };
        if let Some(notice) = sink.finish() {
            filing.tell(notice);
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

/// Reads what there is. `WouldBlock` where that is nothing.
fn read_some(pipe: &AsyncFd<Arc<OwnedFd>>, buffer: &mut [u8]) -> io::Result<usize> {
    pipe.try_io(Interest::READABLE, |pipe| Ok(rustix::io::read(pipe, buffer)?))
}

#[cfg(test)]
mod tests {
    use std::{
        fs, io,
        path::{Path, PathBuf},
        sync::Mutex,
    };

    use super::*;
    use crate::{
        output::{
            destination::FileLogs,
            log::{
                fault,
                files::LogsDir,
                follow::{LogItem, LogReader},
                threads::LogThreads,
            },
        },
        run::runner::ProcessRunner,
    };
    use apm2_model::{
        clock::SystemClock,
        event::{NewEvent, kind::EventKind, stream_id::StreamId, timestamp::Clock as _},
        recorder::{NullRecorder, Recorded, Recorder},
        spec::{ProcessSpec, config::log::LogConfig},
        state::stream::Stream,
    };

    /// How long anything may take that is waited for.
    const PATIENCE: Duration = Duration::from_secs(30);

    /// Losses that were recorded.
    #[derive(Clone, Default)]
    struct Losses(Arc<Mutex<Vec<(u64, String)>>>);

    impl Recorder for Losses {
        fn record(&mut self, stream: Option<&Arc<Stream>>, drafts: Vec<NewEvent>) -> io::Result<Recorded> {
            for draft in &drafts {
                if let EventKind::OutputDropped { bytes, cause, .. } = &draft.kind {
                    self.0.lock().unwrap().push((*bytes, cause.clone()));
                }
            }
            NullRecorder.record(stream, drafts)
        }

        fn load(&self, _stream: StreamId) -> io::Result<Option<Stream>> {
            Ok(None)
        }
    }

    /// A process whose output is kept in files.
    struct Writer {
        runner: ProcessRunner,
        losses: Losses,
        files: FileLogs,
        /// The process is through once this file is there.
        stop: PathBuf,
    }

    impl Writer {
        fn start(dir: &Path, log: LogConfig, script: &str) -> Self {
            let threads = Arc::new(LogThreads::default());
            let logs = LogsDir::new(dir);
            let files = FileLogs { dir: logs, threads, meter: Arc::default(), secret_filter: Arc::default() };
            let spec = ProcessSpec::builder().name("test").command("sh").args(["-c", script]).cwd(dir).log(log).build();
            let losses = Losses::default();
            let runner = ProcessRunner::recorded(spec, 0, Box::new(losses.clone()), None);
            let mut runner = runner.kept(None, Some(files.clone()));
            runner.start().unwrap();
            Self { runner, losses, files, stop: dir.join("stop") }
        }

        async fn end(&mut self) {
            fs::write(&self.stop, "").unwrap();
            let ended = timeout(PATIENCE, self.runner.wait()).await.expect("the output is not read any more");
            assert!(ended.unwrap().success());
        }

        fn losses(&self) -> Vec<(u64, String)> {
            self.losses.0.lock().unwrap().clone()
        }

        fn bytes_read(&self) -> u64 {
            self.files.meter.read(&SystemClock.now()).stdout_bytes
        }
    }

    impl Drop for Writer {
        fn drop(&mut self) {
            if let Some(pid) = self.runner.pid() {
                let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).unwrap());
                // It may be gone already.
                let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
            }
        }
    }

    async fn until(what: &str, mut condition: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !condition() {
            assert!(Instant::now() < deadline, "still waiting: {what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn all_of(path: &Path) -> String {
        let mut reader = LogReader::from_start(path).unwrap();
        let mut bytes = Vec::new();
        while let LogItem::Bytes(read) = reader.next_item().unwrap() {
            bytes.extend_from_slice(read);
        }
        String::from_utf8(bytes).unwrap()
    }

    /// However a reader goes, by a panic of its own or with its thread, another one goes on where it was.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_reader_that_is_gone_is_replaced_and_nothing_is_lost() {
        for is_of_thread in [true, false] {
            let dir = tempfile::tempdir().unwrap();
            let script = "i=0; while [ ! -e stop ]; do i=$((i+1)); echo $i; done; echo end";
            let mut writer = Writer::start(dir.path(), LogConfig::default(), script);
            let path = dir.path().join("test-0/stdout.log");
            until("it is read", || writer.bytes_read() > 0).await;
            if is_of_thread {
                writer.files.threads.have_all_panic()
            } else {
                fault::arm(&path, 1)
            }
            // Further than a pipe holds.
            let enough = writer.bytes_read() + (200 << 10);
            until("it is read on", || writer.bytes_read() > enough).await;
            writer.end().await;
            let text = all_of(&path);
            let numbers = text.strip_suffix("end\n").unwrap().lines().map(|line| line.parse::<usize>().unwrap());
            assert!(numbers.eq(1..text.lines().count()), "something is missing or doubled");
            assert_eq!(writer.losses(), []);
        }
    }

    /// What a reader had taken out of the pipe, and nobody else has, is on record.
    #[tokio::test(flavor = "multi_thread")]
    async fn what_goes_with_a_reader_is_recorded() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("there/is/no/such/directory/stdout.log");
        let config = LogConfig { stdout: Some(path.clone()), ..LogConfig::default() };
        let script = "head -c 100000 /dev/zero; while [ ! -e stop ]; do printf x; sleep 0.01; done";
        let mut writer = Writer::start(dir.path(), config, script);
        until("it is dropped", || writer.bytes_read() >= 100_000).await;
        fault::arm(&path, 1);
        let is_told = |(bytes, cause): &(u64, String)| *bytes >= 100_000 && cause == READER_GONE;
        until("the loss is recorded", || writer.losses().iter().any(is_told)).await;
        writer.end().await;
        let losses = writer.losses();
        assert_eq!(losses.iter().map(|(bytes, _)| bytes).sum::<u64>(), writer.bytes_read(), "{losses:?}");
    }

    /// A file that cannot be written to without a panic is as good as one that cannot be written to.
    #[tokio::test(flavor = "multi_thread")]
    async fn readers_that_panic_at_once_keep_no_process_waiting() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("test-0/stdout.log");
        fault::arm(&path, usize::MAX);
        let mut writer = Writer::start(dir.path(), LogConfig::default(), "head -c 300000 /dev/zero");
        writer.end().await;
        let losses = writer.losses();
        assert_eq!(losses.iter().map(|(bytes, _)| bytes).sum::<u64>(), 300_000, "{losses:?}");
        assert_eq!(losses.first(), Some(&(0, READER_GONE.to_owned())));
    }
}
