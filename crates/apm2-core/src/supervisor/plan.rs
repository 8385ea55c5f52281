//! What follows from what happens to one instance. Pure: no process, no clock, no storage.
//!
//! What is known is read from the stream, so a supervisor that takes over plans as the one before it would have. The one
//! thing kept beside it is what an order under way wants to come after the stop.

use std::time::Duration;

use crate::{
    health::HealthVerdict,
    process::{
        Actor, EventKind, Exit, FollowUp, Origin, ProcessState, Request, RestartRule, RunEnd, Stamp, StartTrigger,
        Stream,
    },
    restart::{RestartBudget, RestartDecision, RestartManager, RestartPolicy, RunEndClass},
};

/// All that can happen to an instance.
#[derive(Debug, Clone)]
pub(super) enum Input {
    /// Somebody wants it to run.
    Start(Request),
    /// Somebody wants it to end, within this time or its own.
    Stop(Request, Option<Duration>),
    /// Somebody wants it to end and to run again.
    Restart(Request),
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
}

/// What is to be done about it, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Effect {
    /// Start it.
    Start { origin: Origin, trigger: StartTrigger },
    /// Stop it, within this time or its own.
    Stop { request: Request, timeout: Option<Duration> },
    /// Record something.
    Record { origin: Origin, kind: EventKind },
    /// Record that it will be started again, and do so when the time has come.
    Schedule { attempt: u32, delay: Duration },
    /// Say that the order does not fit the state.
    Refuse(&'static str),
}

/// What comes after the stop under way.
#[derive(Debug, Clone, Default)]
enum Then {
    /// What the policy says.
    #[default]
    Policy,
    /// Nothing: somebody wanted it to end.
    Stay(Request),
    /// The next run: somebody wanted a restart.
    Start(Request),
}

/// The plan for one instance.
#[derive(Debug, Default)]
pub(super) struct Plan {
    then: Then,
}

/// What a step may look at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen<'a> {
    /// The instance.
    pub(super) stream: &'a Stream,
    /// The event that ended its latest run.
    pub(super) end_seq: Option<u64>,
    /// The time.
    pub(super) now: Stamp,
    /// Drawn at random, for the jitter of a back-off.
    pub(super) random: u32,
}

impl Plan {
    /// Takes one step.
    pub(super) fn step(&mut self, input: Input, seen: &Seen<'_>) -> Vec<Effect> {
        match input {
            Input::Start(request) => self.start(request, seen),
            Input::Stop(request, timeout) => self.stop(request, timeout, seen),
            Input::Restart(request) => self.restart(request, seen),
            Input::RunOver => self.run_over(seen),
            Input::RestartDue => restart_due(seen),
            Input::Health(verdict) => self.health(verdict, seen),
            Input::Sustained => sustained(seen),
            Input::Resumed => self.resumed(seen),
        }
    }

    fn start(&mut self, request: Request, seen: &Seen<'_>) -> Vec<Effect> {
        if !seen.stream.handle.state.has_exited() {
            return vec![Effect::Refuse("start")];
        }
        self.then = Then::Policy;
        vec![Effect::Start { origin: Origin::of(request), trigger: StartTrigger::Start }]
    }

    fn stop(&mut self, request: Request, timeout: Option<Duration>, seen: &Seen<'_>) -> Vec<Effect> {
        if !seen.stream.handle.state.has_exited() {
            self.then = Then::Stay(request.clone());
            return vec![Effect::Stop { request, timeout }];
        }
        match seen.stream.follow_up {
            FollowUp::Restart { seq, .. } => vec![called_off(request, Some(seq))],
            FollowUp::Nothing | FollowUp::Undecided { .. } => vec![Effect::Refuse("stop")],
        }
    }

    fn restart(&mut self, request: Request, seen: &Seen<'_>) -> Vec<Effect> {
        if seen.stream.handle.state.has_exited() {
            return self.start(request, seen);
        }
        self.then = Then::Start(request.clone());
        vec![Effect::Stop { request, timeout: None }]
    }

    fn run_over(&mut self, seen: &Seen<'_>) -> Vec<Effect> {
        let stream = seen.stream;
        match (std::mem::take(&mut self.then), stream.follow_up) {
            (Then::Start(request), _) => {
                vec![Effect::Start { origin: Origin::of(request), trigger: StartTrigger::Start }]
            }
            // Whoever wanted it to end came after a failed health check, or after the end itself.
            (Then::Stay(request), FollowUp::Undecided { .. } | FollowUp::Restart { .. }) => {
                vec![called_off(request, None)]
            }
            (Then::Policy, FollowUp::Undecided { unhealthy }) => {
                vec![decide(seen, unhealthy)].into_iter().flatten().collect()
            }
            (Then::Stay(_) | Then::Policy, _) => Vec::new(),
        }
    }

    fn health(&self, verdict: HealthVerdict, seen: &Seen<'_>) -> Vec<Effect> {
        let state = &seen.stream.handle.state;
        let because = |detail: String| Origin::of(Request { actor: Actor::Health, reason: Some(detail) });
        match verdict {
            HealthVerdict::Changed { healthy, detail } if state.is_running() => {
                let kind = EventKind::HealthChanged { healthy, detail };
                vec![Effect::Record { origin: Origin::of(Actor::Health), kind }]
            }
            HealthVerdict::CrossedUnhealthy { failures, detail } if *state == ProcessState::Running => {
                let origin = because(detail);
                let mut effects =
                    vec![Effect::Record { origin: origin.clone(), kind: EventKind::Unhealthy { failures } }];
                effects.extend(stop_unhealthy(seen, origin.request));
                effects
            }
            HealthVerdict::Nothing | HealthVerdict::Changed { .. } | HealthVerdict::CrossedUnhealthy { .. } => {
                Vec::new()
            }
        }
    }

    fn resumed(&self, seen: &Seen<'_>) -> Vec<Effect> {
        if seen.stream.handle.state == ProcessState::Unhealthy {
            let reason = Some("it was unhealthy when its supervisor ended".to_owned());
            return stop_unhealthy(seen, Request { actor: Actor::Health, reason }).into_iter().collect();
        }
        Vec::new()
    }
}

/// The way back from unhealthy is a restart (INV-0006), where the policy makes any.
fn stop_unhealthy(seen: &Seen<'_>, request: Request) -> Option<Effect> {
    let restarts = seen.stream.handle.spec.restart.policy != RestartPolicy::Never;
    restarts.then_some(Effect::Stop { request, timeout: None })
}

fn restart_due(seen: &Seen<'_>) -> Vec<Effect> {
    let FollowUp::Restart { seq, attempt, .. } = seen.stream.follow_up else { return Vec::new() };
    let origin = Origin::of(Actor::Policy).caused_by(Some(seq));
    vec![Effect::Start { origin, trigger: StartTrigger::Restart { attempt } }]
}

fn sustained(seen: &Seen<'_>) -> Vec<Effect> {
    let stream = seen.stream;
    if !stream.handle.state.is_running() || stream.budget == RestartBudget::default() {
        return Vec::new();
    }
    let reason = Some("up for min_uptime".to_owned());
    let origin = Origin::of(Request { actor: Actor::Policy, reason });
    vec![Effect::Record { origin, kind: EventKind::BudgetReset }]
}

/// Asks the policy. One that has nothing to do says nothing.
fn decide(seen: &Seen<'_>, unhealthy: bool) -> Option<Effect> {
    let stream = seen.stream;
    let manager = RestartManager::new(&stream.handle.spec.restart);
    match manager.decide(class_of(stream.end.as_ref(), unhealthy), &stream.budget, &seen.now, seen.random) {
        RestartDecision::Restart { attempt, delay } => Some(Effect::Schedule { attempt, delay }),
        RestartDecision::Refuse(RestartRule::PolicyNever | RestartRule::Succeeded) => None,
        RestartDecision::Refuse(rule) => Some(Effect::Record {
            origin: Origin::of(Actor::Policy).caused_by(seen.end_seq).at(seen.now),
            kind: EventKind::RestartRefused { rule },
        }),
    }
}

fn class_of(end: Option<&RunEnd>, unhealthy: bool) -> RunEndClass {
    match end {
        _ if unhealthy => RunEndClass::Unhealthy,
        Some(RunEnd::SpawnFailed(_)) => RunEndClass::SpawnFailed,
        Some(RunEnd::Exit(exit)) if Exit::is_success(exit) => RunEndClass::Succeeded,
        Some(RunEnd::Exit(_) | RunEnd::NeverConfirmed) | None => RunEndClass::Failed,
    }
}

fn called_off(request: Request, cause: Option<u64>) -> Effect {
    let kind = EventKind::RestartRefused { rule: RestartRule::StopRequested };
    Effect::Record { origin: Origin::of(request).caused_by(cause), kind }
}
