//! The fold of one stream (the state that is computed by replaying its events): the handle of the instance, and further
//! state that its supervisor needs. The file `check.rs` checks which events are refused.

mod check;

use std::time::Duration;

use crate::{
    event::{
        Event,
        actor::Actor,
        agent::outcome::AgentOutcome,
        exit::{Evidence, Exit, RunEnd},
        identity::ProcessIdentity,
        kind::{EventKind, RestartRule, StartTrigger},
        stream_id::StreamId,
        timestamp::Timestamp,
    },
    signal::Signal,
    spec::{ProcessSpec, config::restart::RestartPolicy},
    state::{
        agent::{AgentEnd, AgentState},
        handle::ProcessHandle,
        restart_budget::{RestartBudget, Tally},
        transition::IllegalTransition,
    },
};

/// A requested start whose outcome is not yet recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Intent {
    /// The seq of the `start_requested` event.
    pub seq: u64,
    /// The trigger of the start.
    pub trigger: StartTrigger,
}

/// A stop in progress, as recorded in its `stopping` event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StopUnderWay {
    /// The seq of the `stopping` event.
    pub seq: u64,
    /// The time of the stop request.
    pub since: Timestamp,
    /// The milliseconds from `since` until SIGKILL.
    pub timeout_ms: u64,
    /// The signal that requests the stop, such as SIGTERM.
    pub signal: Signal,
    /// Whether SIGKILL is sent when the timeout has passed.
    pub force_kill: bool,
    /// Whether only a failed health check requested the stop. The policy then decides what follows.
    pub by_health: bool,
    /// Whether only a policy for agents requested the stop. The restart policy then decides what follows.
    pub by_policy: bool,
}

impl StopUnderWay {
    /// Whether the restart policy decides what follows the stop.
    #[must_use]
    pub const fn is_left_to_policy(&self) -> bool {
        self.by_health || self.by_policy
    }
}

/// What remains to be done after the end of the latest run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FollowUp {
    /// Nothing remains to be done.
    #[default]
    Nothing,
    /// The decision of the policy about the end is not recorded yet.
    Undecided {
        /// Whether the process was stopped because it was unhealthy.
        unhealthy: bool,
    },
    /// A restart is scheduled and has not happened yet.
    Restart {
        /// The seq of the `restart_scheduled` event.
        seq: u64,
        /// The number of the restart since the last sustained run (a run of at least `min_uptime`), from 1.
        attempt: u32,
        /// The time at which the restart was scheduled.
        since: Timestamp,
        /// The milliseconds from `since` until the restart.
        delay_ms: u64,
    },
}

/// The state of one stream, computed by replaying its events.
///
/// The type is plain data, so that a store can hold a copy. Only [`apply`](Self::apply) changes it.
#[derive(Debug, Clone, PartialEq)]
pub struct Stream {
    /// The id of the stream.
    pub id: StreamId,
    /// The handle of the instance.
    pub handle: ProcessHandle,
    /// The number of applied events, which is the version of the last one.
    pub version: u64,
    /// The seq of the last applied event.
    pub last_seq: u64,
    /// The number of the latest run, from 1; 0 before the first run.
    pub run: u64,
    /// The requested start whose outcome is not yet recorded.
    pub intent: Option<Intent>,
    /// The process of the latest run that was spawned. It stays set after the end of the process, when the pid of the
    /// handle is gone.
    pub identity: Option<ProcessIdentity>,
    /// When the process of the latest run was spawned.
    pub run_started: Option<Timestamp>,
    /// How the latest run ended; `None` during a run and before the first run.
    pub end: Option<RunEnd>,
    /// Whether SIGKILL was sent in the latest run.
    pub kill_sent: bool,
    /// The stop in progress; `None` if no stop is in progress.
    pub stopping: Option<StopUnderWay>,
    /// What remains to be done after the end of the latest run.
    pub follow_up: FollowUp,
    /// The counted restarts of the instance.
    pub budget: RestartBudget,
    /// Whether the instance was removed from supervision.
    pub unregistered: bool,
    /// Why the supervisor does not make a restart that the policy asks for: the budget is spent, or the launch
    /// specification is lost.
    pub gave_up: Option<RestartRule>,
    /// Whether the instance should run: it was started, and since then no operator has stopped it, it has not finished,
    /// and its restarts were not given up. A supervisor that stops a process at its own shutdown does not change this
    /// value.
    pub wanted: bool,
    /// Whether the instance has finished: its latest run ended by itself with exit code 0, and its policy does not
    /// restart it after that. The next start and a change of the program reset this value.
    pub finished: bool,
    /// When the latest start of the instance was requested.
    pub asked_at: Option<Timestamp>,
    /// The state of the agent, if the process is one and has reported something. In a box, because most processes are no agents.
    pub agent: Option<Box<AgentState>>,
}

/// An event that does not fit the earlier events of its stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IllegalEvent {
    /// The state does not allow the event.
    #[error(transparent)]
    Transition(#[from] IllegalTransition),
    /// The version of the event is not the next version of the stream.
    #[error("the event has version {found}, and the next version is {expected}")]
    Version {
        /// The next version of the stream.
        expected: u64,
        /// The version of the event.
        found: u64,
    },
    /// The event has the number of another run than the run to which it can belong.
    #[error("the event is of run {found}, and must be of run {expected}")]
    Run {
        /// The run to which the event can belong.
        expected: u64,
        /// The run number of the event.
        found: u64,
    },
    /// A stream must begin with `registered`, and must not contain this event again.
    #[error("{0} is not allowed here: a stream begins with registered, and after unregistered comes spec_changed")]
    Registration(&'static str),
    /// The instance number is not less than the number of instances (INV-0010), or the specification belongs to another
    /// process.
    #[error("the specification does not fit the stream")]
    ForeignSpec,
    /// The process of the start is not allowed: there is no process where one is required, it is another process, or a
    /// start is still without a recorded outcome.
    #[error("{0} does not fit the pending start request")]
    Intent(&'static str),
    /// A `terminated` event must follow a recorded SIGKILL, and no SIGKILL is recorded.
    #[error("terminated without a SIGKILL on record")]
    NotKilled,
    /// The stated end does not fit the run: an exit requires a spawned process, and a failed spawn requires that no
    /// process was spawned.
    #[error("a run without a process cannot run, be stopped or exit, and a run with one must end with an exit")]
    WrongEnd,
    /// The event belongs to another stream.
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
            agent: None,
        })
    }

    /// Applies one event to the stream.
    ///
    /// # Errors
    /// The event does not fit the stream, which is then unchanged.
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

    /// Like [`apply`](Self::apply), but returns the names of the states before and after the event if the event is a
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

    /// The number of the run to which the next event of this kind belongs.
    #[must_use]
    pub const fn run_of(&self, kind: &EventKind) -> u64 {
        kind.run_after(self.run)
    }

    /// Whether the event changes the specification in more than the number of instances.
    fn becomes_another_program(&self, kind: &EventKind) -> bool {
        let EventKind::SpecChanged { spec } = kind else { return false };
        let before = &self.handle.spec;
        **spec != ProcessSpec { instances: spec.instances, ..before.clone() }
    }

    fn fold(&mut self, event: &Event) {
        match &event.kind {
            EventKind::SpecChanged { .. } => {
                // Crashes of the old program must not prevent restarts of the new program.
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
                // Waiting for a limit is no fault of the process.
                if !self.waits_for_limit() {
                    self.tally().spend(event.stamp);
                }
                let (seq, since) = (event.seq, event.stamp);
                self.follow_up = FollowUp::Restart { seq, attempt: *attempt, since, delay_ms: *delay_ms };
            }
            EventKind::RestartRefused { rule } => {
                match (rule, &event.actor) {
                    // The shutdown of the supervisor postpones a start until the next supervisor: a restart by the
                    // policy, or the second half of a requested restart.
                    (RestartRule::StopRequested, Actor::System) => self.wanted |= !self.finished,
                    (RestartRule::StopRequested, Actor::Policy | Actor::Health) => {}
                    // A recovery refuses to restart processes of another ledger, and processes whose `on_boot` is
                    // `stay`.
                    _ => self.wanted = false,
                }
                self.follow_up = FollowUp::Nothing;
                self.gave_up = rule.is_giving_up().then_some(*rule);
                if let Some(stop) = &mut self.stopping {
                    stop.by_health = false;
                    stop.by_policy = false;
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
                if let Some(agent) = &mut self.agent {
                    agent.begin_run();
                }
            }
            EventKind::Agent { report } => {
                let agent = self.agent.get_or_insert_with(|| Box::new(AgentState::new(report.agent, event.stamp)));
                agent.apply(report, event.stamp);
            }
            EventKind::Starting { identity, .. } => {
                self.intent = None;
                self.identity = *identity;
                self.run_started = identity.map(|_| event.stamp);
                if identity.is_some() {
                    // The start succeeded, so earlier failures to start do not count any more.
                    self.budget.spawn_failures = Tally::default();
                    if let Some(agent) = &mut self.agent {
                        agent.process_started(event.stamp);
                    }
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
                    by_policy: event.actor == Actor::Policy,
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

    /// The counter for a restart that is scheduled now: failed starts and crashes have separate counters.
    fn tally(&mut self) -> &mut Tally {
        match self.end {
            Some(RunEnd::SpawnFailed(_)) => &mut self.budget.spawn_failures,
            Some(RunEnd::Exit(_) | RunEnd::NeverConfirmed) | None => &mut self.budget.crashes,
        }
    }

    fn end_run(&mut self, end: RunEnd, stamp: Timestamp) {
        let min_uptime_ns = self.handle.spec.restart.min_uptime.as_nanos();
        let uptime_ns = self.run_started.and_then(|started| stamp.nanos_since(&started));
        // The length of a run is known only if the supervisor observed its end.
        let was_seen = matches!(&end, RunEnd::Exit(exit) if exit.evidence == Evidence::Observed);
        if was_seen && uptime_ns.is_some_and(|nanos| u128::from(nanos) >= min_uptime_ns) {
            self.budget.crashes.consecutive = 0;
        }
        self.follow_up = match self.stopping.take() {
            Some(stop) if !stop.is_left_to_policy() => FollowUp::Nothing,
            stop => FollowUp::Undecided { unhealthy: stop.is_some_and(|stop| stop.by_health) },
        };
        if let Some(agent) = &mut self.agent {
            agent.end_run(uptime_ns.map(Duration::from_nanos), stamp);
        }
        // An agent's own account is the truth, and not its exit code.
        let has_succeeded = match self.agent_end() {
            Some(agent_end) => agent_end.outcome == AgentOutcome::Success,
            None => matches!(&end, RunEnd::Exit(exit) if exit.is_success()),
        };
        let is_final = self.handle.spec.restart.policy != RestartPolicy::Always;
        if has_succeeded && is_final && self.follow_up == (FollowUp::Undecided { unhealthy: false }) {
            self.finished = true;
            self.wanted = false;
        }
        self.end = Some(end);
    }

    /// How the latest run ended by the account of an agent; `None` for a process that is no agent, and during a run.
    #[must_use]
    pub fn agent_end(&self) -> Option<AgentEnd> {
        self.handle.spec.agent.as_ref()?;
        self.agent.as_ref()?.end
    }

    /// Whether the next start waits for a usage limit: one that ended the latest run, or one that another agent of the account met.
    #[must_use]
    pub fn waits_for_limit(&self) -> bool {
        let waits_for_account = self.agent.as_ref().is_some_and(|agent| agent.waits_for_account);
        waits_for_account || self.agent_end().is_some_and(|end| end.is_limited())
    }

    /// The exit of the latest run; `None` if no process exited in it.
    #[must_use]
    pub const fn exit(&self) -> Option<&Exit> {
        match &self.end {
            Some(RunEnd::Exit(exit)) => Some(exit),
            Some(RunEnd::SpawnFailed(_) | RunEnd::NeverConfirmed) | None => None,
        }
    }

    /// Whether a run is open: a process exists, or a requested start has no recorded outcome yet.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.intent.is_some() || !self.handle.state.has_exited()
    }

    /// The number of the first invariant that does not hold, such as `INV-0008`; `None` when all invariants hold.
    ///
    /// For tests, the command `verify` and fuzzing. Call it only between commits: INV-0008 may not hold in the middle
    /// of a commit.
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
