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
        RestartDecision::Refuse(RestartRule::PolicyNever | RestartRule::Succeeded) => None,
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
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::{
        event::{
            NewEvent,
            exit::{Evidence, ExitOutcome},
            identity::ProcessIdentity,
            stream_id::StreamId,
        },
        signal::Signal,
        spec::{
            ProcessSpec,
            config::restart::{BackoffConfig, RestartConfig},
            redact::spec::RedactedSpec,
        },
    };

    const DELAY: Duration = Duration::from_secs(3);

    fn stamp() -> Timestamp {
        Timestamp { boot_id: Uuid::from_u128(1), boot_ns: 0, wall_ns: 0 }
    }

    /// The stream of a process under this policy to which all this happened.
    fn stream(policy: RestartPolicy, kinds: &[EventKind]) -> Stream {
        let backoff = BackoffConfig::Fixed { delay: DELAY };
        let restart = RestartConfig { policy, max_restarts: 1, backoff, ..RestartConfig::default() };
        let spec = RedactedSpec::new(&ProcessSpec::builder().name("n").command("c").restart(restart).build());
        let id = StreamId { process_id: spec.id, instance: 0 };
        let mut stream: Option<Stream> = None;
        for (kind, version) in std::iter::once(&EventKind::Registered { spec }).chain(kinds).zip(1..) {
            let run = stream.as_ref().map_or(0, |stream| stream.run_of(kind));
            let actor = Actor::System;
            let draft =
                NewEvent { stream: id, run, actor, reason: None, cause: None, stamp: stamp(), kind: kind.clone() };
            let event = draft.numbered(version, version);
            match &mut stream {
                None => stream = Some(Stream::begin(&event).unwrap()),
                Some(stream) => stream.apply(&event).unwrap(),
            }
        }
        stream.unwrap()
    }

    fn running() -> Vec<EventKind> {
        let identity =
            Some(ProcessIdentity { boot_id: Uuid::from_u128(1), pid: 7, start_ticks: 7, pid_namespace: None });
        let trigger = StartTrigger::Start;
        vec![EventKind::StartRequested { trigger }, EventKind::Starting { identity, trigger }, EventKind::Running]
    }

    fn after(more: &[EventKind]) -> Vec<EventKind> {
        running().into_iter().chain(more.iter().cloned()).collect()
    }

    fn exit(code: i32) -> Exit {
        Exit { outcome: ExitOutcome::Code(code), evidence: Evidence::Observed }
    }

    fn crashed() -> EventKind {
        EventKind::Crashed { cause: RunEnd::Exit(exit(1)) }
    }

    fn steps(plan: &mut Plan, stream: &Stream, input: PlanInput) -> Vec<Effect> {
        let is_up = !stream.handle.state.has_exited();
        plan.step(input, &PlanContext { stream, is_up, end_seq: Some(stream.last_seq), now: stamp(), random: 0 })
    }

    fn by_hand() -> Requester {
        Requester { actor: Actor::Operator { uid: 1, user: None, terminal: None }, reason: None }
    }

    fn rule_of(effects: &[Effect]) -> Option<&RestartRule> {
        match effects {
            [Effect::Record { kind: EventKind::RestartRefused { rule }, .. }] => Some(rule),
            _ => None,
        }
    }

    #[test]
    fn a_crash_is_restarted_after_its_delay_until_the_budget_is_spent() {
        let first = stream(RestartPolicy::OnFailure, &after(&[crashed()]));
        let effects = steps(&mut Plan::default(), &first, PlanInput::RunOver);
        assert_eq!(effects, [Effect::Schedule { attempt: 1, delay: DELAY }]);
        let trigger = StartTrigger::Restart { attempt: 1 };
        let identity = first.identity;
        let again = [
            crashed(),
            EventKind::RestartScheduled { attempt: 1, delay_ms: 3000 },
            EventKind::StartRequested { trigger },
            EventKind::Starting { identity, trigger },
            EventKind::Running,
            crashed(),
        ];
        let effects =
            steps(&mut Plan::default(), &stream(RestartPolicy::OnFailure, &after(&again)), PlanInput::RunOver);
        assert!(matches!(rule_of(&effects), Some(RestartRule::BudgetSpent { restarts: 1, max_restarts: 1, .. })));
    }

    #[test]
    fn an_end_that_leads_to_nothing_needs_no_word() {
        let stopped = after(&[EventKind::Stopped { exit: exit(0) }]);
        for (policy, kinds) in [(RestartPolicy::OnFailure, stopped), (RestartPolicy::Never, after(&[crashed()]))] {
            assert_eq!(steps(&mut Plan::default(), &stream(policy, &kinds), PlanInput::RunOver), []);
        }
    }

    #[test]
    fn a_restart_by_hand_is_a_stop_and_then_a_start() {
        let mut plan = Plan::default();
        let effects = steps(&mut plan, &stream(RestartPolicy::Always, &running()), PlanInput::Restart(by_hand()));
        assert_eq!(effects, [Effect::Stop { request: by_hand(), timeout: None }]);
        let stop = EventKind::Stopping { signal: Signal::TERM, timeout_ms: 1, force_kill: true };
        let over = stream(RestartPolicy::Always, &after(&[stop, EventKind::Stopped { exit: exit(0) }]));
        let effects = steps(&mut plan, &over, PlanInput::RunOver);
        let origin = EventOrigin::of(by_hand()).caused_by(Some(over.last_seq));
        assert_eq!(effects, [Effect::Start { origin, trigger: StartTrigger::Start }]);
        assert_eq!(steps(&mut plan, &over, PlanInput::RunOver), [], "once");
    }

    #[test]
    fn a_stop_that_comes_with_the_crash_keeps_it_from_being_restarted() {
        let mut plan = Plan::default();
        steps(&mut plan, &stream(RestartPolicy::Always, &running()), PlanInput::Stop(by_hand(), None));
        let effects = steps(&mut plan, &stream(RestartPolicy::Always, &after(&[crashed()])), PlanInput::RunOver);
        assert_eq!(rule_of(&effects), Some(&RestartRule::StopRequested));
    }

    #[test]
    fn an_order_that_comes_while_the_output_of_a_run_is_read_is_heeded() {
        let over = stream(RestartPolicy::Always, &after(&[crashed()]));
        let seen = PlanContext { stream: &over, is_up: true, end_seq: Some(over.last_seq), now: stamp(), random: 0 };
        let mut plan = Plan::default();
        assert_eq!(rule_of(&plan.step(PlanInput::Stop(by_hand(), None), &seen)), Some(&RestartRule::StopRequested));
        let mut plan = Plan::default();
        assert_eq!(plan.step(PlanInput::Restart(by_hand()), &seen), []);
        assert!(plan.awaits_start());
        let origin = EventOrigin::of(by_hand()).caused_by(Some(over.last_seq));
        let start = Effect::Start { origin, trigger: StartTrigger::Start };
        assert_eq!(steps(&mut plan, &over, PlanInput::RunOver), [start]);
        assert_eq!(plan.step(PlanInput::Start(by_hand()), &seen), []);
        let effects = plan.step(PlanInput::Stop(by_hand(), None), &seen);
        assert_eq!(rule_of(&effects), Some(&RestartRule::StopRequested), "and a stop calls that off");
        assert!(!plan.awaits_start());
    }

    #[test]
    fn a_restart_that_is_due_is_made_once_and_called_off_by_a_stop() {
        let scheduled = EventKind::RestartScheduled { attempt: 1, delay_ms: 3000 };
        let due = stream(RestartPolicy::Always, &after(&[crashed(), scheduled]));
        let origin = EventOrigin::of(Actor::Policy).caused_by(Some(due.last_seq));
        let start = Effect::Start { origin, trigger: StartTrigger::Restart { attempt: 1 } };
        assert_eq!(steps(&mut Plan::default(), &due, PlanInput::RestartDue), [start]);
        assert_eq!(steps(&mut Plan::default(), &stream(RestartPolicy::Always, &running()), PlanInput::RestartDue), []);
        let effects = steps(&mut Plan::default(), &due, PlanInput::Stop(by_hand(), None));
        assert_eq!(rule_of(&effects), Some(&RestartRule::StopRequested));
    }

    #[test]
    fn an_order_that_does_not_fit_is_refused() {
        let up = stream(RestartPolicy::Always, &running());
        let never_started = stream(RestartPolicy::Always, &[]);
        assert_eq!(steps(&mut Plan::default(), &up, PlanInput::Start(by_hand())), [Effect::Refuse("start")]);
        let effects = steps(&mut Plan::default(), &never_started, PlanInput::Stop(by_hand(), None));
        assert_eq!(effects, [Effect::Refuse("stop")]);
    }

    #[test]
    fn what_is_unhealthy_is_stopped_where_the_policy_restarts_it() {
        let verdict = || HealthVerdict::CrossedUnhealthy { failures: 3, detail: "HTTP 500".to_owned() };
        for (policy, stops) in [(RestartPolicy::Always, 1), (RestartPolicy::OnFailure, 1), (RestartPolicy::Never, 0)] {
            let effects = steps(&mut Plan::default(), &stream(policy, &running()), PlanInput::Health(verdict()));
            assert!(matches!(&effects[0], Effect::Record { kind: EventKind::Unhealthy { failures: 3 }, .. }));
            assert_eq!(effects.len(), 1 + stops, "{policy}");
            let again = stream(policy, &after(&[EventKind::Unhealthy { failures: 3 }]));
            let effects = steps(&mut Plan::default(), &again, PlanInput::Health(verdict()));
            assert_eq!(effects, [changed(false, "HTTP 500".to_owned())], "it is not more than unhealthy");
            // A supervisor that died between the two steps leaves the second one to the next.
            assert_eq!(steps(&mut Plan::default(), &again, PlanInput::Resumed).len(), stops, "{policy}");
        }
    }

    #[test]
    fn a_stop_that_joins_one_for_health_is_on_record() {
        let unhealthy = EventKind::Unhealthy { failures: 3 };
        let stop = EventKind::Stopping { signal: Signal::TERM, timeout_ms: 1, force_kill: true };
        let mut stopping = stream(RestartPolicy::Always, &after(&[unhealthy, stop]));
        stopping.stopping =
            stopping.stopping.map(|stop| crate::state::stream::StopUnderWay { by_health: true, ..stop });
        let mut plan = Plan::default();
        let effects = steps(&mut plan, &stopping, PlanInput::Stop(by_hand(), None));
        assert_eq!(rule_of(&effects[..1]), Some(&RestartRule::StopRequested));
        assert_eq!(effects[1], Effect::Stop { request: by_hand(), timeout: None });
    }

    #[test]
    fn a_sustained_run_fills_a_budget_that_is_not_full() {
        assert_eq!(steps(&mut Plan::default(), &stream(RestartPolicy::Always, &running()), PlanInput::Sustained), []);
        let trigger = StartTrigger::Restart { attempt: 1 };
        let identity = stream(RestartPolicy::Always, &running()).identity;
        let again = after(&[
            crashed(),
            EventKind::RestartScheduled { attempt: 1, delay_ms: 3000 },
            EventKind::StartRequested { trigger },
            EventKind::Starting { identity, trigger },
            EventKind::Running,
        ]);
        let effects = steps(&mut Plan::default(), &stream(RestartPolicy::Always, &again), PlanInput::Sustained);
        assert!(matches!(&effects[..], [Effect::Record { kind: EventKind::BudgetReset, .. }]), "{effects:?}");
    }
}
