//! Tests of a plan: the effects after each sequence of requests and ends.

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
    testing::{History, SCHEDULED, STOPPING, operator},
};

const DELAY: Duration = Duration::from_secs(3);

fn stamp() -> Timestamp {
    Timestamp { boot_id: Uuid::from_u128(1), boot_ns: 0, wall_ns: 0 }
}

/// The stream of a process under this restart policy after these events.
fn stream(policy: RestartPolicy, kinds: &[EventKind]) -> Stream {
    let backoff = BackoffConfig::Fixed { delay: DELAY };
    let restart = RestartConfig { policy, max_restarts: 1, backoff, ..RestartConfig::default() };
    let spec = RedactedSpec::new(&ProcessSpec::builder().name("n").command("c").restart(restart).build());
    let id = StreamId { process_id: spec.id, instance: 0 };
    let mut stream: Option<Stream> = None;
    for (kind, version) in std::iter::once(&EventKind::Registered { spec }).chain(kinds).zip(1..) {
        let run = stream.as_ref().map_or(0, |stream| stream.run_of(kind));
        let actor = Actor::System;
        let draft = NewEvent { stream: id, run, actor, reason: None, cause: None, stamp: stamp(), kind: kind.clone() };
        let event = draft.numbered(version, version);
        match &mut stream {
            None => stream = Some(Stream::begin(&event).unwrap()),
            Some(stream) => stream.apply(&event).unwrap(),
        }
    }
    stream.unwrap()
}

fn running() -> Vec<EventKind> {
    let identity = Some(ProcessIdentity { boot_id: Uuid::from_u128(1), pid: 7, start_ticks: 7, pid_namespace: None });
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
    plan.step(
        input,
        &PlanContext { stream, is_up, end_seq: Some(stream.last_seq), account_reset: None, now: stamp(), random: 0 },
    )
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
    let effects = steps(&mut Plan::default(), &stream(RestartPolicy::OnFailure, &after(&again)), PlanInput::RunOver);
    assert!(matches!(rule_of(&effects), Some(RestartRule::BudgetSpent { restarts: 1, max_restarts: 1, .. })));
}

#[test]
fn an_end_without_a_restart_records_nothing() {
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
fn a_request_while_the_output_is_read_is_carried_out() {
    let over = stream(RestartPolicy::Always, &after(&[crashed()]));
    let seen = PlanContext {
        stream: &over,
        is_up: true,
        end_seq: Some(over.last_seq),
        account_reset: None,
        now: stamp(),
        random: 0,
    };
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
fn a_request_that_does_not_fit_the_state_is_refused() {
    let up = stream(RestartPolicy::Always, &running());
    let never_started = stream(RestartPolicy::Always, &[]);
    assert_eq!(steps(&mut Plan::default(), &up, PlanInput::Start(by_hand())), [Effect::Refuse("start")]);
    let effects = steps(&mut Plan::default(), &never_started, PlanInput::Stop(by_hand(), None));
    assert_eq!(effects, [Effect::Refuse("stop")]);
}

#[test]
fn an_unhealthy_process_is_stopped_where_the_policy_restarts_it() {
    let verdict = || HealthVerdict::CrossedUnhealthy { failures: 3, detail: "HTTP 500".to_owned() };
    for (policy, stops) in [(RestartPolicy::Always, 1), (RestartPolicy::OnFailure, 1), (RestartPolicy::Never, 0)] {
        let effects = steps(&mut Plan::default(), &stream(policy, &running()), PlanInput::Health(verdict()));
        assert!(matches!(&effects[0], Effect::Record { kind: EventKind::Unhealthy { failures: 3 }, .. }));
        assert_eq!(effects.len(), 1 + stops, "{policy}");
        let again = stream(policy, &after(&[EventKind::Unhealthy { failures: 3 }]));
        let effects = steps(&mut Plan::default(), &again, PlanInput::Health(verdict()));
        assert_eq!(effects, [changed(false, "HTTP 500".to_owned())], "it is not more than unhealthy");
        // A supervisor can die between the two steps of a restart. The next supervisor then makes the second step.
        assert_eq!(steps(&mut Plan::default(), &again, PlanInput::Resumed).len(), stops, "{policy}");
    }
}

#[test]
fn a_stop_that_joins_one_for_health_is_on_record() {
    let unhealthy = EventKind::Unhealthy { failures: 3 };
    let stop = EventKind::Stopping { signal: Signal::TERM, timeout_ms: 1, force_kill: true };
    let mut stopping = stream(RestartPolicy::Always, &after(&[unhealthy, stop]));
    stopping.stopping = stopping.stopping.map(|stop| crate::state::stream::StopUnderWay { by_health: true, ..stop });
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

/// A running instance under this restart policy.
fn up(policy: RestartPolicy) -> History {
    let backoff = BackoffConfig::Fixed { delay: DELAY };
    History::under(RestartConfig { policy, max_restarts: 1, backoff, ..RestartConfig::default() }).started()
}

const STOPPED: EventKind =
    EventKind::Stopped { exit: Exit { outcome: ExitOutcome::Code(0), evidence: Evidence::Observed } };

/// A running instance whose stop this actor has requested.
fn stopping(actor: Actor) -> History {
    up(RestartPolicy::Always).by(actor).then([STOPPING])
}

/// The instance after the stop that this actor requested is complete.
fn stopped(actor: Actor) -> History {
    stopping(actor).then([STOPPED])
}

/// An instance that ended by itself with a failure.
fn failed(policy: RestartPolicy) -> History {
    up(policy).then([crashed()])
}

/// An instance that has used its only allowed restart and failed again.
fn failed_again() -> History {
    failed(RestartPolicy::Always).then([SCHEDULED]).started_by(StartTrigger::Restart { attempt: 1 }).then([crashed()])
}

/// The seq of the event that ended the latest run. All contexts in these tests use this number.
const END_SEQ: u64 = 1000;

/// The seq of the event that caused a boot. All boots in these tests use this number.
const BOOT_SEQ: u64 = 99;

/// A test case: an instance, whether its run is still being completed, and the inputs.
type Step<'a> = (&'a History, bool, PlanInput);

/// Passes the inputs to `plan`. Returns the effects of the last input.
fn effects(plan: &mut Plan, steps: &[Step<'_>]) -> Vec<Effect> {
    let mut last = Vec::new();
    for (history, is_up, input) in steps {
        let stream = &history.stream;
        let seen =
            PlanContext { stream, is_up: *is_up, end_seq: Some(END_SEQ), account_reset: None, now: stamp(), random: 0 };
        last = plan.step(input.clone(), &seen);
    }
    last
}

/// A short text for each effect: `start boot 99`, `stop system`, `refused system 60`, `schedule 1`, `no stop`.
fn short(effects: &[Effect]) -> Vec<String> {
    let name = |request: &Requester| match request.actor {
        Actor::Operator { .. } => "operator",
        Actor::Policy => "policy",
        Actor::Health => "health",
        Actor::Recovery => "recovery",
        Actor::System => "system",
    };
    let cause = |origin: &EventOrigin| origin.cause.map_or("-".to_owned(), |cause| cause.to_string());
    let one = |effect: &Effect| match effect {
        Effect::Start { origin, trigger } => {
            let trigger = match trigger {
                StartTrigger::Start => "start",
                StartTrigger::Restart { .. } => "restart",
                StartTrigger::Boot => "boot",
            };
            format!("start {trigger} {}", cause(origin))
        }
        Effect::Stop { request, .. } => format!("stop {}", name(request)),
        Effect::Record { origin, kind: EventKind::RestartRefused { rule: RestartRule::StopRequested } } => {
            format!("refused {} {}", name(&origin.request), cause(origin))
        }
        Effect::Record { origin, kind } => format!("{} {}", kind.name(), cause(origin)),
        Effect::Schedule { attempt, delay } => {
            assert_eq!(*delay, DELAY);
            format!("schedule {attempt}")
        }
        Effect::Refuse(order) => format!("no {order}"),
        Effect::StopAgent { request } => format!("stop agent {}", name(request)),
        Effect::Join(joined) => format!("joined {:?} {}", joined.joined, name(&joined.request)),
        Effect::Deny(breach) => format!("denied: {breach}"),
    };
    effects.iter().map(one).collect()
}

fn own() -> Requester {
    Requester::from(Actor::System)
}

/// For each requester of a stop and each state before the stop: whether a start follows the run.
#[test]
fn a_stop_is_joined_recorded_or_refused() {
    let none: &[&str] = &[];
    let always = RestartPolicy::Always;
    // A test case: the instance, whether its run is still being completed, then the results for a stop by an operator
    // and by the supervisor, each without and with an awaited start.
    let rows: [(&str, History, bool, [&[&str]; 4]); 11] = [
        ("running", up(always), true, [&["stop operator"], &["stop operator"], &["stop system"], &["stop system"]]),
        (
            "stopping for an operator",
            stopping(operator()),
            true,
            [
                &["joined Stop operator", "stop operator"],
                &["joined StopOnly operator", "stop operator"],
                &["stop system"],
                &["refused system 50", "stop system"],
            ],
        ),
        (
            "stopping for the supervisor",
            stopping(Actor::System),
            true,
            [
                &["refused operator 50", "stop operator"],
                &["refused operator 50", "stop operator"],
                &["stop system"],
                &["stop system"],
            ],
        ),
        (
            "stopping for a health check",
            stopping(Actor::Health),
            true,
            [
                &["refused operator 50", "stop operator"],
                &["refused operator 50", "stop operator"],
                &["refused system 50", "stop system"],
                &["refused system 50", "stop system"],
            ],
        ),
        (
            "stopped by an operator",
            stopped(operator()),
            false,
            [&["no stop"], &["refused operator -"], &["no stop"], &["refused system -"]],
        ),
        (
            "shut down",
            stopped(Actor::System),
            false,
            [&["refused operator -"], &["refused operator -"], &["no stop"], none],
        ),
        (
            "failed, output not complete",
            failed(always),
            true,
            [
                &["refused operator 1000"],
                &["refused operator 1000"],
                &["refused system 1000"],
                &["refused system 1000"],
            ],
        ),
        (
            "failed for good, output not complete",
            failed(RestartPolicy::Never),
            true,
            [&["refused operator 1000"], &["refused operator 1000"], none, &["refused system 1000"]],
        ),
        ("failed", failed(always), false, [&["refused operator -"], &["refused operator -"], &["no stop"], none]),
        (
            "waiting for its restart",
            failed(always).then([SCHEDULED]),
            false,
            [&["refused operator 60"], &["refused operator 60"], &["refused system 60"], &["refused system 60"]],
        ),
        (
            "never started",
            History::under(RestartConfig::default()),
            false,
            [&["no stop"], &["refused operator -"], &["no stop"], &["refused system -"]],
        ),
    ];
    for (name, history, is_up, expected) in rows {
        let orders = [(by_hand(), false), (by_hand(), true), (own(), false), (own(), true)];
        for ((request, awaited), expected) in orders.into_iter().zip(expected) {
            let mut plan = Plan::default();
            if awaited {
                effects(&mut plan, &[(&history, is_up, PlanInput::Boot(None))]);
            }
            let found = effects(&mut plan, &[(&history, is_up, PlanInput::Stop(request.clone(), None))]);
            assert_eq!(short(&found), expected, "{name}, {:?}, awaited: {awaited}", request.actor);
            assert!(!plan.awaits_start(), "a stop calls an awaited start off");
        }
    }
}

/// For each sequence of requests during a run: what follows the end of the run.
#[test]
fn the_end_of_a_run_is_followed_by_what_was_requested() {
    let running = up(RestartPolicy::Always);
    let stop = |request: Requester| (&running, true, PlanInput::Stop(request, None));
    let boot = |cause| (&running, true, PlanInput::Boot(cause));
    let over = PlanInput::RunOver;
    let (by_operator, shut_down) = (stopped(operator()), stopped(Actor::System));
    let (restarted, for_good, spent) = (failed(RestartPolicy::Always), failed(RestartPolicy::Never), failed_again());
    let due = failed(RestartPolicy::Always).then([SCHEDULED]);
    let rows: [(&str, Vec<Step<'_>>, &History, &[&str]); 14] = [
        ("a failure", vec![], &restarted, &["schedule 1"]),
        ("a failure for good", vec![], &for_good, &[]),
        ("a spent budget", vec![], &spent, &["restart_refused 1000"]),
        ("a stop", vec![], &by_operator, &[]),
        ("an awaited start", vec![boot(Some(BOOT_SEQ))], &by_operator, &["start boot 99"]),
        ("an awaited start without a cause", vec![boot(None)], &by_operator, &["start boot 1000"]),
        ("a failure before the stop", vec![stop(by_hand())], &restarted, &["refused operator -"]),
        ("a failure for good before the stop", vec![stop(by_hand())], &for_good, &["refused operator -"]),
        ("a failure before the shutdown", vec![stop(own())], &restarted, &["refused system -"]),
        ("a failure for good before the shutdown", vec![stop(own())], &for_good, &[]),
        ("a spent budget before the shutdown", vec![stop(own())], &spent, &["restart_refused 1000"]),
        ("a shutdown instead of an awaited start", vec![boot(None), stop(own())], &by_operator, &["refused system -"]),
        ("the same of what is wanted", vec![boot(None), stop(own())], &shut_down, &[]),
        ("a stop while a restart is due", vec![stop(by_hand())], &due, &["refused operator -"]),
    ];
    for (name, mut steps, ended, expected) in rows {
        steps.push((ended, false, over.clone()));
        assert_eq!(short(&effects(&mut Plan::default(), &steps)), expected, "{name}");
    }
    let stopped_first = [stop(own()), (&by_operator, false, over.clone())];
    assert_eq!(effects(&mut Plan::default(), &stopped_first), [], "no start was to come");
    let steps = [boot(None), stop(own()), (&restarted, false, over)];
    assert_eq!(short(&effects(&mut Plan::default(), &steps)), ["refused system -"]);
}

#[test]
fn a_stop_for_health_is_followed_by_a_restart_although_the_exit_is_0() {
    let ended = up(RestartPolicy::OnFailure).by(Actor::Health).then([STOPPING, STOPPED]);
    assert_eq!(short(&effects(&mut Plan::default(), &[(&ended, false, PlanInput::RunOver)])), ["schedule 1"]);
    let by_itself = up(RestartPolicy::OnFailure).then([STOPPED]);
    assert_eq!(effects(&mut Plan::default(), &[(&by_itself, false, PlanInput::RunOver)]), []);
    let unspawned = History::under(RestartConfig { max_restarts: 0, ..RestartConfig::default() }).start_failed();
    let found = effects(&mut Plan::default(), &[(&unspawned, false, PlanInput::RunOver)]);
    let [Effect::Record { kind: EventKind::RestartRefused { rule }, origin }] = found.as_slice() else {
        panic!("{found:?}")
    };
    assert!(matches!(rule, RestartRule::SpawnBudgetSpent { .. }), "{rule:?}");
    assert_eq!((origin.stamp, &origin.request.actor), (Some(stamp()), &Actor::Policy));
}

#[test]
fn a_start_waits_for_the_end_of_the_run_or_is_refused() {
    let start = || PlanInput::Start(by_hand());
    let running = up(RestartPolicy::Always);
    let rows: [(&str, History, bool, &[&str], bool); 6] = [
        ("running", running.clone(), true, &["no start"], false),
        ("stopping for a health check", stopping(Actor::Health), true, &["no start"], false),
        ("stopping for an operator", stopping(operator()), true, &[], true),
        ("failed, output not complete", failed(RestartPolicy::Always), true, &[], true),
        ("failed", failed(RestartPolicy::Always), false, &["start start -"], false),
        ("never started", History::under(RestartConfig::default()), false, &["start start -"], false),
    ];
    for (name, history, is_up, expected, awaits_start) in rows {
        let mut plan = Plan::default();
        assert_eq!(short(&effects(&mut plan, &[(&history, is_up, start())])), expected, "{name}");
        assert_eq!(plan.awaits_start(), awaits_start, "{name}");
        plan.forget();
        assert!(!plan.awaits_start(), "{name}");
    }
}

#[test]
fn a_restart_that_is_due_makes_up_for_what_could_not_be_recorded() {
    let (by_operator, restarted) = (stopped(operator()), failed(RestartPolicy::Always));
    let running = up(RestartPolicy::Always);
    let boot = |history| (history, true, PlanInput::Boot(None));
    let due = |history, is_up| (history, is_up, PlanInput::RestartDue);
    let shutdown = (&running, true, PlanInput::Stop(own(), None));
    let rows: [(&str, Vec<Step<'_>>, &[&str]); 5] = [
        ("an undecided end", vec![due(&restarted, false)], &["schedule 1"]),
        ("an awaited start", vec![boot(&by_operator), due(&by_operator, false)], &["start boot 1000"]),
        ("an awaited start before the end", vec![boot(&by_operator), due(&by_operator, true)], &[]),
        ("nothing", vec![due(&by_operator, false)], &[]),
        ("a start that was put off", vec![boot(&running), shutdown, due(&by_operator, false)], &[]),
    ];
    for (name, steps, expected) in rows {
        assert_eq!(short(&effects(&mut Plan::default(), &steps)), expected, "{name}");
    }
}

#[test]
fn a_health_verdict_counts_while_the_process_runs() {
    let changed = |healthy| PlanInput::Health(HealthVerdict::Changed { healthy, detail: "d".to_owned() });
    let crossed = || PlanInput::Health(HealthVerdict::CrossedUnhealthy { failures: 3, detail: "d".to_owned() });
    let unhealthy = up(RestartPolicy::Always).then([EventKind::Unhealthy { failures: 3 }]);
    let rows: [(History, PlanInput, &[&str]); 9] = [
        (up(RestartPolicy::Always), changed(true), &["health_changed -"]),
        (up(RestartPolicy::Always), changed(false), &["health_changed -"]),
        (unhealthy.clone(), changed(true), &["health_changed -"]),
        (stopping(operator()), changed(true), &[]),
        (failed(RestartPolicy::Always), changed(true), &[]),
        (up(RestartPolicy::Always), crossed(), &["unhealthy -", "stop health"]),
        (up(RestartPolicy::Never), crossed(), &["unhealthy -"]),
        (unhealthy, crossed(), &["health_changed -"]),
        (stopping(operator()), crossed(), &[]),
    ];
    for (history, input, expected) in rows {
        let found = effects(&mut Plan::default(), &[(&history, true, input.clone())]);
        assert_eq!(short(&found), expected, "{}: {input:?}", history.stream.handle.state);
    }
    let nothing = PlanInput::Health(HealthVerdict::Nothing);
    assert_eq!(effects(&mut Plan::default(), &[(&up(RestartPolicy::Always), true, nothing)]), []);
}

#[test]
fn a_process_that_is_to_stay_as_it_is_stays_so_on_record() {
    let ended = failed(RestartPolicy::Always);
    let found = effects(&mut Plan::default(), &[(&ended, false, PlanInput::Stay)]);
    assert_eq!(short(&found), ["refused recovery 1000"]);
    let running = up(RestartPolicy::Always);
    let steps = [(&running, true, PlanInput::Stay), (&ended, false, PlanInput::RunOver)];
    assert_eq!(short(&effects(&mut Plan::default(), &steps)), ["refused recovery -"]);
    assert_eq!(effects(&mut Plan::default(), &steps[..1]), []);
}

#[test]
fn a_budget_is_not_reset_where_nothing_runs() {
    let ended = failed(RestartPolicy::Always).then([SCHEDULED]);
    assert_eq!(effects(&mut Plan::default(), &[(&ended, false, PlanInput::Sustained)]), []);
    assert_eq!(effects(&mut Plan::default(), &[(&up(RestartPolicy::Always), true, PlanInput::Resumed)]), []);
}
