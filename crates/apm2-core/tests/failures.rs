//! Spawns that fail.

use std::os::unix::fs::PermissionsExt as _;

use apm2_core::process::{ProcessError, ProcessSpec, ProcessState, RunEnd, SpawnFailure, SpawnStage};

use crate::support::{Log, in_time, sh};

const ENOENT: i32 = nix::libc::ENOENT;
const EACCES: i32 = nix::libc::EACCES;

async fn failure_of(spec: ProcessSpec) -> SpawnFailure {
    let log = Log::default();
    let mut runner = log.runner(spec);
    let error = runner.start().unwrap_err();
    assert!(matches!(error, ProcessError::SpawnFailed(_)), "{error}");
    assert_eq!(runner.state(), ProcessState::Crashed { exit_code: None });
    assert_eq!(log.names(), ["registered", "start_requested", "starting", "crashed"]);
    assert_eq!(log.events()[3].cause, log.seq_of("start_requested"));
    assert_eq!(in_time(runner.wait()).await, None);
    log.assert_live_equals_replayed(&runner);
    match runner.stream().unwrap().end {
        Some(RunEnd::SpawnFailed(failure)) => failure,
        end => panic!("{end:?}"),
    }
}

fn run(command: &str) -> ProcessSpec {
    ProcessSpec::builder().name("n").command(command).build()
}

#[tokio::test]
async fn a_missing_program_is_named() {
    let failure = failure_of(run("/no/such/program")).await;
    assert_eq!((failure.stage, failure.errno), (SpawnStage::Exec, Some(ENOENT)));
    assert_eq!(failure.message, "/no/such/program: No such file or directory");
}

#[tokio::test]
async fn a_directory_cannot_be_executed() {
    let failure = failure_of(run("/tmp")).await;
    assert_eq!((failure.stage, failure.errno), (SpawnStage::Exec, Some(EACCES)));
}

#[tokio::test]
async fn a_file_without_the_permission_cannot_be_executed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("data");
    std::fs::write(&path, "data").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let failure = failure_of(run(&path.display().to_string())).await;
    assert_eq!((failure.stage, failure.errno), (SpawnStage::Exec, Some(EACCES)));
}

#[tokio::test]
async fn a_missing_directory_is_not_a_missing_program() {
    let spec = ProcessSpec::builder().name("n").command("true").cwd("/no/such/directory").build();
    let failure = failure_of(spec).await;
    assert_eq!((failure.stage, failure.errno), (SpawnStage::WorkingDirectory, Some(ENOENT)));
    assert_eq!(failure.message, "working directory /no/such/directory: No such file or directory");
}

#[tokio::test]
async fn a_file_is_no_working_directory() {
    let spec = ProcessSpec::builder().name("n").command("true").cwd("/etc/passwd").build();
    let failure = failure_of(spec).await;
    assert_eq!((failure.stage, failure.errno), (SpawnStage::WorkingDirectory, Some(nix::libc::ENOTDIR)));
}

#[tokio::test]
async fn what_could_not_be_spawned_can_be_started_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("program");
    let log = Log::default();
    let mut runner = log.runner(run(&path.display().to_string()));
    runner.start().unwrap_err();
    runner.start().unwrap_err();
    std::fs::write(&path, "#!/bin/sh\nexit 6\n").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    runner.start().unwrap();
    assert_eq!(in_time(runner.wait()).await.unwrap().code(), Some(6));
    assert_eq!(runner.stream().unwrap().run, 3);
    log.assert_live_equals_replayed(&runner);
}

#[test]
fn without_a_runtime_nothing_is_recorded() {
    let log = Log::default();
    let mut runner = log.runner(sh("true"));
    let error = runner.start().unwrap_err();
    assert!(matches!(error, ProcessError::InvalidState(_)), "{error}");
    assert!(log.events().is_empty());
    assert!(apm2_core::process::spawn(sh("true")).is_err());
}
