//! Running one instance of a specification.
//!
//! A [`ProcessRunner`] starts the process and hands it to a task, which owns the run until the process and its group
//! are gone, records all that happens, and reads the output. The runner's futures only ask and watch: dropping one
//! half-way changes nothing. Restarting by policy is the [`supervisor`](crate::supervisor)'s matter.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt, io,
    os::fd::{AsFd as _, OwnedFd},
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use apm2_model::{
    clock::SystemClock,
    event::{
        exit::{SpawnFailure, SpawnStage},
        identity::ProcessIdentity,
        kind::{EventKind, StartTrigger},
        origin::EventOrigin,
        requester::Requester,
        stream_id::StreamId,
        timestamp::Clock,
    },
    recorder::{NullRecorder, Recorder},
    signal::Signal,
    spec::{ProcessSpec, redact::known::Known},
    state::{ProcessState, handle::ProcessHandle, stream::Stream},
};
use tokio::{
    process::Child,
    runtime::Handle,
    sync::{
        mpsc::{self, error::TrySendError},
        oneshot, watch,
    },
    time,
};
use tracing::{Instrument as _, Span};

use crate::{
    error::ProcessError,
    os::{
        child::ChildSetup,
        exec_barrier::exec_barrier,
        group::{LedgerPlace, Marker, RUN_VARIABLE},
        main_process::MainProcess,
        procfs::identify,
        spawner::{self, SpawnOptions, SpawnedProcess},
        stdin::open_stdin,
    },
    output::{
        destination::{Destination, FileLogs, Filing},
        drain::OutputDrain,
        fd_store::{FdStore, StoredRun, let_go},
        log::{captured::CapturedOutput, files::LogFiles, sink::LogSet},
        notice::{NOTICES_WAITING_MAX, OutputNotice},
        pipes::Pipes,
        readers::Readers,
        subscriber::{OutputChunk, OutputSubscriber},
    },
    run::{
        actor::{
            Answer, COMMANDS_WAITING_MAX, Reply, RotateCommand, Run, RunChannels, RunCommand, SignalCommand,
            StopCommand,
        },
        event_feed::EventFeed,
        history::History,
        instance::{Instance, Shared, Unconfirmed},
    },
    time::instant_in,
};

/// How long a stop waits, after the end, for the rest of the output to be handed on.
pub(crate) const STOP_DRAIN_MAX: Duration = Duration::from_secs(1);

/// Runs one instance of a [`ProcessSpec`], and records what happens to it.
///
/// Dropping it stops nothing: the process keeps running, its output keeps being read, and its exit is recorded, as long
/// as the tokio runtime lives.
pub struct ProcessRunner {
    pub(crate) shared: Shared,
    subscriber: OutputSubscriber,
    /// Who else keeps the outputs open.
    pub(crate) holder: Option<Arc<dyn FdStore>>,
    /// Where the output is kept, beside whoever subscribed.
    pub(crate) files: Option<FileLogs>,
    /// The latest run that got as far as a process.
    run: Option<RunLink>,
}

/// Outputs that are ready to be read, and their other ends.
struct ReadyOutputs {
    readers: Readers,
    stdout: OwnedFd,
    stderr: OwnedFd,
}

/// What a start is given beside the specification.
#[derive(Default)]
pub(crate) struct StartEnv {
    /// The environment that the child's begins with; `None` for the allowed part of ours.
    pub(crate) base_env: Option<BTreeMap<String, String>>,
    /// The mask of the files that it makes; `None` for ours.
    pub(crate) umask: Option<u32>,
    /// Values of credentials, by the names of their variables.
    pub(crate) credentials: Vec<(String, OsString)>,
    /// Its standard input, in the place of the specification's.
    pub(crate) stdin: Option<OwnedFd>,
}

impl StartEnv {
    /// The secrets among the values of credentials.
    fn secrets(&self) -> Known {
        let values: Vec<_> = self.credentials.iter().map(|(_, value)| value.to_string_lossy()).collect();
        Known::default().with_credentials(values.iter().map(AsRef::as_ref))
    }
}

/// The runner's side of a run.
struct RunLink {
    commands: mpsc::Sender<RunCommand>,
    finished: watch::Receiver<bool>,
}

impl ProcessRunner {
    /// A runner in `Stopped` state of which no history is kept.
    ///
    /// # Panics
    /// When `instance` is not less than `spec.instances` (INV-0010).
    #[must_use]
    pub fn new(spec: ProcessSpec, instance: u32) -> Self {
        Self::recorded(spec, instance, Box::new(NullRecorder), None)
    }

    /// A runner whose events are kept by `recorder`, and which continues `stream` where there is one.
    ///
    /// A stream that was left in the middle of a run cannot be started; a [`Supervisor`](crate::supervisor::Supervisor)
    /// takes it up.
    ///
    /// # Panics
    /// When `instance` is not less than `spec.instances` (INV-0010), or when `stream` is another instance's.
    #[must_use]
    pub fn recorded(spec: ProcessSpec, instance: u32, recorder: Box<dyn Recorder>, stream: Option<Stream>) -> Self {
        assert!(instance < spec.instances, "instance {instance} of {} (INV-0010)", spec.instances);
        let id = StreamId { process_id: spec.id, instance };
        assert!(stream.as_ref().is_none_or(|stream| stream.id == id), "the stream of another instance");
        let history = History::new(id, stream, recorder, Arc::new(SystemClock));
        Self {
            shared: Shared::new(spec, history),
            subscriber: OutputSubscriber::default(),
            holder: None,
            files: None,
            run: None,
        }
    }

    /// The same runner with another source of time stamps.
    #[must_use]
    pub fn with_clock(self, clock: Arc<dyn Clock>) -> Self {
        self.shared.set_clock(clock);
        self
    }

    /// The same runner, which sends what it has recorded to `feed`.
    pub(crate) fn published(self, feed: EventFeed) -> Self {
        self.shared.publish(feed);
        self
    }

    /// The same runner, whose outputs are also held by somebody else and kept in files.
    pub(crate) fn kept(self, holder: Option<Arc<dyn FdStore>>, files: Option<FileLogs>) -> Self {
        Self { holder, files, ..self }
    }

    /// The same runner, whose runs carry the place of their ledger in their markers.
    pub(crate) fn placed(self, place: Option<LedgerPlace>) -> Self {
        self.shared.facts().place = place;
        self
    }

    /// The output of the instance, where it is kept in files.
    pub(crate) fn kept_output(&self) -> Option<CapturedOutput> {
        let kept = self.files.as_ref()?;
        let facts = self.shared.facts();
        let files = kept.files(&facts.spec.log, &facts.handle());
        Some(CapturedOutput { files, meter: Arc::clone(&kept.meter), secret_filter: Arc::clone(&kept.secret_filter) })
    }

    /// The error of an operation that does not fit the state.
    pub(crate) fn refusal(&self, operation: &str) -> ProcessError {
        self.shared.facts().refusal(operation)
    }

    /// Starts the process. See [`start_by`](Self::start_by).
    ///
    /// # Errors
    /// Those of [`start_by`](Self::start_by).
    pub fn start(&mut self) -> Result<(), ProcessError> {
        self.start_by(Requester::default(), StartTrigger::Start)
    }

    /// Starts the process on behalf of whoever asks.
    ///
    /// Blocks until the program is executed and the events are recorded, which takes milliseconds. An exit of the run
    /// before, if nobody asked for it, is forgotten.
    ///
    /// # Errors
    /// [`ProcessError::InvalidState`] unless the process has ended or was never started (CTR-0005), and outside of a
    /// tokio runtime; [`ProcessError::SpawnFailed`] when no process came to be (CTR-0008), which leaves the state
    /// `Crashed`; [`ProcessError::Io`] when the start could not be recorded: then nothing runs.
    ///
    /// # Panics
    /// When the tokio runtime was built without its I/O or time driver.
    pub fn start_by(&mut self, request: Requester, trigger: StartTrigger) -> Result<(), ProcessError> {
        self.start_as(&EventOrigin::of(request), trigger, StartEnv::default())
    }

    /// Starts the process as a consequence of a recorded event.
    pub(crate) fn start_as(
        &mut self,
        origin: &EventOrigin,
        trigger: StartTrigger,
        given: StartEnv,
    ) -> Result<(), ProcessError> {
        let runtime = spawner::runtime()?;
        let shared = self.shared.clone();
        let mut instance = shared.lock();
        startable(&instance)?;
        let known = instance.know(given.secrets());
        if let Some(files) = &self.files {
            files.secret_filter.set(known.clone());
        }
        let cause = Some(instance.request_start(origin, trigger)?);
        let _in_run = self.run_span().entered();
        let origin = EventOrigin::default().caused_by(cause);
        let (spec, handle, run) = {
            let facts = instance.facts();
            (Arc::clone(&facts.spec), facts.handle(), facts.marker())
        };
        let marker = run.to_string();
        let files = self.files.as_ref().map(|logs| logs.files(&spec.log, &handle));
        let (notices, noticed) = mpsc::channel(NOTICES_WAITING_MAX);
        let outputs = self.ready_outputs(&runtime, &spec, files.as_ref(), notices);
        let spawned = outputs.and_then(|outputs| self.spawn(&spec, &run, outputs, given));
        let confirmed = spawned.and_then(|(readers, spawned)| {
            let found = find_main_process(spawned, &runtime)?;
            Ok((readers, found))
        });
        let (readers, found) = match confirmed {
            Ok(found) => found,
            Err(mut failure) => {
                failure.message = known.mask(&failure.message);
                let_go(self.holder.as_deref(), &marker);
                let error = ProcessError::SpawnFailed(failure.message.clone());
                instance.record_spawn_failure(&origin, trigger, failure)?;
                return Err(error);
            }
        };
        let main_process = confirm(&mut instance, &origin, trigger, found, &runtime)?;
        self.own_run(&runtime, main_process, Some(readers), noticed, None);
        Ok(())
    }

    /// Makes the pipes and all that is needed to read them: nothing of that can fail any more once there is a process.
    fn ready_outputs(
        &self,
        runtime: &Handle,
        spec: &ProcessSpec,
        files: Option<&LogFiles>,
        notices: mpsc::Sender<OutputNotice>,
    ) -> Result<ReadyOutputs, SpawnFailure> {
        let failed = |what: &'static str| move |error: io::Error| spawner::failure(SpawnStage::Fork, what, &error);
        let Pipes { mut outputs, stdout, stderr } = Pipes::new(spec.log.is_merged()).map_err(failed("pipes"))?;
        if let Some(files) = files {
            outputs.begin_in(files);
        }
        let readers = Readers::ready(runtime, outputs, &self.destination(notices));
        Ok(ReadyOutputs { readers: readers.map_err(failed("readers of its output"))?, stdout, stderr })
    }

    /// Has the pipes held, and spawns the process with them.
    fn spawn(
        &self,
        spec: &ProcessSpec,
        marker: &Marker,
        outputs: ReadyOutputs,
        given: StartEnv,
    ) -> Result<(Readers, SpawnedProcess), SpawnFailure> {
        let ReadyOutputs { readers, stdout, stderr } = outputs;
        let mut last_env: Vec<(String, OsString)> = given.credentials;
        last_env.push((RUN_VARIABLE.to_owned(), marker.variable().into()));
        let StartEnv { base_env, umask, stdin, .. } = given;
        let stdin = match (stdin, &spec.stdin) {
            (Some(stdin), _) => stdin.into(),
            (None, Some(path)) => open_stdin(path).map(Stdio::from).map_err(|error| {
                spawner::failure(SpawnStage::Stdin, &format!("standard input {}", path.display()), &error)
            })?,
            (None, None) => Stdio::null(),
        };
        let passage = ChildSetup { umask, ..ChildSetup::default() };
        let (stdout, stderr) = (stdout.into(), stderr.into());
        let surroundings = SpawnOptions { base_env, passage, last_env, stdin, stdout, stderr };
        match &self.holder {
            Some(holder) => spawn_held(spec, surroundings, &marker.to_string(), Arc::clone(holder), readers),
            None => Ok((readers, spawner::spawn_with(spec, surroundings)?)),
        }
    }

    /// Records a start that failed before there was anything to spawn.
    pub(crate) fn fail_start(
        &mut self,
        origin: &EventOrigin,
        trigger: StartTrigger,
        failure: SpawnFailure,
    ) -> Result<(), ProcessError> {
        let mut instance = self.shared.lock();
        startable(&instance)?;
        let cause = Some(instance.request_start(origin, trigger)?);
        instance.record_spawn_failure(&EventOrigin::default().caused_by(cause), trigger, failure)
    }

    /// Names the latest run in the lines of the log, beside its instance.
    pub(crate) fn run_span(&self) -> Span {
        tracing::error_span!("run", number = self.shared.facts().run())
    }

    /// Hands a run to the task that owns it. To be called in the span of the run.
    pub(crate) fn own_run(
        &mut self,
        runtime: &Handle,
        main_process: MainProcess,
        readers: Option<Readers>,
        noticed: mpsc::Receiver<OutputNotice>,
        found_ended: Option<Requester>,
    ) {
        let (commands, received) = mpsc::channel(COMMANDS_WAITING_MAX);
        let (told, finished) = watch::channel(false);
        let channels = RunChannels { commands: received, finished: told, noticed };
        let holder = self.holder.clone();
        let drains = readers.map_or_else(OutputDrain::none, Readers::start);
        let run = Run::new(self.shared.clone(), main_process, drains, channels, holder).resumed(found_ended);
        runtime.spawn(run.own().in_current_span());
        self.run = Some(RunLink { commands, finished });
    }

    pub(crate) fn destination(&self, notices: mpsc::Sender<OutputNotice>) -> Destination {
        let Some(logs) = &self.files else { return Destination::Subscriber(self.subscriber.clone()) };
        let (spec, handle, clock) = {
            let facts = self.shared.facts();
            (Arc::clone(&facts.spec), facts.handle(), Arc::clone(&facts.clock))
        };
        let files = logs.files(&spec.log, &handle);
        logs.meter.begin(&clock.now());
        Destination::Files(Filing {
            threads: Arc::downgrade(&logs.threads),
            meter: Arc::clone(&logs.meter),
            log_set: Arc::new(LogSet::new(files, spec.log.clone(), Arc::clone(&logs.secret_filter))),
            clock,
            notices,
        })
    }

    pub(crate) fn held(&self, marker: &str) -> Option<StoredRun> {
        let held = self.holder.as_ref()?.get(marker);
        held.inspect_err(|error| tracing::warn!(%error, "what is held of a run cannot be had")).ok().flatten()
    }

    /// Stops the process with its whole group. See [`stop_by`](Self::stop_by).
    ///
    /// # Errors
    /// Those of [`stop_by`](Self::stop_by).
    pub async fn stop(&mut self, timeout: Duration) -> Result<(), ProcessError> {
        self.stop_by(timeout, Requester::default()).await
    }

    /// Stops the process with its whole group, on behalf of whoever asks.
    ///
    /// Sends `spec.shutdown.signal` (default SIGTERM), then SIGKILL after `timeout` unless `spec.shutdown.force_kill` is
    /// off (CTR-0007). Returns when no member of the group is left and that is recorded. While a stop is under way a
    /// second one joins it: it may shorten the time until SIGKILL, and never lengthens it. The exit counts as reported.
    ///
    /// Dropping the future does not take the request back.
    ///
    /// # Errors
    /// [`ProcessError::InvalidState`] when the process is not running (CTR-0006); [`ProcessError::SignalFailed`] when
    /// the kernel refused a signal; [`ProcessError::Io`] when an event could not be recorded, or, of kind `TimedOut`,
    /// when the group was still there after all that may be done. It is then still watched, and a later stop joins.
    pub async fn stop_by(&mut self, timeout: Duration, request: Requester) -> Result<(), ProcessError> {
        let run = self.running("stop")?;
        let (reply, answer) = oneshot::channel();
        let command = RunCommand::Stop(StopCommand { request, timeout, deadline: instant_in(timeout), reply });
        // A task that no longer takes orders or no longer answers has just ended its run, which was the aim.
        if run.commands.send(command).await.is_ok()
            && let Ok(answer) = answer.await
        {
            answer?;
        }
        // Whoever reads the output may be waiting for this very call, so it is not waited for without a bound.
        let _ = time::timeout(STOP_DRAIN_MAX, run.finished.wait_for(|finished| *finished)).await;
        let mut facts = self.shared.facts();
        facts.check_recording()?;
        if !facts.state().has_exited() {
            return Err(ProcessError::Io(std::io::Error::other("the task that owns the run is gone")));
        }
        facts.unreported = None;
        Ok(())
    }

    /// Asks for a stop and does not wait for it. The answer comes when the group is gone; a dropped one means the same.
    pub(crate) fn begin_stop(&mut self, timeout: Duration, request: Requester) -> Result<Answer, ProcessError> {
        self.ask("stop", |reply| {
            RunCommand::Stop(StopCommand { request, timeout, deadline: instant_in(timeout), reply })
        })
    }

    /// Tells the process by `signal` that its credentials were rotated.
    pub(crate) fn begin_rotation(
        &mut self,
        request: Requester,
        profile: String,
        variables: Vec<String>,
        signal: Signal,
    ) -> Result<Answer, ProcessError> {
        self.ask("signal", |reply| RunCommand::Rotate(RotateCommand { request, profile, variables, signal, reply }))
    }

    /// Passes a signal on to the group. SIGKILL is a stop, and nothing that may be passed on.
    pub(crate) fn begin_signal(&mut self, request: Requester, signal: Signal) -> Result<Answer, ProcessError> {
        if signal == Signal::KILL {
            return Err(invalid("SIGKILL is not passed on; stop it, with a timeout of 0"));
        }
        self.ask("signal", |reply| RunCommand::Signal(SignalCommand { request, signal, reply }))
    }

    fn ask(&mut self, operation: &str, command: impl FnOnce(Reply) -> RunCommand) -> Result<Answer, ProcessError> {
        let run = self.running(operation)?;
        let (reply, answer) = oneshot::channel();
        match run.commands.try_send(command(reply)) {
            Err(TrySendError::Full(_)) => Err(invalid("too many orders wait already")),
            Ok(()) | Err(TrySendError::Closed(_)) => Ok(answer),
        }
    }

    fn running(&mut self, operation: &str) -> Result<&mut RunLink, ProcessError> {
        let facts = self.shared.facts();
        facts.check_recording()?;
        match &mut self.run {
            Some(run) if !facts.state().has_exited() => Ok(run),
            _ => Err(facts.refusal(operation)),
        }
    }

    /// Waits until the process has ended, its end is recorded and its output is handed on.
    ///
    /// `None` when no process is running and no exit is left to report, or when the exit could not be learned or
    /// recorded. Each exit is reported once, by `wait`, [`try_wait`](Self::try_wait) or [`stop`](Self::stop), whichever
    /// comes first. Dropping the future changes nothing.
    ///
    /// Output that somebody else holds open is given up on after a bounded time. A subscriber that does not read is
    /// waited for: its output would be lost.
    pub async fn wait(&mut self) -> Option<ExitStatus> {
        let run = self.run.as_mut()?;
        // An error means that the task is gone without an end to report.
        run.finished.wait_for(|finished| *finished).await.ok()?;
        self.shared.facts().unreported.take()
    }

    /// The exit that [`wait`](Self::wait) would report, if it would not have to wait for it.
    pub fn try_wait(&mut self) -> Option<ExitStatus> {
        let finished = *self.run.as_ref()?.finished.borrow();
        if finished { self.shared.facts().unreported.take() } else { None }
    }

    /// Subscribes to the output, over all runs from now on, in the place of an earlier subscriber.
    ///
    /// The channel is bounded: a subscriber that does not read makes the process wait once its pipe is full, too. What
    /// comes while nobody is subscribed is dropped. All output of a run is in the channel before
    /// [`wait`](Self::wait) returns; the channel ends when the runner is dropped and its last run is over.
    #[must_use = "output that is not received makes the process wait"]
    pub fn subscribe_output(&mut self) -> mpsc::Receiver<OutputChunk> {
        self.subscriber.subscribe()
    }

    /// The state that the recorded events tell.
    #[must_use]
    pub fn state(&self) -> ProcessState {
        self.shared.facts().state()
    }

    /// The pid, while the state is running (INV-0008).
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.shared.facts().stream.as_ref().and_then(|stream| stream.handle.pid)
    }

    /// Whether there is a process: spawned, and not reaped yet (INV-0011).
    #[must_use]
    pub fn has_child(&self) -> bool {
        self.shared.facts().has_child
    }

    /// `name-instance` for a specification with several instances, else `name`.
    #[must_use]
    pub fn display_name(&self) -> String {
        self.shared.facts().handle().display_name()
    }

    /// The handle: a new one before the first start, and the fold of the recorded events from then on.
    #[must_use]
    pub fn handle(&self) -> ProcessHandle {
        self.shared.facts().handle()
    }

    /// The fold of the recorded events; `None` before the first.
    #[must_use]
    pub fn stream(&self) -> Option<Stream> {
        self.shared.facts().stream.as_deref().cloned()
    }

    /// A view of the fold that does not need the runner.
    pub(crate) fn view(&self) -> StreamView {
        StreamView(self.shared.clone())
    }

    /// Replaces what is run from the next start on, and records that. Begins the stream where there is none.
    pub(crate) fn update_spec(&mut self, spec: ProcessSpec, origin: &EventOrigin) -> Result<(), ProcessError> {
        self.shared.lock().update_spec(spec, origin)
    }

    /// What is run.
    #[must_use]
    pub fn spec(&self) -> Arc<ProcessSpec> {
        Arc::clone(&self.shared.facts().spec)
    }

    /// Records events that are no part of a run. See [`History::record`].
    pub(crate) fn record(&mut self, origin: &EventOrigin, kinds: Vec<EventKind>) -> Result<u64, ProcessError> {
        self.shared.lock().record(origin, kinds)
    }

    /// The seq of the event that ended the latest run, if it was this runner's.
    pub(crate) fn end_seq(&self) -> Option<u64> {
        self.shared.facts().end_seq
    }

    /// Why the end of a run could not be recorded, if that has happened.
    pub(crate) fn check_recording(&self) -> Result<(), ProcessError> {
        self.shared.facts().check_recording()
    }
}

impl fmt::Debug for ProcessRunner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let handle = self.handle();
        f.debug_struct("ProcessRunner")
            .field("name", &handle.display_name())
            .field("state", &handle.state)
            .field("pid", &handle.pid)
            .finish_non_exhaustive()
    }
}

/// The stream of a runner as of its last commit, for others to look at. Waits for no step.
#[derive(Clone)]
pub(crate) struct StreamView(Shared);

impl StreamView {
    /// The fold of the recorded events; `None` before the first.
    pub(crate) fn stream(&self) -> Option<Stream> {
        self.0.facts().stream.as_deref().cloned()
    }

    /// The text of the marker of the latest run.
    pub(crate) fn marker(&self) -> String {
        self.0.facts().marker().to_string()
    }

    /// What the processes of the latest run have as [`RUN_VARIABLE`](crate::os::group::RUN_VARIABLE).
    pub(crate) fn run_variable(&self) -> String {
        self.0.facts().marker().variable()
    }
}

pub(crate) fn invalid(what: &str) -> ProcessError {
    ProcessError::InvalidState(what.to_owned())
}

/// Spawns a process that does not become its program before `holder` has it with its outputs, or has refused to.
fn spawn_held(
    spec: &ProcessSpec,
    mut surroundings: SpawnOptions,
    marker: &str,
    holder: Arc<dyn FdStore>,
    readers: Readers,
) -> Result<(Readers, SpawnedProcess), SpawnFailure> {
    let (exec_barrier, keeper) = exec_barrier().map_err(|error| spawner::failure(SpawnStage::Fork, "pipes", &error))?;
    surroundings.passage.exec_barrier = Some(exec_barrier);
    let marker = marker.to_owned();
    let span = Span::current();
    let (give_back, given_back) = std::sync::mpsc::sync_channel(1);
    // The spawn returns after the exec, so somebody else has to open the gate: a thread that nothing else can keep busy.
    let opening = move || {
        span.in_scope(|| {
            keeper.admit(|pidfd, identity| holder.hold(&marker, &readers.to_hold(), pidfd.as_fd(), identity));
        });
        // Nobody waits for it when the spawn has failed.
        let _ = give_back.send(readers);
    };
    let opener = std::thread::Builder::new().name("apm2-gate".to_owned()).spawn(opening);
    opener.map_err(|error| spawner::failure(SpawnStage::Fork, "a thread", &error))?;
    let spawned = spawner::spawn_with(spec, surroundings)?;
    let readers = given_back.recv().map_err(|_| {
        let error = io::Error::other("the thread at its gate is gone");
        spawner::failure(SpawnStage::Fork, &spec.command, &error)
    })?;
    Ok((readers, spawned))
}

/// Refuses a start that does not fit the state.
fn startable(instance: &Instance) -> Result<(), ProcessError> {
    let facts = instance.facts();
    facts.check_recording()?;
    if facts.state().has_exited() { Ok(()) } else { Err(facts.refusal("start")) }
}

/// A process that was spawned and is not on record yet.
struct Found {
    main_process: MainProcess,
    identity: ProcessIdentity,
    child: Box<Child>,
}

/// Learns what tells the process from all others. One of which that cannot be known is killed.
fn find_main_process(spawned: SpawnedProcess, runtime: &Handle) -> Result<Found, SpawnFailure> {
    let SpawnedProcess { child, pid } = spawned;
    let mut child = Box::new(child);
    match (MainProcess::child(pid), identify(pid)) {
        (Some(main_process), Some(identity)) => Ok(Found { main_process, identity, child }),
        (Some(main_process), None) => {
            kill_unrecorded(&main_process, child, runtime);
            Err(spawner::failure(SpawnStage::Fork, &format!("/proc/{pid}/stat"), &io::Error::other("cannot be read")))
        }
        (None, _) => {
            let killed = child.start_kill();
            Err(spawner::failure(
                SpawnStage::Fork,
                &format!("{pid} is no pid"),
                &killed.err().unwrap_or_else(not_a_pid),
            ))
        }
    }
}

fn not_a_pid() -> io::Error {
    io::Error::from(io::ErrorKind::InvalidData)
}

/// Records that the process is there. If that fails it is killed: nothing runs unrecorded.
fn confirm(
    instance: &mut Instance,
    origin: &EventOrigin,
    trigger: StartTrigger,
    found: Found,
    runtime: &Handle,
) -> Result<MainProcess, ProcessError> {
    let Found { main_process, identity, child } = found;
    match instance.record_started(origin, trigger, identity, *child) {
        Ok(()) => Ok(main_process),
        Err(Unconfirmed { error, child }) => {
            kill_unrecorded(&main_process, child, runtime);
            instance.note_killed();
            Err(error)
        }
    }
}

fn kill_unrecorded(main_process: &MainProcess, mut child: Box<Child>, runtime: &Handle) {
    if let Err(error) = main_process.signal_group(Signal::KILL, &[]) {
        tracing::error!(pid = main_process.group(), %error, "a process that could not be recorded could not be killed");
    }
    runtime.spawn(async move { child.wait().await });
}
