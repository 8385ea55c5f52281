//! Compares the transition function with the table of `docs/lifecycle.md`, which this file repeats independently of the
//! code.

use std::collections::BTreeSet;

use super::*;
use crate::{
    event::exit::Evidence,
    testing::{crashed, exit, killed, kinds, spawn_failed},
};

/// The states, in the order of the columns of [`FOLLOWING`]. Their exit codes differ from the exit codes of all events
/// in these tests.
fn states() -> [ProcessState; 7] {
    [
        ProcessState::Starting,
        ProcessState::Running,
        ProcessState::Unhealthy,
        ProcessState::Stopping,
        ProcessState::Stopped { exit_code: Some(77) },
        ProcessState::Crashed { exit_code: Some(77) },
        ProcessState::Terminated,
    ]
}

/// The letter of a state in [`FOLLOWING`]. A capital letter means that the state has a process.
const fn letter(state: &ProcessState) -> char {
    match state {
        ProcessState::Starting => 'S',
        ProcessState::Running => 'R',
        ProcessState::Unhealthy => 'U',
        ProcessState::Stopping => 'G',
        ProcessState::Stopped { .. } => 's',
        ProcessState::Crashed { .. } => 'c',
        ProcessState::Terminated => 't',
    }
}

/// For each kind of event, the next state in each state: the letter of another state, `=` for the same state, `-` where
/// the event is refused.
const FOLLOWING: [(&str, &str); 34] = [
    ("registered", "-------"),
    ("spec_changed", "======="),
    ("unregistered", "----==="),
    ("start_requested", "----==="),
    ("starting", "----SSS"),
    ("running", "R------"),
    ("unhealthy", "-U-----"),
    ("stopping", "GGG----"),
    ("stopped", "-sss---"),
    ("crashed", "ccc----"),
    ("terminated", "---t---"),
    ("signal_sent", "====---"),
    ("signal_failed", "====---"),
    ("group_survived", "======="),
    ("restart_scheduled", "----==="),
    ("restart_refused", "---===="),
    ("budget_reset", "======="),
    ("health_changed", "===----"),
    ("adopted", "====---"),
    ("output_leaked", "======="),
    ("sampled", "===----"),
    ("credential_rotated", "===----"),
    ("observed", "====---"),
    ("agent", "======="),
    ("output_tail", "======="),
    ("output_dropped", "======="),
    ("pre_stop_ended", "---=---"),
    ("orphans_ended", "======="),
    ("end_unobserved", "----==="),
    ("supervisor_started", "-------"),
    ("supervisor_stopped", "-------"),
    ("checkpointed", "-------"),
    ("store_rebuilt", "-------"),
    ("tail_cut", "-------"),
];

fn row(kind: &EventKind) -> String {
    let cell = |state: &ProcessState| match transition(state, kind) {
        Ok(Some(next)) => letter(&next),
        Ok(None) => '=',
        Err(IllegalTransition { from, event }) => {
            assert_eq!((from, event), (state.name(), kind.name()));
            '-'
        }
    };
    states().iter().map(cell).collect()
}

#[test]
fn each_kind_is_followed_as_the_table_says() {
    let samples = kinds();
    for (kind, (name, expected)) in samples.iter().zip(FOLLOWING) {
        assert_eq!((kind.name(), row(kind).as_str()), (name, expected));
    }
    let covered: BTreeSet<&str> = samples.iter().map(EventKind::name).collect();
    assert_eq!(covered, BTreeSet::from(EventKind::NAMES));
}

#[test]
fn an_end_depends_on_the_exit_and_keeps_its_code() {
    let code = |code: i32| EventKind::Stopped { exit: exit(code) };
    assert_eq!(row(&code(1)), "---s---", "a failure is a crash unless a stop was requested");
    assert_eq!(row(&EventKind::Stopped { exit: killed() }), "---s---");
    assert_eq!(row(&EventKind::Stopped { exit: Exit::UNKNOWN }), "---s---");
    assert_eq!(row(&crashed(0)), "c------");
    assert_eq!(row(&EventKind::Crashed { cause: spawn_failed() }), "c------");
    assert_eq!(row(&EventKind::Crashed { cause: RunEnd::NeverConfirmed }), "c------");
    let unseen = Exit { evidence: Evidence::Recovered, ..exit(3) };
    for (from, kind, code) in [
        (ProcessState::Starting, crashed(3), Some(3)),
        (ProcessState::Running, EventKind::Crashed { cause: RunEnd::Exit(unseen) }, Some(3)),
        (ProcessState::Unhealthy, EventKind::Crashed { cause: RunEnd::Exit(killed()) }, None),
        (ProcessState::Starting, EventKind::Crashed { cause: spawn_failed() }, None),
        (ProcessState::Running, code(0), Some(0)),
        (ProcessState::Stopping, code(5), Some(5)),
        (ProcessState::Stopping, EventKind::Stopped { exit: killed() }, None),
        (ProcessState::Stopping, EventKind::Terminated { exit: killed() }, None),
    ] {
        let next = transition(&from, &kind).unwrap().unwrap();
        assert_eq!(next.exit_code(), code, "{from} and {kind:?}");
    }
}
