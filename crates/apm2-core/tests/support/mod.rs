//! Shared by the tests: a recorder in memory, and functions to examine processes.

use apm2_core::process::status_of;
use std::{
    fs,
    future::poll_fn,
    io,
    pin::pin,
    sync::{Arc, Mutex},
    task::Poll,
    time::{Duration, Instant},
};

use apm2_core::{
    process::{
        Actor, Clock as _, Event, EventKind, EventStore, NewEvent, NullRecorder, OutputChunk, OutputSource, ProcessId,
        ProcessRunner, ProcessSpec, ProcessSpecBuilder, ProcessStatus, Recorded, Recorder, Stream, StreamId,
        SystemClock,
    },
    shutdown::ShutdownConfig,
    supervisor::{
        Boot, LaunchSpec, LaunchStore, Recovery, Services, StoredLaunches, Supervisor, UnreadableLaunch, Unrecovered,
    },
};
use tokio::sync::mpsc;

/// Longest time to wait for anything. Reached only if a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

const POLL: Duration = Duration::from_millis(5);

/// A stop timeout that is long enough for any process that ends on the stop signal.
pub(crate) const AMPLE: Duration = Duration::from_secs(10);

pub(crate) fn sh_builder(script: &str) -> ProcessSpecBuilder {
    ProcessSpec::builder().name("test").command("sh").args(["-c", script])
}

pub(crate) fn sh(script: &str) -> ProcessSpec {
    sh_builder(script).build()
}

/// Like [`sh`], but processes that leave the session are left alone after a natural exit (`end_orphans` is off).
pub(crate) fn keeping_orphans(script: &str) -> ProcessSpec {
    sh_builder(script).shutdown(ShutdownConfig { end_orphans: false, ..ShutdownConfig::default() }).build()
}

/// A script that starts a command in a new session, prints its pid, and exits with 0 once the command has left the session.
pub(crate) fn escaping(command: &str) -> String {
    let session = "cut -d ' ' -f 6";
    format!(
        "setsid {command} & echo $!; \
         while [ $({session} /proc/$!/stat) = $({session} /proc/$$/stat) ]; do :; done; exit 0"
    )
}

/// Polls until `condition` holds.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "still waiting: {what}");
        tokio::time::sleep(POLL).await;
    }
}

/// Awaits `future`, at most for [`PATIENCE`].
pub(crate) async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it takes too long")
}

/// Polls `future` once and drops it, like a caller that does not wait for the result.
pub(crate) async fn begin<T>(future: impl Future<Output = T>) {
    let mut future = pin!(future);
    poll_fn(|context| {
        let _ = future.as_mut().poll(context);
        Poll::Ready(())
    })
    .await;
}

/// The state letter of a process, if it exists (proc(5)).
pub(crate) fn state_of(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// Whether the process exists and is no zombie.
pub(crate) fn is_alive(pid: u32) -> bool {
    state_of(pid).is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

/// Kills a process when the test ends, by a panic too.
pub(crate) struct KillOnDrop(pub(crate) u32);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.0).expect("a pid"));
        // The process may have ended already, so an error is ignored.
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
    }
}

/// Recorded events. Dropping them kills their processes, so that a failed test leaves none running.
#[derive(Default)]
struct Kept(Vec<Event>);

impl Drop for Kept {
    fn drop(&mut self) {
        for event in &self.0 {
            if let EventKind::Starting { identity: Some(identity), .. } = &event.kind
                && status_of(identity) == ProcessStatus::Alive
            {
                drop(KillOnDrop(identity.pid));
            }
        }
    }
}

type LaunchCheck = Box<dyn Fn(&LaunchSpec) -> io::Result<()> + Send + Sync>;

/// A launch store in memory. It collects the ids of removed processes, and calls a check before a launch is prepared or saved.
#[derive(Default)]
pub(crate) struct MemoryLaunches {
    pub(crate) launches: Mutex<Vec<LaunchSpec>>,
    unreadable: Vec<UnreadableLaunch>,
    pub(crate) removed: Mutex<Vec<ProcessId>>,
    prepare_check: Option<LaunchCheck>,
    save_check: Option<LaunchCheck>,
}

impl MemoryLaunches {
    /// Holds the launch specifications of an earlier supervisor.
    pub(crate) fn of(launches: Vec<LaunchSpec>) -> Self {
        Self { launches: Mutex::new(launches), ..Self::default() }
    }

    /// Launches of an earlier supervisor that cannot be read.
    pub(crate) fn of_unreadable(unreadable: Vec<UnreadableLaunch>) -> Self {
        Self { unreadable, ..Self::default() }
    }

    /// A store whose `prepare` fails when `check` does.
    pub(crate) fn checked_at_prepare(check: impl Fn(&LaunchSpec) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self { prepare_check: Some(Box::new(check)), ..Self::default() }
    }

    /// A store whose `save` fails when `check` does.
    pub(crate) fn checked_at_save(check: impl Fn(&LaunchSpec) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self { save_check: Some(Box::new(check)), ..Self::default() }
    }
}

impl LaunchStore for MemoryLaunches {
    fn prepare(&self, launch: &LaunchSpec) -> io::Result<()> {
        self.prepare_check.as_ref().map_or(Ok(()), |check| check(launch))
    }

    fn save(&self, launch: &LaunchSpec) -> io::Result<()> {
        self.save_check.as_ref().map_or(Ok(()), |check| check(launch))?;
        let mut launches = self.launches.lock().unwrap();
        launches.retain(|saved| saved.spec.id != launch.spec.id);
        launches.push(launch.clone());
        Ok(())
    }

    fn remove(&self, process: ProcessId) -> io::Result<()> {
        self.launches.lock().unwrap().retain(|saved| saved.spec.id != process);
        self.removed.lock().unwrap().push(process);
        Ok(())
    }

    fn load_all(&self) -> io::Result<StoredLaunches> {
        Ok(StoredLaunches { launches: self.launches.lock().unwrap().clone(), unreadable: self.unreadable.clone() })
    }
}

/// The error of a store whose disk is full.
pub(crate) fn disk_full() -> io::Error {
    io::Error::other("the disk is full")
}

type CommitCheck = dyn Fn(&[NewEvent]) -> io::Result<()> + Send + Sync;

/// An event store that stores nothing, and calls a check before each commit.
#[derive(Clone)]
pub(crate) struct CheckedStore(Arc<CommitCheck>);

impl CheckedStore {
    pub(crate) fn new(check: impl Fn(&[NewEvent]) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self(Arc::new(check))
    }
}

impl EventStore for CheckedStore {
    fn recorder(&self) -> Box<dyn Recorder> {
        Box::new(self.clone())
    }

    fn each_stream(&self, _visit: &mut dyn FnMut(Stream)) -> io::Result<()> {
        Ok(())
    }
}

impl Recorder for CheckedStore {
    fn record(&mut self, stream: Option<&Arc<Stream>>, drafts: Vec<NewEvent>) -> io::Result<Recorded> {
        (self.0)(&drafts)?;
        NullRecorder.record(stream, drafts)
    }

    fn load(&self, _stream: StreamId) -> io::Result<Option<Stream>> {
        Ok(None)
    }
}

type Check = Box<dyn FnMut(&[NewEvent]) -> io::Result<()> + Send>;

/// A recorder in memory that calls a check before each commit.
#[derive(Clone, Default)]
pub(crate) struct Log {
    events: Arc<Mutex<Kept>>,
    check: Arc<Mutex<Option<Check>>>,
}

impl Log {
    /// A log that refuses commits for which `check` fails.
    pub(crate) fn checked(check: impl FnMut(&[NewEvent]) -> io::Result<()> + Send + 'static) -> Self {
        Self { check: Arc::new(Mutex::new(Some(Box::new(check)))), ..Self::default() }
    }

    /// A log that refuses commits with an event for which `refused` returns true.
    pub(crate) fn refusing(refused: impl Fn(&EventKind) -> bool + Send + 'static) -> Self {
        Self::checked(move |drafts| match drafts.iter().any(|draft| refused(&draft.kind)) {
            true => Err(disk_full()),
            false => Ok(()),
        })
    }

    pub(crate) fn runner(&self, spec: ProcessSpec) -> ProcessRunner {
        let stream = self.replay();
        ProcessRunner::recorded(spec, 0, Box::new(self.clone()), stream)
    }

    /// A supervisor that records in this log and has the launch specifications `launches` of an earlier supervisor.
    pub(crate) fn supervisor(&self, launches: Vec<LaunchSpec>) -> Supervisor {
        Unrecovered::new(self.services(launches)).without_past()
    }

    /// The next supervisor, after it has recovered from this log.
    pub(crate) async fn recovered(&self, launches: Vec<LaunchSpec>) -> (Supervisor, Recovery) {
        let past = self.replay().into_iter().collect();
        in_time(Unrecovered::new(self.services(launches)).recover(Boot::default(), past)).await
    }

    /// The services of a supervisor that records in this log.
    pub(crate) fn services(&self, launches: Vec<LaunchSpec>) -> Services {
        Services {
            store: Arc::new(self.clone()),
            clock: Arc::new(SystemClock),
            launches: Arc::new(MemoryLaunches::of(launches)),
            place: None,
            fd_store: None,
            logs: None,
            adapters: Arc::new(|_| None),
        }
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        self.events.lock().unwrap().0.clone()
    }

    /// Takes over the events of another log, with their processes.
    pub(crate) fn adopt(&self, other: &Self) {
        self.events.lock().unwrap().0 = other.events();
    }

    /// Adds an event to construct an earlier history.
    pub(crate) fn append(&self, kind: EventKind) {
        let stream = self.replay().expect("a past to go on with");
        let (version, run) = (stream.version + 1, stream.run_of(&kind));
        let stamp = SystemClock.now();
        let draft = NewEvent { stream: stream.id, run, actor: Actor::System, reason: None, cause: None, stamp, kind };
        self.events.lock().unwrap().0.push(draft.numbered(version * 10, version));
    }

    /// Changes recorded events to construct an earlier history.
    pub(crate) fn alter(&self, change: impl FnMut(&mut Event)) {
        self.events.lock().unwrap().0.iter_mut().for_each(change);
    }

    pub(crate) fn names(&self) -> Vec<&'static str> {
        self.events().iter().map(|event| event.kind.name()).collect()
    }

    pub(crate) fn seq_of(&self, name: &str) -> Option<u64> {
        self.events().iter().rev().find(|event| event.kind.name() == name).map(|event| event.seq)
    }

    /// The state of the stream after all recorded events.
    pub(crate) fn replay(&self) -> Option<Stream> {
        let events = self.events();
        let (first, rest) = events.split_first()?;
        let mut stream = Stream::begin(first).expect("a legal first event");
        for event in rest {
            stream.apply(event).expect("a legal event");
        }
        Some(stream)
    }

    /// Asserts that the state in memory equals the state that is replayed from the recorded events.
    pub(crate) fn assert_live_equals_replayed(&self, runner: &ProcessRunner) {
        assert_eq!(runner.stream(), self.replay());
        assert_eq!(runner.stream().and_then(|stream| stream.broken_invariant()), None);
    }
}

impl EventStore for Log {
    fn recorder(&self) -> Box<dyn Recorder> {
        Box::new(self.clone())
    }

    fn each_stream(&self, visit: &mut dyn FnMut(Stream)) -> io::Result<()> {
        self.replay().into_iter().for_each(visit);
        Ok(())
    }
}

/// An event store with one log for each stream.
pub(crate) struct LogForEach;

impl EventStore for LogForEach {
    fn recorder(&self) -> Box<dyn Recorder> {
        Box::new(Log::default())
    }

    fn each_stream(&self, _visit: &mut dyn FnMut(Stream)) -> io::Result<()> {
        Ok(())
    }
}

impl Recorder for Log {
    fn record(&mut self, stream: Option<&Arc<Stream>>, drafts: Vec<NewEvent>) -> io::Result<Recorded> {
        let version = stream.map_or(0, |stream| stream.version);
        if let Some(check) = self.check.lock().unwrap().as_mut() {
            check(&drafts)?;
        }
        let events = &mut self.events.lock().unwrap().0;
        assert_eq!(version, u64::try_from(events.len()).unwrap(), "the expected version is that of the stream");
        // The streams of a ledger share its seqs, so a seq differs from a version.
        let recorded: Vec<Event> = drafts
            .into_iter()
            .zip(version + 1..)
            .map(|(draft, version)| draft.numbered(version * 10, version))
            .collect();
        let recorded = Recorded::fold(stream, recorded)?;
        events.extend(recorded.events.iter().cloned());
        Ok(recorded)
    }

    fn load(&self, stream: StreamId) -> io::Result<Option<Stream>> {
        Ok(self.replay().filter(|kept| kept.id == stream))
    }
}

/// Reads the output line by line.
pub(crate) struct Lines {
    chunks: mpsc::Receiver<OutputChunk>,
    rest: Vec<u8>,
}

impl Lines {
    pub(crate) fn of(runner: &mut ProcessRunner) -> Self {
        Self { chunks: runner.subscribe_output(), rest: Vec::new() }
    }

    /// The next line of stdout.
    pub(crate) async fn next(&mut self) -> String {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return String::from_utf8(line).unwrap().trim_end().to_owned();
            }
            let chunk = in_time(self.chunks.recv()).await.expect("the output ends before the line");
            if chunk.source == OutputSource::Stdout {
                self.rest.extend(chunk.bytes);
            }
        }
    }

    /// The next chunk; `None` at the end of the subscription.
    pub(crate) async fn recv(&mut self) -> Option<OutputChunk> {
        self.chunks.recv().await
    }

    pub(crate) async fn next_pid(&mut self) -> u32 {
        self.next().await.parse().expect("a pid")
    }
}
