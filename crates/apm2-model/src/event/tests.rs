//! Tests of the texts and numeric values of events.

use std::{collections::BTreeSet, os::unix::process::ExitStatusExt as _, process::ExitStatus};

use proptest::prelude::*;

use crate::{
    event::{
        actor::Actor,
        exit::{Evidence, Exit, ExitOutcome, RunEnd},
        kind::{EventKind, RestartRule},
        origin::EventOrigin,
        requester::Requester,
        stream_id::StreamId,
        timestamp::Timestamp,
    },
    signal::Signal,
    testing::{ID, at, at_boot, exit, killed, kinds, operator, spawn_failed},
};

proptest! {
    /// Each wait status that wait(2) returns for an exit or a signal stays the same when it is decoded and encoded
    /// again.
    #[test]
    fn a_wait_status_reads_back(code in 0..256, number in 1..=64_u8, core_dumped in any::<bool>()) {
        let exited = ExitStatus::from_raw(code << 8);
        let read = Exit::from_status(exited, Evidence::Observed);
        prop_assert_eq!(read, exit(code));
        prop_assert_eq!(read.to_status(), Some(exited));
        prop_assert_eq!((read.code(), read.signal(), read.is_success()), (Some(code), None, code == 0));
        prop_assert_eq!(RunEnd::Exit(read).exit_code(), Some(code));

        let raw = i32::from(number) | if core_dumped { 0x80 } else { 0 };
        let signalled = ExitStatus::from_raw(raw);
        let signal = Signal::from_number(number).unwrap();
        let read = Exit::from_status(signalled, Evidence::Recovered);
        let outcome = ExitOutcome::Signal { signal, core_dumped };
        prop_assert_eq!(read, Exit { outcome, evidence: Evidence::Recovered });
        prop_assert_eq!(read.to_status(), Some(signalled));
        prop_assert_eq!((read.code(), read.signal(), read.is_success()), (None, Some(signal), false));
        prop_assert_eq!(RunEnd::Exit(read).exit_code(), None);
    }

    #[test]
    fn time_is_measured_between_two_moments_of_one_boot(earlier in 0..1000_u64, gap in 0..1000_u64) {
        let (first, second) = (at(earlier), at(earlier + gap));
        prop_assert_eq!(second.nanos_since(&first), Some(gap * 1_000_000_000));
        prop_assert_eq!(first.nanos_since(&second), (gap == 0).then_some(0));
        prop_assert_eq!(at_boot(2, earlier + gap).nanos_since(&first), None);
        prop_assert_eq!(u64::try_from(first.wall().timestamp()).unwrap(), earlier);
    }
}

#[test]
fn the_wall_clock_of_a_stamp_counts_from_1970() {
    let stamp = Timestamp { wall_ns: 1_500_000_000, ..at(0) };
    assert_eq!(stamp.wall().to_rfc3339(), "1970-01-01T00:00:01.500+00:00");
}

#[test]
fn an_unknown_exit_has_no_code_and_no_status() {
    assert_eq!(Exit::UNKNOWN.to_status(), None);
    assert_eq!((Exit::UNKNOWN.code(), Exit::UNKNOWN.signal(), Exit::UNKNOWN.is_success()), (None, None, false));
    let stopped = ExitStatus::from_raw(0x137f);
    assert_eq!(Exit::from_status(stopped, Evidence::Observed), Exit::UNKNOWN, "a stop signal is no exit");
    assert_eq!((spawn_failed().exit_code(), RunEnd::NeverConfirmed.exit_code()), (None, None));
    // A shell reports only the low 8 bits of an exit code.
    assert_eq!(exit(0x1_03).to_status(), exit(3).to_status());
    assert_eq!(exit(-1).to_status(), exit(255).to_status());
}

#[test]
fn an_end_is_described() {
    let core_dumped = ExitOutcome::Signal { signal: Signal::KILL, core_dumped: true };
    for (end, text) in [
        (RunEnd::Exit(exit(3)), "exit code 3"),
        (RunEnd::Exit(Exit { evidence: Evidence::Recovered, ..exit(3) }), "exit code 3 (recovered)"),
        (RunEnd::Exit(killed()), "killed by SIGKILL"),
        (RunEnd::Exit(Exit { outcome: core_dumped, ..killed() }), "killed by SIGKILL, core dumped"),
        (RunEnd::Exit(Exit::UNKNOWN), "exit unknown"),
        (spawn_failed(), "no such file"),
        (RunEnd::NeverConfirmed, "asked for, never confirmed"),
    ] {
        assert_eq!(end.to_string(), text);
    }
}

#[test]
fn each_kind_has_the_name_of_its_variant() {
    let snake_case = |kind: &EventKind| {
        let debug = format!("{kind:?}");
        let variant = debug.split([' ', '{']).next().unwrap().to_owned();
        let letters = variant.char_indices().flat_map(|(place, letter)| {
            let underscore = (place > 0 && letter.is_ascii_uppercase()).then_some('_');
            underscore.into_iter().chain([letter.to_ascii_lowercase()])
        });
        letters.collect::<String>()
    };
    let samples = kinds();
    let names: Vec<&str> = samples.iter().map(EventKind::name).collect();
    assert_eq!(names, EventKind::NAMES);
    assert_eq!(samples.iter().map(snake_case).collect::<Vec<_>>(), names);
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
    let of_the_ledger: Vec<&str> = samples.iter().filter(|kind| kind.is_system()).map(EventKind::name).collect();
    assert_eq!(of_the_ledger, &names[29..]);
}

#[test]
fn only_a_rule_that_keeps_a_failure_down_is_giving_up() {
    let (max_restarts, window_ms) = (1, 1);
    for (rule, gives_up) in [
        (RestartRule::PolicyNever, false),
        (RestartRule::Succeeded, false),
        (RestartRule::StopRequested, false),
        (RestartRule::BudgetSpent { restarts: 1, max_restarts, window_ms }, true),
        (RestartRule::SpawnBudgetSpent { failures: 1, max_restarts, window_ms }, true),
        (RestartRule::LaunchUnknown, true),
    ] {
        assert_eq!(rule.is_giving_up(), gives_up, "{rule:?}");
    }
}

#[test]
fn an_origin_keeps_each_part() {
    let request = Requester { actor: operator(), reason: Some("deploy".to_owned()) };
    let origin = EventOrigin::of(request.clone());
    assert_eq!(origin, EventOrigin { request: request.clone(), cause: None, stamp: None });
    let whole = origin.caused_by(Some(7)).at(at(3));
    assert_eq!(whole, EventOrigin { request, cause: Some(7), stamp: Some(at(3)) });
    assert_eq!(Requester::from(operator()), Requester { actor: operator(), reason: None });
    assert_eq!(Requester::default(), Requester { actor: Actor::System, reason: None });
}

#[test]
fn the_system_stream_is_that_of_the_nil_id() {
    assert!(StreamId::SYSTEM.is_system() && StreamId::SYSTEM.process_id.is_nil());
    assert!(!StreamId { process_id: ID, instance: 0 }.is_system());
}
