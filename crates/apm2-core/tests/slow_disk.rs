//! A slow recorder delays only the steps that record.

use std::{
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::Duration,
};

use apm2_core::{
    process::{EventKind, ProcessError, ProcessSpec, ProcessState, Requester, StreamId},
    supervisor::{LaunchSpec, Services, Supervisor, Unrecovered},
};

use crate::support::{AMPLE, CheckedStore, Log, PATIENCE, in_time, until};

/// A recorder on which every append waits until it is released.
#[derive(Clone, Default)]
struct Disk(Arc<(Mutex<State>, Condvar)>);

#[derive(Default)]
struct State {
    is_stuck: bool,
    waiting: usize,
    /// The appends that were not released in time.
    forgotten: usize,
}

impl Disk {
    fn set_stuck(&self, is_stuck: bool) {
        self.0.0.lock().unwrap().is_stuck = is_stuck;
        self.0.1.notify_all();
    }

    fn waiting(&self) -> usize {
        self.0.0.lock().unwrap().waiting
    }

    fn supervisor(&self) -> Supervisor {
        let disk = self.clone();
        let store = CheckedStore::new(move |_| {
            disk.wait();
            Ok(())
        });
        Unrecovered::new(Services { store: Arc::new(store), ..Log::default().services(Vec::new()) }).without_past()
    }

    /// Waits until the disk is released. The wait is bounded, so that a test whose only thread waits here fails instead of hanging.
    fn wait(&self) {
        let (state, changed) = &*self.0;
        let mut state = state.lock().unwrap();
        state.waiting += 1;
        let (mut state, waited) = changed.wait_timeout_while(state, PATIENCE / 4, |state| state.is_stuck).unwrap();
        state.waiting -= 1;
        state.forgotten += usize::from(waited.timed_out());
    }

    fn assert_nothing_was_forgotten(&self) {
        assert_eq!(self.0.0.lock().unwrap().forgotten, 0, "an append waited although everything was released");
    }
}

fn sleeper(name: &str) -> LaunchSpec {
    LaunchSpec::new(ProcessSpec::builder().name(name).command("sleep").args(["1000"]).build())
}

async fn running(supervisor: &Supervisor, name: &str) -> StreamId {
    supervisor.apply(sleeper(name), &Requester::default()).await.unwrap();
    let id = supervisor.find(name).unwrap()[0];
    supervisor.start(id, &Requester::default()).await.unwrap();
    id
}

/// The runtime has one thread, so work that blocks on it blocks the test.
#[tokio::test]
async fn what_is_known_can_be_asked_while_an_append_waits() {
    let disk = Disk::default();
    let supervisor = disk.supervisor();
    let id = running(&supervisor, "one").await;
    disk.set_stuck(true);
    let stopping = tokio::spawn({
        let supervisor = supervisor.clone();
        async move { supervisor.stop(id, None, &Requester::default()).await }
    });
    until("the intent to stop waits for the disk", || disk.waiting() == 1).await;
    let known = supervisor.instances();
    assert_eq!((known.len(), &known[0].handle.state), (1, &ProcessState::Running), "what is not durable is not known");
    assert!(supervisor.is_busy(id) && !supervisor.is_idle());
    assert_eq!(supervisor.display_name(id), "one");
    assert_eq!(supervisor.find("one").unwrap(), [id]);
    assert_eq!(disk.waiting(), 1, "nothing of that waited for the disk");
    disk.set_stuck(false);
    in_time(stopping).await.unwrap().unwrap();
    disk.assert_nothing_was_forgotten();
}

#[tokio::test]
async fn the_appends_of_all_instances_wait_at_the_same_time() {
    const INSTANCES: usize = 20;
    let disk = Disk::default();
    let supervisor = disk.supervisor();
    let mut ids = Vec::new();
    for number in 0..INSTANCES {
        ids.push(running(&supervisor, &format!("it{number}")).await);
    }
    disk.set_stuck(true);
    let restarts: Vec<_> = ids
        .iter()
        .map(|id| {
            let (supervisor, id) = (supervisor.clone(), *id);
            tokio::spawn(async move { supervisor.restart(id, &Requester::default()).await })
        })
        .collect();
    until("all of them wait, to be committed together", || disk.waiting() == INSTANCES).await;
    disk.set_stuck(false);
    for restart in restarts {
        in_time(restart).await.unwrap().unwrap();
    }
    disk.assert_nothing_was_forgotten();
    supervisor.shutdown(Duration::from_secs(10), &Requester::default()).await;
}

/// Dropping the future of a step does not interrupt the step.
#[tokio::test]
async fn a_start_whose_future_is_dropped_is_completed() {
    let disk = Disk::default();
    let supervisor = disk.supervisor();
    supervisor.apply(sleeper("one"), &Requester::default()).await.unwrap();
    let id = supervisor.find("one").unwrap()[0];
    disk.set_stuck(true);
    let starting = tokio::spawn({
        let supervisor = supervisor.clone();
        async move { supervisor.start(id, &Requester::default()).await }
    });
    until("the intent waits for the disk", || disk.waiting() == 1).await;
    starting.abort();
    disk.set_stuck(false);
    until("it runs", || supervisor.instances()[0].handle.state == ProcessState::Running).await;
    supervisor.stop(id, None, &Requester::default()).await.unwrap();
    disk.assert_nothing_was_forgotten();
}

/// A process whose start is not recorded could not be adopted.
#[test]
fn a_leave_waits_for_the_start_under_way_which_the_next_supervisor_adopts() {
    let (release, released) = mpsc::channel();
    let is_waiting = Arc::new(AtomicBool::new(false));
    let waiting = Arc::clone(&is_waiting);
    let log = Log::checked(move |drafts| {
        if drafts.iter().any(|draft| matches!(draft.kind, EventKind::Starting { .. })) {
            waiting.store(true, Ordering::SeqCst);
            let _ = released.recv_timeout(PATIENCE / 4);
        }
        Ok(())
    });
    let launch = sleeper("one");
    let id = StreamId { process_id: launch.spec.id, instance: 0 };
    let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let first = runtime();
    first.block_on(async {
        let supervisor = log.supervisor(Vec::new());
        supervisor.apply(launch.clone(), &Requester::default()).await.unwrap();
        let ours = supervisor.clone();
        tokio::spawn(async move { ours.start(id, &Requester::default()).await });
        until("its process waits for its start to be recorded", || is_waiting.load(Ordering::SeqCst)).await;
        assert!(!supervisor.leave(Duration::from_millis(20)).await, "the start is under way");
        release.send(()).unwrap();
        assert!(in_time(supervisor.leave(AMPLE)).await);
        let refused = supervisor.start(id, &Requester::default()).await;
        assert!(matches!(refused, Err(ProcessError::InvalidState(_))), "{refused:?}");
    });
    first.shutdown_background();
    runtime().block_on(async {
        let (supervisor, recovery) = log.recovered(vec![launch]).await;
        assert_eq!((recovery.adopted, recovery.closed), (1, 0), "{:?}", log.names());
        in_time(supervisor.stop(id, None, &Requester::default())).await.unwrap();
    });
    assert_eq!(log.names().iter().filter(|name| **name == "start_requested").count(), 1);
}
