//! What follows from what happens to one instance. Pure: no process, no clock, no storage.
//!
//! What is known is read from the stream, so a supervisor that takes over plans as the one before it would have. The one
//! thing kept beside it is what an order under way wants to come after the stop.

use std::time::Duration;

use crate::{
    event::{
        actor::Actor,
        exit::{Exit, RunEnd},
        kind::{EventKind, RestartRule, StartTrigger},
        origin::EventOrigin,
        requester::Requester,
        timestamp::Timestamp,
    },
    policy::{
        health_monitor::HealthVerdict,
        restart::{RestartDecision, RestartManager, RunEndClass},
    },
    spec::config::restart::RestartPolicy,
    state::{
        ProcessState,
        restart_budget::RestartBudget,
        stream::{FollowUp, Stream},
    },
};

/// All that can happen to an instance.
#[derive(Debug, Clone)]
pub enum PlanInput {
    /// Somebody wants it to run.
    Start(Requester),
    /// Somebody wants it to end, within this time or its own.
    Stop(Requester, Option<Duration>),
    /// Somebody wants it to end and to run again.
    Restart(Requester),
    /// Its run is over, and on record.
    RunOver,
    /// The time of a scheduled restart has come.
    RestartDue,
    /// What a health check means.
    Health(HealthVerdict),
    /// The run has lasted for `min_uptime`.
    Sustained,
    /// An earlier supervisor's run was taken over.
    Resumed,
    /// It is to run as it did before its supervisor, or the machine, was shut down. The seq of the event that says so.
    Boot(Option<u64>),
    /// It was to run before the machine was shut down, and is to stay as it is.
    Stay,
}

/// What is to be done about it, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Start it.
    Start {
        /// Who or what asked for it.
        origin: EventOrigin,
        /// The trigger that is recorded.
        trigger: StartTrigger,
    },
    /// Stop it.
    Stop {
        /// Who asked for it, and why.
        request: Requester,
        /// Time until SIGKILL; `None` for the timeout of the specification.
        timeout: Option<Duration>,
    },
    /// Record an event.
    Record {
        /// Who or what brought it about.
        origin: EventOrigin,
        /// The event.
        kind: EventKind,
    },
    /// Record that it will be started again, and start it after the delay.
    Schedule {
        /// Which attempt since the last sustained run, from 1.
        attempt: u32,
        /// Time until the start.
        delay: Duration,
    },
    /// Say that the order does not fit the state.
    Refuse(&'static str),
}

/// What comes after the stop under way.
#[derive(Debug, Clone, Default)]
enum AfterStop {
    /// What the policy says.
    #[default]
    Policy,
    /// Nothing: somebody wanted it to end.
    Stay {
        request: Requester,
        /// Whether it was to be started after its end, and the supervisor's own shutdown comes between: the next one is to
        /// start it.
        is_put_off: bool,
    },
    /// The next run: somebody wanted a restart, or it is to run as before its supervisor was shut down.
    Start(EventOrigin, StartTrigger),
}

/// The plan for one instance.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    then: AfterStop,
}

/// What a step may look at.
#[derive(Debug, Clone, Copy)]
pub struct PlanContext<'a> {
    /// The instance.
    pub stream: &'a Stream,
    /// Whether there is a run that is not over: its process may have ended, and its output not be through yet.
    pub is_up: bool,
    /// The event that ended its latest run.
    pub end_seq: Option<u64>,
    /// The time.
    pub now: Timestamp,
    /// Drawn at random, for the jitter of a back-off.
    pub random: u32,
}

impl Plan {
    /// Takes one step.
    pub fn step(&mut self, input: PlanInput, seen: &PlanContext<'_>) -> Vec<Effect> {
        match input {
            PlanInput::Start(request) => self.start(request, seen),
            PlanInput::Stop(request, timeout) => self.stop(request, timeout, seen),
            PlanInput::Restart(request) => self.restart(request, seen),
            PlanInput::RunOver => self.run_over(seen),
            PlanInput::RestartDue => self.restart_due(seen),
            PlanInput::Health(verdict) => self.health(verdict, seen),
            PlanInput::Sustained => sustained(seen),
            PlanInput::Resumed => self.resumed(seen),
            PlanInput::Boot(cause) => {
                self.then = AfterStop::Start(EventOrigin::of(Actor::System).caused_by(cause), StartTrigger::Boot);
                Vec::new()
            }
            PlanInput::Stay => self.stay(seen),
        }
    }

    /// Whether it will be started once its run is over.
    pub const fn awaits_start(&self) -> bool {
        matches!(self.then, AfterStop::Start(..))
    }

    /// Forgets what was to come after a stop that did not begin.
    pub fn forget(&mut self) {
        self.then = AfterStop::Policy;
    }

    fn start(&mut self, request: Requester, seen: &PlanContext<'_>) -> Vec<Effect> {
        let is_ending = seen.stream.stopping.is_some_and(|stop| !stop.by_health);
        if !seen.stream.handle.state.has_exited() && !is_ending {
            return vec![Effect::Refuse("start")];
        }
        if seen.is_up {
            // The run before still has to be seen through, or its stop.
            self.then = AfterStop::Start(EventOrigin::of(request), StartTrigger::Start);
            return Vec::new();
        }
        self.then = AfterStop::Policy;
        vec![Effect::Start { origin: EventOrigin::of(request), trigger: StartTrigger::Start }]
    }

    fn stop(&mut self, request: Requester, timeout: Option<Duration>, seen: &PlanContext<'_>) -> Vec<Effect> {
        let awaited = self.awaits_start();
        if !seen.stream.handle.state.has_exited() {
            // On record, since a supervisor that takes over would have the policy decide, or go by who asked first.
            let joined =
                seen.stream.stopping.filter(|stop| stop.by_health || changes_mind(&request, awaited, seen.stream));
            let joined = joined.map(|stop| called_off(request.clone(), Some(stop.seq)));
            let is_put_off = awaited && is_own(&request);
            self.then = AfterStop::Stay { request: request.clone(), is_put_off };
            return joined.into_iter().chain([Effect::Stop { request, timeout }]).collect();
        }
        self.then = AfterStop::Policy;
        match seen.stream.follow_up {
            FollowUp::Restart { seq, .. } => vec![called_off(request, Some(seq))],
            // It has just ended, and the policy has not been asked yet.
            FollowUp::Undecided { unhealthy } if seen.is_up => {
                let is_left_to_policy = is_own(&request) && !awaited && !is_restarted(seen, unhealthy);
                if is_left_to_policy { Vec::new() } else { vec![called_off(request, seen.end_seq)] }
            }
            // On record, or a later supervisor would start it, or would not.
            _ if changes_mind(&request, awaited, seen.stream) => vec![called_off(request, None)],
            _ if awaited => Vec::new(),
            _ => vec![Effect::Refuse("stop")],
        }
    }

    fn restart(&mut self, request: Requester, seen: &PlanContext<'_>) -> Vec<Effect> {
        if seen.stream.handle.state.has_exited() {
            return self.start(request, seen);
        }
        self.then = AfterStop::Start(EventOrigin::of(request.clone()), StartTrigger::Start);
        vec![Effect::Stop { request, timeout: None }]
    }

    fn run_over(&mut self, seen: &PlanContext<'_>) -> Vec<Effect> {
        let stream = seen.stream;
        match (std::mem::take(&mut self.then), stream.follow_up) {
            (AfterStop::Start(origin, trigger), _) => {
                // On record that it follows from the end that it waited for.
                let cause = origin.cause.or(seen.end_seq);
                vec![Effect::Start { origin: origin.caused_by(cause), trigger }]
            }
            // It had ended by itself when its supervisor was shut down, and would not have been started again.
            (AfterStop::Stay { request, is_put_off: false }, FollowUp::Undecided { unhealthy })
                if is_own(&request) && !is_restarted(seen, unhealthy) =>
            {
                decide(seen, unhealthy).into_iter().collect()
            }
            // Whoever wanted it to end came after a failed health check, or after the end itself.
            (AfterStop::Stay { request, .. }, FollowUp::Undecided { .. } | FollowUp::Restart { .. }) => {
                vec![called_off(request, None)]
            }
            // The stop of the restart that it came between was not on record then.
            (AfterStop::Stay { request, is_put_off: true }, FollowUp::Nothing) if !stream.wanted => {
                vec![called_off(request, None)]
            }
            (AfterStop::Policy, FollowUp::Undecided { unhealthy }) => decide(seen, unhealthy).into_iter().collect(),
            (AfterStop::Stay { .. } | AfterStop::Policy, _) => Vec::new(),
        }
    }

    fn restart_due(&mut self, seen: &PlanContext<'_>) -> Vec<Effect> {
        match seen.stream.follow_up {
            FollowUp::Restart { seq, attempt, .. } => {
                let origin = EventOrigin::of(Actor::Policy).caused_by(Some(seq));
                vec![Effect::Start { origin, trigger: StartTrigger::Restart { attempt } }]
            }
            // What the policy said could not be recorded then.
            FollowUp::Undecided { .. } => self.run_over(seen),
            // Nor could the start that somebody asked for.
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
            // Unhealthy is left by a restart alone, but what was told to be well again is not any more.
            HealthVerdict::CrossedUnhealthy { detail, .. } if *state == ProcessState::Unhealthy => {
                vec![changed(false, detail)]
            }
            HealthVerdict::Nothing | HealthVerdict::Changed { .. } | HealthVerdict::CrossedUnhealthy { .. } => {
                Vec::new()
            }
        }
    }

    /// On record, or a later supervisor would have the policy decide.
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
        Vec::new()
    }
}

fn changed(healthy: bool, detail: String) -> Effect {
    Effect::Record { origin: EventOrigin::of(Actor::Health), kind: EventKind::HealthChanged { healthy, detail } }
}

/// The way back from unhealthy is a restart (INV-0006), where the policy makes any.
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

/// Asks the policy. One that has nothing to do says nothing.
fn decide(seen: &PlanContext<'_>, unhealthy: bool) -> Option<Effect> {
    let stream = seen.stream;
    let manager = RestartManager::new(&stream.handle.spec.restart);
    match manager.decide(class_of(stream.end.as_ref(), unhealthy), &stream.budget, &seen.now, seen.random) {
        RestartDecision::Restart { attempt, delay } => Some(Effect::Schedule { attempt, delay }),
        RestartDecision::Leave => None,
        RestartDecision::Refuse(rule) => Some(Effect::Record {
            origin: EventOrigin::of(Actor::Policy).caused_by(seen.end_seq).at(seen.now),
            kind: EventKind::RestartRefused { rule },
        }),
    }
}

/// Whether the policy has it run again.
fn is_restarted(seen: &PlanContext<'_>, unhealthy: bool) -> bool {
    matches!(decide(seen, unhealthy), Some(Effect::Schedule { .. }))
}

fn class_of(end: Option<&RunEnd>, unhealthy: bool) -> RunEndClass {
    match end {
        _ if unhealthy => RunEndClass::Unhealthy,
        Some(RunEnd::SpawnFailed(_)) => RunEndClass::SpawnFailed,
        Some(RunEnd::Exit(exit)) if Exit::is_success(exit) => RunEndClass::Succeeded,
        Some(RunEnd::Exit(_) | RunEnd::NeverConfirmed) | None => RunEndClass::Failed,
    }
}

/// Whether it is the supervisor's own shutdown that asks. That says nothing about the process: what was to run is to run again.
pub fn is_own(request: &Requester) -> bool {
    request.actor == Actor::System
}

/// Whether a stop of a process that is stopping, or has ended, has another say about whether it is to run than the record has
/// so far. `awaited` says that it was to be started after its end.
pub fn changes_mind(request: &Requester, awaited: bool, stream: &Stream) -> bool {
    let is_operator = matches!(request.actor, Actor::Operator { .. });
    if is_own(request) { awaited && !stream.wanted } else { is_operator && stream.wanted }
}

fn called_off(request: Requester, cause: Option<u64>) -> Effect {
    let kind = EventKind::RestartRefused { rule: RestartRule::StopRequested };
    Effect::Record { origin: EventOrigin::of(request).caused_by(cause), kind }
}

#[cfg(test)]
mod tests;
