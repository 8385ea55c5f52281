//! Output is always read and delivered completely.

use std::time::Duration;

use apm2_core::process::{OutputSource, ProcessState};

use crate::support::{AMPLE, KillOnDrop, Lines, Log, escaping, in_time, is_alive, keeping_orphans, sh, until};

#[tokio::test]
async fn a_hundred_megabytes_without_a_subscriber_do_not_block() {
    let log = Log::default();
    let mut runner = log.runner(sh("head -c 100000000 /dev/zero; head -c 1000000 /dev/zero >&2"));
    runner.start().unwrap();
    assert!(in_time(runner.wait()).await.unwrap().success());
    log.assert_live_equals_replayed(&runner);
}

#[tokio::test]
async fn all_output_is_in_the_channel_before_wait_returns() {
    let mut runner = Log::default().runner(sh("echo out; echo err >&2; head -c 200000 /dev/zero"));
    let mut chunks = runner.subscribe_output();
    runner.start().unwrap();
    assert!(in_time(runner.wait()).await.unwrap().success());
    let (mut out, mut err) = (Vec::new(), Vec::new());
    while let Ok(chunk) = chunks.try_recv() {
        match chunk.source {
            OutputSource::Stdout => out.extend(chunk.bytes),
            OutputSource::Stderr => err.extend(chunk.bytes),
        }
    }
    assert_eq!((out.len(), err.as_slice()), (200_004, b"err\n".as_slice()));
    assert!(out.starts_with(b"out\n"));
}

#[tokio::test]
async fn a_slow_subscriber_loses_nothing() {
    const BYTES: usize = 20_000_000;
    let log = Log::default();
    let mut runner = log.runner(sh(&format!("head -c {BYTES} /dev/zero")));
    let mut chunks = runner.subscribe_output();
    runner.start().unwrap();
    until("the channel is full", || chunks.len() == chunks.max_capacity()).await;
    let reader = tokio::spawn(async move {
        let mut total = 0;
        while let Some(chunk) = chunks.recv().await {
            assert!(!chunk.bytes.is_empty() && chunk.bytes.len() <= 64 << 10);
            total += chunk.bytes.len();
        }
        total
    });
    assert!(in_time(runner.wait()).await.unwrap().success());
    drop(runner);
    assert_eq!(in_time(reader).await.unwrap(), BYTES);
    assert!(!log.names().contains(&"output_leaked"), "slowness is no leak");
}

#[tokio::test]
async fn a_subscriber_that_went_away_is_not_waited_for() {
    let mut runner = Log::default().runner(sh("head -c 50000000 /dev/zero"));
    drop(runner.subscribe_output());
    runner.start().unwrap();
    assert!(in_time(runner.wait()).await.unwrap().success());
}

#[tokio::test]
async fn a_subscription_lasts_over_restarts() {
    let mut runner = Log::default().runner(sh("echo $APM2_RUN"));
    let id = runner.spec().id;
    let mut lines = Lines::of(&mut runner);
    for run in 1..=3 {
        runner.start().unwrap();
        in_time(runner.wait()).await.unwrap();
        assert_eq!(lines.next().await, format!("{id}/0/{run}"));
    }
}

/// A process that left the group and writes without end neither delays the end of the run nor blocks.
#[tokio::test]
async fn an_escaped_writer_is_given_up_on_and_never_blocked() {
    let log = Log::default();
    let mut runner = log.runner(keeping_orphans(&escaping("sh -c 'while :; do echo x; done'")));
    let mut lines = Lines::of(&mut runner);
    runner.start().unwrap();
    let escaped = lines.next_pid().await;
    let _guard = KillOnDrop(escaped);
    let reader = tokio::spawn(async move { while lines.recv().await.is_some() {} });
    assert!(in_time(runner.wait()).await.unwrap().success());
    assert!(log.names().contains(&"output_leaked"));
    let written = || {
        let io = std::fs::read_to_string(format!("/proc/{escaped}/io")).unwrap();
        io.lines().find_map(|line| line.strip_prefix("wchar: ")?.parse::<u64>().ok()).unwrap()
    };
    let before = written();
    until("it has written more than a pipe holds", || written() > before + (1 << 20) / 4).await;
    drop(runner);
    in_time(reader).await.unwrap();
}

/// The child has the read end of its pipe open, too, so the end of the reader is neither a SIGPIPE nor an error.
#[tokio::test]
async fn a_child_outlives_its_reader() {
    let directory = tempfile::tempdir().unwrap();
    let [go, done] = ["go", "done"].map(|name| directory.path().join(name));
    let script = format!(
        "while ! [ -e {0} ]; do sleep 0.01; done; echo after && echo after >&2 && echo $? > {1}; exec sleep 1000",
        go.display(),
        done.display()
    );
    let pid = {
        let spawned = apm2_core::process::spawn(sh(&script)).unwrap();
        drop(spawned.child);
        spawned.pid
    };
    let _guard = KillOnDrop(pid);
    std::fs::write(&go, "").unwrap();
    until("it has written", || std::fs::read_to_string(&done).is_ok_and(|text| text == "0\n")).await;
    assert!(is_alive(pid));
}

#[tokio::test]
async fn stopping_a_silent_process_leaks_nothing() {
    let log = Log::default();
    let mut runner = log.runner(sh("exec sleep 1000"));
    runner.start().unwrap();
    in_time(runner.stop(AMPLE)).await.unwrap();
    assert_eq!(runner.state(), ProcessState::Stopped { exit_code: None });
    assert!(!log.names().contains(&"output_leaked"));
    // No more output follows: the readers have finished.
    tokio::time::timeout(Duration::from_secs(1), runner.wait()).await.unwrap();
}
