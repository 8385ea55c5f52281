//! Stops: the signal, the deadline, and no process left behind.

use std::{
    fs,
    io::ErrorKind,
    os::unix::fs::PermissionsExt as _,
    time::{Duration, Instant},
};

use apm2_core::{
    process::{Actor, EventKind, ProcessError, ProcessState, Requester, Signal},
    shutdown::ShutdownConfig,
};
use tokio::time::timeout;

use crate::support::{
    AMPLE, KillOnDrop, Lines, Log, PATIENCE, begin, in_time, is_alive, sh, sh_builder, state_of, until,
};

/// A script that ignores SIGTERM, prints a line when it is ready, and runs on.
const STUBBORN: &str = "trap '' TERM; echo $$; while :; do sleep 1000; done";

#[tokio::test]
async fn a_stop_within_the_deadline_is_a_stop() {
    let log = Log::default();
    let mut runner = log.runner(sh("sleep 1000"));
    runner.start().unwrap();
    let asker =
        Requester { actor: Actor::Operator { uid: 7, user: None, terminal: None }, reason: Some("tired".into()) };
    in_time(runner.stop_by(AMPLE, asker)).await.unwrap();
    // The requested SIGTERM ended the process: the run is no crash and has no exit code.
    assert_eq!(runner.state(), ProcessState::Stopped { exit_code: None });
    let names = ["registered", "start_requested", "starting", "running", "stopping", "signal_sent", "stopped"];
    assert_eq!(log.names(), names);
    let events = log.events();
    for event in events.iter().filter(|event| matches!(event.kind.name(), "stopping" | "signal_sent")) {
        assert_eq!(event.reason.as_deref(), Some("tired"));
        assert!(matches!(event.actor, Actor::Operator { uid: 7, .. }));
    }
    assert_eq!(events.last().unwrap().cause, log.seq_of("stopping"));
    log.assert_live_equals_replayed(&runner);
}

#[tokio::test]
async fn an_exit_code_upon_a_stop_is_kept() {
    let log = Log::default();
    let mut runner = log.runner(sh("trap 'exit 143' TERM; echo up; while :; do sleep 0.01; done"));
    let mut lines = Lines::of(&mut runner);
    runner.start().unwrap();
    lines.next().await;
    in_time(runner.stop(AMPLE)).await.unwrap();
    assert_eq!(runner.state(), ProcessState::Stopped { exit_code: Some(143) });
    log.assert_live_equals_replayed(&runner);
}

#[tokio::test]
async fn grandchildren_are_gone_after_a_stop() {
    let log = Log::default();
    let mut runner = log.runner(sh("sleep 1000 & echo $!; sh -c 'sleep 1000 & echo $!; wait' & wait"));
    let mut lines = Lines::of(&mut runner);
    runner.start().unwrap();
    let pids = [lines.next_pid().await, lines.next_pid().await, runner.pid().unwrap()];
    assert!(pids.iter().all(|pid| is_alive(*pid)));
    in_time(runner.stop(AMPLE)).await.unwrap();
    assert!(!pids.iter().any(|pid| is_alive(*pid)));
    log.assert_live_equals_replayed(&runner);
}

/// The main process ended in time, but the processes that it left behind had to be killed. This counts as stopped.
#[tokio::test]
async fn a_stop_is_complete_when_the_group_is_empty() {
    let log = Log::default();
    let script = format!("sh -c \"{}\" & echo leader; wait", STUBBORN.replace('$', "\\$"));
    let mut runner = log.runner(sh(&script));
    let mut lines = Lines::of(&mut runner);
    runner.start().unwrap();
    let (first, second) = (lines.next().await, lines.next().await);
    let stubborn = first.parse().or(second.parse()).unwrap();
    in_time(runner.stop(Duration::from_millis(300))).await.unwrap();
    assert!(!is_alive(stubborn));
    assert_eq!(runner.state(), ProcessState::Stopped { exit_code: None });
    let ended = log.events().pop().unwrap();
    let killed = log.events().into_iter().rev().find(|event| event.kind.name() == "signal_sent").unwrap();
    assert!(matches!(killed.kind, EventKind::SignalSent { signal: Signal::KILL, .. }));
    assert!(ended.stamp.boot_ns >= killed.stamp.boot_ns, "the events of a stream are in the order of time");
    log.assert_live_equals_replayed(&runner);
}

#[tokio::test]
async fn a_stopped_process_is_continued_so_that_it_can_end() {
    let log = Log::default();
    let mut runner = log.runner(sh("kill -STOP $$; sleep 1000"));
    runner.start().unwrap();
    let pid = runner.pid().unwrap();
    until("it is stopped", || state_of(pid) == Some('T')).await;
    in_time(runner.stop(PATIENCE)).await.unwrap();
    assert_eq!(runner.state(), ProcessState::Stopped { exit_code: None });
    let continued =
        log.events().iter().any(|event| matches!(event.kind, EventKind::SignalSent { signal: Signal::CONT, .. }));
    assert!(continued, "law 2: no signal without its record");
    log.assert_live_equals_replayed(&runner);
}

#[tokio::test]
async fn the_configured_signal_is_sent_even_a_real_time_one() {
    for signal in [Signal::INT, Signal::from_number(40).unwrap()] {
        let log = Log::default();
        let shutdown = ShutdownConfig { signal, ..ShutdownConfig::default() };
        let mut runner = log.runner(sh_builder("exec sleep 1000").shutdown(shutdown).build());
        runner.start().unwrap();
        in_time(runner.stop(PATIENCE)).await.unwrap();
        assert_eq!(runner.stream().unwrap().exit().unwrap().signal(), Some(signal));
        log.assert_live_equals_replayed(&runner);
    }
}

#[tokio::test]
async fn a_dropped_stop_goes_on_and_the_runner_tells_the_truth() {
    let log = Log::default();
    let mut runner = log.runner(sh("sleep 1000"));
    runner.start().unwrap();
    begin(runner.stop(AMPLE)).await;
    let status = in_time(runner.wait()).await;
    assert!(status.is_some(), "the exit was not reported yet");
    assert_eq!(runner.state(), ProcessState::Stopped { exit_code: None });
    log.assert_live_equals_replayed(&runner);
}

#[tokio::test]
async fn a_start_while_stopping_is_refused() {
    let log = Log::default();
    let mut runner = log.runner(sh(STUBBORN));
    let mut lines = Lines::of(&mut runner);
    runner.start().unwrap();
    let pid = lines.next_pid().await;
    begin(runner.stop(PATIENCE)).await;
    until("it is stopping", || runner.state() == ProcessState::Stopping).await;
    let error = runner.start().unwrap_err();
    assert!(matches!(error, ProcessError::InvalidState(_)), "{error}");
    assert!(runner.has_child());
    in_time(runner.stop(Duration::ZERO)).await.unwrap();
    assert!(!is_alive(pid));
    log.assert_live_equals_replayed(&runner);
}

#[tokio::test]
async fn a_second_stop_shortens_the_first() {
    let log = Log::default();
    let mut runner = log.runner(sh(STUBBORN));
    let mut lines = Lines::of(&mut runner);
    runner.start().unwrap();
    lines.next().await;
    begin(runner.stop(Duration::from_secs(1000))).await;
    until("it is stopping", || runner.state() == ProcessState::Stopping).await;
    in_time(runner.stop(Duration::from_millis(50))).await.unwrap();
    assert_eq!(runner.state(), ProcessState::Terminated);
    assert_eq!(log.names().iter().filter(|name| **name == "stopping").count(), 1, "it joined the first");
    log.assert_live_equals_replayed(&runner);
}

#[tokio::test]
async fn a_second_stop_never_lengthens_the_first() {
    let log = Log::default();
    let mut runner = log.runner(sh(STUBBORN));
    let mut lines = Lines::of(&mut runner);
    runner.start().unwrap();
    lines.next().await;
    begin(runner.stop(Duration::from_millis(300))).await;
    until("it is stopping", || runner.state() == ProcessState::Stopping).await;
    in_time(runner.stop(Duration::MAX)).await.unwrap();
    assert_eq!(runner.state(), ProcessState::Terminated);
    log.assert_live_equals_replayed(&runner);
}

#[tokio::test]
async fn without_force_kill_the_stop_fails_at_its_deadline_and_stays_pending() {
    let log = Log::default();
    let shutdown = ShutdownConfig { force_kill: false, ..ShutdownConfig::default() };
    let mut runner = log.runner(sh_builder("trap '' TERM; echo $$; exec sleep 1000").shutdown(shutdown).build());
    let mut lines = Lines::of(&mut runner);
    runner.start().unwrap();
    let pid = lines.next_pid().await;
    for _ in 0..2 {
        let asked = Instant::now();
        let error = in_time(runner.stop(Duration::from_millis(100))).await.unwrap_err();
        assert!(asked.elapsed() >= Duration::from_millis(100));
        assert!(matches!(&error, ProcessError::Io(error) if error.kind() == ErrorKind::TimedOut), "{error}");
        assert_eq!(runner.state(), ProcessState::Stopping);
        assert!(is_alive(pid));
    }
    drop(KillOnDrop(pid));
    in_time(runner.wait()).await.unwrap();
    // Another process has killed the main process.
    assert_eq!(runner.state(), ProcessState::Stopped { exit_code: None });
    log.assert_live_equals_replayed(&runner);
}

/// The task that reads the output may also be the task that stops the process. It does not read during the stop.
#[tokio::test]
async fn a_stop_does_not_wait_for_a_subscriber_that_does_not_read() {
    let log = Log::default();
    let mut runner = log.runner(sh("exec yes"));
    let chunks = runner.subscribe_output();
    runner.start().unwrap();
    until("the subscriber is behind", || chunks.len() == chunks.max_capacity()).await;
    in_time(runner.stop(AMPLE)).await.unwrap();
    assert_eq!(runner.state(), ProcessState::Stopped { exit_code: None });
    drop(chunks);
    log.assert_live_equals_replayed(&runner);
}

#[tokio::test]
async fn a_process_can_be_stopped_and_started_many_times() {
    let log = Log::default();
    let mut runner = log.runner(sh("exec sleep 1000"));
    for _ in 0..20 {
        runner.start().unwrap();
        in_time(runner.stop(AMPLE)).await.unwrap();
    }
    assert_eq!(runner.stream().unwrap().run, 20);
    assert_eq!(runner.handle().restart_count, 0, "starts by an operator are no restarts");
    log.assert_live_equals_replayed(&runner);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_futures_of_a_runner_can_move_between_threads() {
    let mut runner = Log::default().runner(sh("sleep 1000"));
    runner.start().unwrap();
    let stopped = tokio::spawn(async move {
        let result = runner.stop(AMPLE).await;
        (runner.wait().await, result)
    });
    let (status, result) = in_time(stopped).await.unwrap();
    assert!(status.is_none());
    result.unwrap();
}

/// A shell with job control puts each job into a process group of its own; they still belong to the run.
#[tokio::test]
async fn jobs_in_groups_of_their_own_are_gone_after_a_stop() {
    let log = Log::default();
    let mut runner = log.runner(sh("set -m; sleep 300 & echo $!; wait"));
    let mut lines = Lines::of(&mut runner);
    runner.start().unwrap();
    let job = lines.next().await.parse().unwrap();
    assert!(is_alive(job));
    in_time(runner.stop(Duration::from_secs(5))).await.unwrap();
    assert!(!is_alive(job));
    log.assert_live_equals_replayed(&runner);
}

/// Each generation leaves the session, forks the next one and ends, faster than all of `/proc` can be read.
#[tokio::test]
async fn a_stop_tells_the_truth_of_what_forks_and_leaves_the_session_faster_than_it_can_be_seen() {
    let dir = tempfile::tempdir().unwrap();
    let (program, trace) = (dir.path().join("hop"), dir.path().join("trace"));
    let script = format!(
        "#!/bin/sh\ntrap '' TERM\nprintf . >> {0}\n[ -e {0}.end ] || setsid {1} &\n",
        trace.display(),
        program.display()
    );
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
    let generations = || fs::metadata(&trace).map_or(0, |file| file.len());
    let log = Log::default();
    let mut runner = log.runner(sh(&format!("{} & exec sleep 1000", program.display())));
    runner.start().unwrap();
    until("it is on its way", || generations() > 20).await;
    let stopped = runner.stop(Duration::from_millis(500)).await;
    let seen = generations();
    // The pause is longer than the life of a generation: a surviving process would have forked the next generation.
    let is_left = timeout(Duration::from_secs(1), until("it goes on", || generations() > seen)).await.is_ok();
    fs::write(trace.with_extension("end"), "").unwrap();
    match stopped {
        Ok(()) => assert!(!is_left, "the stop succeeded, and it goes on: {:?}", log.names()),
        Err(_) => assert!(log.names().contains(&"group_survived"), "{:?}", log.names()),
    }
}
