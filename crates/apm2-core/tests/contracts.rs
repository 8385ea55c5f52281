//! The contracts of the specification, each by its number.

use std::time::Duration;

use apm2_core::process::{
    EventKind, ProcessError, ProcessRunner, ProcessSpec, ProcessSpecBuilder, ProcessState, Signal, SignalTarget, spawn,
};
use tokio::io::AsyncReadExt as _;

use crate::support::{AMPLE, Lines, Log, in_time, sh};

#[test]
fn ctr_0001_name_and_command_are_required() {
    assert!(ProcessSpec::builder().try_build().is_err());
    assert!(ProcessSpec::builder().name("n").try_build().is_err());
    assert!(ProcessSpec::builder().command("c").try_build().is_err());
    assert!(ProcessSpec::builder().name("n").command("c").try_build().is_ok());
}

#[test]
#[should_panic(expected = "name is required")]
fn ctr_0002_build_panics_without_a_name() {
    let _ = ProcessSpec::builder().command("c").build();
}

#[test]
#[should_panic(expected = "command is required")]
fn ctr_0002_build_panics_without_a_command() {
    let _ = ProcessSpec::builder().name("n").build();
}

#[test]
fn ctr_0003_every_builder_method_chains() {
    let builder: ProcessSpecBuilder = ProcessSpec::builder()
        .id(apm2_core::process::ProcessId::new())
        .name("n")
        .command("c")
        .args(["a"])
        .cwd("/")
        .env("K", "V")
        .instances(2)
        .restart(Default::default())
        .health(Default::default())
        .log(Default::default())
        .shutdown(Default::default())
        .credentials(Default::default());
    assert_eq!(builder.build().instances, 2);
}

/// Checks the attributes in the source, so that a removed one is noticed.
#[test]
fn ctr_0004_every_builder_method_is_must_use() {
    let source = include_str!("../../apm2-model/src/spec/builder.rs");
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let mut methods = 0;
    for (number, line) in lines.iter().enumerate().filter(|(_, line)| line.starts_with("pub fn ")) {
        // `Result` is `must_use` by itself.
        if line.contains("Result<") {
            continue;
        }
        methods += 1;
        assert_eq!(lines[number - 1], "#[must_use]", "before {line}");
    }
    assert!(methods >= 12, "{methods} methods");
}

#[tokio::test]
async fn ctr_0005_start_fails_while_running() {
    let mut runner = ProcessRunner::new(sh("sleep 1000"), 0);
    runner.start().unwrap();
    let pid = runner.pid();
    let error = runner.start().unwrap_err();
    assert!(matches!(error, ProcessError::InvalidState(_)), "{error}");
    assert_eq!(error.to_string(), "invalid state for operation: cannot start test: it is running");
    assert_eq!(runner.pid(), pid);
    runner.stop(AMPLE).await.unwrap();
}

#[tokio::test]
async fn ctr_0006_stop_fails_unless_running() {
    let mut runner = ProcessRunner::new(sh("exit 0"), 0);
    let error = runner.stop(AMPLE).await.unwrap_err();
    assert!(matches!(error, ProcessError::InvalidState(_)), "{error}");
    runner.start().unwrap();
    in_time(runner.wait()).await.unwrap();
    let error = runner.stop(AMPLE).await.unwrap_err();
    assert!(matches!(error, ProcessError::InvalidState(_)), "{error}");
}

#[tokio::test]
async fn ctr_0007_stop_sends_sigterm_then_sigkill_after_the_timeout() {
    let log = Log::default();
    let mut runner = log.runner(sh("trap '' TERM; echo up; while :; do sleep 1000; done"));
    let mut lines = Lines::of(&mut runner);
    runner.start().unwrap();
    lines.next().await;
    let asked = std::time::Instant::now();
    runner.stop(Duration::from_millis(200)).await.unwrap();
    assert!(asked.elapsed() >= Duration::from_millis(200));
    assert_eq!(runner.state(), ProcessState::Terminated);
    let signals: Vec<EventKind> = log.events().into_iter().map(|event| event.kind).skip(4).take(3).collect();
    assert!(matches!(signals[0], EventKind::Stopping { signal: Signal::TERM, timeout_ms: 200, force_kill: true }));
    assert_eq!(signals[1], EventKind::SignalSent { signal: Signal::TERM, target: SignalTarget::Group });
    assert_eq!(signals[2], EventKind::SignalSent { signal: Signal::KILL, target: SignalTarget::Group });
    log.assert_live_equals_replayed(&runner);
}

#[tokio::test]
async fn ctr_0008_spawn_fails_when_the_command_is_not_found() {
    let spec = ProcessSpec::builder().name("n").command("no-such-program-anywhere").build();
    let error = spawn(spec.clone()).unwrap_err();
    assert!(matches!(error, ProcessError::SpawnFailed(_)), "{error}");
    assert_eq!(error.to_string(), "failed to spawn process: no-such-program-anywhere: No such file or directory");
}

#[tokio::test]
async fn ctr_0009_stdin_is_null_and_the_outputs_are_pipes() {
    let spawned = spawn(sh("readlink /proc/self/fd/0; echo err >&2")).unwrap();
    let mut child = spawned.child;
    assert!(child.stdin.is_none());
    let (mut stdout, mut stderr) = (String::new(), String::new());
    child.stdout.take().unwrap().read_to_string(&mut stdout).await.unwrap();
    child.stderr.take().unwrap().read_to_string(&mut stderr).await.unwrap();
    assert_eq!((stdout.as_str(), stderr.as_str()), ("/dev/null\n", "err\n"));
    assert!(in_time(child.wait()).await.unwrap().success());
}

#[tokio::test]
async fn a_runner_and_its_state_say_what_they_are() {
    let spec = ProcessSpec::builder().name("web").command("sh").args(["-c", "exit 1"]).instances(2).build();
    let mut runner = ProcessRunner::new(spec, 1);
    assert_eq!(runner.display_name(), "web-1");
    runner.start().unwrap();
    runner.wait().await;
    assert_eq!(runner.state().to_string(), "crashed (exit code: 1)");
    assert_eq!((runner.state().name(), ProcessState::Terminated.to_string().as_str()), ("crashed", "terminated"));
}
