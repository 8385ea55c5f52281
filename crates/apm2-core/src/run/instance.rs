//! One instance under supervision: the state that is shared by its runner and the task that owns its run.

use std::{
    io,
    ops::Deref,
    process::ExitStatus,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use apm2_model::{
    event::{
        actor::Actor,
        agent::report::AgentReport,
        exit::{Exit, RunEnd, SpawnFailure},
        identity::ProcessIdentity,
        kind::{EventKind, StartTrigger},
        origin::EventOrigin,
        stream_id::StreamId,
        timestamp::{Clock, Timestamp},
    },
    signal::Signal,
    spec::{
        ProcessSpec,
        launch::LaunchSpec,
        redact::{known::Known, spec::RedactedSpec},
    },
    state::{
        ProcessState,
        handle::ProcessHandle,
        restart_budget::RestartBudget,
        stream::{Intent, Stream},
    },
};

use crate::{
    error::ProcessError,
    os::{
        marker::{LedgerPlace, Marker},
        unreaped_child::UnreapedChild,
    },
    run::{event_feed::EventFeed, history::History},
};

/// The end of the main process of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MainProcessEnd {
    /// The exit of the main process.
    pub(crate) exit: Exit,
    /// Whether this supervisor had sent SIGKILL before the end.
    pub(crate) after_kill: bool,
}

/// The event for an exit in this state. `killed` says whether this supervisor had sent SIGKILL before the exit.
pub(crate) fn end_event(state: &ProcessState, exit: Exit, killed: bool) -> EventKind {
    match state {
        ProcessState::Stopping if killed && exit.signal() == Some(Signal::KILL) => EventKind::Terminated { exit },
        ProcessState::Stopping => EventKind::Stopped { exit },
        ProcessState::Running | ProcessState::Unhealthy if exit.is_success() => EventKind::Stopped { exit },
        _ => EventKind::Crashed { cause: RunEnd::Exit(exit) },
    }
}

/// The specification of an instance, as a part of the launch specification that the supervisor has in memory anyway.
#[derive(Clone)]
pub(crate) struct SharedSpec(Arc<LaunchSpec>);

impl From<Arc<LaunchSpec>> for SharedSpec {
    fn from(launch: Arc<LaunchSpec>) -> Self {
        Self(launch)
    }
}

impl Deref for SharedSpec {
    type Target = ProcessSpec;

    fn deref(&self) -> &ProcessSpec {
        &self.0.spec
    }
}

/// The facts about an instance after its last commit. Reading them does not wait for a step that is being recorded.
pub(crate) struct InstanceFacts {
    /// The id of the stream.
    pub(crate) id: StreamId,
    /// The identity of the directory of the ledger to which the instance belongs.
    pub(crate) place: Option<LedgerPlace>,
    /// The specification with its secrets. Only its redacted form is recorded.
    pub(crate) spec: SharedSpec,
    /// The source of time stamps.
    pub(crate) clock: Arc<dyn Clock>,
    /// The state of the stream after all recorded events (the fold); `None` before the first event.
    pub(crate) stream: Option<Arc<Stream>>,
    /// Whether a process was spawned and is not reaped yet (INV-0011).
    pub(crate) has_child: bool,
    /// The exit of the latest run until it is reported. Each exit is reported once.
    pub(crate) unreported: Option<ExitStatus>,
    /// The seq of the event that ended the latest run of this runner.
    pub(crate) end_seq: Option<u64>,
    /// Why the end of a run could not be recorded. After that nothing can be started or reported.
    failure: Option<String>,
}

impl InstanceFacts {
    /// The state of the instance. Before the first event, it is the state of a new handle.
    pub(crate) fn state(&self) -> ProcessState {
        self.stream.as_ref().map_or(ProcessState::Stopped { exit_code: None }, |stream| stream.handle.state.clone())
    }

    pub(crate) fn handle(&self) -> ProcessHandle {
        self.stream
            .as_ref()
            .map_or_else(|| ProcessHandle::new((*self.spec).clone(), self.id.instance), |stream| stream.handle.clone())
    }

    /// The number of the latest run; 0 before the first run.
    pub(crate) fn run(&self) -> u64 {
        self.stream.as_ref().map_or(0, |stream| stream.run)
    }

    pub(crate) fn marker(&self) -> Marker {
        Marker { place: self.place, stream: self.id, run: self.run() }
    }

    /// An error if the end of a run could not be recorded.
    pub(crate) fn check_recording(&self) -> Result<(), ProcessError> {
        match &self.failure {
            Some(failure) => Err(ProcessError::Io(io::Error::other(failure.clone()))),
            None => Ok(()),
        }
    }

    /// The error for an operation that the state does not allow.
    pub(crate) fn refusal(&self, operation: &str) -> ProcessError {
        let handle = self.handle();
        ProcessError::InvalidState(format!("cannot {operation} {}: it is {}", handle.display_name(), handle.state))
    }
}

/// A process that was killed because its start could not be recorded.
pub(crate) struct Unconfirmed {
    pub(crate) error: ProcessError,
    pub(crate) child: UnreapedChild,
}

/// One instance of a specification. It is locked for one step at a time.
pub(crate) struct Instance {
    facts: Arc<Mutex<InstanceFacts>>,
    history: History,
    /// The process, from the spawn until it is reaped (INV-0011).
    child: Option<UnreapedChild>,
    /// The earliest and latest time at which an adopted run may have ended while no supervisor watched it.
    pub(crate) unobserved: Option<(Timestamp, Timestamp)>,
    /// The credential values of the latest start, which are not in the specification.
    credentials: Known,
    /// The requested start (recorded) whose process was killed because `Starting` could not be recorded.
    killed: Option<Intent>,
}

impl Instance {
    /// Sets the credential values that are masked from now on. Returns all known secrets, including those of the
    /// specification.
    pub(crate) fn know(&mut self, credentials: Known) -> Known {
        let known = Known::of_spec(&self.facts().spec).and(&credentials);
        self.history.known = known.clone();
        self.credentials = credentials;
        known
    }

    /// The known secret values of the process.
    pub(crate) fn known(&self) -> Known {
        self.history.known.clone()
    }

    /// The current facts about the instance. Hold the guard only for a short time.
    pub(crate) fn facts(&self) -> MutexGuard<'_, InstanceFacts> {
        lock(&self.facts)
    }

    /// The state of the stream after all recorded events; `None` before the first event.
    pub(crate) const fn stream(&self) -> Option<&Arc<Stream>> {
        self.history.stream()
    }

    /// Records events of these `kinds` as one commit and publishes the new state. See [`History::record`].
    pub(crate) fn record(&mut self, origin: &EventOrigin, kinds: Vec<EventKind>) -> Result<u64, ProcessError> {
        let seq = self.history.record(origin, kinds)?;
        self.facts().stream = self.history.stream().cloned();
        Ok(seq)
    }

    /// Records the request of a start, and then the report of the supervisor about the agent that it starts. Returns the seq of the `StartRequested` event.
    pub(crate) fn request_start(
        &mut self,
        origin: &EventOrigin,
        trigger: StartTrigger,
        report: Option<Box<AgentReport>>,
    ) -> Result<u64, ProcessError> {
        self.close_killed()?;
        let credentials = &self.credentials;
        let spec = {
            let facts = self.facts();
            RedactedSpec::without(&facts.spec, &Known::of_spec(&facts.spec).and(credentials))
        };
        let by_hand = trigger == StartTrigger::Start && matches!(origin.request.actor, Actor::Operator { .. });
        let mut kinds = match self.stream() {
            None => vec![EventKind::Registered { spec }],
            Some(stream) if stream.unregistered || stream.handle.spec != *spec => vec![EventKind::SpecChanged { spec }],
            // A manual start resets the restart budget: the operator may have fixed the cause of earlier crashes.
            Some(stream) if by_hand && stream.budget != RestartBudget::default() => vec![EventKind::BudgetReset],
            Some(_) => Vec::new(),
        };
        kinds.push(EventKind::StartRequested { trigger });
        kinds.extend(report.map(|report| EventKind::Agent { report }));
        self.record(origin, kinds)?;
        let mut facts = self.facts();
        facts.unreported = None;
        facts.end_seq = None;
        Ok(facts.stream.as_ref().and_then(|stream| stream.intent).map_or(0, |intent| intent.seq))
    }

    /// Stores that the process of the current start was killed because the start could not be recorded.
    pub(crate) fn note_killed(&mut self) {
        self.killed = self.stream().and_then(|stream| stream.intent);
    }

    /// Records the end of a start whose process was killed because it could not be recorded.
    fn close_killed(&mut self) -> Result<(), ProcessError> {
        let open = self.stream().and_then(|stream| stream.intent);
        if let Some(intent) = self.killed.filter(|killed| open == Some(*killed)) {
            let starting = EventKind::Starting { identity: None, trigger: intent.trigger };
            let crashed = EventKind::Crashed { cause: RunEnd::NeverConfirmed };
            self.record(&EventOrigin::default().caused_by(Some(intent.seq)), vec![starting, crashed])?;
        }
        self.killed = None;
        Ok(())
    }

    /// Replaces the specification from the next start on. An event is recorded only if the redacted specification
    /// changes.
    pub(crate) fn update_spec(&mut self, spec: SharedSpec, origin: &EventOrigin) -> Result<(), ProcessError> {
        let known = Known::of_spec(&spec).and(&self.credentials);
        let redacted = RedactedSpec::without(&spec, &known);
        // A running process still uses the values of the old specification, so they stay masked.
        let before = Known::of_spec(&self.facts().spec);
        self.history.known = known.and(&before);
        let kind = match self.stream() {
            None => Some(EventKind::Registered { spec: redacted }),
            Some(stream) if stream.unregistered || stream.handle.spec != *redacted => {
                Some(EventKind::SpecChanged { spec: redacted })
            }
            Some(_) => None,
        };
        if let Some(kind) = kind {
            self.record(origin, vec![kind])?;
        }
        self.facts().spec = spec;
        Ok(())
    }

    /// Records a start that failed before the program was executed.
    pub(crate) fn record_spawn_failure(
        &mut self,
        origin: &EventOrigin,
        trigger: StartTrigger,
        failure: SpawnFailure,
    ) -> Result<(), ProcessError> {
        let starting = EventKind::Starting { identity: None, trigger };
        let crashed = EventKind::Crashed { cause: RunEnd::SpawnFailed(failure) };
        self.record(origin, vec![starting, crashed])?;
        let end_seq = self.stream().map(|stream| stream.last_seq);
        self.facts().end_seq = end_seq;
        Ok(())
    }

    /// Records that the process runs, and stores the child until it is reaped. Returns the child if recording fails.
    pub(crate) fn record_started(
        &mut self,
        origin: &EventOrigin,
        trigger: StartTrigger,
        identity: ProcessIdentity,
        child: UnreapedChild,
    ) -> Result<(), Unconfirmed> {
        let starting = EventKind::Starting { identity: Some(identity), trigger };
        if let Err(error) = self.history.record(origin, vec![starting, EventKind::Running]) {
            return Err(Unconfirmed { error, child });
        }
        self.child = Some(child);
        let mut facts = lock(&self.facts);
        facts.stream = self.history.stream().cloned();
        facts.has_child = true;
        Ok(())
    }

    /// Records the end of the run, and then reaps the process and publishes the end. If recording fails, the process
    /// stays a zombie and the next supervisor can still read its exit status.
    pub(crate) fn record_end(&mut self, end: &MainProcessEnd, origin: &EventOrigin) -> Result<(), ProcessError> {
        let state = self.facts().state();
        let unobserved = self.unobserved.take();
        let unobserved = unobserved.map(|(not_before, not_after)| EventKind::EndUnobserved { not_before, not_after });
        let ended = end_event(&state, end.exit, end.after_kill);
        let recorded = self.history.record(origin, std::iter::once(ended).chain(unobserved).collect());
        if recorded.is_ok() {
            self.reap();
        }
        let mut facts = lock(&self.facts);
        match recorded {
            Ok(seq) => {
                facts.stream = self.history.stream().cloned();
                facts.has_child = false;
                facts.end_seq = Some(seq);
                facts.unreported = end.exit.to_status();
                Ok(())
            }
            Err(error) => {
                tracing::error!(%error, "the end of a run could not be recorded");
                facts.failure = Some(format!("the end of the latest run could not be recorded: {error}"));
                Err(error)
            }
        }
    }

    /// Reaps the zombie. From now on, the kernel may reuse the pid.
    fn reap(&mut self) {
        let Some(child) = self.child.take() else { return };
        match child.reap() {
            Ok(None) => {}
            Ok(Some(_)) => tracing::error!("a process that had ended could not be reaped"),
            Err(error) => tracing::debug!(%error, "the process was already reaped elsewhere in this supervisor"),
        }
    }
}

/// An instance that is shared by its runner and the task that owns its run.
#[derive(Clone)]
pub(crate) struct SharedInstance {
    instance: Arc<Mutex<Instance>>,
    facts: Arc<Mutex<InstanceFacts>>,
}

impl SharedInstance {
    pub(crate) fn new(spec: SharedSpec, mut history: History) -> Self {
        history.known = Known::of_spec(&spec);
        let facts = InstanceFacts {
            id: history.id(),
            place: None,
            spec,
            clock: Arc::clone(&history.clock),
            stream: history.stream().cloned(),
            has_child: false,
            unreported: None,
            end_seq: None,
            failure: None,
        };
        let facts = Arc::new(Mutex::new(facts));
        let instance = Arc::new(Mutex::new(Instance {
            facts: Arc::clone(&facts),
            history,
            child: None,
            unobserved: None,
            credentials: Known::default(),
            killed: None,
        }));
        Self { instance, facts }
    }

    /// Locks the instance for one synchronous step. The lock is held while the step waits for a disk or for fork(2). Do
    /// not call this function on an async worker.
    ///
    /// Poisoning of the lock is ignored: the state changes only after the events are recorded, so a panic of the
    /// recorder leaves the instance consistent.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Instance> {
        lock(&self.instance)
    }

    /// The current facts about the instance. Hold the guard only for a short time.
    pub(crate) fn facts(&self) -> MutexGuard<'_, InstanceFacts> {
        lock(&self.facts)
    }

    /// From now on, sends each recorded event to `feed`.
    pub(crate) fn publish(&self, feed: EventFeed) {
        self.lock().history.feed = Some(feed);
    }

    /// From now on, takes timestamps from `clock`.
    pub(crate) fn set_clock(&self, clock: Arc<dyn Clock>) {
        self.lock().history.clock = Arc::clone(&clock);
        self.facts().clock = clock;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
