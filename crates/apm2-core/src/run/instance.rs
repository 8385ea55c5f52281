//! One instance under supervision: what its runner and the task that owns its run both know.

use std::{
    io,
    process::ExitStatus,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use apm2_model::{
    event::{
        actor::Actor,
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
        redact::{known::Known, spec::RedactedSpec},
    },
    state::{
        ProcessState,
        handle::ProcessHandle,
        restart_budget::RestartBudget,
        stream::{Intent, Stream},
    },
};
use tokio::process::Child;

use crate::{
    error::ProcessError,
    os::group::{LedgerPlace, Marker},
    run::{event_feed::EventFeed, history::History},
};

/// The end of the process that a run began with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MainProcessEnd {
    /// How it ended.
    pub(crate) exit: Exit,
    /// Whether we had sent SIGKILL before.
    pub(crate) after_kill: bool,
}

/// The event that tells of this exit in this state. `killed` says whether a SIGKILL of ours came before it.
pub(crate) fn end_event(state: &ProcessState, exit: Exit, killed: bool) -> EventKind {
    match state {
        ProcessState::Stopping if killed && exit.signal() == Some(Signal::KILL) => EventKind::Terminated { exit },
        ProcessState::Stopping => EventKind::Stopped { exit },
        ProcessState::Running | ProcessState::Unhealthy if exit.is_success() => EventKind::Stopped { exit },
        _ => EventKind::Crashed { cause: RunEnd::Exit(exit) },
    }
}

/// What is known of an instance as of its last commit. Read without waiting for a step that records.
pub(crate) struct Facts {
    /// Whose events these are.
    pub(crate) id: StreamId,
    /// The place of the ledger that it is of.
    pub(crate) place: Option<LedgerPlace>,
    /// What runs, with its secrets: never recorded as it is.
    pub(crate) spec: Arc<ProcessSpec>,
    /// Where time stamps come from.
    pub(crate) clock: Arc<dyn Clock>,
    /// The fold of the recorded events; `None` before the first.
    pub(crate) stream: Option<Arc<Stream>>,
    /// Whether there is a process: spawned, and not reaped yet (INV-0011).
    pub(crate) has_child: bool,
    /// The end of the latest run, until it is reported to somebody. Each is reported once.
    pub(crate) unreported: Option<ExitStatus>,
    /// The seq of the event that ended the latest run of this runner.
    pub(crate) end_seq: Option<u64>,
    /// Why the end of a run could not be recorded. Nothing can be told, or started, after that.
    failure: Option<String>,
}

impl Facts {
    /// The state that the events tell; that of a new handle before the first.
    pub(crate) fn state(&self) -> ProcessState {
        self.stream.as_ref().map_or(ProcessState::Stopped { exit_code: None }, |stream| stream.handle.state.clone())
    }

    pub(crate) fn handle(&self) -> ProcessHandle {
        self.stream
            .as_ref()
            .map_or_else(|| ProcessHandle::new((*self.spec).clone(), self.id.instance), |stream| stream.handle.clone())
    }

    /// The latest run, 0 before the first.
    pub(crate) fn run(&self) -> u64 {
        self.stream.as_ref().map_or(0, |stream| stream.run)
    }

    pub(crate) fn marker(&self) -> Marker {
        Marker { place: self.place, stream: self.id, run: self.run() }
    }

    /// Refuses once an end could not be recorded.
    pub(crate) fn check_recording(&self) -> Result<(), ProcessError> {
        match &self.failure {
            Some(failure) => Err(ProcessError::Io(io::Error::other(failure.clone()))),
            None => Ok(()),
        }
    }

    /// The error of an operation that does not fit the state.
    pub(crate) fn refusal(&self, operation: &str) -> ProcessError {
        let handle = self.handle();
        ProcessError::InvalidState(format!("cannot {operation} {}: it is {}", handle.display_name(), handle.state))
    }
}

/// A process whose start could not be recorded.
pub(crate) struct Unconfirmed {
    pub(crate) error: ProcessError,
    pub(crate) child: Box<Child>,
}

/// One instance of a specification, for one step at a time.
pub(crate) struct Instance {
    facts: Arc<Mutex<Facts>>,
    history: History,
    /// The process, from the spawn until it is reaped: there is one iff it is actively running (INV-0011).
    child: Option<Child>,
    /// Between which moments the run that is taken over ended, where no supervisor watched.
    pub(crate) unobserved: Option<(Timestamp, Timestamp)>,
    /// The secrets among the credentials of the latest start, which the specification does not hold.
    given: Known,
    /// The intent to start of a process that was killed because it could not be recorded.
    killed: Option<Intent>,
}

impl Instance {
    /// The secrets that its process is given. `given` are those of its credentials, from now on.
    pub(crate) fn know(&mut self, given: Known) -> Known {
        let known = Known::of_spec(&self.facts().spec).and(&given);
        self.history.known = known.clone();
        self.given = given;
        known
    }

    /// The secrets that its process is given, as far as they are known.
    pub(crate) fn known(&self) -> Known {
        self.history.known.clone()
    }

    /// What is known now. To be held for a moment only.
    pub(crate) fn facts(&self) -> MutexGuard<'_, Facts> {
        lock(&self.facts)
    }

    /// The fold of the recorded events; `None` before the first.
    pub(crate) const fn stream(&self) -> Option<&Arc<Stream>> {
        self.history.stream()
    }

    /// Records `kinds` as one commit, and lets the fold be seen. See [`History::record`].
    pub(crate) fn record(&mut self, origin: &EventOrigin, kinds: Vec<EventKind>) -> Result<u64, ProcessError> {
        let seq = self.history.record(origin, kinds)?;
        self.facts().stream = self.history.stream().cloned();
        Ok(seq)
    }

    /// Records that a start is about to be made. Returns the seq of that event.
    pub(crate) fn request_start(&mut self, origin: &EventOrigin, trigger: StartTrigger) -> Result<u64, ProcessError> {
        self.close_killed()?;
        let given = &self.given;
        let spec = {
            let facts = self.facts();
            RedactedSpec::without(&facts.spec, &Known::of_spec(&facts.spec).and(given))
        };
        let by_hand = trigger == StartTrigger::Start && matches!(origin.request.actor, Actor::Operator { .. });
        let mut kinds = match self.stream() {
            None => vec![EventKind::Registered { spec }],
            Some(stream) if stream.unregistered || stream.handle.spec != *spec => vec![EventKind::SpecChanged { spec }],
            // Whoever starts it by hand has looked at it: earlier crashes do not count against what it is now.
            Some(stream) if by_hand && stream.budget != RestartBudget::default() => vec![EventKind::BudgetReset],
            Some(_) => Vec::new(),
        };
        kinds.push(EventKind::StartRequested { trigger });
        self.record(origin, kinds)?;
        let mut facts = self.facts();
        facts.unreported = None;
        facts.end_seq = None;
        // The request is the last event of its commit.
        Ok(facts.stream.as_ref().map_or(0, |stream| stream.last_seq))
    }

    /// Notes that the process of the start under way was killed, since it could not be recorded.
    pub(crate) fn note_killed(&mut self) {
        self.killed = self.stream().and_then(|stream| stream.intent);
    }

    /// Closes a start whose process was killed because it could not be recorded.
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

    /// Replaces what is run from the next start on. Recorded where what may be recorded differs.
    pub(crate) fn update_spec(&mut self, spec: ProcessSpec, origin: &EventOrigin) -> Result<(), ProcessError> {
        let known = Known::of_spec(&spec).and(&self.given);
        let redacted = RedactedSpec::without(&spec, &known);
        // What still runs has the values of before.
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
        self.facts().spec = Arc::new(spec);
        Ok(())
    }

    /// Records that no process came to be.
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

    /// Records that the process is there, and keeps it until it is reaped. One that could not be recorded is given back.
    pub(crate) fn record_started(
        &mut self,
        origin: &EventOrigin,
        trigger: StartTrigger,
        identity: ProcessIdentity,
        child: Child,
    ) -> Result<(), Unconfirmed> {
        let starting = EventKind::Starting { identity: Some(identity), trigger };
        if let Err(error) = self.history.record(origin, vec![starting, EventKind::Running]) {
            return Err(Unconfirmed { error, child: Box::new(child) });
        }
        self.child = Some(child);
        let mut facts = lock(&self.facts);
        facts.stream = self.history.stream().cloned();
        facts.has_child = true;
        Ok(())
    }

    /// Records the end of the run, and only then reaps the process and lets the end be told. One that could not be recorded
    /// stays with the kernel, for the next supervisor.
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

    /// Takes the zombie from the kernel: its pid is anybody's from here on.
    fn reap(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        match child.try_wait() {
            Ok(Some(_)) => {}
            Ok(None) => tracing::error!("a process that had ended could not be reaped"),
            Err(error) => tracing::debug!(%error, "somebody else has reaped the process"),
        }
    }
}

/// The instance, as its runner and the task that owns its run share it.
#[derive(Clone)]
pub(crate) struct Shared {
    instance: Arc<Mutex<Instance>>,
    facts: Arc<Mutex<Facts>>,
}

impl Shared {
    pub(crate) fn new(spec: ProcessSpec, mut history: History) -> Self {
        history.known = Known::of_spec(&spec);
        let facts = Facts {
            id: history.id(),
            place: None,
            spec: Arc::new(spec),
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
            given: Known::default(),
            killed: None,
        }));
        Self { instance, facts }
    }

    /// The instance, for one synchronous step. Held while the step waits for a disk or a fork: never asked for on an async
    /// worker.
    ///
    /// A recorder that panicked has recorded nothing, and the fold changes last: what is behind the lock is whole.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Instance> {
        lock(&self.instance)
    }

    /// What is known now. To be held for a moment only.
    pub(crate) fn facts(&self) -> MutexGuard<'_, Facts> {
        lock(&self.facts)
    }

    /// Takes time stamps from elsewhere.
    pub(crate) fn publish(&self, feed: EventFeed) {
        self.lock().history.feed = Some(feed);
    }

    pub(crate) fn set_clock(&self, clock: Arc<dyn Clock>) {
        self.lock().history.clock = Arc::clone(&clock);
        self.facts().clock = clock;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
