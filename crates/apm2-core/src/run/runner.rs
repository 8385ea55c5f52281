//! Running one instance of a specification.
//!
//! A [`ProcessRunner`] starts the process and hands it to a task, which owns the run until the process and its group
//! are gone, records all that happens, and reads the output. The runner's futures only ask and watch: dropping one
//! half-way changes nothing. Restarting by policy is the [`supervisor`](crate::supervisor)'s matter.

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
    spec::ProcessSpec,
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
    os::group::LedgerPlace,
    output::{
        destination::FileLogs,
        fd_store::{FdStore, StoredRun},
        log::captured::CapturedOutput,
        subscriber::{OutputChunk, OutputSubscriber},
    },
    run::{
        command::{Answer, Reply, RotateCommand, RunCommand, SignalCommand, StopCommand},
        event_feed::EventFeed,
        history::History,
        instance::Shared,
        start_env::StartEnv,
        stream_view::StreamView,
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
    pub(super) subscriber: OutputSubscriber,
    /// Who else keeps the outputs open.
    pub(crate) holder: Option<Arc<dyn FdStore>>,
    /// Where the output is kept, beside whoever subscribed.
    pub(crate) files: Option<FileLogs>,
    /// The latest run that got as far as a process.
    pub(super) run: Option<RunLink>,
}

/// The runner's side of a run.
pub(super) struct RunLink {
    pub(super) commands: mpsc::Sender<RunCommand>,
    pub(super) finished: watch::Receiver<bool>,
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

    /// Names the latest run in the lines of the log, beside its instance.
    pub(crate) fn run_span(&self) -> Span {
        tracing::error_span!("run", number = self.shared.facts().run())
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

pub(crate) fn invalid(what: &str) -> ProcessError {
    ProcessError::InvalidState(what.to_owned())
}
