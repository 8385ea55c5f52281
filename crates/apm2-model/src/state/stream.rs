//! The fold of one stream: the handle of the instance, and the state that its supervisor needs in addition. Which events are refused is
//! checked in `check.rs`.

mod check;

use crate::{
    event::{
        Event,
        actor::Actor,
        exit::{Evidence, Exit, RunEnd},
        identity::ProcessIdentity,
        kind::{EventKind, RestartRule, StartTrigger},
        stream_id::StreamId,
        timestamp::Timestamp,
    },
    signal::Signal,
    spec::{ProcessSpec, config::restart::RestartPolicy},
    state::{
        handle::ProcessHandle,
        restart_budget::{RestartBudget, Tally},
        transition::IllegalTransition,
    },
};

/// A start that was requested and has no result yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Intent {
    /// The seq of its `start_requested`.
    pub seq: u64,
    /// The trigger of the start.
    pub trigger: StartTrigger,
}

/// A stop under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StopUnderWay {
    /// The seq of its `stopping`.
    pub seq: u64,
    /// When it was requested.
    pub since: Timestamp,
    /// Milliseconds from then until SIGKILL.
    pub timeout_ms: u64,
    /// The stop signal.
    pub signal: Signal,
    /// Whether SIGKILL follows at all.
    pub force_kill: bool,
    /// Whether a failed health check alone requested it: the policy then decides what follows.
    pub by_health: bool,
}

/// What the end of the latest run leaves to be done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FollowUp {
    /// Nothing.
    #[default]
    Nothing,
    /// No decision of the policy is recorded.
    Undecided {
        /// Whether it was stopped because it was unhealthy.
        unhealthy: bool,
    },
    /// A restart is due.
    Restart {
        /// The seq of its `restart_scheduled`.
        seq: u64,
        /// Which attempt since the last sustained run, from 1.
        attempt: u32,
        /// When it was scheduled.
        since: Timestamp,
        /// Milliseconds from then until the restart.
        delay_ms: u64,
    },
}

/// The fold of the events of one stream.
///
/// Plain data, so that a store can keep a copy; [`apply`](Self::apply) alone changes it.
#[derive(Debug, Clone, PartialEq)]
pub struct Stream {
    /// The id of the stream.
    pub id: StreamId,
    /// The handle.
    pub handle: ProcessHandle,
    /// Events folded in: the version of the last one.
    pub version: u64,
    /// The seq of the last one.
    pub last_seq: u64,
    /// The latest run, from 1; 0 before the first.
    pub run: u64,
    /// The start that has no result yet.
    pub intent: Option<Intent>,
    /// The process of the latest run that was spawned. Stays when the handle's pid is gone.
    pub identity: Option<ProcessIdentity>,
    /// When the latest run was spawned.
    pub run_started: Option<Timestamp>,
    /// How the latest run ended; `None` during a run and before the first.
    pub end: Option<RunEnd>,
    /// Whether SIGKILL was sent in the latest run.
    pub kill_sent: bool,
    /// The stop under way.
    pub stopping: Option<StopUnderWay>,
    /// What the end of the latest run leaves to be done.
    pub follow_up: FollowUp,
    /// The restart budget.
    pub budget: RestartBudget,
    /// Whether it was removed from supervision.
    pub unregistered: bool,
    /// Why a restart that the policy asks for is not made: the budget is spent, or the launch specification is lost.
    pub gave_up: Option<RestartRule>,
    /// Whether it is to run: it was started, and since then no operator has stopped it, it has not finished, and its
    /// restarts have not been given up. A process that the supervisor stops, or does not restart, at its own shutdown is
    /// still wanted.
    pub wanted: bool,
    /// Whether it has finished: its latest run ended by itself with exit code 0, and its policy does not restart after that. Reset by
    /// the next start and by a change of the program.
    pub finished: bool,
    /// When its latest start was requested.
    pub asked_at: Option<Timestamp>,
}

/// An event that does not fit the events before it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IllegalEvent {
    /// The state does not allow it.
    #[error(transparent)]
    Transition(#[from] IllegalTransition),
    /// Its version is not the next one.
    #[error("the event has version {found}, and the next version is {expected}")]
    Version {
        /// The version that comes next.
        expected: u64,
        /// The version it has.
        found: u64,
    },
    /// It names another run than the one it can belong to.
    #[error("the event is of run {found}, and must be of run {expected}")]
    Run {
        /// The run it can belong to.
        expected: u64,
        /// The run it names.
        found: u64,
    },
    /// A stream begins with `registered`, and only begins with it.
    #[error("{0} is not allowed here: a stream begins with registered, and after unregistered comes spec_changed")]
    Registration(&'static str),
    /// The instance is outside of its specification (INV-0010), or the specification is another process's.
    #[error("the specification does not fit the stream")]
    ForeignSpec,
    /// A process cannot be started without, or with another, or during an unanswered `start_requested`.
    #[error("{0} does not fit the pending start request")]
    Intent(&'static str),
    /// `terminated` follows a recorded SIGKILL, and there is none.
    #[error("terminated without a SIGKILL on record")]
    NotKilled,
    /// The end that it states does not fit a run that was, or was not, spawned.
    #[error("a run without a process cannot run, be stopped or exit, and a run with one must end with an exit")]
    WrongEnd,
    /// It belongs to another stream.
    #[error("the event belongs to another stream")]
    Stream,
}

impl Stream {
    /// Begins a stream with its first event.
    ///
    /// # Errors
    /// The event is not `registered`, is not the first, or carries a specification of another process.
    pub fn begin(event: &Event) -> Result<Self, IllegalEvent> {
        let EventKind::Registered { spec } = &event.kind else {
            return Err(IllegalEvent::Registration(event.kind.name()));
        };
        if event.version != 1 {
            return Err(IllegalEvent::Version { expected: 1, found: event.version });
        }
        if event.run != 0 {
            return Err(IllegalEvent::Run { expected: 0, found: event.run });
        }
        if spec.id != event.stream.process_id || event.stream.instance >= spec.instances {
            return Err(IllegalEvent::ForeignSpec);
        }
        Ok(Self {
            id: event.stream,
            handle: ProcessHandle::new((**spec).clone(), event.stream.instance),
            version: 1,
            last_seq: event.seq,
            run: 0,
            intent: None,
            identity: None,
            run_started: None,
            end: None,
            kill_sent: false,
            stopping: None,
            follow_up: FollowUp::Nothing,
            budget: RestartBudget::default(),
            unregistered: false,
            gave_up: None,
            wanted: false,
            finished: false,
            asked_at: None,
        })
    }

    /// Folds one event in.
    ///
    /// # Errors
    /// When the event does not fit; the stream is then unchanged.
    pub fn apply(&mut self, event: &Event) -> Result<(), IllegalEvent> {
        self.check(event)?;
        if self.becomes_another_program(&event.kind) {
            self.finished = false;
        }
        self.handle.apply(event)?;
        self.version = event.version;
        self.last_seq = event.seq;
        self.fold(event);
        Ok(())
    }

    /// Folds one event in, as [`apply`](Self::apply) does, and returns the names of the states before and after it if it is a
    /// transition.
    ///
    /// # Errors
    /// The event does not fit; the stream is then unchanged.
    pub fn apply_with_transition(
        &mut self,
        event: &Event,
    ) -> Result<Option<(&'static str, &'static str)>, IllegalEvent> {
        let from = self.handle.state.name();
        self.apply(event)?;
        let to = self.handle.state.name();
        Ok((from != to).then_some((from, to)))
    }

    /// The run that the next event of this kind belongs to.
    #[must_use]
    pub const fn run_of(&self, kind: &EventKind) -> u64 {
        kind.run_after(self.run)
    }

    /// Whether the event changes more of the specification than the number of instances.
    fn becomes_another_program(&self, kind: &EventKind) -> bool {
        let EventKind::SpecChanged { spec } = kind else { return false };
        let before = &self.handle.spec;
        **spec != ProcessSpec { instances: spec.instances, ..before.clone() }
    }

    fn fold(&mut self, event: &Event) {
        match &event.kind {
            EventKind::SpecChanged { .. } => {
                // Crashes of the program before the change must not block the new one.
                self.budget = RestartBudget::default();
                self.unregistered = false;
                self.gave_up = None;
            }
            EventKind::Unregistered => {
                self.unregistered = true;
                self.wanted = false;
                self.finished = false;
                self.follow_up = FollowUp::Nothing;
                self.gave_up = None;
            }
            EventKind::BudgetReset => self.budget = RestartBudget::default(),
            EventKind::RestartScheduled { attempt, delay_ms } => {
                self.tally().spend(event.stamp);
                let (seq, since) = (event.seq, event.stamp);
                self.follow_up = FollowUp::Restart { seq, attempt: *attempt, since, delay_ms: *delay_ms };
            }
            EventKind::RestartRefused { rule } => {
                match (rule, &event.actor) {
                    // The shutdown of the supervisor puts a start off: one of the policy, or the second half of a restart.
                    (RestartRule::StopRequested, Actor::System) => self.wanted |= !self.finished,
                    (RestartRule::StopRequested, Actor::Policy | Actor::Health) => {}
                    // A recovery refuses processes of another ledger, and those whose `on_boot` is `stay`.
                    _ => self.wanted = false,
                }
                self.follow_up = FollowUp::Nothing;
                self.gave_up = rule.is_giving_up().then_some(*rule);
                if let Some(stop) = &mut self.stopping {
                    stop.by_health = false;
                }
            }
            EventKind::StartRequested { trigger } => {
                self.run = event.run;
                self.wanted = true;
                self.finished = false;
                self.asked_at = Some(event.stamp);
                self.intent = Some(Intent { seq: event.seq, trigger: *trigger });
                self.end = None;
                self.kill_sent = false;
                self.gave_up = None;
                self.stopping = None;
                self.follow_up = FollowUp::Nothing;
            }
            EventKind::Starting { identity, .. } => {
                self.intent = None;
                self.identity = *identity;
                self.run_started = identity.map(|_| event.stamp);
                if identity.is_some() {
                    // The start succeeded: earlier failures to start do not count any more.
                    self.budget.spawn_failures = Tally::default();
                }
            }
            EventKind::Stopping { signal, timeout_ms, force_kill } => {
                if is_operator(&event.actor) {
                    self.wanted = false;
                }
                self.stopping = Some(StopUnderWay {
                    seq: event.seq,
                    since: event.stamp,
                    timeout_ms: *timeout_ms,
                    signal: *signal,
                    force_kill: *force_kill,
                    by_health: event.actor == Actor::Health,
                });
            }
            EventKind::Adopted { identity } => self.identity = Some(*identity),
            EventKind::SignalSent { signal: Signal::KILL, .. } => self.kill_sent = true,
            EventKind::Stopped { exit } | EventKind::Terminated { exit } => {
                self.end_run(RunEnd::Exit(*exit), event.stamp);
            }
            EventKind::Crashed { cause } => self.end_run(cause.clone(), event.stamp),
            _ => {}
        }
    }

    /// The tally that a restart scheduled now counts in.
    fn tally(&mut self) -> &mut Tally {
        match self.end {
            Some(RunEnd::SpawnFailed(_)) => &mut self.budget.spawn_failures,
            Some(RunEnd::Exit(_) | RunEnd::NeverConfirmed) | None => &mut self.budget.crashes,
        }
    }

    fn end_run(&mut self, end: RunEnd, stamp: Timestamp) {
        let min_uptime_ns = self.handle.spec.restart.min_uptime.as_nanos();
        let uptime_ns = self.run_started.and_then(|started| stamp.nanos_since(&started));
        // The length of a run is known only where its end was observed.
        let was_seen = matches!(&end, RunEnd::Exit(exit) if exit.evidence == Evidence::Observed);
        if was_seen && uptime_ns.is_some_and(|nanos| u128::from(nanos) >= min_uptime_ns) {
            self.budget.crashes.consecutive = 0;
        }
        self.follow_up = match self.stopping.take() {
            Some(stop) if !stop.by_health => FollowUp::Nothing,
            stop => FollowUp::Undecided { unhealthy: stop.is_some() },
        };
        let has_succeeded = matches!(&end, RunEnd::Exit(exit) if exit.is_success());
        let is_final = self.handle.spec.restart.policy != RestartPolicy::Always;
        if has_succeeded && is_final && self.follow_up == (FollowUp::Undecided { unhealthy: false }) {
            self.finished = true;
            self.wanted = false;
        }
        self.end = Some(end);
    }

    /// The exit of the latest run, if it had one.
    #[must_use]
    pub const fn exit(&self) -> Option<&Exit> {
        match &self.end {
            Some(RunEnd::Exit(exit)) => Some(exit),
            Some(RunEnd::SpawnFailed(_) | RunEnd::NeverConfirmed) | None => None,
        }
    }

    /// Whether a run is open: a process exists, or a start was requested and has no result yet.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.intent.is_some() || !self.handle.state.has_exited()
    }

    /// The first invariant of the specification that does not hold, by its number; `None` when all do.
    ///
    /// For tests, `verify` and fuzzing. To be called between commits: within one, INV-0008 may not hold.
    #[must_use]
    pub fn broken_invariant(&self) -> Option<&'static str> {
        let handle = &self.handle;
        let checks = [
            ("INV-0003", !handle.spec.name.is_empty()),
            ("INV-0004", !handle.spec.command.is_empty()),
            ("INV-0005", handle.spec.instances >= 1),
            ("INV-0008", handle.pid.is_some() == handle.state.is_running()),
            ("INV-0009", handle.started_at.is_none() || self.run > 0),
            ("INV-0010", handle.instance < handle.spec.instances),
        ];
        checks.iter().find(|(_, holds)| !holds).map(|(number, _)| *number)
    }
}

const fn is_operator(actor: &Actor) -> bool {
    matches!(actor, Actor::Operator { .. })
}

#[cfg(test)]
mod tests;
