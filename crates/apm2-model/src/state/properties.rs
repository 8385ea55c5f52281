//! Property tests: the invariants hold for each sequence of events and each configuration.

use std::time::Duration;

use proptest::{collection::vec, prelude::*};
use uuid::Uuid;

use crate::{
    event::{
        NewEvent,
        actor::Actor,
        exit::{Evidence, Exit, ExitOutcome, RunEnd},
        identity::ProcessIdentity,
        kind::{EventKind, OutputSource, RestartRule, SignalTarget, StartTrigger},
        stream_id::StreamId,
        timestamp::Timestamp,
    },
    signal::Signal,
    spec::{ProcessSpec, config::restart::BackoffConfig, id::ProcessId, redact::spec::RedactedSpec},
    state::{stream::Stream, transition::transition},
};

fn spec() -> RedactedSpec {
    let id = ProcessId::from_bytes([7; 16]);
    RedactedSpec::new(&ProcessSpec::builder().id(id).name("n").command("c").instances(2).build())
}

fn exit() -> impl Strategy<Value = Exit> {
    let outcome = prop_oneof![
        Just(ExitOutcome::Code(0)),
        any::<i32>().prop_map(ExitOutcome::Code),
        Just(ExitOutcome::Signal { signal: Signal::KILL, core_dumped: false }),
        Just(ExitOutcome::Unknown),
    ];
    outcome.prop_map(|outcome| Exit { outcome, evidence: Evidence::Observed })
}

fn trigger() -> impl Strategy<Value = StartTrigger> {
    prop_oneof![
        Just(StartTrigger::Start),
        Just(StartTrigger::Boot),
        (0..3_u32).prop_map(|attempt| StartTrigger::Restart { attempt })
    ]
}

fn kind() -> impl Strategy<Value = EventKind> {
    let identity = proptest::option::of(any::<u32>().prop_map(|pid| ProcessIdentity {
        boot_id: Uuid::from_u128(1),
        pid,
        start_ticks: 9,
        pid_namespace: None,
    }));
    let signal = (1..=64_u8).prop_map(|number| Signal::from_number(number).unwrap());
    prop_oneof![
        Just(EventKind::Registered { spec: spec() }),
        Just(EventKind::SpecChanged { spec: spec() }),
        Just(EventKind::Unregistered),
        trigger().prop_map(|trigger| EventKind::StartRequested { trigger }),
        (identity, trigger()).prop_map(|(identity, trigger)| EventKind::Starting { identity, trigger }),
        Just(EventKind::Running),
        Just(EventKind::Unhealthy { failures: 1 }),
        Just(EventKind::Stopping { signal: Signal::TERM, timeout_ms: 1, force_kill: true }),
        exit().prop_map(|exit| EventKind::Stopped { exit }),
        exit().prop_map(|exit| EventKind::Crashed { cause: RunEnd::Exit(exit) }),
        Just(EventKind::Crashed { cause: RunEnd::NeverConfirmed }),
        exit().prop_map(|exit| EventKind::Terminated { exit }),
        signal.prop_map(|signal| EventKind::SignalSent { signal, target: SignalTarget::Group }),
        Just(EventKind::RestartScheduled { attempt: 1, delay_ms: 1 }),
        Just(EventKind::RestartRefused { rule: RestartRule::PolicyNever }),
        Just(EventKind::BudgetReset),
        Just(EventKind::OutputLeaked { source: OutputSource::Stdout }),
        any::<u32>().prop_map(|processes| EventKind::OrphansEnded { processes }),
        any::<u32>().prop_map(|cpu_centipercent| EventKind::Sampled {
            cpu_centipercent,
            memory_bytes: 1,
            processes: None
        }),
        Just(EventKind::SupervisorStopped),
    ]
}

/// The commits that a recorder receives. A start and its outcome are one commit; each other event is a commit of its
/// own.
fn commit() -> impl Strategy<Value = Vec<EventKind>> {
    kind().prop_flat_map(|kind| match kind {
        EventKind::Starting { identity: Some(_), .. } => Just(vec![kind, EventKind::Running]).boxed(),
        EventKind::Starting { identity: None, .. } => {
            Just(vec![kind, EventKind::Crashed { cause: RunEnd::NeverConfirmed }]).boxed()
        }
        kind => Just(vec![kind]).boxed(),
    })
}

fn fold(stream: Option<&Stream>, kinds: &[EventKind], boot_ns: u64) -> Option<Stream> {
    let stamp = Timestamp { wall_ns: 0, boot_ns, boot_id: Uuid::from_u128(1) };
    let id = StreamId { process_id: ProcessId::from_bytes([7; 16]), instance: 1 };
    let mut next = stream.cloned();
    for kind in kinds {
        let run = next.as_ref().map_or(0, |stream| stream.run_of(kind));
        let draft =
            NewEvent { stream: id, run, actor: Actor::System, reason: None, cause: None, stamp, kind: kind.clone() };
        let version = next.as_ref().map_or(0, |stream| stream.version) + 1;
        let event = draft.numbered(version, version);
        match &mut next {
            None => next = Some(Stream::begin(&event).ok()?),
            Some(stream) => {
                let before = stream.clone();
                if stream.apply(&event).is_err() {
                    assert_eq!(*stream, before, "a refused event changes nothing");
                    return None;
                }
            }
        }
    }
    next
}

proptest! {
    #[test]
    fn after_every_accepted_commit_all_invariants_hold(commits in vec((commit(), any::<u32>()), 1..60)) {
        let mut stream = fold(None, &[EventKind::Registered { spec: spec() }], 0);
        for (kinds, boot_ns) in commits {
            if let Some(next) = fold(stream.as_ref(), &kinds, u64::from(boot_ns)) {
                prop_assert_eq!(next.broken_invariant(), None);
                stream = Some(next);
            }
        }
    }

    #[test]
    fn a_state_changes_as_the_transition_function_says(kinds in vec(kind(), 1..60)) {
        let mut stream = fold(None, &[EventKind::Registered { spec: spec() }], 0).unwrap();
        for kind in kinds {
            let decided = transition(&stream.handle.state, &kind);
            if let Some(next) = fold(Some(&stream), std::slice::from_ref(&kind), 0) {
                let expected = decided.unwrap().unwrap_or(stream.handle.state);
                prop_assert_eq!(&next.handle.state, &expected);
                stream = next;
            }
        }
    }

    #[test]
    fn a_back_off_never_panics_and_keeps_its_limit(
        initial in any::<Duration>(), step in any::<Duration>(), max in any::<Duration>(),
        factor in any::<u32>(), attempt in any::<u32>(),
    ) {
        let linear = BackoffConfig::Linear { initial, step, max };
        let exponential = BackoffConfig::Exponential { initial, factor, max };
        prop_assert!(linear.delay(attempt) <= max);
        prop_assert!(exponential.delay(attempt) <= max);
        let fixed = BackoffConfig::Fixed { delay: step };
        prop_assert_eq!(fixed.delay(attempt), step);
    }
}
