//! Plans the steps of one instance: which effects follow from a request, an end of a run, a health result or a due
//! time. This module does no I/O.
//!
//! The state is read from the stream of events, so a supervisor that takes over makes the same plan as the earlier
//! supervisor. In addition, a plan stores what follows the stop in progress.

use std::time::Duration;

use crate::{
    event::{
        actor::Actor,
        agent::{
            breach::BudgetBreach,
            event::AgentEvent,
            finding::AgentFinding,
            label::Label,
            report::{AgentReport, OutputPosition},
        },
        exit::{Exit, RunEnd},
        kind::{EventKind, RestartRule, StartTrigger},
        origin::EventOrigin,
        requester::Requester,
        timestamp::Timestamp,
    },
    policy::{
        agent::{self, AgentVerdict},
        agent_budget,
        health_monitor::HealthVerdict,
        joined::{Joined, JoinedRequest, is_person},
        restart::{RestartDecision, RestartManager, RunEndClass},
    },
    spec::{
        agent_kind::AgentKind,
        config::{
            agent::{AgentChoice, AgentConfig},
            reaction::Reaction,
            restart::RestartPolicy,
        },
    },
    state::{
        ProcessState,
        agent::AgentState,
        restart_budget::RestartBudget,
        stream::{FollowUp, Stream},
    },
};

/// An input of a plan: a request, or something that happened to the instance.
#[derive(Debug, Clone)]
pub enum PlanInput {
    /// A start of the instance is requested.
    Start(Requester),
    /// A start is requested, unless the instance waits for a usage limit, or the end of its run makes it wait for one.
    BringUp(Requester),
    /// A stop is requested. The duration is the stop timeout; `None` for the timeout of the specification.
    Stop(Requester, Option<Duration>),
    /// A restart of the instance is requested.
    Restart(Requester),
    /// The run is over, and its end is recorded.
    RunOver,
    /// The delay of a scheduled restart has passed.
    RestartDue,
    /// The health monitor reported a result.
    Health(HealthVerdict),
    /// The agent reported something, a budget of time may be used up, or the memory of its processes was measured, in bytes.
    Agent {
        /// The resident memory of all processes of the run, if it was measured.
        memory_bytes: Option<u64>,
    },
    /// The current run has lasted for `min_uptime`, so it counts as sustained.
    Sustained,
    /// This supervisor took over a run of an earlier supervisor.
    Resumed,
    /// The instance is started because it ran before the supervisor or the machine was shut down. The number is the seq
    /// of the event that caused the start.
    Boot(Option<u64>),
    /// The instance ran before the machine was shut down, and must not be started.
    Stay,
}

/// An effect of a step. The runner carries out effects in the given order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// The runner starts the instance.
    Start {
        /// The origin of the request.
        origin: EventOrigin,
        /// The trigger of the start, as recorded.
        trigger: StartTrigger,
    },
    /// The runner stops the instance.
    Stop {
        /// Who requested the stop.
        request: Requester,
        /// Time until SIGKILL; `None` for the timeout of the specification.
        timeout: Option<Duration>,
    },
    /// The runner stops an agent for good: with SIGINT, so that it can report a result, then with the signal of the specification, then
    /// with SIGKILL.
    StopAgent {
        /// Who requested the stop, with the reason.
        request: Requester,
    },
    /// Record a request that joined the stop or the start under way.
    Join(JoinedRequest),
    /// Refuse the start, because nothing is left of this budget. The refusal is recorded.
    Deny(BudgetBreach),
    /// The runner records an event.
    Record {
        /// The origin of the event.
        origin: EventOrigin,
        /// The kind of the event, with its fields.
        kind: EventKind,
    },
    /// Record that the instance will be started again, and start it after the delay.
    Schedule {
        /// The number of the restart since the last sustained run (a run of at least `min_uptime`), from 1.
        attempt: u32,
        /// The delay before the start.
        delay: Duration,
    },
    /// Refuse the request with this name, because the state of the instance does not allow it.
    Refuse(&'static str),
}

/// What the plan does when the stop in progress is complete.
#[derive(Debug, Clone, Default)]
enum AfterStop {
    /// After the stop, the restart policy decides whether the instance is started.
    #[default]
    Policy,
    /// The instance is not started, because a stop was requested.
    Stay {
        request: Requester,
        /// Whether the shutdown of the supervisor prevented a start that was to follow. The next supervisor then makes
        /// this start.
        is_put_off: bool,
    },
    /// The instance is started: a restart was requested, or the instance ran before the supervisor was shut down.
    Start(EventOrigin, StartTrigger),
}

/// The plan for one instance: computes the effects of each input.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    then: AfterStop,
}

/// The data on which a step depends, besides its input.
#[derive(Debug, Clone, Copy)]
pub struct PlanContext<'a> {
    /// The stream of the instance, with its state.
    pub stream: &'a Stream,
    /// Whether a run is in progress. The process of the run may have ended already while its output is still being
    /// read.
    pub is_up: bool,
    /// The seq of the event that ended the latest run of the instance.
    pub end_seq: Option<u64>,
    /// When the usage limit of the account of an agent is reset, in seconds since the epoch, if an agent of the account has met it.
    pub account_reset: Option<i64>,
    /// The current time.
    pub now: Timestamp,
    /// A random number for the jitter of the back-off.
    pub random: u32,
}

impl Plan {
    /// Handles one input and returns the effects that follow.
    pub fn step(&mut self, input: PlanInput, seen: &PlanContext<'_>) -> Vec<Effect> {
        match input {
            PlanInput::Start(request) => self.start(request, Joined::Start, seen),
            PlanInput::BringUp(_) if self.leaves_to_limit(seen) => Vec::new(),
            PlanInput::BringUp(request) => self.start(request, Joined::Start, seen),
            PlanInput::Stop(request, timeout) => self.stop(request, timeout, seen),
            PlanInput::Restart(request) => self.restart(request, seen),
            PlanInput::RunOver => self.run_over(seen),
            PlanInput::RestartDue => self.restart_due(seen),
            PlanInput::Health(verdict) => self.health(verdict, seen),
            PlanInput::Agent { memory_bytes } => watch_agent(seen, memory_bytes),
            PlanInput::Sustained => sustained(seen),
            PlanInput::Resumed => self.resumed(seen),
            PlanInput::Boot(cause) => {
                self.then = AfterStop::Start(EventOrigin::of(Actor::System).caused_by(cause), StartTrigger::Boot);
                Vec::new()
            }
            PlanInput::Stay => self.stay(seen),
        }
    }

    /// Whether a start follows the end of the run in progress.
    pub const fn awaits_start(&self) -> bool {
        matches!(self.then, AfterStop::Start(..))
    }

    /// Whether a start for a person follows the end of the run in progress. The events of this start carry their request.
    fn starts_for_person(&self) -> bool {
        matches!(&self.then, AfterStop::Start(origin, _) if is_person(&origin.request))
    }

    /// Whether a person has decided that no start follows the end of the run in progress.
    fn stays_for_person(&self) -> bool {
        matches!(&self.then, AfterStop::Stay { request, .. } if is_person(request))
    }

    /// Discards the planned start or stay after a stop could not begin. The policy then decides what follows the run.
    pub fn forget(&mut self) {
        self.then = AfterStop::Policy;
    }

    /// Whether the instance waits for a usage limit, or the policy makes it wait for one when its run is over.
    fn leaves_to_limit(&self, seen: &PlanContext<'_>) -> bool {
        let will_wait = |unhealthy| {
            matches!(self.then, AfterStop::Policy)
                && decide(seen, unhealthy).iter().any(|effect| matches!(effect, Effect::Schedule { .. }))
        };
        seen.stream.waits_for_limit()
            && match seen.stream.follow_up {
                FollowUp::Restart { .. } => true,
                FollowUp::Undecided { unhealthy } => will_wait(unhealthy),
                FollowUp::Nothing => false,
            }
    }

    fn start(&mut self, request: Requester, joined: Joined, seen: &PlanContext<'_>) -> Vec<Effect> {
        let is_ending = seen.stream.stopping.is_some_and(|stop| !stop.is_left_to_policy());
        if !seen.stream.handle.state.has_exited() && !is_ending {
            return vec![Effect::Refuse("start")];
        }
        if seen.is_up && self.starts_for_person() {
            return join(request, joined).into_iter().collect();
        }
        if seen.is_up {
            // The start waits until the earlier run, or its stop, is complete.
            self.then = AfterStop::Start(EventOrigin::of(request), StartTrigger::Start);
            return Vec::new();
        }
        self.then = AfterStop::Policy;
        start(seen, EventOrigin::of(request), StartTrigger::Start)
    }

    fn stop(&mut self, request: Requester, timeout: Option<Duration>, seen: &PlanContext<'_>) -> Vec<Effect> {
        let awaited = self.awaits_start();
        if !seen.stream.handle.state.has_exited() {
            // The request is recorded. Otherwise, a supervisor that takes over would see only the requester of the stop
            // in progress.
            let recorded = self.record_stop(&request, awaited, seen.stream);
            if !self.stays_for_person() {
                let is_put_off = awaited && is_own(&request);
                self.then = AfterStop::Stay { request: request.clone(), is_put_off };
            }
            return recorded.into_iter().chain([Effect::Stop { request, timeout }]).collect();
        }
        self.then = AfterStop::Policy;
        match seen.stream.follow_up {
            FollowUp::Restart { seq, .. } => vec![called_off(request, Some(seq))],
            // The process has ended just now, and the policy has not decided yet.
            FollowUp::Undecided { unhealthy } if seen.is_up => {
                let is_left_to_policy = is_own(&request) && !awaited && !is_restarted(seen, unhealthy);
                if is_left_to_policy { Vec::new() } else { vec![called_off(request, seen.end_seq)] }
            }
            // The request is recorded, so that a later supervisor follows it instead of the request before it.
            _ if changes_mind(&request, awaited, seen.stream) || awaited && is_person(&request) => {
                vec![called_off(request, None)]
            }
            _ if awaited => Vec::new(),
            _ => vec![Effect::Refuse("stop")],
        }
    }

    /// The record of a stop that joins another one, or that comes before the first one is recorded; `None` for a stop that is recorded
    /// when it begins.
    fn record_stop(&self, request: &Requester, awaited: bool, stream: &Stream) -> Option<Effect> {
        match stream.stopping {
            Some(stop) if stop.is_left_to_policy() || changes_mind(request, awaited, stream) => {
                Some(called_off(request.clone(), Some(stop.seq)))
            }
            None if !self.starts_for_person() && !self.stays_for_person() => None,
            _ => join(request.clone(), if awaited { Joined::StopOnly } else { Joined::Stop }),
        }
    }

    fn restart(&mut self, request: Requester, seen: &PlanContext<'_>) -> Vec<Effect> {
        if seen.stream.handle.state.has_exited() {
            return self.start(request, Joined::Restart, seen);
        }
        if self.starts_for_person() {
            let joined = join(request.clone(), Joined::Restart);
            return joined.into_iter().chain([Effect::Stop { request, timeout: None }]).collect();
        }
        self.then = AfterStop::Start(EventOrigin::of(request.clone()), StartTrigger::Start);
        vec![Effect::Stop { request, timeout: None }]
    }

    fn run_over(&mut self, seen: &PlanContext<'_>) -> Vec<Effect> {
        let stream = seen.stream;
        match (std::mem::take(&mut self.then), stream.follow_up) {
            (AfterStop::Start(origin, trigger), _) => {
                // The start waited for the end of the run, so this end is recorded as the cause of the start.
                let cause = origin.cause.or(seen.end_seq);
                start(seen, origin.caused_by(cause), trigger)
            }
            // The process had ended by itself when the supervisor was shut down, and the policy makes no restart.
            (AfterStop::Stay { request, is_put_off: false }, FollowUp::Undecided { unhealthy })
                if is_own(&request) && !is_restarted(seen, unhealthy) =>
            {
                decide(seen, unhealthy)
            }
            // The stop was requested after a failed health check or after the end of the process.
            (AfterStop::Stay { request, .. }, FollowUp::Undecided { .. } | FollowUp::Restart { .. }) => {
                vec![called_off(request, None)]
            }
            // The stop was the first half of a restart, and the delay of the restart until the next supervisor is not
            // recorded yet.
            (AfterStop::Stay { request, is_put_off: true }, FollowUp::Nothing) if !stream.wanted => {
                vec![called_off(request, None)]
            }
            (AfterStop::Policy, FollowUp::Undecided { unhealthy }) => decide(seen, unhealthy),
            (AfterStop::Stay { .. } | AfterStop::Policy, _) => Vec::new(),
        }
    }

    fn restart_due(&mut self, seen: &PlanContext<'_>) -> Vec<Effect> {
        match seen.stream.follow_up {
            FollowUp::Restart { seq, attempt, .. } => {
                let origin = EventOrigin::of(Actor::Policy).caused_by(Some(seq));
                start(seen, origin, StartTrigger::Restart { attempt })
            }
            // The decision of the policy could not be recorded at the end of the run.
            FollowUp::Undecided { .. } => self.run_over(seen),
            // The requested start could not be recorded at the end of the run.
            FollowUp::Nothing if self.awaits_start() && !seen.is_up => self.run_over(seen),
            FollowUp::Nothing => Vec::new(),
        }
    }

    fn health(&self, verdict: HealthVerdict, seen: &PlanContext<'_>) -> Vec<Effect> {
        let state = &seen.stream.handle.state;
        let because = |detail: String| EventOrigin::of(Requester { actor: Actor::Health, reason: Some(detail) });
        match verdict {
            HealthVerdict::Changed { healthy, detail } if state.is_running() => vec![changed(healthy, detail)],
            HealthVerdict::CrossedUnhealthy { failures, detail } if *state == ProcessState::Running => {
                let origin = because(detail);
                let mut effects =
                    vec![Effect::Record { origin: origin.clone(), kind: EventKind::Unhealthy { failures } }];
                effects.extend(stop_unhealthy(seen, origin.request));
                effects
            }
            // The state stays unhealthy until a restart (INV-0006), but the reported result changes.
            HealthVerdict::CrossedUnhealthy { detail, .. } if *state == ProcessState::Unhealthy => {
                vec![changed(false, detail)]
            }
            HealthVerdict::Nothing | HealthVerdict::Changed { .. } | HealthVerdict::CrossedUnhealthy { .. } => {
                Vec::new()
            }
        }
    }

    /// Records that no start follows. Otherwise, the policy of a later supervisor would decide.
    fn stay(&mut self, seen: &PlanContext<'_>) -> Vec<Effect> {
        let reason = Some("on_boot is stay".to_owned());
        let request = Requester { actor: Actor::Recovery, reason };
        if seen.is_up {
            self.then = AfterStop::Stay { request, is_put_off: false };
            return Vec::new();
        }
        vec![called_off(request, seen.end_seq)]
    }

    fn resumed(&self, seen: &PlanContext<'_>) -> Vec<Effect> {
        if seen.stream.handle.state == ProcessState::Unhealthy {
            let reason = Some("it was unhealthy when its supervisor ended".to_owned());
            return stop_unhealthy(seen, Requester { actor: Actor::Health, reason }).into_iter().collect();
        }
        watch_agent(seen, None)
    }
}

/// Starts the instance, unless nothing is left of a budget of the day. The refusal is then recorded.
fn start(seen: &PlanContext<'_>, origin: EventOrigin, trigger: StartTrigger) -> Vec<Effect> {
    let breach = agent_of(seen).and_then(|(config, agent)| agent_budget::spent_day(&config.budget, agent, &seen.now));
    match breach {
        Some(breach) => vec![refused(origin, AgentFinding::Budget(breach)), Effect::Deny(breach)],
        None => wait_for_account(seen, &origin)
            .or_else(|| wait_for_own_limit(seen, trigger))
            .unwrap_or_else(|| vec![Effect::Start { origin, trigger }]),
    }
}

/// The wait for the usage limit that ended the latest run, which the shutdown of the supervisor or of the machine interrupted.
fn wait_for_own_limit(seen: &PlanContext<'_>, trigger: StartTrigger) -> Option<Vec<Effect>> {
    let (config, agent) = agent_of(seen).filter(|_| trigger == StartTrigger::Boot)?;
    let delay = agent::wait_for_own_limit(config, agent, &seen.now, seen.random)?;
    Some(vec![Effect::Schedule { attempt: seen.stream.budget.crashes.consecutive.saturating_add(1), delay }])
}

/// The wait for a usage limit that an agent of the same account has met. Nothing of the restart budget is used.
fn wait_for_account(seen: &PlanContext<'_>, origin: &EventOrigin) -> Option<Vec<Effect>> {
    let stream = seen.stream;
    let config = stream.handle.spec.agent.as_ref()?;
    let (account, resets_at) = (Label::new(config.account.as_ref()?)?, seen.account_reset?);
    let delay = agent::wait_until(resets_at, &seen.now, seen.random)?;
    let (kind, read_to) = match (&stream.agent, config.kind) {
        (Some(agent), _) => (agent.kind, agent.read_to),
        (None, AgentChoice::Kind(kind)) => (kind, OutputPosition::default()),
        (None, AgentChoice::Auto) => (AgentKind::Custom, OutputPosition::default()),
    };
    let event = AgentEvent::AccountLimited { account, resets_at };
    let report = Box::new(AgentReport { agent: kind, event, read_to });
    let origin = EventOrigin::of(Actor::Policy).caused_by(origin.cause).at(seen.now);
    let attempt = stream.budget.crashes.consecutive.saturating_add(1);
    Some(vec![Effect::Record { origin, kind: EventKind::Agent { report } }, Effect::Schedule { attempt, delay }])
}

/// Stops a running agent whose budget is used up, or of which something was found that is a reason to stop it.
fn watch_agent(seen: &PlanContext<'_>, memory_bytes: Option<u64>) -> Vec<Effect> {
    let Some((config, agent)) = agent_of(seen) else { return Vec::new() };
    if !seen.stream.handle.state.is_running() {
        return Vec::new();
    }
    let by = |actor, finding: AgentFinding| Requester { actor, reason: Some(finding.to_string()) };
    match agent.found {
        Some((finding, Reaction::Restart)) => {
            return vec![Effect::Stop { request: by(Actor::Health, finding), timeout: None }];
        }
        Some((finding, _)) if finding.is_after_result() => {
            return vec![Effect::Stop { request: by(Actor::Policy, finding), timeout: None }];
        }
        Some((finding, _)) => return vec![Effect::StopAgent { request: by(Actor::Policy, finding) }],
        None => {}
    }
    let of_memory = memory_bytes.and_then(|used| agent_budget::memory_breach(&config.budget, used));
    match of_memory.or_else(|| agent_budget::breach(&config.budget, agent, &seen.now)) {
        Some(breach) => vec![
            spent(seen, agent, breach),
            Effect::StopAgent { request: by(Actor::Policy, AgentFinding::Budget(breach)) },
        ],
        None => Vec::new(),
    }
}

/// The settings and the state of the agent; `None` for a process that is no agent, and for one that has reported nothing.
fn agent_of<'a>(seen: &PlanContext<'a>) -> Option<(&'a AgentConfig, &'a AgentState)> {
    let stream = seen.stream;
    Some((stream.handle.spec.agent.as_ref()?, stream.agent.as_deref()?))
}

/// Records that a budget is used up.
fn spent(seen: &PlanContext<'_>, agent: &AgentState, breach: BudgetBreach) -> Effect {
    let (event, read_to) = (AgentEvent::BudgetSpent(breach), agent.read_to);
    let report = Box::new(AgentReport { agent: agent.kind, event, read_to });
    Effect::Record { origin: EventOrigin::of(Actor::Policy).at(seen.now), kind: EventKind::Agent { report } }
}

fn refused(origin: EventOrigin, finding: AgentFinding) -> Effect {
    Effect::Record { origin, kind: EventKind::RestartRefused { rule: RestartRule::AgentStopped { finding } } }
}

fn changed(healthy: bool, detail: String) -> Effect {
    Effect::Record { origin: EventOrigin::of(Actor::Health), kind: EventKind::HealthChanged { healthy, detail } }
}

/// Stops an unhealthy process, so that the policy can restart it (INV-0006). Returns no stop where the policy is
/// `never`.
fn stop_unhealthy(seen: &PlanContext<'_>, request: Requester) -> Option<Effect> {
    let restarts = seen.stream.handle.spec.restart.policy != RestartPolicy::Never;
    restarts.then_some(Effect::Stop { request, timeout: None })
}

fn sustained(seen: &PlanContext<'_>) -> Vec<Effect> {
    let stream = seen.stream;
    if !stream.handle.state.is_running() || stream.budget == RestartBudget::default() {
        return Vec::new();
    }
    let reason = Some("up for min_uptime".to_owned());
    let origin = EventOrigin::of(Requester { actor: Actor::Policy, reason });
    vec![Effect::Record { origin, kind: EventKind::BudgetReset }]
}

/// The effects of the restart policy's decision; none where the policy asks for no restart.
fn decide(seen: &PlanContext<'_>, unhealthy: bool) -> Vec<Effect> {
    let stream = seen.stream;
    let manager = RestartManager::new(&stream.handle.spec.restart);
    let verdict = verdict_of(seen, unhealthy);
    let class = match verdict {
        Some(AgentVerdict::Succeeded) => RunEndClass::Succeeded,
        Some(_) => RunEndClass::Failed,
        None => class_of(stream.end.as_ref(), unhealthy),
    };
    let decision = match (verdict, manager.decide(class, &stream.budget, &seen.now, seen.random)) {
        (Some(AgentVerdict::Halt(finding)), _) => RestartDecision::Refuse(RestartRule::AgentStopped { finding }),
        (_, RestartDecision::Leave) => RestartDecision::Leave,
        (Some(AgentVerdict::Wait(delay)), _) => {
            RestartDecision::Restart { attempt: stream.budget.crashes.consecutive.saturating_add(1), delay }
        }
        (Some(AgentVerdict::Refuse(class)), _) => RestartDecision::Refuse(RestartRule::AgentFailed { class }),
        (Some(AgentVerdict::Succeeded | AgentVerdict::Failed) | None, decision) => decision,
    };
    match decision {
        RestartDecision::Restart { attempt, delay } => restart_within_budget(seen, attempt, delay),
        RestartDecision::Leave => Vec::new(),
        RestartDecision::Refuse(rule) => vec![Effect::Record {
            origin: EventOrigin::of(Actor::Policy).caused_by(seen.end_seq).at(seen.now),
            kind: EventKind::RestartRefused { rule },
        }],
    }
}

/// Schedules a restart, unless the run that has ended used up a budget: its last reports come with its end.
fn restart_within_budget(seen: &PlanContext<'_>, attempt: u32, delay: Duration) -> Vec<Effect> {
    let breach = agent_of(seen)
        .and_then(|(config, agent)| Some((agent, agent_budget::breach(&config.budget, agent, &seen.now)?)));
    match breach {
        Some((agent, breach)) => {
            let origin = EventOrigin::of(Actor::Policy).caused_by(seen.end_seq).at(seen.now);
            vec![spent(seen, agent, breach), refused(origin, AgentFinding::Budget(breach))]
        }
        None => vec![Effect::Schedule { attempt, delay }],
    }
}

/// The verdict of the agent about the run that has ended; `None` for a process that is no agent, for an agent that reported no end,
/// and where the supervisor stopped it because it was unhealthy.
fn verdict_of(seen: &PlanContext<'_>, unhealthy: bool) -> Option<AgentVerdict> {
    let stream = seen.stream;
    let config = stream.handle.spec.agent.as_ref().filter(|_| !unhealthy)?;
    agent::verdict(config, stream.agent.as_deref()?, &seen.now, seen.random)
}

/// Whether the restart policy would restart the instance now.
fn is_restarted(seen: &PlanContext<'_>, unhealthy: bool) -> bool {
    matches!(decide(seen, unhealthy).as_slice(), [Effect::Schedule { .. }])
}

fn class_of(end: Option<&RunEnd>, unhealthy: bool) -> RunEndClass {
    match end {
        _ if unhealthy => RunEndClass::Unhealthy,
        Some(RunEnd::SpawnFailed(_)) => RunEndClass::SpawnFailed,
        Some(RunEnd::Exit(exit)) if Exit::is_success(exit) => RunEndClass::Succeeded,
        Some(RunEnd::Exit(_) | RunEnd::NeverConfirmed) | None => RunEndClass::Failed,
    }
}

/// Whether the supervisor made the request at its own shutdown. Such a request does not change whether the process
/// should run: the next supervisor starts the process again.
pub fn is_own(request: &Requester) -> bool {
    request.actor == Actor::System
}

/// Whether a stop of a process that is stopping or has ended changes whether the process should run, compared to the
/// recorded events. `awaited` says whether a start was planned after the end.
pub fn changes_mind(request: &Requester, awaited: bool, stream: &Stream) -> bool {
    if is_own(request) { awaited && !stream.wanted } else { is_person(request) && stream.wanted }
}

/// The record of a request that joins another one; `None` for a request that no person made.
fn join(request: Requester, joined: Joined) -> Option<Effect> {
    JoinedRequest::of(request, joined).map(Effect::Join)
}

fn called_off(request: Requester, cause: Option<u64>) -> Effect {
    let kind = EventKind::RestartRefused { rule: RestartRule::StopRequested };
    Effect::Record { origin: EventOrigin::of(request).caused_by(cause), kind }
}

#[cfg(test)]
mod agent_tests;
#[cfg(test)]
mod tests;
