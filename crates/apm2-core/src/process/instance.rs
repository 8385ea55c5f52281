//! One instance under supervision: what its runner and the task that owns its run both know.

use std::{
    io,
    process::ExitStatus,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::process::Child;

use crate::process::{
    Actor, EventKind, Exit, ProcessError, ProcessHandle, ProcessSpec, ProcessState, RedactedSpec, RunEnd, Signal,
    SpawnFailure, StartTrigger, StreamId,
    group::Marker,
    history::{History, Origin},
};
use crate::restart::RestartBudget;

/// The end of the process that a run began with.
#[derive(Debug, Clone, Copy)]
pub(super) struct LeaderEnd {
    /// How it ended.
    pub(super) exit: Exit,
    /// Whether we had sent SIGKILL before.
    pub(super) after_kill: bool,
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

/// One instance of a specification.
pub(super) struct Instance {
    /// What runs, with its secrets: never recorded as it is.
    pub(super) spec: Arc<ProcessSpec>,
    /// Whose events these are.
    pub(super) id: StreamId,
    /// The events, and the state that follows from them.
    pub(super) history: History,
    /// The process, from the spawn until it is reaped: there is one iff it is actively running (INV-0011).
    pub(super) child: Option<Child>,
    /// The end of the latest run, until it is reported to somebody. Each is reported once.
    pub(super) unreported: Option<ExitStatus>,
    /// The seq of the event that ended the latest run of this runner.
    pub(super) end_seq: Option<u64>,
    /// Why the end of a run could not be recorded. Nothing can be told, or started, after that.
    failure: Option<String>,
}

impl Instance {
    pub(super) fn new(spec: ProcessSpec, id: StreamId, history: History) -> Self {
        Self { spec: Arc::new(spec), id, history, child: None, unreported: None, end_seq: None, failure: None }
    }

    /// The state that the events tell; that of a new handle before the first.
    pub(super) fn state(&self) -> ProcessState {
        self.history.stream().map_or(ProcessState::Stopped { exit_code: None }, |stream| stream.handle.state.clone())
    }

    pub(super) fn handle(&self) -> ProcessHandle {
        self.history
            .stream()
            .map_or_else(|| ProcessHandle::new((*self.spec).clone(), self.id.instance), |stream| stream.handle.clone())
    }

    /// The latest run, 0 before the first.
    pub(super) fn run(&self) -> u64 {
        self.history.stream().map_or(0, |stream| stream.run)
    }

    pub(super) fn marker(&self) -> Marker {
        Marker { stream: self.id, run: self.run() }
    }

    /// Refuses once an end could not be recorded.
    pub(super) fn check_recording(&self) -> Result<(), ProcessError> {
        match &self.failure {
            Some(failure) => Err(ProcessError::Io(io::Error::other(failure.clone()))),
            None => Ok(()),
        }
    }

    /// The error of an operation that does not fit the state.
    pub(super) fn refusal(&self, operation: &str) -> ProcessError {
        let handle = self.handle();
        ProcessError::InvalidState(format!("cannot {operation} {}: it is {}", handle.display_name(), handle.state))
    }

    /// Records that a start is about to be made. Returns the seq of that event.
    pub(super) fn request_start(&mut self, origin: &Origin, trigger: StartTrigger) -> Result<u64, ProcessError> {
        let spec = RedactedSpec::new(&self.spec);
        let by_hand = trigger == StartTrigger::Start && matches!(origin.request.actor, Actor::Operator { .. });
        let mut kinds = match self.history.stream() {
            None => vec![EventKind::Registered { spec }],
            Some(stream) if stream.unregistered || stream.handle.spec != *spec => vec![EventKind::SpecChanged { spec }],
            // Whoever starts it by hand has looked at it: earlier crashes do not count against what it is now.
            Some(stream) if by_hand && stream.budget != RestartBudget::default() => vec![EventKind::BudgetReset],
            Some(_) => Vec::new(),
        };
        kinds.push(EventKind::StartRequested { trigger });
        self.history.record(origin, kinds)?;
        self.unreported = None;
        self.end_seq = None;
        // The request is the last event of its commit.
        Ok(self.history.stream().map_or(0, |stream| stream.last_seq))
    }

    /// Replaces what is run from the next start on. Recorded where what may be recorded differs.
    pub(super) fn respec(&mut self, spec: ProcessSpec, origin: &Origin) -> Result<(), ProcessError> {
        let redacted = RedactedSpec::new(&spec);
        let kind = match self.history.stream() {
            None => Some(EventKind::Registered { spec: redacted }),
            Some(stream) if stream.unregistered || stream.handle.spec != *redacted => {
                Some(EventKind::SpecChanged { spec: redacted })
            }
            Some(_) => None,
        };
        if let Some(kind) = kind {
            self.history.record(origin, vec![kind])?;
        }
        self.spec = Arc::new(spec);
        Ok(())
    }

    /// Records that no process came to be.
    pub(super) fn record_spawn_failure(
        &mut self,
        origin: &Origin,
        trigger: StartTrigger,
        failure: SpawnFailure,
    ) -> Result<(), ProcessError> {
        let starting = EventKind::Starting { identity: None, trigger };
        let crashed = EventKind::Crashed { cause: RunEnd::SpawnFailed(failure) };
        self.history.record(origin, vec![starting, crashed])?;
        self.end_seq = self.history.stream().map(|stream| stream.last_seq);
        Ok(())
    }

    /// Records the end of the run, and only then reaps the process and lets the end be told. One that could not be recorded
    /// stays with the kernel, for the next supervisor.
    pub(super) fn record_end(&mut self, end: &LeaderEnd, origin: &Origin) -> Result<(), ProcessError> {
        let kind = end_event(&self.state(), end.exit, end.after_kill);
        let recorded = self.history.record(origin, vec![kind]);
        match recorded {
            Ok(seq) => {
                self.reap();
                self.end_seq = Some(seq);
                self.unreported = end.exit.to_status();
                Ok(())
            }
            Err(error) => {
                tracing::error!(%error, "the end of a run could not be recorded");
                self.failure = Some(format!("the end of the latest run could not be recorded: {error}"));
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

/// The instance, as its runner and the task that owns its run share it. The lock is held for synchronous steps only.
#[derive(Clone)]
pub(super) struct Shared(Arc<Mutex<Instance>>);

impl Shared {
    pub(super) fn new(instance: Instance) -> Self {
        Self(Arc::new(Mutex::new(instance)))
    }

    /// A recorder that panicked has recorded nothing, and the fold changes last: what is behind the lock is whole.
    pub(super) fn lock(&self) -> MutexGuard<'_, Instance> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
