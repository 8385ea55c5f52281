//! A model of the valid event sequences of a process, as tables. It is written from `docs/lifecycle.md`, independently
//! of the implementation in `apm2-core`.

use apm2_core::process::{Event, EventKind, ExitOutcome, ProcessState, RunEnd, Signal, StartTrigger, Stream, StreamId};

/// State transitions: the current state, the event kind, and the next state.
const TRANSITIONS: &[(&str, &str, &str)] = &[
    ("stopped", "starting", "starting"),
    ("crashed", "starting", "starting"),
    ("terminated", "starting", "starting"),
    ("starting", "running", "running"),
    ("starting", "crashed", "crashed"),
    ("starting", "stopping", "stopping"),
    ("running", "unhealthy", "unhealthy"),
    ("running", "stopping", "stopping"),
    ("running", "stopped", "stopped"),
    ("running", "crashed", "crashed"),
    ("unhealthy", "stopping", "stopping"),
    ("unhealthy", "stopped", "stopped"),
    ("unhealthy", "crashed", "crashed"),
    ("stopping", "stopped", "stopped"),
    ("stopping", "terminated", "terminated"),
];

const UP: &[&str] = &["starting", "running", "unhealthy"];
const ALIVE: &[&str] = &["starting", "running", "unhealthy", "stopping"];
const OVER: &[&str] = &["stopped", "crashed", "terminated"];
const ANY: &[&str] = &["starting", "running", "unhealthy", "stopping", "stopped", "crashed", "terminated"];

/// Event kinds that do not change the state, with the states in which they are valid.
const STATE_KEEPING: &[(&str, &[&str])] = &[
    ("spec_changed", ANY),
    ("budget_reset", ANY),
    ("output_leaked", ANY),
    ("output_tail", ANY),
    ("output_dropped", ANY),
    ("group_survived", ANY),
    ("orphans_ended", ANY),
    ("agent", ANY),
    ("end_unobserved", OVER),
    ("signal_sent", ALIVE),
    ("signal_failed", ALIVE),
    ("adopted", ALIVE),
    ("observed", ALIVE),
    ("health_changed", UP),
    ("sampled", UP),
    ("credential_rotated", UP),
    ("start_requested", OVER),
    ("restart_scheduled", OVER),
    ("pre_stop_ended", &["stopping"]),
    ("restart_refused", &["stopping", "stopped", "crashed", "terminated"]),
    ("unregistered", OVER),
];

/// The part of the state of a process that decides which events are valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    stream: StreamId,
    instances: u32,
    state: &'static str,
    version: u64,
    run: u64,
    requested: Option<StartTrigger>,
    pid: Option<u32>,
    was_spawned: bool,
    restarts: u32,
    killed: bool,
    unregistered: bool,
}

impl Model {
    /// The model after the first event of a stream. `None` when the event is not valid as the first event.
    #[must_use]
    pub fn begin(event: &Event) -> Option<Self> {
        let EventKind::Registered { spec } = &event.kind else { return None };
        let fits = event.version == 1 && event.run == 0;
        let fits = fits && spec.id == event.stream.process_id && event.stream.instance < spec.instances;
        fits.then_some(Self {
            stream: event.stream,
            instances: spec.instances,
            state: "stopped",
            version: 1,
            run: 0,
            requested: None,
            pid: None,
            was_spawned: false,
            restarts: 0,
            killed: false,
            unregistered: false,
        })
    }

    /// The model after one more event. `None` when the event is not valid.
    #[must_use]
    pub fn after(&self, event: &Event) -> Option<Self> {
        let name = event.kind.name();
        let moved = TRANSITIONS.iter().find(|(from, kind, _)| (*from, *kind) == (self.state, name));
        let keeps_state = STATE_KEEPING.iter().any(|(kind, states)| *kind == name && states.contains(&self.state));
        if (moved.is_none() && !keeps_state) || !self.numbers_fit(event) || !self.details_fit(&event.kind) {
            return None;
        }
        let mut next = self.clone();
        next.version += 1;
        if let Some((_, _, to)) = moved {
            next.state = to;
        }
        next.follow(&event.kind);
        Some(next)
    }

    fn numbers_fit(&self, event: &Event) -> bool {
        event.stream == self.stream && event.version == self.version + 1 && event.run == self.run_of(&event.kind)
    }

    /// The run that an event of this kind belongs to.
    #[must_use]
    pub fn run_of(&self, kind: &EventKind) -> u64 {
        self.run + u64::from(kind.name() == "start_requested")
    }

    fn details_fit(&self, kind: &EventKind) -> bool {
        let by_itself = matches!(self.state, "running" | "unhealthy");
        match kind {
            EventKind::SpecChanged { spec } => {
                spec.id == self.stream.process_id && self.stream.instance < spec.instances
            }
            _ if self.unregistered => false,
            EventKind::StartRequested { .. } | EventKind::Unregistered => self.requested.is_none(),
            EventKind::Starting { trigger, .. } => self.requested == Some(*trigger),
            EventKind::Running | EventKind::Stopping { .. } => self.pid.is_some(),
            EventKind::Stopped { exit } if by_itself => exit.outcome == ExitOutcome::Code(0),
            EventKind::Crashed { cause: RunEnd::Exit(exit) } => {
                self.pid.is_some() && !(by_itself && exit.outcome == ExitOutcome::Code(0))
            }
            EventKind::Crashed { .. } => self.pid.is_none(),
            EventKind::Terminated { .. } => self.killed,
            _ => true,
        }
    }

    fn follow(&mut self, kind: &EventKind) {
        match kind {
            EventKind::SpecChanged { spec } => (self.instances, self.unregistered) = (spec.instances, false),
            EventKind::Unregistered => self.unregistered = true,
            EventKind::StartRequested { trigger } => {
                (self.run, self.requested, self.killed) = (self.run + 1, Some(*trigger), false);
            }
            EventKind::Starting { identity, trigger } => {
                self.requested = None;
                self.pid = identity.map(|identity| identity.pid);
                self.was_spawned |= identity.is_some();
                self.restarts += u32::from(identity.is_some() && matches!(trigger, StartTrigger::Restart { .. }));
            }
            EventKind::SignalSent { signal, .. } => self.killed |= *signal == Signal::KILL,
            _ => {}
        }
        if !UP.contains(&self.state) {
            self.pid = None;
        }
    }

    /// Whether a commit may end in this state (INV-0008).
    #[must_use]
    pub fn may_end_commit(&self) -> bool {
        self.pid.is_some() == UP.contains(&self.state)
    }

    /// Compares the stream state after the same events with the model.
    ///
    /// # Panics
    /// When they differ, or when an invariant does not hold.
    pub fn check(&self, stream: &Stream) {
        let handle = &stream.handle;
        assert_eq!(state_name(&handle.state), self.state);
        assert_eq!(handle.pid, self.pid, "INV-0008");
        assert_eq!(handle.started_at.is_some(), self.was_spawned, "INV-0009");
        assert_eq!((handle.instance, handle.spec.instances), (self.stream.instance, self.instances));
        assert!(handle.instance < handle.spec.instances, "INV-0010");
        assert!(!handle.spec.name.is_empty() && !handle.spec.command.is_empty(), "INV-0003, INV-0004");
        assert_eq!((handle.restart_count, handle.last_restart.is_some()), (self.restarts, self.restarts > 0));
        assert_eq!(handle.uptime_secs().is_some(), UP.contains(&self.state));
        assert_eq!((stream.version, stream.run), (self.version, self.run));
        assert_eq!(stream.intent.map(|intent| intent.trigger), self.requested);
        assert_eq!((stream.kill_sent, stream.unregistered), (self.killed, self.unregistered));
        assert_eq!(stream.broken_invariant(), None);
    }
}

fn state_name(state: &ProcessState) -> &'static str {
    match state {
        ProcessState::Starting => "starting",
        ProcessState::Running => "running",
        ProcessState::Unhealthy => "unhealthy",
        ProcessState::Stopping => "stopping",
        ProcessState::Stopped { .. } => "stopped",
        ProcessState::Crashed { .. } => "crashed",
        ProcessState::Terminated => "terminated",
    }
}
