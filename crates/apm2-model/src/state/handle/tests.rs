//! Tests of the fields of a handle after each event.

use chrono::TimeDelta;

use super::*;
use crate::{
    event::exit::Evidence,
    spec::{config::restart::RestartConfig, redact::spec::RedactedSpec},
    testing::{History, SCHEDULED, STOPPING, at, crashed, exit, kinds, spec},
};

const SAMPLE: EventKind = EventKind::Sampled { cpu_centipercent: 12_345, memory_bytes: 5 << 30, processes: Some(3) };

fn running() -> History {
    History::under(RestartConfig::default()).at(at(100)).started()
}

#[test]
fn an_instance_is_named_by_its_number_where_there_are_several() {
    let several = ProcessHandle::new(spec(RestartConfig::default()), 1);
    assert_eq!(several.display_name(), "web-1");
    let one = ProcessHandle::new(ProcessSpec { instances: 1, ..spec(RestartConfig::default()) }, 0);
    assert_eq!(one.display_name(), "web");
}

#[test]
#[should_panic(expected = "INV-0010")]
fn an_instance_outside_of_its_specification_cannot_be_made() {
    let _ = ProcessHandle::new(spec(RestartConfig::default()), 2);
}

#[test]
fn a_process_is_up_from_its_start_to_its_end() {
    let up = running().stream.handle;
    let started = at(100).wall();
    assert_eq!((up.pid, up.started_at), (Some(7), Some(started)));
    for (offset, expected) in [(0, 0), (90, 90), (-90, 0)] {
        assert_eq!(up.uptime_secs_at(started + TimeDelta::seconds(offset)), Some(expected));
    }
    let now = SystemClock.now().wall();
    let uptime = up.uptime_secs().unwrap();
    assert!((now - started).num_seconds() - uptime <= 1 && uptime > 100);
    let down = running().then([crashed(1)]).stream.handle;
    assert_eq!((down.pid, down.started_at), (None, Some(started)));
    assert_eq!((down.uptime_secs(), down.uptime_secs_at(started)), (None, None));
    assert_eq!(running().then([STOPPING]).stream.handle.pid, None);
}

#[test]
fn a_sample_is_shown_while_the_process_runs() {
    let sampled = running().then([SAMPLE]);
    let shown = |handle: &ProcessHandle| (handle.cpu_percent, handle.memory_bytes, handle.processes);
    assert_eq!(shown(&sampled.stream.handle), (Some(123.45), Some(5 << 30), Some(3)));
    let still = sampled.clone().then([EventKind::Unhealthy { failures: 1 }]);
    assert_eq!(shown(&still.stream.handle), shown(&sampled.stream.handle));
    assert_eq!(shown(&sampled.then([crashed(1)]).stream.handle), (None, None, None));
}

#[test]
fn hundredths_of_a_percent_are_exact() {
    for (centipercent, expected) in [(0, 0.0), (1, 0.01), (99, 0.99), (100, 1.0), (250, 2.5), (6_553_500, 65_535.0)] {
        assert!((percent(centipercent) - expected).abs() < f32::EPSILON * expected.max(1.0), "{centipercent}");
    }
    assert!((percent(u32::MAX) - 65_535.95).abs() < 0.01, "more than 65,535 % is shown as that");
}

#[test]
fn only_restarts_by_policy_are_counted() {
    let restart = StartTrigger::Restart { attempt: 1 };
    let again = running().then([crashed(1), SCHEDULED]).at(at(200)).started_by(restart);
    assert_eq!((again.stream.handle.restart_count, again.stream.handle.last_restart), (1, Some(at(200).wall())));
    let by_hand = again.then([crashed(1)]).at(at(300)).started_by(StartTrigger::Start);
    assert_eq!((by_hand.stream.handle.restart_count, by_hand.stream.handle.last_restart), (1, Some(at(200).wall())));
    let by_boot = by_hand.then([crashed(1)]).at(at(400)).started_by(StartTrigger::Boot);
    assert_eq!(by_boot.stream.handle.restart_count, 1);
    let unspawned = by_boot.then([crashed(1)]).start_failed();
    assert_eq!(unspawned.stream.handle.started_at, Some(at(400).wall()));
}

#[test]
fn a_changed_specification_is_shown() {
    let other = ProcessSpec { command: "other".to_owned(), ..spec(RestartConfig::default()) };
    let changed = running().then([EventKind::SpecChanged { spec: RedactedSpec::new(&other) }]);
    assert_eq!(changed.stream.handle.spec.command, "other");
    assert_eq!(changed.stream.handle.pid, Some(7));
}

#[test]
fn a_refused_event_changes_nothing() {
    let up = running();
    let mut handle = up.stream.handle.clone();
    for kind in kinds().iter().filter(|kind| transition(&ProcessState::Running, kind).is_err()) {
        assert!(handle.apply(&up.next(kind)).is_err(), "{}", kind.name());
        assert_eq!(handle, up.stream.handle);
    }
}

#[test]
fn a_state_has_a_name_a_class_and_perhaps_an_exit_code() {
    let code = Some(3);
    for (state, name, runs, has_exited, text) in [
        (ProcessState::Starting, "starting", true, false, "starting"),
        (ProcessState::Running, "running", true, false, "running"),
        (ProcessState::Unhealthy, "unhealthy", true, false, "unhealthy"),
        (ProcessState::Stopping, "stopping", false, false, "stopping"),
        (ProcessState::Stopped { exit_code: code }, "stopped", false, true, "stopped (exit code: 3)"),
        (ProcessState::Crashed { exit_code: code }, "crashed", false, true, "crashed (exit code: 3)"),
        (ProcessState::Crashed { exit_code: None }, "crashed", false, true, "crashed"),
        (ProcessState::Terminated, "terminated", false, true, "terminated"),
    ] {
        assert_eq!((state.name(), state.is_running(), state.has_exited()), (name, runs, has_exited));
        assert_eq!(state.to_string(), text);
        assert_eq!(state.exit_code().is_some(), text.contains("code"));
    }
    assert_eq!(ProcessState::Stopped { exit_code: code }.exit_code(), code);
    assert_eq!(format!("{:>9}|", ProcessState::Running), "  running|");
    assert_eq!(exit(3).evidence, Evidence::Observed);
}
