//! Changes of the supervised processes: permissions, and the state after a failed change.

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use apm2_core::{
    log::LogConfig,
    process::{
        EventKind, NewEvent, ProcessError, ProcessId, ProcessSpec, ProcessState, Requester, StreamId,
        id_query::UnclearId,
    },
    restart::{BackoffConfig, RestartConfig, RestartPolicy},
    supervisor::{Applied, BroughtUp, LaunchSpec, Supervisor, Unrecovered},
};

use crate::support::{
    AMPLE, CheckedStore, KillOnDrop, Log, LogForEach, MemoryLaunches, PATIENCE, disk_full, in_time, sh, until,
};

const UNTOUCHED: BroughtUp = BroughtUp {
    applied: Applied::Unchanged,
    has_started: false,
    has_finished: false,
    waits_for_limit: false,
    ended_at_once: None,
};

/// A supervisor with one log for each instance.
fn supervisor() -> Supervisor {
    let mut services = Log::default().services(Vec::new());
    services.store = Arc::new(LogForEach);
    Unrecovered::new(services).without_past()
}

fn launch_of(group: &str, spec: &ProcessSpec) -> LaunchSpec {
    LaunchSpec { group: Some(group.to_owned()), ..LaunchSpec::new(spec.clone()) }
}

fn named(name: &str, instances: u32) -> ProcessSpec {
    ProcessSpec { name: name.to_owned(), instances, ..sh("exec sleep 1000") }
}

#[tokio::test]
async fn what_a_group_owns_is_changed_and_taken_away_by_that_group_alone() {
    let supervisor = supervisor();
    let (spec, by) = (sh("exec sleep 1000"), Requester::default());
    in_time(supervisor.bring_up(launch_of("a", &spec), false, &by)).await.unwrap();
    for foreign in [launch_of("b", &sh("true")), LaunchSpec::new(sh("true"))] {
        let refused = in_time(supervisor.bring_up(foreign, false, &by)).await;
        assert!(matches!(&refused, Err(ProcessError::AlreadyExists(what)) if what.contains("by a")), "{refused:?}");
    }
    for gone in [supervisor.remove(spec.id, Some("b"), &by).await, supervisor.release(spec.id, "b").await] {
        assert!(matches!(gone, Err(ProcessError::NotFound(_))), "{gone:?}");
    }
    let unchanged = in_time(supervisor.bring_up(launch_of("a", &spec), false, &by)).await.unwrap();
    assert_eq!(unchanged, UNTOUCHED, "it runs on");
    in_time(supervisor.remove(spec.id, Some("a"), &by)).await.unwrap();
}

#[tokio::test]
async fn changes_at_the_same_time_cannot_end_up_with_one_name_for_two_instances() {
    let (supervisor, by) = (supervisor(), Requester::default());
    let (two, one) = (LaunchSpec::new(named("web", 2)), LaunchSpec::new(named("web-1", 1)));
    let (two, one) = in_time(async { tokio::join!(supervisor.apply(two, &by), supervisor.apply(one, &by)) }).await;
    assert!(two.is_ok() != one.is_ok(), "{two:?} {one:?}");
    assert_eq!(supervisor.launches().len(), 1);
}

/// Two running instances, with stores that can be made to fail.
struct Scene {
    supervisor: Supervisor,
    kept: Arc<MemoryLaunches>,
    /// Whether the next launch cannot be saved.
    is_full: Arc<AtomicBool>,
    refused: Arc<Mutex<Option<Refused>>>,
    spec: ProcessSpec,
}

/// Selects the new events that are refused.
type Refused = fn(&NewEvent) -> bool;

impl Drop for Scene {
    /// Kills the processes, so that a failed test leaves none running.
    fn drop(&mut self) {
        let pids = self.supervisor.instances().into_iter().filter_map(|stream| stream.handle.pid);
        pids.for_each(|pid| drop(KillOnDrop(pid)));
    }
}

impl Scene {
    async fn new() -> Self {
        let (is_full, refused) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Option<Refused>>>::default());
        let (is_disk_full, refuse) = (is_full.clone(), refused.clone());
        let kept = Arc::new(MemoryLaunches::checked_at_save(move |_| {
            if is_disk_full.swap(false, Ordering::AcqRel) { Err(disk_full()) } else { Ok(()) }
        }));
        let mut services = Log::default().services(Vec::new());
        services.launches = kept.clone();
        services.store = Arc::new(CheckedStore::new(move |drafts| {
            let refuse = *refuse.lock().unwrap();
            let is_refused = refuse.is_some_and(|refuse| drafts.iter().any(refuse));
            if is_refused { Err(io::Error::other("it cannot be recorded")) } else { Ok(()) }
        }));
        let supervisor = Unrecovered::new(services).without_past();
        let scene = Self { supervisor, kept, is_full, refused, spec: named("web", 2) };
        in_time(scene.supervisor.bring_up(LaunchSpec::new(scene.spec.clone()), false, &Requester::default()))
            .await
            .unwrap();
        scene
    }

    async fn change(&self, spec: ProcessSpec) -> Result<BroughtUp, ProcessError> {
        in_time(self.supervisor.bring_up(LaunchSpec::new(spec), false, &Requester::default())).await
    }

    /// The states of all instances and the arguments that are recorded for each.
    fn instances(&self) -> Vec<(ProcessState, Vec<String>)> {
        let streams = self.supervisor.instances();
        streams.into_iter().map(|stream| (stream.handle.state.clone(), stream.handle.spec.args.clone())).collect()
    }

    /// Asserts that after a failed change the processes are as before, run, and accept all commands.
    async fn assert_as_before(&self, by: &Requester) {
        *self.refused.lock().unwrap() = None;
        assert_eq!(*self.kept.launches.lock().unwrap(), [LaunchSpec::new(self.spec.clone())]);
        assert_eq!(self.supervisor.launches(), [Arc::new(LaunchSpec::new(self.spec.clone()))]);
        assert_eq!(self.instances(), vec![(ProcessState::Running, self.spec.args.clone()); 2]);
        assert_eq!(self.change(self.spec.clone()).await.unwrap(), UNTOUCHED);
        for instance in [0, 1] {
            let id = StreamId { process_id: self.spec.id, instance };
            in_time(self.supervisor.restart(id, by)).await.unwrap();
            in_time(self.supervisor.stop(id, None, by)).await.unwrap();
            in_time(self.supervisor.start(id, by)).await.unwrap();
        }
        in_time(self.supervisor.scale(self.spec.id, 3, by)).await.unwrap();
        in_time(self.supervisor.remove(self.spec.id, None, by)).await.unwrap();
        assert!(self.kept.launches.lock().unwrap().is_empty() && self.supervisor.launches().is_empty());
    }
}

fn changed(spec: &ProcessSpec, instances: u32) -> ProcessSpec {
    let args = vec!["-c".to_owned(), "exec sleep 2000".to_owned()];
    ProcessSpec { args, instances, ..spec.clone() }
}

#[tokio::test]
async fn a_launch_that_cannot_be_kept_changes_nothing() {
    let scene = Scene::new().await;
    scene.is_full.store(true, Ordering::Release);
    assert!(matches!(scene.change(changed(&scene.spec, 2)).await, Err(ProcessError::Io(_))));
    scene.assert_as_before(&Requester::default()).await;
}

#[tokio::test]
async fn a_stop_that_fails_changes_nothing() {
    let scene = Scene::new().await;
    *scene.refused.lock().unwrap() =
        Some(|draft| draft.stream.instance == 1 && matches!(draft.kind, EventKind::Stopping { .. }));
    assert!(scene.change(changed(&scene.spec, 2)).await.is_err());
    scene.assert_as_before(&Requester::default()).await;
}

#[tokio::test]
async fn an_instance_that_cannot_be_changed_leaves_all_as_they_were() {
    let scene = Scene::new().await;
    *scene.refused.lock().unwrap() = Some(|draft| match &draft.kind {
        EventKind::SpecChanged { spec } => {
            draft.stream.instance == 1 && spec.args.iter().any(|arg| arg.contains("2000"))
        }
        _ => false,
    });
    let refused = scene.change(changed(&scene.spec, 2)).await;
    assert!(matches!(refused, Err(ProcessError::Io(_))), "{refused:?}");
    scene.assert_as_before(&Requester::default()).await;
}

#[tokio::test]
async fn an_instance_that_cannot_be_added_leaves_all_as_they_were() {
    for is_other_program in [false, true] {
        let scene = Scene::new().await;
        *scene.refused.lock().unwrap() =
            Some(|draft| draft.stream.instance == 3 && matches!(draft.kind, EventKind::Registered { .. }));
        let (more, other) = (ProcessSpec { instances: 5, ..scene.spec.clone() }, changed(&scene.spec, 5));
        assert!(scene.change(if is_other_program { other } else { more }).await.is_err());
        scene.assert_as_before(&Requester::default()).await;
    }
}

#[tokio::test]
async fn an_instance_that_cannot_be_taken_away_stays_and_is_taken_away_next_time() {
    let scene = Scene::new().await;
    *scene.refused.lock().unwrap() = Some(|draft| matches!(draft.kind, EventKind::Unregistered));
    assert!(scene.change(ProcessSpec { instances: 1, ..scene.spec.clone() }).await.is_err());
    assert!(in_time(scene.supervisor.remove(scene.spec.id, None, &Requester::default())).await.is_err());
    *scene.refused.lock().unwrap() = None;
    let BroughtUp { applied, .. } = scene.change(ProcessSpec { instances: 1, ..scene.spec.clone() }).await.unwrap();
    assert_eq!((applied, scene.supervisor.instances().len()), (Applied::Changed, 1));
    in_time(scene.supervisor.remove(scene.spec.id, None, &Requester::default())).await.unwrap();
}

#[tokio::test]
async fn what_is_known_not_to_start_changes_nothing_and_stops_nothing() {
    let scene = Scene::new().await;
    let pids = || scene.supervisor.instances().iter().map(|stream| stream.handle.pid).collect::<Vec<_>>();
    let before = pids();
    let with = |change: fn(&mut ProcessSpec)| {
        let mut spec = scene.spec.clone();
        change(&mut spec);
        spec
    };
    let broken = [
        (with(|spec| spec.command = "/no/such/program".to_owned()), "command: /no/such/program"),
        (with(|spec| spec.cwd = Some("/no/such/directory".into())), "cwd: "),
        (with(|spec| spec.stdin = Some("/no/such/file".into())), "stdin: "),
        (with(|spec| spec.args.push("x".repeat(1 << 20))), "args: argument 3"),
        (with(|spec| drop(spec.env.insert("LONG".to_owned(), "x".repeat(1 << 20)))), "env: LONG"),
    ];
    for (spec, setting) in broken {
        let refused = scene.change(spec).await;
        assert!(
            matches!(&refused, Err(ProcessError::InvalidState(why)) if why.starts_with(setting)),
            "{setting}: {refused:?}"
        );
        assert_eq!(pids(), before, "{setting}");
    }
    scene.assert_as_before(&Requester::default()).await;
}

/// A file that is open for writing cannot be executed (execve(2), `ETXTBSY`), which only the start itself detects.
#[tokio::test]
async fn what_turns_out_not_to_start_is_changed_back_and_runs_again() {
    let scene = Scene::new().await;
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("program");
    std::fs::copy("/bin/sh", &program).unwrap();
    let open = std::fs::OpenOptions::new().write(true).open(&program).unwrap();
    // The change is undone immediately. It does not wait for restarts of instances that cannot be started.
    let backoff = BackoffConfig::Fixed { delay: PATIENCE * 10 };
    let restart = RestartConfig { policy: RestartPolicy::Always, backoff, ..RestartConfig::default() };
    let busy = ProcessSpec { command: program.to_str().unwrap().to_owned(), restart, ..changed(&scene.spec, 3) };
    let failed = scene.change(busy.clone()).await;
    assert!(
        matches!(&failed, Err(ProcessError::SpawnFailed(why)) if why.contains("runs as before the change")),
        "{failed:?}"
    );
    scene.assert_as_before(&Requester::default()).await;
    drop(open);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn restarts_of_before_do_not_count_against_what_it_is_changed_to() {
    let log = Log::default();
    let mut services = log.services(Vec::new());
    // The store blocks until the restart policy has restarted the process that is about to be changed.
    services.launches = Arc::new(MemoryLaunches::checked_at_prepare(move |_| {
        let starts = || log.names().iter().filter(|name| **name == "start_requested").count();
        let (before, begun) = (starts(), std::time::Instant::now());
        while starts() < before + 3 && begun.elapsed() < PATIENCE {
            std::thread::yield_now();
        }
        Ok(())
    }));
    let (supervisor, by) = (Unrecovered::new(services).without_past(), Requester::default());
    let mut failing = ProcessSpec { name: "web".to_owned(), ..sh("exit 1") };
    failing.restart.policy = RestartPolicy::Always;
    failing.restart.max_restarts = 1024;
    failing.restart.backoff = BackoffConfig::Fixed { delay: std::time::Duration::from_millis(5) };
    let ended = in_time(supervisor.bring_up(LaunchSpec::new(failing.clone()), false, &by)).await.unwrap();
    assert!(ended.ended_at_once.is_some());
    let mended = ProcessSpec { args: vec!["-c".to_owned(), "exec sleep 1000".to_owned()], ..failing };
    let changed = in_time(supervisor.bring_up(LaunchSpec::new(mended), false, &by)).await.unwrap();
    assert_eq!((changed.applied, changed.ended_at_once), (Applied::Changed, None));
    in_time(supervisor.shutdown(AMPLE, &by)).await;
}

#[tokio::test]
async fn a_creation_that_fails_leaves_the_name_free() {
    let scene = Scene::new().await;
    *scene.refused.lock().unwrap() =
        Some(|draft| draft.stream.instance == 1 && matches!(draft.kind, EventKind::Registered { .. }));
    let other = named("other", 2);
    assert!(scene.change(other.clone()).await.is_err());
    assert_eq!(scene.kept.launches.lock().unwrap().len(), 1);
    *scene.refused.lock().unwrap() = None;
    let BroughtUp { applied, .. } = scene.change(ProcessSpec { id: sh("").id, ..other.clone() }).await.unwrap();
    assert_eq!(applied, Applied::Created);
    in_time(scene.supervisor.remove(other.id, None, &Requester::default())).await.unwrap();
    scene.assert_as_before(&Requester::default()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_stop_of_everything_reaches_an_instance_that_is_being_started() {
    let (has_begun, may_go_on) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
    let mut services = Log::default().services(Vec::new());
    let (begun, go_on) = (has_begun.clone(), may_go_on.clone());
    // The record of a start waits until it is released.
    services.store = Arc::new(CheckedStore::new(move |drafts| {
        if drafts.iter().any(|draft| matches!(draft.kind, EventKind::StartRequested { .. })) {
            begun.store(true, Ordering::Release);
            let since = std::time::Instant::now();
            while !go_on.load(Ordering::Acquire) && since.elapsed() < PATIENCE {
                std::thread::yield_now();
            }
        }
        Ok(())
    }));
    let supervisor = Unrecovered::new(services).without_past();
    let spec = named("slow", 1);
    let ours = supervisor.clone();
    let up = tokio::spawn(async move { ours.bring_up(LaunchSpec::new(spec), false, &Requester::default()).await });
    until("it is being started", || has_begun.load(Ordering::Acquire)).await;
    let ours = supervisor.clone();
    let stopping =
        tokio::spawn(async move { ours.shutdown(std::time::Duration::from_secs(10), &Requester::default()).await });
    until("nothing may be started any more", || supervisor.check_leaving().is_err()).await;
    may_go_on.store(true, Ordering::Release);
    let report = in_time(stopping).await.unwrap();
    let pid = supervisor.instances().first().and_then(|stream| stream.handle.pid);
    let _guard = pid.map(KillOnDrop);
    assert_eq!((report.problems, pid), (Vec::<String>::new(), None), "it was started and stopped, or not started");
    let _ = in_time(up).await.unwrap();
    assert!(supervisor.is_idle());
}

#[tokio::test]
async fn the_beginning_of_an_id_that_fits_several_is_an_error_that_lists_them() {
    let (supervisor, by) = (supervisor(), Requester::default());
    for (name, last) in [("a", 1), ("b", 2)] {
        let mut bytes = [0xab; 16];
        bytes[15] = last;
        let spec = ProcessSpec { id: ProcessId::from_bytes(bytes), ..named(name, 1) };
        in_time(supervisor.apply(LaunchSpec::new(spec), &by)).await.unwrap();
    }
    let Err(UnclearId::Ambiguous { candidates, .. }) = supervisor.find("ABAB") else { panic!("it is clear") };
    assert_eq!(candidates.len(), 2, "{candidates:?}");
    // Processes that were supervised before count as candidates, as in the commands that read the ledger.
    in_time(supervisor.remove(supervisor.find_process("b").unwrap(), None, &by)).await.unwrap();
    assert!(matches!(supervisor.find("abab"), Err(UnclearId::Ambiguous { .. })));
    assert!(matches!(supervisor.find("b"), Err(UnclearId::Unknown(_))));
    assert_eq!(supervisor.find("a").unwrap().len(), 1);
}

#[tokio::test]
async fn a_launch_with_the_id_of_another_gets_one_of_its_own() {
    let scene = Scene::new().await;
    let other = ProcessSpec { name: "other".to_owned(), ..scene.spec.clone() };
    scene.change(other).await.unwrap();
    let id = scene.supervisor.find_process("other").unwrap();
    assert_ne!(id, scene.spec.id);
    let kept = scene.kept.launches.lock().unwrap().len();
    assert_eq!(kept, 2, "the launch of the first is still its own");
    in_time(scene.supervisor.remove(id, None, &Requester::default())).await.unwrap();
    scene.assert_as_before(&Requester::default()).await;
}

fn logging_to(name: &str, log: &std::path::Path) -> ProcessSpec {
    let log = LogConfig { stdout: Some(log.to_owned()), ..LogConfig::default() };
    ProcessSpec { log, ..named(name, 1) }
}

/// Brings up all launches in one call.
async fn bring_up_all(supervisor: &Supervisor, launches: Vec<LaunchSpec>) -> Vec<Result<BroughtUp, ProcessError>> {
    let parts = supervisor.together(launches.iter().map(|launch| launch.spec.name.clone()).collect());
    let works = launches
        .into_iter()
        .zip(parts)
        .map(|(launch, part)| tokio::spawn(async move { part.bring_up(launch, false, &Requester::default()).await }));
    let mut brought_up = Vec::new();
    for work in works.collect::<Vec<_>>() {
        brought_up.push(in_time(work).await.unwrap());
    }
    brought_up
}

fn applied(brought_up: &[Result<BroughtUp, ProcessError>]) -> Vec<Option<Applied>> {
    brought_up.iter().map(|one| one.as_ref().ok().map(|one| one.applied)).collect()
}

#[tokio::test]
async fn what_is_changed_together_may_swap_log_files_and_names_and_alone_may_not() {
    let (supervisor, by) = (supervisor(), Requester::default());
    let (x, y) = (std::path::Path::new("/tmp/x.log"), std::path::Path::new("/tmp/y.log"));
    let launches = |a, b| vec![LaunchSpec::new(logging_to("a", a)), LaunchSpec::new(logging_to("b", b))];
    let created = bring_up_all(&supervisor, launches(x, y)).await;
    assert_eq!(applied(&created), [Some(Applied::Created); 2], "{created:?}");
    let swapped = launches(y, x);
    let refused = in_time(supervisor.bring_up(swapped[0].clone(), false, &by)).await;
    assert!(matches!(refused, Err(ProcessError::InvalidState(_))), "{refused:?}");
    let changed = bring_up_all(&supervisor, swapped).await;
    assert_eq!(applied(&changed), [Some(Applied::Changed); 2], "{changed:?}");
    // The name was the name of an instance of another process before.
    let two = || LaunchSpec::new(named("web", 2));
    assert_eq!(applied(&bring_up_all(&supervisor, vec![two()]).await), [Some(Applied::Created)]);
    let apart = vec![LaunchSpec::new(named("web", 1)), LaunchSpec::new(named("web-1", 1))];
    let changed = bring_up_all(&supervisor, apart).await;
    assert_eq!(applied(&changed), [Some(Applied::Changed), Some(Applied::Created)], "{changed:?}");
    in_time(supervisor.shutdown(AMPLE, &by)).await;
}

/// A change that depends on a failed one is undone and its process runs as before; an independent change is made.
#[tokio::test]
async fn a_change_that_is_made_together_with_one_that_fails_is_undone_where_it_needs_that() {
    let mut services = Log::default().services(Vec::new());
    services.store = Arc::new(LogForEach);
    services.launches = Arc::new(MemoryLaunches::checked_at_prepare(|launch| {
        let is_refused = launch.spec.name == "b" && launch.base_env.is_some();
        if is_refused { Err(disk_full()) } else { Ok(()) }
    }));
    let supervisor = Unrecovered::new(services).without_past();
    let (x, y) = (std::path::Path::new("/tmp/x.log"), std::path::Path::new("/tmp/y.log"));
    let refused = |spec| LaunchSpec { base_env: Some(Default::default()), ..LaunchSpec::new(spec) };
    let first =
        vec![LaunchSpec::new(logging_to("a", x)), LaunchSpec::new(logging_to("b", y)), LaunchSpec::new(named("c", 1))];
    bring_up_all(&supervisor, first).await.into_iter().for_each(|one| drop(one.unwrap()));
    let run_of = |name: &str| {
        let stream = supervisor.instances().into_iter().find(|stream| stream.handle.spec.name == name).unwrap();
        (stream.run, stream.handle.state == ProcessState::Running, stream.handle.spec.log.stdout)
    };
    let next = vec![
        LaunchSpec::new(logging_to("a", y)),
        refused(logging_to("b", x)),
        LaunchSpec::new(ProcessSpec { args: ["-c", "exec sleep 2000"].map(str::to_owned).to_vec(), ..named("c", 1) }),
    ];
    let changed = bring_up_all(&supervisor, next).await;
    assert_eq!(applied(&changed), [None, None, Some(Applied::Changed)], "{changed:?}");
    assert!(changed[0].as_ref().unwrap_err().to_string().contains("keeps its output in"), "{changed:?}");
    assert_eq!(run_of("a"), (2, true, Some(x.to_owned())));
    assert_eq!(run_of("b"), (1, true, Some(y.to_owned())), "it is not touched");
    in_time(supervisor.shutdown(AMPLE, &Requester::default())).await;
}

/// Two changes could deadlock in two cases: if they lock the same names in opposite order, and if one change lists a
/// name twice.
#[tokio::test]
async fn changes_that_are_made_together_do_not_wait_for_each_other() {
    let supervisor = supervisor();
    let launches = |seconds: u32, names: &[&str]| -> Vec<LaunchSpec> {
        let args = vec!["-c".to_owned(), format!("exec sleep {seconds}")];
        names.iter().map(|name| LaunchSpec::new(ProcessSpec { args: args.clone(), ..named(name, 1) })).collect()
    };
    for round in 0..10 {
        let there = bring_up_all(&supervisor, launches(1000 + round, &["a", "b", "c"]));
        let back = bring_up_all(&supervisor, launches(2000 + round, &["c", "b", "a", "b"]));
        let (there, back) = in_time(async { tokio::join!(there, back) }).await;
        assert!(there.iter().chain(&back).all(Result::is_ok), "{there:?} {back:?}");
    }
    in_time(supervisor.shutdown(AMPLE, &Requester::default())).await;
}
