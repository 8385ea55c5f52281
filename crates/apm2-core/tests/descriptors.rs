//! Starts near the limit on open files. Each start either succeeds or fails completely.

use std::{fs, process::Command, sync::Arc};

use apm2_core::{
    log::{LogThreads, LogsDir},
    process::{ProcessError, ProcessSpec, Requester},
    supervisor::{LaunchSpec, Services, Unrecovered},
};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::support::{Log, in_time, until};

/// The environment variable that is set in the process in which the test runs alone. The test changes the limit of its
/// process.
const ALONE: &str = "APM2_TEST_ALONE";

/// More descriptors than a start needs.
const DESCRIPTORS_MAX: u64 = 48;

#[test]
fn a_start_that_runs_out_of_descriptors_leaves_nothing_half_done() {
    let name = "descriptors::starts_at_every_limit";
    let alone =
        Command::new(std::env::current_exe().unwrap()).args([name, "--exact", "--nocapture"]).env(ALONE, "").output();
    let alone = alone.unwrap();
    assert!(
        alone.status.success(),
        "{}{}",
        String::from_utf8_lossy(&alone.stdout),
        String::from_utf8_lossy(&alone.stderr)
    );
}

#[tokio::test]
async fn starts_at_every_limit() {
    if std::env::var_os(ALONE).is_none() {
        return;
    }
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let (mut failed, mut started) = (0, 0);
    for spare in 0..DESCRIPTORS_MAX {
        let dir = tempfile::tempdir().unwrap();
        let log = Log::default();
        // The log threads must be started for this test, too.
        let logs = Some((LogsDir::new(dir.path().to_owned()), Arc::new(LogThreads::default())));
        let supervisor = Unrecovered::new(Services { logs, ..log.services(Vec::new()) }).without_past();
        let spec = ProcessSpec::builder().name("it").command("sleep").args(["1000"]).build();
        supervisor.apply(LaunchSpec::new(spec), &Requester::default()).await.unwrap();
        let id = supervisor.find("it").unwrap()[0];
        let open = u64::try_from(fs::read_dir("/proc/self/fd").unwrap().count()).unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, open + spare, hard).unwrap();
        let start = in_time(supervisor.start(id, &Requester::default())).await;
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
        let state = log.replay().unwrap().handle.state;
        match start {
            Ok(()) => {
                assert!(state.is_running(), "{state}");
                started += 1;
                in_time(supervisor.stop(id, None, &Requester::default())).await.unwrap();
            }
            Err(ProcessError::SpawnFailed(_)) => {
                failed += 1;
                assert!(
                    log.names().windows(2).any(|names| names == ["starting", "crashed"]),
                    "{spare}: {:?}",
                    log.names()
                );
                until("nothing is left of it", || {
                    supervisor.is_idle() || log.replay().unwrap().handle.state.has_exited()
                })
                .await;
                // The restart policy may have restarted the process.
                let _ = in_time(supervisor.stop(id, None, &Requester::default())).await;
            }
            Err(error) => panic!("{spare}: {error}: {:?}", log.names()),
        }
    }
    assert!(failed > 0 && started > 0, "{failed} failed, {started} did not");
}
