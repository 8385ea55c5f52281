//! Running one instance of a specification.
//!
//! A [`ProcessRunner`] starts the process and hands it to a task, which owns the run until the process and its group
//! are gone, records all that happens, and reads the output. The runner's futures only ask and watch: dropping one
//! half-way changes nothing. Restarting by policy is the [`supervisor`](crate::supervisor)'s matter.

use std::{fmt, process::ExitStatus, sync::Arc, time::Duration};

use tokio::{
    process::Child,
    runtime::Handle,
    sync::{mpsc, oneshot, watch},
    time,
};

use crate::process::{
    Clock, EventKind, OutputChunk, ProcessError, ProcessHandle, ProcessIdentity, ProcessSpec, ProcessState, Recorder,
    Request, Signal, Stamp, StartTrigger, Stream, StreamId, SystemClock, Unrecorded,
    group::{MARKER_VARIABLE, Marker},
    history::{History, Origin},
    instance::{Instance, Shared},
    leader::Leader,
    output::{Drains, Outlet},
    run::{Run, STOP_ORDERS_WAITING_MAX, StopOrder, deadline_in},
    spawner::{self, SpawnedProcess},
};

/// How long a stop waits, after the end, for the rest of the output to be handed on.
pub(crate) const STOP_DRAIN_MAX: Duration = Duration::from_secs(1);

/// Runs one instance of a [`ProcessSpec`], and records what happens to it.
///
/// Dropping it stops nothing: the process keeps running, its output keeps being read, and its exit is recorded, as long
/// as the tokio runtime lives.
pub struct ProcessRunner {
    shared: Shared,
    outlet: Outlet,
    /// The latest run that got as far as a process.
    run: Option<RunLink>,
}

/// The runner's side of a run.
struct RunLink {
    orders: mpsc::Sender<StopOrder>,
    finished: watch::Receiver<bool>,
}

impl ProcessRunner {
    /// A runner in `Stopped` state of which no history is kept.
    ///
    /// # Panics
    /// When `instance` is not less than `spec.instances` (INV-0010).
    #[must_use]
    pub fn new(spec: ProcessSpec, instance: u32) -> Self {
        Self::recorded(spec, instance, Box::new(Unrecorded), None)
    }

    /// A runner whose events are kept by `recorder`, and which continues `stream` where there is one.
    ///
    /// A stream that was left in the middle of a run has to be closed before the next start, see
    /// [`reconcile`](crate::supervisor::reconcile).
    ///
    /// # Panics
    /// When `instance` is not less than `spec.instances` (INV-0010), or when `stream` is another instance's.
    #[must_use]
    pub fn recorded(spec: ProcessSpec, instance: u32, recorder: Box<dyn Recorder>, stream: Option<Stream>) -> Self {
        assert!(instance < spec.instances, "instance {instance} of {} (INV-0010)", spec.instances);
        let id = StreamId { process_id: spec.id, instance };
        assert!(stream.as_ref().is_none_or(|stream| stream.id == id), "the stream of another instance");
        let history = History::new(id, stream, recorder, Arc::new(SystemClock));
        Self { shared: Shared::new(Instance::new(spec, id, history)), outlet: Outlet::default(), run: None }
    }

    /// The same runner with another source of time stamps.
    #[must_use]
    pub fn with_clock(self, clock: Arc<dyn Clock>) -> Self {
        self.shared.lock().history.clock = clock;
        self
    }

    /// Starts the process. See [`start_by`](Self::start_by).
    ///
    /// # Errors
    /// Those of [`start_by`](Self::start_by).
    pub fn start(&mut self) -> Result<(), ProcessError> {
        self.start_by(Request::default(), StartTrigger::Start)
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
    pub fn start_by(&mut self, request: Request, trigger: StartTrigger) -> Result<(), ProcessError> {
        self.start_as(&Origin::of(request), trigger)
    }

    /// Starts the process as a consequence of a recorded event.
    pub(crate) fn start_as(&mut self, origin: &Origin, trigger: StartTrigger) -> Result<(), ProcessError> {
        let runtime = spawner::runtime()?;
        let mut instance = self.shared.lock();
        instance.check_recording()?;
        if !instance.state().has_exited() {
            return Err(instance.refusal("start"));
        }
        let cause = Some(instance.request_start(origin, trigger)?);
        let origin = Origin::default().caused_by(cause);
        let marker = instance.marker().to_string();
        let spec = Arc::clone(&instance.spec);
        let mut spawned = match spawner::spawn_with(&spec, Some((MARKER_VARIABLE, &marker))) {
            Ok(spawned) => spawned,
            Err(failure) => {
                let error = ProcessError::SpawnFailed(failure.message.clone());
                instance.record_spawn_failure(&origin, trigger, failure)?;
                return Err(error);
            }
        };
        let drains = Drains::start(&runtime, &mut spawned.child, &self.outlet);
        let (leader, child) = confirm(&mut instance, &origin, trigger, spawned, &runtime)?;
        instance.child = Some(child);
        let (orders, received) = mpsc::channel(STOP_ORDERS_WAITING_MAX);
        let (told, finished) = watch::channel(false);
        let run = Run::new(self.shared.clone(), instance.run(), leader, drains, received, told);
        drop(instance);
        runtime.spawn(run.own());
        self.run = Some(RunLink { orders, finished });
        Ok(())
    }

    /// Stops the process with its whole group. See [`stop_by`](Self::stop_by).
    ///
    /// # Errors
    /// Those of [`stop_by`](Self::stop_by).
    pub async fn stop(&mut self, timeout: Duration) -> Result<(), ProcessError> {
        self.stop_by(timeout, Request::default()).await
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
    pub async fn stop_by(&mut self, timeout: Duration, request: Request) -> Result<(), ProcessError> {
        let run = self.stoppable()?;
        let (reply, answer) = oneshot::channel();
        let order = StopOrder { request, timeout, deadline: deadline_in(timeout), reply };
        // A task that no longer takes orders or no longer answers has just ended its run, which was the aim.
        if run.orders.send(order).await.is_ok()
            && let Ok(answer) = answer.await
        {
            answer?;
        }
        // Whoever reads the output may be waiting for this very call, so it is not waited for without a bound.
        let _ = time::timeout(STOP_DRAIN_MAX, run.finished.wait_for(|finished| *finished)).await;
        let mut instance = self.shared.lock();
        instance.check_recording()?;
        if !instance.state().has_exited() {
            return Err(ProcessError::Io(std::io::Error::other("the task that owns the run is gone")));
        }
        instance.unreported = None;
        Ok(())
    }

    fn stoppable(&mut self) -> Result<&mut RunLink, ProcessError> {
        let instance = self.shared.lock();
        instance.check_recording()?;
        match &mut self.run {
            Some(run) if !instance.state().has_exited() => Ok(run),
            _ => Err(instance.refusal("stop")),
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
        self.shared.lock().unreported.take()
    }

    /// The exit that [`wait`](Self::wait) would report, if it would not have to wait for it.
    pub fn try_wait(&mut self) -> Option<ExitStatus> {
        let finished = *self.run.as_ref()?.finished.borrow();
        if finished { self.shared.lock().unreported.take() } else { None }
    }

    /// Subscribes to the output, over all runs from now on, in the place of an earlier subscriber.
    ///
    /// The channel is bounded: a subscriber that does not read makes the process wait once its pipe is full, too. What
    /// comes while nobody is subscribed is dropped. All output of a run is in the channel before
    /// [`wait`](Self::wait) returns; the channel ends when the runner is dropped and its last run is over.
    #[must_use = "output that is not received makes the process wait"]
    pub fn subscribe_output(&mut self) -> mpsc::Receiver<OutputChunk> {
        self.outlet.subscribe()
    }

    /// The state that the recorded events tell.
    #[must_use]
    pub fn state(&self) -> ProcessState {
        self.shared.lock().state()
    }

    /// The pid, while the state is running (INV-0008).
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.shared.lock().history.stream().and_then(|stream| stream.handle.pid)
    }

    /// Whether there is a process: spawned, and not reaped yet (INV-0011).
    #[must_use]
    pub fn has_child(&self) -> bool {
        self.shared.lock().child.is_some()
    }

    /// The handle: a new one before the first start, and the fold of the recorded events from then on.
    #[must_use]
    pub fn handle(&self) -> ProcessHandle {
        self.shared.lock().handle()
    }

    /// The fold of the recorded events; `None` before the first.
    #[must_use]
    pub fn stream(&self) -> Option<Stream> {
        self.shared.lock().history.stream().cloned()
    }

    /// What is run.
    #[must_use]
    pub fn spec(&self) -> Arc<ProcessSpec> {
        Arc::clone(&self.shared.lock().spec)
    }

    /// Records events that are no part of a run. See [`History::record`].
    pub(crate) fn record(&mut self, origin: &Origin, kinds: Vec<EventKind>) -> Result<u64, ProcessError> {
        self.shared.lock().history.record(origin, kinds)
    }

    /// The seq of the event that ended the latest run, if it was this runner's.
    pub(crate) fn end_seq(&self) -> Option<u64> {
        self.shared.lock().end_seq
    }

    /// By what the processes of the latest run are known.
    pub(crate) fn marker(&self) -> Marker {
        self.shared.lock().marker()
    }

    /// The present moment on the runner's clock.
    pub(crate) fn now(&self) -> Stamp {
        self.shared.lock().history.clock.now()
    }

    /// Why the end of a run could not be recorded, if that has happened.
    pub(crate) fn check_recording(&self) -> Result<(), ProcessError> {
        self.shared.lock().check_recording()
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

/// Records that the process is there. If that fails it is killed: nothing runs unrecorded.
fn confirm(
    instance: &mut Instance,
    origin: &Origin,
    trigger: StartTrigger,
    spawned: SpawnedProcess,
    runtime: &Handle,
) -> Result<(Leader, Child), ProcessError> {
    let SpawnedProcess { mut child, pid } = spawned;
    let Some(leader) = Leader::new(pid) else {
        child.start_kill()?;
        return Err(ProcessError::Io(std::io::Error::other(format!("{pid} is no pid"))));
    };
    let recorded = match ProcessIdentity::of(pid) {
        Some(identity) => {
            let starting = EventKind::Starting { identity: Some(identity), trigger };
            instance.history.record(origin, vec![starting, EventKind::Running])
        }
        None => Err(ProcessError::Io(std::io::Error::other(format!("/proc/{pid}/stat cannot be read")))),
    };
    match recorded {
        Ok(_) => Ok((leader, child)),
        Err(error) => {
            if let Err(error) = leader.signal_group(Signal::KILL) {
                tracing::error!(pid, %error, "a process that could not be recorded could not be killed");
            }
            runtime.spawn(async move { child.wait().await });
            Err(error)
        }
    }
}
