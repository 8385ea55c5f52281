//! Tests of the order of records: an intent is recorded before its effect, and the evidence after the effect. No effect
//! is left unrecorded.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicU32, Ordering},
};

use apm2_core::process::{
    Actor, Clock, EventKind, ProcessError, ProcessSpec, ProcessState, Requester, StartTrigger, Timestamp,
};

use crate::support::{AMPLE, KillOnDrop, Lines, Log, PATIENCE, in_time, is_alive, sh, sh_builder, state_of, until};

#[tokio::test]
async fn a_start_is_recorded_before_there_is_a_process() {
    let directory = tempfile::tempdir().unwrap();
    let trace = directory.path().join("trace");
    let seen = trace.clone();
    let log = Log::checked(move |drafts| {
        let starts = drafts.iter().any(|draft| matches!(draft.kind, EventKind::StartRequested { .. }));
        assert!(!starts || !seen.exists(), "the process is there before its start is on record");
        Ok(())
    });
    let mut runner = log.runner(sh(&format!("touch {}", trace.display())));
    runner.start().unwrap();
    in_time(runner.wait()).await.unwrap();
    assert!(trace.exists());
    assert_eq!(log.names(), ["registered", "start_requested", "starting", "running", "stopped"]);
    log.assert_live_equals_replayed(&runner);
}

#[tokio::test]
async fn a_start_that_cannot_be_recorded_is_not_made() {
    let directory = tempfile::tempdir().unwrap();
    let trace = directory.path().join("trace");
    let log = Log::refusing(|kind| matches!(kind, EventKind::StartRequested { .. }));
    let mut runner = log.runner(sh(&format!("touch {}", trace.display())));
    let error = runner.start().unwrap_err();
    assert!(matches!(error, ProcessError::Io(_)), "{error}");
    assert!(!runner.has_child() && log.events().is_empty() && !trace.exists());
}

#[tokio::test]
async fn nothing_runs_unrecorded() {
    let has_room = Arc::<AtomicBool>::default();
    let room = Arc::clone(&has_room);
    let log = Log::refusing(move |kind| matches!(kind, EventKind::Starting { .. }) && !room.load(Ordering::Acquire));
    let mut runner = log.runner(sh("exec sleep 1000"));
    // The process is found by the marker of the run in its environment.
    let marker = format!("APM2_RUN={}/0/1", runner.spec().id);
    let error = runner.start().unwrap_err();
    assert!(matches!(error, ProcessError::Io(_)), "{error}");
    assert!(!runner.has_child() && runner.pid().is_none());
    until("no process has the marker", || !is_marked(&marker)).await;
    assert_eq!(log.names(), ["registered", "start_requested"], "asked for, never confirmed");
    assert!(matches!(runner.start().unwrap_err(), ProcessError::Io(_)), "what is open has to be closed first");
    has_room.store(true, Ordering::Release);
    runner.start().unwrap();
    let names = ["registered", "start_requested", "starting", "crashed", "start_requested", "starting", "running"];
    assert_eq!(log.names(), names);
    in_time(runner.stop(AMPLE)).await.unwrap();
    log.assert_live_equals_replayed(&runner);
}

fn is_marked(marker: &str) -> bool {
    std::fs::read_dir("/proc").unwrap().flatten().any(|entry| {
        let environ = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        environ.split(|byte| *byte == 0).any(|variable| variable == marker.as_bytes())
    })
}

#[tokio::test]
async fn a_stop_that_cannot_be_recorded_sends_no_signal() {
    let log = Log::refusing(|kind| matches!(kind, EventKind::Stopping { .. }));
    let mut runner = log.runner(sh("exec sleep 1000"));
    runner.start().unwrap();
    let pid = runner.pid().unwrap();
    let guard = KillOnDrop(pid);
    let error = in_time(runner.stop(AMPLE)).await.unwrap_err();
    assert!(matches!(error, ProcessError::Io(_)), "{error}");
    assert_eq!(runner.state(), ProcessState::Running);
    assert!(is_alive(pid));
    drop(guard);
    in_time(runner.wait()).await.unwrap();
    log.assert_live_equals_replayed(&runner);
}

/// An end is reported only after it is durable.
#[tokio::test]
async fn an_end_that_cannot_be_recorded_is_not_reported() {
    let log = Log::refusing(|kind| matches!(kind, EventKind::Stopped { .. }));
    let mut runner = log.runner(sh("exit 0"));
    runner.start().unwrap();
    let pid = runner.pid().unwrap();
    assert_eq!(in_time(runner.wait()).await, None);
    assert_eq!(state_of(pid), Some('Z'), "the kernel keeps it for the next supervisor");
    assert!(matches!(runner.start().unwrap_err(), ProcessError::Io(_)));
    assert!(matches!(in_time(runner.stop(AMPLE)).await.unwrap_err(), ProcessError::Io(_)));
    assert_eq!(runner.state(), ProcessState::Running, "no state without its event");
}

#[tokio::test]
async fn an_exit_is_on_record_before_wait_returns() {
    let log = Log::default();
    let mut runner = log.runner(sh("exit 0"));
    runner.start().unwrap();
    in_time(runner.wait()).await.unwrap();
    assert_eq!(log.names().last(), Some(&"stopped"));
}

#[tokio::test]
async fn a_stop_is_recorded_before_its_signal_is_sent() {
    let pid = Arc::new(AtomicU32::new(0));
    let watched = Arc::clone(&pid);
    let checked = Arc::new(Mutex::new(0));
    let count = Arc::clone(&checked);
    let log = Log::checked(move |drafts| {
        if drafts.iter().any(|draft| matches!(draft.kind, EventKind::Stopping { .. })) {
            assert!(is_alive(watched.load(Ordering::SeqCst)));
            *count.lock().unwrap() += 1;
        }
        Ok(())
    });
    let mut runner = log.runner(sh("exec sleep 1000"));
    runner.start().unwrap();
    pid.store(runner.pid().unwrap(), Ordering::SeqCst);
    in_time(runner.stop(AMPLE)).await.unwrap();
    assert_eq!(*checked.lock().unwrap(), 1);
}

#[tokio::test]
async fn a_changed_specification_is_recorded_once_and_without_its_secrets() {
    let log = Log::default();
    let first = sh_builder("exit 0").env("SECRET", "hunter2").build();
    let mut runner = log.runner(first.clone());
    for _ in 0..2 {
        runner.start().unwrap();
        in_time(runner.wait()).await.unwrap();
    }
    // The values of variables are not recorded, so a new value is no recorded change.
    let rotated = ProcessSpec { env: [("SECRET".into(), "hunter3".into())].into(), ..first.clone() };
    let changed = ProcessSpec { args: vec!["-c".into(), "exit 1".into()], ..first };
    for spec in [rotated, changed] {
        runner = log.runner(spec);
        runner.start().unwrap();
        in_time(runner.wait()).await.unwrap();
        log.assert_live_equals_replayed(&runner);
    }
    assert_eq!(log.names().iter().filter(|name| **name == "spec_changed").count(), 1);
    assert!(!format!("{:?} {runner:?}", log.events()).contains("hunter"));
}

#[tokio::test]
async fn who_asked_and_why_is_kept() {
    let log = Log::default();
    let mut runner = log.runner(sh("exit 0"));
    let actor = Actor::Operator { uid: 42, user: Some("ada".into()), terminal: None };
    runner.start_by(Requester { actor: actor.clone(), reason: Some("a test".into()) }, StartTrigger::Start).unwrap();
    in_time(runner.wait()).await.unwrap();
    let requested = &log.events()[1];
    assert_eq!((&requested.actor, requested.reason.as_deref()), (&actor, Some("a test")));
    assert_eq!(log.events()[2].cause, Some(requested.seq));
}

struct FixedClock;

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        Timestamp { wall_ns: 1_000_000_000, boot_ns: 5, boot_id: uuid::Uuid::from_u128(1) }
    }
}

#[tokio::test]
async fn stamps_come_from_the_clock_that_was_given() {
    let log = Log::default();
    let mut runner = log.runner(sh("exit 0")).with_clock(Arc::new(FixedClock));
    runner.start().unwrap();
    in_time(runner.wait()).await.unwrap();
    assert!(log.events().iter().all(|event| event.stamp == FixedClock.now()));
    assert_eq!(runner.handle().started_at, Some(FixedClock.now().wall()));
}

#[tokio::test]
async fn events_of_a_run_have_its_number() {
    let log = Log::default();
    let mut runner = log.runner(sh("echo up; sleep 1000"));
    let mut lines = Lines::of(&mut runner);
    for _ in 0..2 {
        runner.start().unwrap();
        lines.next().await;
        in_time(runner.stop(PATIENCE)).await.unwrap();
    }
    let runs: Vec<u64> = log.events().iter().map(|event| event.run).collect();
    assert_eq!(runs, [0, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2]);
}
