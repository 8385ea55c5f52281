//! Running one instance of a specification.
//!
//! A [`ProcessRunner`] starts the process and a task that owns the run until the process and its group are gone. The task
//! records events and reads the output. The runner's futures only send commands and wait, so dropping one changes nothing.
//! The [`supervisor`](crate::supervisor) restarts processes.

use std::{fmt, process::ExitStatus, sync::Arc, time::Duration};

use apm2_model::{
    clock::SystemClock,
    event::{
        kind::{EventKind, StartTrigger},
        origin::EventOrigin,
        requester::Requester,
        stream_id::StreamId,
        timestamp::Clock,
    },
    recorder::{NullRecorder, Recorder},
    signal::Signal,
    spec::{ProcessSpec, launch::LaunchSpec},
    state::{ProcessState, handle::ProcessHandle, stream::Stream},
};
use tokio::{
    sync::{
        mpsc::{self, error::TrySendError},
        oneshot, watch,
    },
    time,
};
use tracing::Span;

use crate::{
    error::ProcessError,
    os::marker::LedgerPlace,
    output::{
        destination::FileLogs,
        fd_store::{FdStore, StoredRun},
        log::captured::CapturedOutput,
        observer::SharedObserver,
        subscriber::{OutputChunk, OutputSubscriber},
    },
    run::{
        command::{ReplyReceiver, ReplySender, RotateCommand, RunCommand, SignalCommand, StopCommand},
        event_feed::EventFeed,
        history::History,
        instance::{SharedInstance, SharedSpec},
        start_env::StartEnv,
        stream_view::StreamView,
    },
    time::instant_in,
};

/// The longest time that a stop waits, after the end of the process, for the delivery of the remaining output.
pub(crate) const STOP_DRAIN_MAX: Duration = Duration::from_secs(1);

/// Runs one instance of a [`ProcessSpec`] and records its events.
///
/// Dropping the runner stops nothing: the process continues to run, its output keeps being read, and its exit is
/// recorded, as long as the tokio runtime lives.
pub struct ProcessRunner {
    pub(crate) shared: SharedInstance,
    pub(super) subscriber: OutputSubscriber,
    /// The file descriptor store that keeps the outputs open beyond the end of this process.
    pub(crate) fd_store: Option<Arc<dyn FdStore>>,
    /// The log files for the output. Without log files, the output goes to the subscriber.
    pub(crate) files: Option<FileLogs>,
    /// The observer of the output, if the end of a run waits until it has got all lines.
    pub(crate) end_observer: Option<SharedObserver>,
    /// The latest run for which a process was spawned.
    pub(super) run: Option<RunLink>,
}

/// The runner's ends of the channels to the task of a run.
pub(super) struct RunLink {
    /// Commands are boxed, because a channel allocates memory for several of them at once.
    pub(super) commands: mpsc::Sender<Box<RunCommand>>,
    pub(super) finished: watch::Receiver<bool>,
}

impl ProcessRunner {
    /// A runner in the `Stopped` state. Its events are numbered but not stored.
    ///
    /// # Panics
    /// `instance` is not less than `spec.instances` (INV-0010).
    #[must_use]
    pub fn new(spec: ProcessSpec, instance: u32) -> Self {
        Self::recorded(spec, instance, Box::new(NullRecorder), None)
    }

    /// A runner whose events are stored by `recorder`. If `stream` is `Some`, the runner continues this stream.
    ///
    /// A stream that ends in the middle of a run cannot be started; a [`Supervisor`](crate::supervisor::Supervisor)
    /// resumes it.
    ///
    /// # Panics
    /// `instance` is not less than `spec.instances` (INV-0010), or `stream` belongs to another instance.
    #[must_use]
    pub fn recorded(spec: ProcessSpec, instance: u32, recorder: Box<dyn Recorder>, stream: Option<Stream>) -> Self {
        Self::launched(Arc::new(LaunchSpec::new(spec)).into(), instance, recorder, stream)
    }

    /// Like [`recorded`](Self::recorded), with a specification that is shared with its owner.
    pub(crate) fn launched(
        spec: SharedSpec,
        instance: u32,
        recorder: Box<dyn Recorder>,
        stream: Option<Stream>,
    ) -> Self {
        assert!(instance < spec.instances, "instance {instance} of {} (INV-0010)", spec.instances);
        let id = StreamId { process_id: spec.id, instance };
        assert!(stream.as_ref().is_none_or(|stream| stream.id == id), "the stream of another instance");
        let history = History::new(id, stream, recorder, Arc::new(SystemClock));
        Self {
            shared: SharedInstance::new(spec, history),
            subscriber: OutputSubscriber::default(),
            fd_store: None,
            files: None,
            end_observer: None,
            run: None,
        }
    }

    /// The same runner, with `clock` as the source of timestamps.
    #[must_use]
    pub fn with_clock(self, clock: Arc<dyn Clock>) -> Self {
        self.shared.set_clock(clock);
        self
    }

    /// The same runner, which sends recorded events to `feed`.
    pub(crate) fn published(self, feed: EventFeed) -> Self {
        self.shared.publish(feed);
        self
    }

    /// The same runner, with a file descriptor store for its outputs and log files.
    pub(crate) fn with_output(self, fd_store: Option<Arc<dyn FdStore>>, files: Option<FileLogs>) -> Self {
        Self { fd_store, files, ..self }
    }

    /// The same runner, whose run markers contain the identity of the ledger directory.
    pub(crate) fn placed(self, place: Option<LedgerPlace>) -> Self {
        self.shared.facts().place = place;
        self
    }

    /// The log files of the instance, with their counters and secret filter; `None` without log files.
    pub(crate) fn captured_output(&self) -> Option<CapturedOutput> {
        let logs = self.files.as_ref()?;
        let facts = self.shared.facts();
        let files = logs.files(&facts.spec.log, &facts.handle());
        Some(CapturedOutput { files, meter: Arc::clone(&logs.meter), secret_filter: Arc::clone(&logs.secret_filter) })
    }

    /// The error for an operation that the state does not allow.
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

    /// Starts the process on behalf of `request`.
    ///
    /// Blocks until the program is executed and the events are recorded, which takes milliseconds. If the exit of the
    /// previous run was not reported yet, it is discarded.
    ///
    /// # Errors
    /// [`ProcessError::InvalidState`] unless the process has ended or was never started (CTR-0005), and outside of a
    /// tokio runtime; [`ProcessError::SpawnFailed`] when the program could not be executed (CTR-0008), which leaves the
    /// state `Crashed`; [`ProcessError::Io`] when the start could not be recorded. In this case, no process runs.
    ///
    /// # Panics
    /// The tokio runtime was built without its I/O or time driver.
    pub fn start_by(&mut self, request: Requester, trigger: StartTrigger) -> Result<(), ProcessError> {
        self.start_as(&EventOrigin::of(request), trigger, StartEnv::default())
    }

    /// The tracing span that adds the number of the latest run to log messages.
    pub(crate) fn run_span(&self) -> Span {
        tracing::error_span!("run", number = self.shared.facts().run())
    }

    /// The run with this marker in the file descriptor store; `None` if the store does not have it or cannot be read.
    pub(crate) fn stored_run(&self, marker: &str) -> Option<StoredRun> {
        let stored = self.fd_store.as_ref()?.get(marker);
        stored
            .inspect_err(|error| tracing::warn!(%error, "a run cannot be read from the file descriptor store"))
            .ok()
            .flatten()
    }

    /// Stops the process with its whole group. See [`stop_by`](Self::stop_by).
    ///
    /// # Errors
    /// Those of [`stop_by`](Self::stop_by).
    pub async fn stop(&mut self, timeout: Duration) -> Result<(), ProcessError> {
        self.stop_by(timeout, Requester::default()).await
    }

    /// Stops the process with its whole group, on behalf of `request`.
    ///
    /// Sends `spec.shutdown.signal` (default SIGTERM), then SIGKILL after `timeout` unless `spec.shutdown.force_kill`
    /// is off (CTR-0007). Returns when no member of the group is left and the end is recorded. A second stop during a
    /// stop does not begin again: it may shorten the time until SIGKILL, but never extends it. The exit counts as
    /// reported.
    ///
    /// Dropping the future does not cancel the stop.
    ///
    /// # Errors
    /// [`ProcessError::InvalidState`] when the process is not running (CTR-0006); [`ProcessError::SignalFailed`] when
    /// the kernel refused a signal; [`ProcessError::Io`] when an event could not be recorded, or, of kind `TimedOut`,
    /// when members of the group are left after the last permitted signal. The group is then still watched, and a later
    /// stop continues this stop.
    pub async fn stop_by(&mut self, timeout: Duration, request: Requester) -> Result<(), ProcessError> {
        let run = self.running("stop")?;
        let (reply, answer) = oneshot::channel();
        let command =
            RunCommand::Stop(StopCommand { request, is_final: false, timeout, deadline: instant_in(timeout), reply });
        // If the task does not take commands any more or does not reply, its run has just ended, so the stop has
        // succeeded.
        if run.commands.send(Box::new(command)).await.is_ok()
            && let Ok(answer) = answer.await
        {
            answer?;
        }
        // The wait is bounded, because the subscriber of the output may itself wait for this call.
        let _ = time::timeout(STOP_DRAIN_MAX, run.finished.wait_for(|finished| *finished)).await;
        let mut facts = self.shared.facts();
        facts.check_recording()?;
        if !facts.state().has_exited() {
            return Err(ProcessError::Io(std::io::Error::other("the task that owns the run is gone")));
        }
        facts.unreported = None;
        Ok(())
    }

    /// Requests a stop and does not wait for it. The result is sent when the process group is gone. If the channel is
    /// closed without a result, the group is gone, too.
    ///
    /// With `is_final`, SIGINT comes before the stop signal, and SIGKILL after it in any case.
    pub(crate) fn begin_stop(
        &mut self,
        timeout: Duration,
        request: Requester,
        is_final: bool,
    ) -> Result<ReplyReceiver, ProcessError> {
        self.ask("stop", |reply| {
            RunCommand::Stop(StopCommand { request, is_final, timeout, deadline: instant_in(timeout), reply })
        })
    }

    /// Sends `signal` to the process after its credentials were rotated.
    pub(crate) fn begin_rotation(
        &mut self,
        request: Requester,
        profile: String,
        variables: Vec<String>,
        signal: Signal,
    ) -> Result<ReplyReceiver, ProcessError> {
        self.ask("signal", |reply| RunCommand::Rotate(RotateCommand { request, profile, variables, signal, reply }))
    }

    /// Passes a signal on to the process group. SIGKILL is refused, since only a stop may send it.
    pub(crate) fn begin_signal(&mut self, request: Requester, signal: Signal) -> Result<ReplyReceiver, ProcessError> {
        if signal == Signal::KILL {
            return Err(invalid("SIGKILL is not passed on; stop it, with a timeout of 0"));
        }
        self.ask("signal", |reply| RunCommand::Signal(SignalCommand { request, signal, reply }))
    }

    fn ask(
        &mut self,
        operation: &str,
        command: impl FnOnce(ReplySender) -> RunCommand,
    ) -> Result<ReplyReceiver, ProcessError> {
        let run = self.running(operation)?;
        let (reply, answer) = oneshot::channel();
        match run.commands.try_send(Box::new(command(reply))) {
            Err(TrySendError::Full(_)) => Err(invalid("too many commands wait already")),
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

    /// Waits until the process has ended, its end is recorded, and its output is delivered.
    ///
    /// Returns `None` when no process is running and the last exit was already reported, or when the exit is unknown or
    /// could not be recorded. Each exit is reported only once, by the first call of `wait`,
    /// [`try_wait`](Self::try_wait) or [`stop`](Self::stop). Cancel safe.
    ///
    /// Output that another process holds open is read only for a bounded time after the end. A subscriber that does not
    /// read delays the return without a limit, because its output would otherwise be lost.
    pub async fn wait(&mut self) -> Option<ExitStatus> {
        let run = self.run.as_mut()?;
        // An error means that the task is gone and that there is no end to report.
        run.finished.wait_for(|finished| *finished).await.ok()?;
        self.shared.facts().unreported.take()
    }

    /// The exit that [`wait`](Self::wait) would return; `None` if `wait` would have to wait.
    pub fn try_wait(&mut self) -> Option<ExitStatus> {
        let finished = *self.run.as_ref()?.finished.borrow();
        if finished { self.shared.facts().unreported.take() } else { None }
    }

    /// Subscribes to the output of the current run and of all later runs. Replaces an earlier subscription.
    ///
    /// The channel is bounded: if the subscriber does not read, the process blocks once its pipe is full, too. Output
    /// without a subscriber is dropped. All output of a run is in the channel before [`wait`](Self::wait) returns; the
    /// channel ends when the runner is dropped and its last run is over.
    #[must_use = "the process blocks on output that is not received"]
    pub fn subscribe_output(&mut self) -> mpsc::Receiver<OutputChunk> {
        self.subscriber.subscribe()
    }

    /// The current state of the instance, computed from the recorded events.
    #[must_use]
    pub fn state(&self) -> ProcessState {
        self.shared.facts().state()
    }

    /// The pid of the main process; `None` unless the state is running (INV-0008).
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.shared.facts().stream.as_ref().and_then(|stream| stream.handle.pid)
    }

    /// Whether a process was spawned and is not reaped yet (INV-0011).
    #[must_use]
    pub fn has_child(&self) -> bool {
        self.shared.facts().has_child
    }

    /// The name of the instance: `name-instance` for a specification with several instances, else `name`.
    #[must_use]
    pub fn display_name(&self) -> String {
        self.shared.facts().handle().display_name()
    }

    /// The handle of the instance. Before the first start, it is a new handle; afterwards, it is computed from the
    /// recorded events.
    #[must_use]
    pub fn handle(&self) -> ProcessHandle {
        self.shared.facts().handle()
    }

    /// The state of the stream after all recorded events; `None` before the first event.
    #[must_use]
    pub fn stream(&self) -> Option<Stream> {
        self.shared.facts().stream.as_deref().cloned()
    }

    /// Read access to the stream that does not need the runner.
    pub(crate) fn view(&self) -> StreamView {
        StreamView(self.shared.clone())
    }

    /// Replaces the specification from the next start on and records the change. Begins the stream if there is none.
    pub(crate) fn update_spec(&mut self, spec: SharedSpec, origin: &EventOrigin) -> Result<(), ProcessError> {
        self.shared.lock().update_spec(spec, origin)
    }

    /// The current specification, with its secrets.
    #[must_use]
    pub fn spec(&self) -> ProcessSpec {
        (*self.shared.facts().spec).clone()
    }

    /// Records events that do not belong to a step of a run. See [`History::record`].
    pub(crate) fn record(&mut self, origin: &EventOrigin, kinds: Vec<EventKind>) -> Result<u64, ProcessError> {
        self.shared.lock().record(origin, kinds)
    }

    /// The seq of the event that ended the latest run; `None` if that run was not started or resumed by this runner.
    pub(crate) fn end_seq(&self) -> Option<u64> {
        self.shared.facts().end_seq
    }

    /// An error if the end of a run could not be recorded.
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

pub(crate) fn invalid(what: &str) -> ProcessError {
    ProcessError::InvalidState(what.to_owned())
}
