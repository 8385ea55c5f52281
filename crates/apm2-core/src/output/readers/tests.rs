use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Mutex,
};

use tokio::time::timeout;

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

/// Longest time to wait for a condition.
const PATIENCE: Duration = Duration::from_secs(30);

/// The recorded losses of output, as texts.
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

/// A process whose output goes to log files.
struct Writer {
    runner: ProcessRunner,
    losses: Losses,
    files: FileLogs,
    /// The path of a file that the test creates to end the process.
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
        let mut runner = runner.with_output(None, Some(files.clone()));
        runner.start().unwrap();
        Self { runner, losses, files, stop: dir.join("stop") }
    }

    async fn end(&mut self) {
        fs::write(&self.stop, "").unwrap();
        let ended = timeout(PATIENCE, self.runner.wait()).await.expect("the output is no longer read");
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
            // The process may have ended already, so an error of kill(2) is ignored.
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

/// After a panic of a reader or of its thread, another reader continues at the same position.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_is_gone_is_replaced_and_nothing_is_lost() {
    for is_of_thread in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let script = "i=0; while [ ! -e stop ]; do i=$((i+1)); echo $i; done; echo end";
        let mut writer = Writer::start(dir.path(), LogConfig::default(), script);
        let path = dir.path().join("test-0/stdout.log");
        until("it is read", || writer.bytes_read() > 0).await;
        if is_of_thread {
            writer.files.threads.panic_all()
        } else {
            fault::arm(&path, 1)
        }
        // More bytes than fit into a pipe.
        let enough = writer.bytes_read() + (200 << 10);
        until("it is read on", || writer.bytes_read() > enough).await;
        writer.end().await;
        let text = all_of(&path);
        let numbers = text.strip_suffix("end\n").unwrap().lines().map(|line| line.parse::<usize>().unwrap());
        assert!(numbers.eq(1..text.lines().count()), "something is missing or doubled");
        assert_eq!(writer.losses(), []);
    }
}

/// The bytes that a reader had read from the pipe and not written are recorded as lost.
#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_a_failed_reader_had_read_are_recorded_as_lost() {
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

/// A file for which each write panics is handled like a file that cannot be written.
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
