//! A supervisor that records to a ledger, as a program embeds them.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use apm2_core::{
    process::{Actor, Event, ProcessSpec, ProcessState, Requester},
    restart::{BackoffConfig, RestartConfig},
    supervisor::{EventSubscription, LaunchSpec, LaunchStore, StoredLaunches, Supervisor},
};
use apm2_ledger::Ledger;
use tokio::time::timeout;

/// Timeout of each wait in these tests, long enough for a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn spec(script: &str) -> ProcessSpec {
    let backoff = BackoffConfig::Fixed { delay: Duration::from_millis(10) };
    let restart = RestartConfig { max_restarts: 2, backoff, ..RestartConfig::default() };
    ProcessSpec::builder().name("agent").command("sh").args(["-c", script]).instances(2).restart(restart).build()
}

async fn all(mut events: EventSubscription, count: usize) -> Vec<Event> {
    let mut seen = Vec::new();
    while seen.len() < count {
        let next = timeout(PATIENCE, events.next()).await.unwrap();
        seen.push((*next.unwrap().unwrap()).clone());
    }
    seen
}

#[tokio::test]
async fn subscribers_get_every_event_that_is_recorded() {
    let parent = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(&parent.path().join("ledger")).unwrap();
    let (supervisor, _) = Supervisor::builder(ledger.clone()).recover().await.unwrap();
    let of_all = supervisor.events();
    let agent = supervisor.supervise(spec("exit 3")).await.unwrap();
    let of_agent = agent.events();
    let other = supervisor.supervise(ProcessSpec::builder().name("other").command("true").build()).await.unwrap();
    let by = Requester { actor: Actor::System, reason: Some("a test".to_owned()) };
    agent.clone().requested_by(by).start().await.unwrap();
    other.start().await.unwrap();
    let ended = timeout(PATIENCE, agent.wait()).await.unwrap().unwrap();
    timeout(PATIENCE, other.wait()).await.unwrap().unwrap();
    assert_eq!((agent.name(), agent.instances().len(), ended.len()), ("agent", 2, 2));
    assert!(ended.iter().all(|stream| stream.handle.restart_count == 2));

    let recorded: Vec<Event> = ledger.reader().events(1, u64::MAX).map(Result::unwrap).collect();
    let recorded: Vec<Event> = recorded.into_iter().filter(|event| !event.stream.is_system()).collect();
    let mut seen = all(of_all, recorded.len()).await;
    seen.sort_by_key(|event| event.seq);
    assert_eq!(seen, recorded);
    // A new subscription does not receive the earlier events, which are one registration for each instance.
    let of_agent_recorded: Vec<Event> =
        recorded.into_iter().filter(|event| event.stream.process_id == agent.id()).skip(2).collect();
    let mut seen = all(of_agent, of_agent_recorded.len()).await;
    seen.sort_by_key(|event| event.seq);
    assert_eq!(seen, of_agent_recorded);
    assert!(seen.iter().any(|event| event.reason.as_deref() == Some("a test")));
    ledger.close().unwrap();
}

/// Launch specifications in memory. The next supervisor of the same program reads them.
#[derive(Clone, Default)]
struct Launches(Arc<Mutex<Vec<LaunchSpec>>>);

impl LaunchStore for Launches {
    fn save(&self, launch: &LaunchSpec) -> std::io::Result<()> {
        self.remove(launch.spec.id)?;
        self.0.lock().unwrap().push(launch.clone());
        Ok(())
    }

    fn remove(&self, process: apm2_core::process::ProcessId) -> std::io::Result<()> {
        self.0.lock().unwrap().retain(|launch| launch.spec.id != process);
        Ok(())
    }

    fn load_all(&self) -> std::io::Result<StoredLaunches> {
        Ok(StoredLaunches { launches: self.0.lock().unwrap().clone(), ..StoredLaunches::default() })
    }
}

async fn recovered(dir: &Path, logs: PathBuf, launches: &Launches) -> (Ledger, Supervisor, u32) {
    let ledger = Ledger::open(dir).unwrap();
    let builder = Supervisor::builder(ledger.clone()).launches(launches.clone()).logs(logs);
    let (supervisor, recovery) = builder.recover().await.unwrap();
    assert_eq!(recovery.problems, Vec::<String>::new());
    (ledger, supervisor, recovery.adopted)
}

/// Kills the running processes when the test ends, also when it fails.
struct KillOnDrop(Vec<u32>);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        for pid in &self.0 {
            let pid = nix::unistd::Pid::from_raw(pid.cast_signed());
            // The process has ended already if the test has passed, so the error is ignored.
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
        }
    }
}

#[test]
fn the_next_supervisor_adopts_what_runs_and_stops_it() {
    let parent = tempfile::tempdir().unwrap();
    let (dir, logs, launches) = (parent.path().join("ledger"), parent.path().join("logs"), Launches::default());
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = runtime();
    let _running = first.block_on(async {
        let (ledger, supervisor, adopted) = recovered(&dir, logs.clone(), &launches).await;
        assert_eq!(adopted, 0);
        supervisor.supervise(spec("echo begun; exec sleep 1000")).await.unwrap().start().await.unwrap();
        ledger.close().unwrap();
        KillOnDrop(supervisor.instances().iter().filter_map(|stream| stream.handle.pid).collect())
    });
    first.shutdown_background();
    runtime().block_on(async {
        let (ledger, supervisor, adopted) = recovered(&dir, logs.clone(), &launches).await;
        assert_eq!(adopted, 2);
        let agent = supervisor.supervise(spec("echo begun; exec sleep 1000")).await.unwrap();
        timeout(PATIENCE, agent.stop(None)).await.unwrap().unwrap();
        for stream in timeout(PATIENCE, agent.wait()).await.unwrap().unwrap() {
            assert!(matches!(stream.handle.state, ProcessState::Stopped { .. }), "{}", stream.handle.state);
        }
        ledger.close().unwrap();
    });
    assert_eq!(fs::read_to_string(logs.join("agent-0/stdout.log")).unwrap(), "begun\n");
}
