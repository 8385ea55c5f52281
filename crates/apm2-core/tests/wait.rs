//! Exits: each is observed, reported once, and attributed to its run.

use std::{fs, os::unix::process::ExitStatusExt as _, time::Duration};

use apm2_core::process::{EventKind, ExitOutcome, ProcessState, RunEnd, Signal};

use crate::support::{
    AMPLE, KillOnDrop, Lines, Log, PATIENCE, begin, escaping, in_time, is_alive, keeping_orphans, sh, sh_builder,
    state_of, until,
};

#[tokio::test]
async fn the_exit_code_is_kept() {
    let log = Log::default();
    let mut runner = log.runner(sh("exit 7"));
    runner.start().unwrap();
    assert_eq!(in_time(runner.wait()).await.unwrap().code(), Some(7));
    assert_eq!(runner.state(), ProcessState::Crashed { exit_code: Some(7) });
    log.assert_live_equals_replayed(&runner);
}

#[tokio::test]
async fn the_signal_that_killed_it_is_kept() {
    let log = Log::default();
    let mut runner = log.runner(sh("kill -SEGV $$"));
    runner.start().unwrap();
    let status = in_time(runner.wait()).await.unwrap();
    assert_eq!((status.code(), status.signal()), (None, Some(11)));
    assert_eq!(runner.state(), ProcessState::Crashed { exit_code: None });
    let end = runner.stream().unwrap().end;
    let Some(RunEnd::Exit(exit)) = end else { panic!("{end:?}") };
    assert!(matches!(exit.outcome, ExitOutcome::Signal { signal, .. } if signal.to_string() == "SIGSEGV"), "{exit}");
    log.assert_live_equals_replayed(&runner);
}

#[tokio::test]
async fn a_sigkill_by_another_process_is_a_crash() {
    let log = Log::default();
    let mut runner = log.runner(sh("kill -KILL $$"));
    runner.start().unwrap();
    in_time(runner.wait()).await.unwrap();
    assert_eq!(runner.state(), ProcessState::Crashed { exit_code: None });
    assert_eq!(runner.stream().unwrap().exit().unwrap().signal(), Some(Signal::KILL));
    log.assert_live_equals_replayed(&runner);
}

#[tokio::test]
async fn one_exit_is_reported_once_by_wait() {
    let mut runner = Log::default().runner(sh("exit 0"));
    assert_eq!(in_time(runner.wait()).await, None);
    runner.start().unwrap();
    assert!(in_time(runner.wait()).await.is_some());
    assert_eq!(in_time(runner.wait()).await, None);
    assert_eq!(runner.try_wait(), None);
}

#[tokio::test]
async fn one_exit_is_reported_once_by_try_wait() {
    let mut runner = Log::default().runner(sh("exit 0"));
    assert_eq!(runner.try_wait(), None);
    runner.start().unwrap();
    let mut status = None;
    until("the exit is seen", || {
        status = runner.try_wait();
        status.is_some()
    })
    .await;
    assert!(status.unwrap().success());
    assert_eq!(runner.try_wait(), None);
    assert_eq!(in_time(runner.wait()).await, None);
}

#[tokio::test]
async fn one_exit_is_reported_once_by_stop() {
    let mut runner = Log::default().runner(sh("sleep 1000"));
    runner.start().unwrap();
    runner.stop(AMPLE).await.unwrap();
    assert_eq!(runner.try_wait(), None);
    assert_eq!(in_time(runner.wait()).await, None);
}

#[tokio::test]
async fn each_run_reports_its_own_exit() {
    let log = Log::default();
    let mut runner = log.runner(sh("exit 4"));
    for run in 1..=3 {
        runner.start().unwrap();
        assert_eq!(in_time(runner.wait()).await.unwrap().code(), Some(4));
        assert_eq!(runner.stream().unwrap().run, run);
        log.assert_live_equals_replayed(&runner);
    }
}

#[tokio::test]
async fn a_dropped_wait_changes_nothing() {
    let log = Log::default();
    let mut runner = log.runner(sh("sleep 1000"));
    runner.start().unwrap();
    for _ in 0..100 {
        begin(runner.wait()).await;
    }
    assert_eq!(runner.state(), ProcessState::Running);
    runner.stop(AMPLE).await.unwrap();
    log.assert_live_equals_replayed(&runner);
}

#[tokio::test]
async fn a_dropped_runner_leaves_its_process_and_its_record() {
    let log = Log::default();
    let directory = tempfile::tempdir().unwrap();
    let go = directory.path().join("go");
    let script = "echo up; while ! [ -e $GO ]; do sleep 0.01; done; exit 5";
    let mut runner = log.runner(sh_builder(script).env("GO", go.display().to_string()).build());
    let mut lines = Lines::of(&mut runner);
    runner.start().unwrap();
    let pid = runner.pid().unwrap();
    let _guard = KillOnDrop(pid);
    lines.next().await;
    drop(runner);
    assert!(is_alive(pid));
    fs::write(&go, "").unwrap();
    until("the exit is recorded", || log.names().last() == Some(&"crashed")).await;
    assert_eq!(log.replay().unwrap().exit().unwrap().code(), Some(5));
    until("it is reaped", || state_of(pid).is_none()).await;
}

/// `wait` waits for the exit of the process. It does not wait for the end of its output.
#[tokio::test]
async fn an_exit_does_not_wait_for_the_end_of_the_output() {
    let log = Log::default();
    let mut runner = log.runner(keeping_orphans(&escaping("sleep 1000")));
    let mut lines = Lines::of(&mut runner);
    runner.start().unwrap();
    let escaped = lines.next_pid().await;
    let _guard = KillOnDrop(escaped);
    let asked = std::time::Instant::now();
    assert!(in_time(runner.wait()).await.unwrap().success());
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    assert!(is_alive(escaped));
    let leaks = log.events().iter().filter(|event| matches!(event.kind, EventKind::OutputLeaked { .. })).count();
    assert_eq!(leaks, 2, "stdout and stderr, once each");
    log.assert_live_equals_replayed(&runner);
    // The subscription ends with the run, even if a process that left the run still has the output open.
    drop(runner);
    while let Some(chunk) = in_time(lines.recv()).await {
        assert!(chunk.bytes.is_empty(), "{chunk:?}");
    }
}

/// A grandchild that stays in the group is ended, and its signals are recorded.
#[tokio::test]
async fn members_that_outlive_a_natural_exit_are_cleared_away() {
    let log = Log::default();
    let mut runner = log.runner(sh("sleep 1000 & echo $!; exit 3"));
    let mut lines = Lines::of(&mut runner);
    runner.start().unwrap();
    let grandchild = lines.next_pid().await;
    assert_eq!(in_time(runner.wait()).await.unwrap().code(), Some(3));
    assert!(!is_alive(grandchild));
    assert_eq!(runner.state(), ProcessState::Crashed { exit_code: Some(3) });
    assert_eq!(log.names(), ["registered", "start_requested", "starting", "running", "signal_sent", "crashed"]);
    log.assert_live_equals_replayed(&runner);
}

#[tokio::test]
async fn members_that_ignore_sigterm_after_a_natural_exit_are_killed() {
    let log = Log::default();
    let script = "sh -c 'trap \"\" TERM; echo $$; while :; do sleep 1000; done' & \
                  while ! [ -e $GO ]; do sleep 0.01; done; exit 0";
    let directory = tempfile::tempdir().unwrap();
    let go = directory.path().join("go");
    let mut spec = sh_builder(script).env("GO", go.display().to_string()).build();
    spec.shutdown.timeout = Duration::from_millis(100);
    let mut runner = log.runner(spec);
    let mut lines = Lines::of(&mut runner);
    runner.start().unwrap();
    let grandchild = lines.next_pid().await;
    fs::write(&go, "").unwrap();
    assert!(in_time(runner.wait()).await.unwrap().success());
    assert!(!is_alive(grandchild));
    // The main process ended by itself, although the processes that it left behind were signalled.
    assert_eq!(runner.state(), ProcessState::Stopped { exit_code: Some(0) });
    let kills = log
        .events()
        .iter()
        .filter(|event| matches!(event.kind, EventKind::SignalSent { signal: Signal::KILL, .. }))
        .count();
    assert_eq!(kills, 1);
    log.assert_live_equals_replayed(&runner);
}

/// A stop during the clean-up after a natural exit waits for its end, and the exit is not recorded as a stop.
#[tokio::test]
async fn a_stop_after_the_exit_does_not_rewrite_it() {
    let log = Log::default();
    let script = "sh -c 'trap \"\" TERM; echo $$; while :; do sleep 1000; done' & \
                  while ! [ -e $GO ]; do sleep 0.01; done; exit 9";
    let directory = tempfile::tempdir().unwrap();
    let go = directory.path().join("go");
    let spec = sh_builder(script).env("GO", go.display().to_string()).build();
    let mut runner = log.runner(spec);
    let mut lines = Lines::of(&mut runner);
    runner.start().unwrap();
    let grandchild = lines.next_pid().await;
    fs::write(&go, "").unwrap();
    until("the leftovers are asked to end", || log.names().contains(&"signal_sent")).await;
    in_time(runner.stop(PATIENCE)).await.unwrap();
    assert!(!is_alive(grandchild));
    assert_eq!(runner.state(), ProcessState::Crashed { exit_code: Some(9) });
    log.assert_live_equals_replayed(&runner);
}
