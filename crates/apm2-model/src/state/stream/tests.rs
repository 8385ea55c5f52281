//! Tests of the changes that each event makes in a stream, and of the events that a stream refuses.

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::{
    event::kind::SignalTarget,
    spec::{config::restart::RestartConfig, id::ProcessId, redact::spec::RedactedSpec},
    testing::{
        History, ID, MIN_UPTIME_SECS, SCHEDULED, STOPPING, at, at_boot, crashed, exit, identity, killed, kinds,
        operator, spawn_failed, spec,
    },
};

const STOP_REQUESTED: EventKind = EventKind::RestartRefused { rule: RestartRule::StopRequested };

const SIGKILL: EventKind = EventKind::SignalSent { signal: Signal::KILL, target: SignalTarget::Group };

fn under(policy: RestartPolicy) -> History {
    History::under(RestartConfig { policy, ..RestartConfig::default() })
}

fn running() -> History {
    under(RestartPolicy::OnFailure).started()
}

fn stopped(code: i32) -> EventKind {
    EventKind::Stopped { exit: exit(code) }
}

fn changed(spec: &ProcessSpec) -> EventKind {
    EventKind::SpecChanged { spec: RedactedSpec::new(spec) }
}

#[test]
fn a_stream_begins_with_its_registration() {
    let fresh = under(RestartPolicy::OnFailure).stream;
    assert_eq!((fresh.version, fresh.last_seq, fresh.run), (1, 1, 0));
    let first = || {
        let kind = EventKind::Registered { spec: RedactedSpec::new(&spec(RestartConfig::default())) };
        Event {
            seq: 5,
            version: 1,
            stream: StreamId { process_id: ID, instance: 1 },
            run: 0,
            actor: Actor::System,
            reason: None,
            cause: None,
            stamp: at(0),
            kind,
        }
    };
    let begun = Stream::begin(&first()).unwrap();
    assert_eq!((begun.id, begun.last_seq, begun.handle.instance), (first().stream, 5, 1));
    let other = ProcessId::from_bytes([8; 16]);
    for (event, refusal) in [
        (Event { kind: EventKind::Running, ..first() }, IllegalEvent::Registration("running")),
        (Event { version: 2, ..first() }, IllegalEvent::Version { expected: 1, found: 2 }),
        (Event { run: 1, ..first() }, IllegalEvent::Run { expected: 0, found: 1 }),
        (Event { stream: StreamId { process_id: other, instance: 0 }, ..first() }, IllegalEvent::ForeignSpec),
        (Event { stream: StreamId { process_id: ID, instance: 2 }, ..first() }, IllegalEvent::ForeignSpec),
    ] {
        assert_eq!(Stream::begin(&event), Err(refusal));
    }
}

#[test]
fn an_event_of_another_stream_version_or_run_is_refused() {
    let up = running();
    let next = up.next(&EventKind::BudgetReset);
    assert_eq!(up.refusal_of(&next), None);
    let other = StreamId { process_id: ID, instance: 1 };
    for (event, refusal) in [
        (Event { stream: other, ..next.clone() }, IllegalEvent::Stream),
        (Event { version: next.version + 1, ..next.clone() }, IllegalEvent::Version { expected: 5, found: 6 }),
        (Event { version: next.version - 1, ..next.clone() }, IllegalEvent::Version { expected: 5, found: 4 }),
        (Event { run: 2, ..next.clone() }, IllegalEvent::Run { expected: 1, found: 2 }),
        (Event { run: 0, ..next }, IllegalEvent::Run { expected: 1, found: 0 }),
    ] {
        assert_eq!(up.refusal_of(&event), Some(refusal));
    }
    let ended = up.then([stopped(0)]);
    let start = EventKind::StartRequested { trigger: StartTrigger::Start };
    assert_eq!((ended.stream.run_of(&start), ended.stream.run_of(&SCHEDULED)), (2, 1));
    assert_eq!(
        ended.refusal_of(&Event { run: 1, ..ended.next(&start) }),
        Some(IllegalEvent::Run { expected: 2, found: 1 })
    );
}

#[test]
fn after_its_removal_a_process_comes_back_with_a_specification_only() {
    let up = running();
    let again = EventKind::Registered { spec: RedactedSpec::new(&up.stream.handle.spec) };
    assert_eq!(up.refusal(&again), Some(IllegalEvent::Registration("registered")));
    let removed = under(RestartPolicy::OnFailure).then([EventKind::Unregistered]);
    assert!(removed.stream.unregistered);
    for kind in kinds() {
        let refusal = removed.refusal(&kind);
        match kind {
            EventKind::SpecChanged { .. } => assert_eq!(refusal, None),
            _ => assert_eq!(refusal, Some(IllegalEvent::Registration(kind.name()))),
        }
    }
    let back = removed.then([changed(&spec(RestartConfig::default()))]);
    assert!(!back.stream.unregistered);
    back.started();
}

#[test]
fn a_specification_of_another_process_or_without_the_instance_is_refused() {
    let fresh = under(RestartPolicy::OnFailure);
    let ours = fresh.stream.handle.spec.clone();
    assert_eq!(fresh.refusal(&changed(&ProcessSpec { instances: 1, ..ours.clone() })), None);
    let foreign = ProcessSpec { id: ProcessId::from_bytes([8; 16]), ..ours.clone() };
    assert_eq!(fresh.refusal(&changed(&foreign)), Some(IllegalEvent::ForeignSpec));
    let mut second = fresh.clone();
    second.stream.id.instance = 1;
    second.stream.handle.instance = 1;
    assert_eq!(second.refusal(&changed(&ProcessSpec { instances: 1, ..ours })), Some(IllegalEvent::ForeignSpec));
}

#[test]
fn a_start_follows_its_request_and_a_request_its_answer() {
    let start = |trigger| EventKind::StartRequested { trigger };
    let starting = |trigger| EventKind::Starting { identity: Some(identity(7)), trigger };
    let (by_hand, by_boot) = (StartTrigger::Start, StartTrigger::Boot);
    let fresh = under(RestartPolicy::OnFailure);
    assert_eq!(fresh.refusal(&starting(by_hand)), Some(IllegalEvent::Intent("starting")));
    let asked = fresh.at(at(3)).then([start(by_hand)]);
    assert_eq!(asked.stream.intent, Some(Intent { seq: 20, trigger: by_hand }));
    assert_eq!((asked.stream.run, asked.stream.asked_at, asked.stream.wanted), (1, Some(at(3)), true));
    assert!(asked.stream.is_open());
    assert_eq!(asked.refusal(&starting(by_boot)), Some(IllegalEvent::Intent("starting")));
    assert_eq!(asked.refusal(&start(by_hand)), Some(IllegalEvent::Intent("start_requested")));
    assert_eq!(asked.refusal(&EventKind::Unregistered), Some(IllegalEvent::Intent("unregistered")));
    let begun = asked.at(at(4)).then([starting(by_hand)]);
    assert_eq!(begun.stream.intent, None);
    assert_eq!((begun.stream.identity, begun.stream.run_started), (Some(identity(7)), Some(at(4))));
    let failed = under(RestartPolicy::OnFailure).at(at(5)).start_failed();
    assert_eq!((failed.stream.identity, failed.stream.run_started), (None, None));
}

#[test]
fn what_has_no_process_can_only_fail() {
    let trigger = StartTrigger::Start;
    let request = EventKind::StartRequested { trigger };
    let mut unspawned = under(RestartPolicy::OnFailure).then([request.clone()]);
    let event = unspawned.next(&EventKind::Starting { identity: None, trigger });
    unspawned.stream.apply(&event).unwrap();
    for kind in [EventKind::Running, STOPPING, crashed(1)] {
        assert_eq!(unspawned.refusal(&kind), Some(IllegalEvent::WrongEnd), "{}", kind.name());
    }
    for cause in [spawn_failed(), RunEnd::NeverConfirmed] {
        let kind = EventKind::Crashed { cause };
        assert_eq!(unspawned.refusal(&kind), None);
        let spawned = EventKind::Starting { identity: Some(identity(7)), trigger };
        let spawned = under(RestartPolicy::OnFailure).then([request.clone(), spawned]);
        assert_eq!(spawned.refusal(&kind), Some(IllegalEvent::WrongEnd));
    }
}

#[test]
fn a_termination_needs_a_recorded_sigkill() {
    let stopping = running().then([STOPPING]);
    let terminated = EventKind::Terminated { exit: killed() };
    assert_eq!(stopping.refusal(&terminated), Some(IllegalEvent::NotKilled));
    let sigterm = EventKind::SignalSent { signal: Signal::TERM, target: SignalTarget::Group };
    let asked = stopping.then([sigterm]);
    assert_eq!(asked.refusal(&terminated), Some(IllegalEvent::NotKilled));
    let killed_run = asked.then([SIGKILL, terminated]);
    assert_eq!(killed_run.stream.exit(), Some(&killed()));
    let again = killed_run.started().then([STOPPING]);
    assert!(!again.stream.kill_sent, "the next run has its own signals");
}

#[test]
fn a_transition_names_the_states_on_both_sides() {
    let mut up = running();
    let tell = |history: &mut History, kind: &EventKind| {
        let event = history.next(kind);
        history.stream.apply_with_transition(&event)
    };
    assert_eq!(tell(&mut up, &EventKind::BudgetReset), Ok(None));
    assert_eq!(tell(&mut up, &STOPPING), Ok(Some(("running", "stopping"))));
    assert_eq!(tell(&mut up, &stopped(0)), Ok(Some(("stopping", "stopped"))));
    assert!(tell(&mut up, &stopped(0)).is_err());
    assert_eq!((up.stream.version, up.stream.last_seq), (7, 70));
}

/// What remains to be done after the end of a run, depending on who requested a stop before the end.
#[test]
fn the_policy_decides_unless_a_stop_was_requested() {
    let undecided = |unhealthy| FollowUp::Undecided { unhealthy };
    assert_eq!(running().then([crashed(1)]).stream.follow_up, undecided(false));
    for (actor, follow_up) in [
        (operator(), FollowUp::Nothing),
        (Actor::System, FollowUp::Nothing),
        (Actor::Recovery, FollowUp::Nothing),
        (Actor::Health, undecided(true)),
    ] {
        let ended = running().by(actor.clone()).then([STOPPING, stopped(1)]);
        assert_eq!(ended.stream.follow_up, follow_up, "{actor:?}");
        assert_eq!(ended.stream.stopping, None);
    }
    let joined = running().by(Actor::Health).then([STOPPING]).by(operator()).then([STOP_REQUESTED]);
    assert_eq!(joined.stream.stopping.map(|stop| stop.by_health), Some(false));
    assert_eq!(joined.then([stopped(1)]).stream.follow_up, FollowUp::Nothing);
}

#[test]
fn a_stop_under_way_keeps_what_was_asked_for() {
    let stopping = running().at(at(9)).by(Actor::Health).then([STOPPING]);
    let expected = StopUnderWay {
        seq: 50,
        since: at(9),
        timeout_ms: 5000,
        signal: Signal::TERM,
        force_kill: true,
        by_health: true,
        by_policy: false,
    };
    assert_eq!(stopping.stream.stopping, Some(expected));
    let by_hand = running().by(operator()).then([STOPPING]);
    assert_eq!(by_hand.stream.stopping.map(|stop| stop.by_health), Some(false));
}

/// Whether a process should run, after each way to stop it or to refuse its restart. Each row begins with a running
/// process that should run.
#[test]
fn a_process_is_wanted_until_an_operator_or_its_policy_says_otherwise() {
    let giving_up = EventKind::RestartRefused { rule: RestartRule::LaunchUnknown };
    for (actor, kinds, wanted) in [
        (operator(), vec![STOPPING], false),
        (Actor::System, vec![STOPPING], true),
        (Actor::Health, vec![STOPPING], true),
        (Actor::Recovery, vec![STOPPING], true),
        (Actor::System, vec![crashed(1)], true),
        (Actor::System, vec![stopped(0)], false),
        (Actor::System, vec![crashed(1), STOP_REQUESTED], true),
        (operator(), vec![crashed(1), STOP_REQUESTED], false),
        (Actor::Recovery, vec![crashed(1), STOP_REQUESTED], false),
        (Actor::Policy, vec![crashed(1), STOP_REQUESTED], true),
        (Actor::Health, vec![crashed(1), STOP_REQUESTED], true),
        (Actor::Policy, vec![crashed(1), giving_up.clone()], false),
        (Actor::System, vec![crashed(1), giving_up], false),
        (Actor::System, vec![crashed(1), EventKind::Unregistered], false),
        (Actor::System, vec![stopped(0), STOP_REQUESTED], false),
    ] {
        let up = running();
        assert!(up.stream.wanted);
        let after = up.by(actor.clone()).then(kinds.clone());
        assert_eq!(after.stream.wanted, wanted, "{actor:?}: {kinds:?}");
    }
    // The shutdown of a supervisor postpones a restart that an operator requested until the next supervisor.
    let put_off = running().by(operator()).then([STOPPING, stopped(0)]).by(Actor::System).then([STOP_REQUESTED]);
    assert!(put_off.stream.wanted);
}

#[test]
fn a_process_has_finished_when_it_succeeded_and_is_not_restarted() {
    for (policy, kinds, finished) in [
        (RestartPolicy::OnFailure, vec![stopped(0)], true),
        (RestartPolicy::Never, vec![stopped(0)], true),
        (RestartPolicy::Always, vec![stopped(0)], false),
        (RestartPolicy::OnFailure, vec![crashed(1)], false),
        (RestartPolicy::OnFailure, vec![STOPPING, stopped(0)], false),
        (RestartPolicy::OnFailure, vec![STOPPING, stopped(1)], false),
    ] {
        let ended = under(policy).started().then(kinds.clone());
        assert_eq!(ended.stream.finished, finished, "{policy}: {kinds:?}");
    }
    let unhealthy = running().by(Actor::Health).then([STOPPING, stopped(0)]);
    assert!(!unhealthy.stream.finished && unhealthy.stream.wanted);
    let done = running().then([stopped(0)]);
    let same = ProcessSpec { instances: 5, ..done.stream.handle.spec.clone() };
    let other = ProcessSpec { command: "other".to_owned(), ..same.clone() };
    assert!(done.clone().then([changed(&same)]).stream.finished, "another number of instances is the same program");
    assert!(!done.clone().then([changed(&other)]).stream.finished);
    assert!(!done.clone().then([EventKind::Unregistered]).stream.finished);
    assert!(done.clone().then([EventKind::BudgetReset]).stream.finished);
    assert!(!done.started().stream.finished);
}

#[test]
fn a_scheduled_restart_is_kept_and_counted_by_the_kind_of_end() {
    let due = running().then([crashed(1)]).at(at(20)).then([SCHEDULED]);
    let expected = FollowUp::Restart { seq: 60, attempt: 1, since: at(20), delay_ms: 3000 };
    assert_eq!(due.stream.follow_up, expected);
    let counts = |history: &History| {
        let budget = &history.stream.budget;
        assert_eq!(budget.crashes.recent.len(), usize::try_from(budget.crashes.consecutive).unwrap());
        (budget.crashes.consecutive, budget.spawn_failures.consecutive)
    };
    assert_eq!(counts(&due), (1, 0));
    let failed = due.start_failed().then([SCHEDULED]);
    assert_eq!(counts(&failed), (1, 1));
    let failed = failed.start_failed().then([SCHEDULED]);
    assert_eq!(counts(&failed), (1, 2));
    assert_eq!(failed.stream.exit(), None);
    let spawned = failed.clone().started();
    assert_eq!(counts(&spawned), (1, 0), "a process that was spawned ends the row of failures");
    assert_eq!(spawned.stream.follow_up, FollowUp::Nothing);
    assert_eq!(counts(&failed.clone().then([EventKind::BudgetReset])), (0, 0));
    assert_eq!(counts(&failed.clone().then([changed(&spec(RestartConfig::default()))])), (0, 0));
    let removed = failed.then([EventKind::Unregistered]);
    assert_eq!((removed.stream.follow_up, counts(&removed)), (FollowUp::Nothing, (1, 2)));
}

#[test]
fn a_reason_to_give_up_is_kept_until_the_next_start_or_specification() {
    let spent = RestartRule::BudgetSpent { restarts: 1, max_restarts: 1, window_ms: 1 };
    let gave_up = running().then([crashed(1), EventKind::RestartRefused { rule: spent }]);
    assert_eq!(gave_up.stream.gave_up, Some(spent));
    assert_eq!(gave_up.stream.follow_up, FollowUp::Nothing);
    assert_eq!(running().then([crashed(1), STOP_REQUESTED]).stream.gave_up, None);
    assert_eq!(gave_up.clone().then([changed(&spec(RestartConfig::default()))]).stream.gave_up, None);
    assert_eq!(gave_up.clone().then([EventKind::Unregistered]).stream.gave_up, None);
    assert_eq!(gave_up.started().stream.gave_up, None);
}

#[test]
fn an_adopted_process_replaces_the_identity() {
    let adopted = running().then([EventKind::Adopted { identity: identity(8) }]);
    assert_eq!(adopted.stream.identity, Some(identity(8)));
    let ended = adopted.then([crashed(3)]);
    assert_eq!((ended.stream.identity, ended.stream.exit()), (Some(identity(8)), Some(&exit(3))));
    assert_eq!(ended.stream.end, Some(RunEnd::Exit(exit(3))));
    assert!(!ended.stream.is_open());
    assert!(running().stream.is_open() && running().stream.end.is_none());
    assert_eq!(ended.started().stream.end, None);
}

proptest! {
    /// A run that lasted for `min_uptime`, and whose end was observed on the same boot, resets the back-off.
    #[test]
    fn a_sustained_run_resets_the_back_off(
        uptime in 0..3 * MIN_UPTIME_SECS, observed in any::<bool>(), same_boot in any::<bool>(),
    ) {
        let first = running().then([crashed(1)]).at(at(5)).then([SCHEDULED]);
        let evidence = if observed { Evidence::Observed } else { Evidence::Recovered };
        let cause = RunEnd::Exit(Exit { evidence, ..exit(1) });
        let end = at_boot(if same_boot { 1 } else { 2 }, 5 + uptime);
        let ended = first.started().at(end).then([EventKind::Crashed { cause }]);
        let is_sustained = observed && same_boot && uptime >= MIN_UPTIME_SECS;
        prop_assert_eq!(ended.stream.budget.crashes.consecutive, u32::from(!is_sustained));
        prop_assert_eq!(ended.stream.budget.crashes.recent.len(), 1, "the window still counts it");
    }
}

#[test]
fn a_broken_invariant_is_named() {
    let up = running().stream;
    let break_it = |change: fn(&mut Stream)| {
        let mut broken = up.clone();
        change(&mut broken);
        broken.broken_invariant()
    };
    assert_eq!(break_it(|_| ()), None);
    assert_eq!(break_it(|stream| stream.handle.spec.name.clear()), Some("INV-0003"));
    assert_eq!(break_it(|stream| stream.handle.spec.command.clear()), Some("INV-0004"));
    assert_eq!(break_it(|stream| stream.handle.spec.instances = 0), Some("INV-0005"));
    assert_eq!(break_it(|stream| stream.handle.spec.instances = 1), None);
    assert_eq!(break_it(|stream| stream.handle.pid = None), Some("INV-0008"));
    assert_eq!(break_it(|stream| stream.run = 0), Some("INV-0009"));
    assert_eq!(break_it(|stream| stream.handle.instance = 2), Some("INV-0010"));
    let fresh = under(RestartPolicy::Never).stream;
    assert_eq!((fresh.run, fresh.handle.started_at, fresh.broken_invariant()), (0, None, None));
    assert_ne!(up.identity.map(|identity| identity.boot_id), Some(Uuid::nil()));
}
