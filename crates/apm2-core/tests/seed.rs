//! The examples of the specification, verbatim, with additions only for names that they leave undefined.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

fn a_program_that_waits(directory: &tempfile::TempDir) -> PathBuf {
    let path = directory.path().join("claude");
    fs::write(&path, "#!/bin/sh\nexec sleep 1000\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[tokio::test]
async fn basic_process_lifecycle() -> Result<(), Box<dyn std::error::Error>> {
    use apm2_core::process::{ProcessRunner, ProcessSpec};
    use std::time::Duration;

    let workspace = tempfile::tempdir()?;
    let claude = a_program_that_waits(&workspace).display().to_string();
    let api_key = "secret";

    // Build a process specification
    let spec = ProcessSpec::builder()
        .name("claude-code")
        .command(claude)
        .args(["--session", "project"])
        .env("ANTHROPIC_API_KEY", api_key)
        .cwd(workspace.path())
        .build();

    // Create and start the runner
    let mut runner = ProcessRunner::new(spec, 0);
    runner.start()?;

    assert!(runner.state().is_running());
    assert!(runner.pid().is_some());

    // Stop gracefully with 5-second timeout
    runner.stop(Duration::from_secs(5)).await?;

    assert!(runner.state().has_exited());
    Ok(())
}

#[test]
fn multi_instance_process() {
    use apm2_core::process::{ProcessHandle, ProcessSpec};

    let spec = ProcessSpec::builder().name("worker").command("python").args(["worker.py"]).instances(4).build();

    // Creates handles for worker-0, worker-1, worker-2, worker-3
    let mut names = Vec::new();
    for i in 0..spec.instances {
        let handle = ProcessHandle::new(spec.clone(), i);
        println!("Instance: {}", handle.display_name());
        names.push(handle.display_name());
    }
    assert_eq!(names, ["worker-0", "worker-1", "worker-2", "worker-3"]);
}

#[tokio::test]
async fn waiting_for_process_exit() -> Result<(), Box<dyn std::error::Error>> {
    use apm2_core::process::{ProcessRunner, ProcessSpec, ProcessState};

    let spec = ProcessSpec::builder().name("task").command("sh").args(["-c", "echo hello && exit 0"]).build();

    let mut runner = ProcessRunner::new(spec, 0);
    runner.start()?;

    // Wait for completion
    let status = runner.wait().await;
    assert!(status.is_some());
    assert!(status.unwrap().success());
    assert!(matches!(runner.state(), ProcessState::Stopped { exit_code: Some(0) }));
    Ok(())
}

#[tokio::test]
async fn handling_crashed_processes() -> Result<(), Box<dyn std::error::Error>> {
    use apm2_core::process::{ProcessRunner, ProcessSpec, ProcessState};

    let spec = ProcessSpec::builder().name("failing-task").command("sh").args(["-c", "exit 1"]).build();

    let mut runner = ProcessRunner::new(spec, 0);
    runner.start()?;

    let status = runner.wait().await;
    assert!(!status.unwrap().success());
    assert!(matches!(runner.state(), ProcessState::Crashed { exit_code: Some(1) }));
    Ok(())
}
