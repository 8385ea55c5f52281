//! The invariants of the specification, each by its number.

use std::{collections::HashSet, time::Duration};

use apm2_core::process::{
    EventKind, Exit, ProcessHandle, ProcessId, ProcessRunner, ProcessSpec, ProcessState, RunEnd, StartTrigger,
    transition,
};

use crate::support::{AMPLE, KillOnDrop, Lines, Log, PATIENCE, begin, in_time, is_alive, sh, until};

fn every_state() -> [ProcessState; 7] {
    [
        ProcessState::Starting,
        ProcessState::Running,
        ProcessState::Unhealthy,
        ProcessState::Stopping,
        ProcessState::Stopped { exit_code: Some(0) },
        ProcessState::Crashed { exit_code: None },
        ProcessState::Terminated,
    ]
}

/// Every event that changes the state in some state.
fn every_transition() -> [EventKind; 7] {
    [
        EventKind::Starting { identity: None, trigger: StartTrigger::Start },
        EventKind::Running,
        EventKind::Unhealthy { failures: 3 },
        EventKind::Stopping { signal: apm2_core::process::Signal::TERM, timeout_ms: 1, force_kill: true },
        EventKind::Stopped { exit: Exit::UNKNOWN },
        EventKind::Crashed { cause: RunEnd::Exit(Exit::UNKNOWN) },
        EventKind::Terminated { exit: Exit::UNKNOWN },
    ]
}

#[test]
fn inv_0001_ids_are_unique_and_version_4() {
    let ids: HashSet<ProcessId> = (0..1000).map(|_| ProcessId::new()).collect();
    assert_eq!(ids.len(), 1000);
    assert!(ids.iter().all(|id| id.as_bytes()[6] >> 4 == 4));
}

#[test]
fn inv_0002_an_id_is_copy_and_small() {
    fn assert_copy<T: Copy>() {}
    assert_copy::<ProcessId>();
    assert_eq!(size_of::<ProcessId>(), 16);
}

#[test]
fn inv_0003_a_name_is_not_empty() {
    assert!(ProcessSpec::builder().name("").command("c").try_build().is_err());
}

#[test]
fn inv_0004_a_command_is_not_empty() {
    assert!(ProcessSpec::builder().name("n").command("").try_build().is_err());
}

#[test]
fn inv_0005_there_is_at_least_one_instance() {
    let builder = || ProcessSpec::builder().name("n").command("c");
    assert_eq!(builder().build().instances, 1);
    assert_eq!(builder().instances(0).build().instances, 1);
    assert_eq!(builder().instances(7).build().instances, 7);
}

/// Without the start event no state can be reached again.
#[test]
fn inv_0006_there_is_no_cycle_but_by_a_start() {
    fn visit(state: &ProcessState, path: &mut Vec<&'static str>) {
        assert!(!path.contains(&state.name()), "{} twice in {path:?}", state.name());
        path.push(state.name());
        for kind in every_transition().iter().filter(|kind| !matches!(kind, EventKind::Starting { .. })) {
            if let Ok(Some(next)) = transition(state, kind) {
                visit(&next, path);
            }
        }
        path.pop();
    }
    for state in every_state() {
        visit(&state, &mut Vec::new());
    }
}

#[test]
fn inv_0007_terminal_states_are_left_by_a_start_only() {
    for state in every_state().iter().filter(|state| state.has_exited()) {
        for kind in &every_transition() {
            let allowed = transition(state, kind).is_ok();
            assert_eq!(allowed, matches!(kind, EventKind::Starting { .. }), "{} while {state}", kind.name());
        }
    }
}

#[tokio::test]
async fn inv_0008_pid_iff_running() {
    let mut runner = ProcessRunner::new(sh("trap '' TERM; echo up; while :; do sleep 1000; done"), 0);
    let holds = |runner: &ProcessRunner| assert_eq!(runner.pid().is_some(), runner.state().is_running());
    holds(&runner);
    assert_eq!(runner.pid(), None);
    let mut lines = Lines::of(&mut runner);
    runner.start().unwrap();
    let pid = runner.pid().unwrap();
    assert!(is_alive(pid));
    holds(&runner);
    lines.next().await;
    begin(runner.stop(PATIENCE)).await;
    until("it is stopping", || runner.state() == ProcessState::Stopping).await;
    assert_eq!(runner.pid(), None);
    holds(&runner);
    in_time(runner.stop(Duration::ZERO)).await.unwrap();
    assert_eq!(runner.state(), ProcessState::Terminated);
    holds(&runner);
    assert!(!is_alive(pid));
}

#[tokio::test]
async fn inv_0009_started_at_iff_started_at_least_once() {
    let mut runner = ProcessRunner::new(sh("exit 3"), 0);
    assert_eq!(runner.handle().started_at, None);
    runner.start().unwrap();
    assert!(runner.handle().started_at.is_some());
    in_time(runner.wait()).await.unwrap();
    assert!(runner.handle().started_at.is_some());
    assert_eq!(runner.handle().uptime_secs(), None);
}

#[test]
#[should_panic(expected = "INV-0010")]
fn inv_0010_an_instance_is_less_than_their_number() {
    let _ = ProcessHandle::new(sh("true"), 1);
}

#[test]
#[should_panic(expected = "INV-0010")]
fn inv_0010_holds_for_runners_too() {
    let _ = ProcessRunner::new(sh("true"), 1);
}

#[tokio::test]
async fn inv_0011_child_iff_actively_running() {
    let log = Log::default();
    let mut runner = log.runner(sh("sleep 1000"));
    assert!(!runner.has_child());
    runner.start().unwrap();
    assert!(runner.has_child());
    runner.stop(AMPLE).await.unwrap();
    assert!(!runner.has_child());

    let mut missing = ProcessRunner::new(ProcessSpec::builder().name("n").command("/no/such/program").build(), 0);
    missing.start().unwrap_err();
    assert!(!missing.has_child());
    log.assert_live_equals_replayed(&runner);
}

#[tokio::test]
async fn inv_0012_the_state_follows_the_process_without_being_asked() {
    let mut runner = ProcessRunner::new(sh("sleep 1000"), 0);
    runner.start().unwrap();
    let pid = runner.pid().unwrap();
    assert!(is_alive(pid));
    assert_eq!(runner.state(), ProcessState::Running);
    drop(KillOnDrop(pid));
    until("the state tells of the exit", || runner.state().has_exited()).await;
    assert_eq!(runner.state(), ProcessState::Crashed { exit_code: None });
    assert!(!runner.has_child());
}
