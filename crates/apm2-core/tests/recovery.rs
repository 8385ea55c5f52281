//! Recovery of the runs of an earlier supervisor: each row of the table in `docs/recovery.md`, with real processes.

use apm2_core::process::identify;
use std::{
    fs, io,
    os::fd::{BorrowedFd, OwnedFd},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use apm2_core::{
    log::{LogPosition, LogThreads, LogsDir},
    process::{
        Actor, EventKind, Evidence, Exit, ExitOutcome, FdStore, ProcessError, ProcessIdentity, ProcessSpec,
        ProcessState, RedactedSpec, Requester, RestartRule, RunEnd, Signal, StartTrigger, StoredOutput, StoredRun,
        StreamId, Timestamp,
    },
    restart::{BackoffConfig, RestartConfig, RestartPolicy},
    shutdown::ShutdownConfig,
    supervisor::{Boot, LaunchSpec, Recovery, Supervisor, UnreadableLaunch, Unrecovered},
};
use uuid::Uuid;

use crate::support::{KillOnDrop, Log, MemoryLaunches, in_time, is_alive, sh, sh_builder, until};

fn id_of(spec: &ProcessSpec) -> StreamId {
    StreamId { process_id: spec.id, instance: 0 }
}

/// A process in a session of its own, as a supervisor starts it, without a supervisor.
fn orphan(spec: &ProcessSpec, script: &str) -> Child {
    Command::new("setsid")
        .args(["sh", "-c", script])
        .env("APM2_RUN", format!("{}/0/1", spec.id))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// The log of a supervisor that was killed: without the events for which `lost` returns true, and with `identity` for the process.
async fn left(spec: &ProcessSpec, identity: Option<ProcessIdentity>, lost: fn(&EventKind) -> bool) -> Log {
    let log = Log::refusing(lost);
    // The process is taken over by the next log, which kills it at the end of the test.
    let shutdown = ShutdownConfig { end_orphans: false, ..spec.shutdown.clone() };
    let mut runner = log.runner(ProcessSpec { command: "true".to_owned(), args: Vec::new(), shutdown, ..spec.clone() });
    if runner.start().is_ok() {
        in_time(runner.wait()).await;
    }
    let kept = Log::default();
    kept.adopt(&log);
    kept.alter(|event| {
        if let EventKind::Registered { spec: recorded } = &mut event.kind {
            *recorded = RedactedSpec::new(spec);
        }
        if let (EventKind::Starting { identity: Some(found), .. }, Some(identity)) = (&mut event.kind, identity) {
            *found = identity;
        }
    });
    kept
}

const fn end(kind: &EventKind) -> bool {
    matches!(kind, EventKind::Stopped { .. } | EventKind::Crashed { .. })
}

/// The next supervisor.
async fn taken_over(log: &Log, spec: &ProcessSpec) -> (Supervisor, Recovery) {
    let (supervisor, recovery) = log.recovered(vec![LaunchSpec::new(spec.clone())]).await;
    assert_eq!(recovery.problems, Vec::<String>::new());
    (supervisor, recovery)
}

fn never(script: &str) -> ProcessSpec {
    sh_builder(script).restart(RestartConfig { policy: RestartPolicy::Never, ..RestartConfig::default() }).build()
}

#[tokio::test]
async fn what_lives_is_adopted_and_its_exit_is_exact() {
    let spec = never("");
    let mut child = orphan(&spec, "exec sleep 1000");
    let _guard = KillOnDrop(child.id());
    let log = left(&spec, identify(child.id()), end).await;
    let (supervisor, recovery) = taken_over(&log, &spec).await;
    assert_eq!((recovery.adopted, recovery.closed), (1, 0));
    let adopted = log.events().pop().unwrap();
    assert_eq!((adopted.kind.name(), &adopted.actor), ("adopted", &Actor::Recovery));
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id().cast_signed()), nix::sys::signal::Signal::SIGUSR1)
        .unwrap();
    let stream = in_time(supervisor.wait(id_of(&spec))).await.unwrap();
    let signal = Signal::from_number(10).unwrap();
    let outcome = ExitOutcome::Signal { signal, core_dumped: false };
    assert_eq!(stream.exit(), Some(&Exit { outcome, evidence: Evidence::Recovered }));
    child.wait().unwrap();
}

#[tokio::test]
async fn what_was_adopted_is_stopped_with_its_whole_group() {
    let spec = never("");
    let mut child = orphan(&spec, "sleep 1000 & sleep 1001 & wait");
    let _guard = KillOnDrop(child.id());
    until("its children run", || children_of(child.id()).len() == 2).await;
    let log = left(&spec, identify(child.id()), end).await;
    let (supervisor, _) = taken_over(&log, &spec).await;
    let children = children_of(child.id());
    in_time(supervisor.stop(id_of(&spec), None, &Requester::default())).await.unwrap();
    assert!(!is_alive(child.id()) && children.iter().all(|pid| !is_alive(*pid)));
    assert_eq!(log.replay().unwrap().handle.state, ProcessState::Stopped { exit_code: None });
    child.wait().unwrap();
}

fn children_of(pid: u32) -> Vec<u32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_ascii_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

#[tokio::test]
async fn of_a_zombie_the_real_exit_is_recovered() {
    let spec = never("");
    let mut child = orphan(&spec, "exit 7");
    until("it is a zombie", || !is_alive(child.id())).await;
    let log = left(&spec, identify(child.id()), end).await;
    let (supervisor, recovery) = taken_over(&log, &spec).await;
    assert_eq!((recovery.adopted, recovery.closed), (0, 1));
    // Recorded already: a client that asks for a start now must not get the answer that it runs.
    assert!(supervisor.instances()[0].handle.state.has_exited());
    let stream = in_time(supervisor.wait(id_of(&spec))).await.unwrap();
    assert_eq!(stream.exit(), Some(&Exit { outcome: ExitOutcome::Code(7), evidence: Evidence::Recovered }));
    assert_eq!(stream.handle.state, ProcessState::Crashed { exit_code: Some(7) });
    let crashed = log.events().into_iter().find(|event| event.kind.name() == "crashed").unwrap();
    assert_eq!(crashed.actor, Actor::Recovery);
    child.wait().unwrap();
}

#[tokio::test]
async fn of_what_is_gone_the_exit_is_unknown() {
    let spec = never("");
    let mut child = orphan(&spec, "exit 7");
    let identity = identify(child.id());
    child.wait().unwrap();
    let log = left(&spec, identity, end).await;
    let (supervisor, _) = taken_over(&log, &spec).await;
    let stream = in_time(supervisor.wait(id_of(&spec))).await.unwrap();
    assert_eq!(stream.exit(), Some(&Exit::UNKNOWN));
    assert_eq!(stream.handle.state, ProcessState::Crashed { exit_code: None });
}

#[tokio::test]
async fn an_end_that_was_not_watched_lies_between_two_times() {
    let spec = never("");
    let mut child = orphan(&spec, "exit 7");
    let identity = identify(child.id());
    child.wait().unwrap();
    for watched in [None, Some(60)] {
        let log = left(&spec, identity, end).await;
        let started = log.replay().unwrap().run_started.unwrap();
        let watched_until =
            watched.map(|secs| Timestamp { boot_ns: started.boot_ns + secs * 1_000_000_000, ..started });
        let unrecovered = Unrecovered::new(log.services(vec![LaunchSpec::new(spec.clone())]));
        let boot = Boot { watched_until, ..Boot::default() };
        let past = log.replay().into_iter().collect();
        let (supervisor, _) = in_time(unrecovered.recover(boot, past)).await;
        in_time(supervisor.wait(id_of(&spec))).await.unwrap();
        let events = log.events();
        let place = events.iter().position(|event| event.kind.name() == "crashed").unwrap();
        let found = events[place].stamp;
        let EventKind::EndUnobserved { not_before, not_after } = events[place + 1].kind else { panic!("{events:?}") };
        // Without a later time from the ledger, the lower bound is the start of the run.
        assert_eq!(not_before, watched_until.unwrap_or(started));
        assert!(not_after.boot_ns <= found.boot_ns && not_after.boot_ns >= started.boot_ns);
    }
}

#[tokio::test]
async fn a_stranger_with_the_pid_is_never_touched() {
    let spec = never("");
    // A process without a marker, whose group has the id of the recorded process.
    let mut stranger = Command::new("setsid").args(["sleep", "1000"]).spawn().unwrap();
    let _guard = KillOnDrop(stranger.id());
    until("it leads its session", || identify(stranger.id()).is_some()).await;
    let real = identify(stranger.id()).unwrap();
    let ours = ProcessIdentity { start_ticks: real.start_ticks - 1, ..real };
    for lost in [end as fn(&EventKind) -> bool, |kind| end(kind) || matches!(kind, EventKind::Running)] {
        let log = left(&spec, Some(ours), lost).await;
        let (supervisor, _) = taken_over(&log, &spec).await;
        let stream = in_time(supervisor.wait(id_of(&spec))).await.unwrap();
        assert!(stream.handle.state.has_exited());
        assert!(!log.names().contains(&"signal_sent"), "{:?}", log.names());
        assert!(is_alive(stranger.id()));
    }
    // The same is true during a stop whose deadline has passed.
    let log = stopping(&spec, ours, 0).await;
    let (supervisor, _) = taken_over(&log, &spec).await;
    let stream = in_time(supervisor.wait(id_of(&spec))).await.unwrap();
    assert_eq!((stream.exit(), is_alive(stranger.id())), (Some(&Exit::UNKNOWN), true));
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}

#[tokio::test]
async fn after_a_reboot_it_is_gone_and_the_reboot_is_the_reason() {
    let spec = never("");
    let mut child = orphan(&spec, "sleep 1000");
    let guard = KillOnDrop(child.id());
    let identity = identify(child.id()).unwrap();
    let log = left(&spec, Some(ProcessIdentity { boot_id: Uuid::from_u128(7), ..identity }), end).await;
    let (supervisor, _) = taken_over(&log, &spec).await;
    let stream = in_time(supervisor.wait(id_of(&spec))).await.unwrap();
    assert_eq!(stream.exit(), Some(&Exit::UNKNOWN));
    let crashed = log.events().into_iter().find(|event| event.kind.name() == "crashed").unwrap();
    assert_eq!(crashed.reason.as_deref(), Some("the machine was restarted"));
    assert!(is_alive(child.id()));
    drop(guard);
    child.wait().unwrap();
}

#[tokio::test]
async fn a_start_without_a_result_is_adopted_where_its_process_is_found() {
    let spec = never("");
    let mut child = orphan(&spec, "sleep 1000");
    let _guard = KillOnDrop(child.id());
    let log = left(&spec, None, |kind| matches!(kind, EventKind::Starting { .. })).await;
    // The process has its marker before setsid(1) creates its session. The process that could not be recorded takes a
    // moment to end.
    until("it leads its session", || session_of(child.id()) == Some(child.id())).await;
    let are_its_own = || carriers(&spec).into_iter().all(|pid| session_of(pid) == Some(child.id()));
    until("no other process carries its marker", are_its_own).await;
    let (supervisor, recovery) = taken_over(&log, &spec).await;
    assert_eq!(recovery.adopted, 1);
    assert_eq!(log.names(), ["registered", "start_requested", "starting", "running", "adopted"]);
    assert_eq!(log.replay().unwrap().handle.pid, Some(child.id()));
    in_time(supervisor.stop(id_of(&spec), None, &Requester::default())).await.unwrap();
    child.wait().unwrap();
}

/// The log of a supervisor that was killed after it had recorded the requested start. No process is left: the process
/// that could not be recorded was killed, and its end takes a moment.
async fn left_unstarted(spec: &ProcessSpec) -> Log {
    let log = left(spec, None, |kind| matches!(kind, EventKind::Starting { .. })).await;
    until("nothing of it is left", || carriers(spec).is_empty()).await;
    log
}

/// The processes with the marker of the first run.
fn carriers(spec: &ProcessSpec) -> Vec<u32> {
    let marker = format!("APM2_RUN={}/0/1", spec.id);
    let entries = std::fs::read_dir("/proc").unwrap();
    let pids = entries.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| environ_of(*pid).contains(&marker)).collect()
}

fn session_of(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The fields state, parent, group and session (proc(5)).
    stat.rsplit(')').next()?.split_whitespace().nth(3)?.parse().ok()
}

fn environ_of(pid: u32) -> String {
    String::from_utf8_lossy(&std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default()).into_owned()
}

#[tokio::test]
async fn a_start_without_a_result_and_without_a_process_never_happened() {
    let spec = never("exit 0");
    let log = left_unstarted(&spec).await;
    let (supervisor, recovery) = taken_over(&log, &spec).await;
    assert_eq!(recovery.closed, 1);
    assert_eq!(log.names(), ["registered", "start_requested", "starting", "crashed"]);
    assert_eq!(log.replay().unwrap().end, Some(RunEnd::NeverConfirmed));
    assert!(log.events().iter().skip(2).all(|event| event.actor == Actor::Recovery));
    in_time(supervisor.start(id_of(&spec), &Requester::default())).await.unwrap();
    let stream = in_time(supervisor.wait(id_of(&spec))).await.unwrap();
    assert_eq!(stream.handle.state, ProcessState::Stopped { exit_code: Some(0) });
}

/// A log that ends in the middle of a stop.
async fn stopping(spec: &ProcessSpec, identity: ProcessIdentity, timeout_ms: u64) -> Log {
    let log = left(spec, Some(identity), end).await;
    let stopping = EventKind::Stopping { signal: Signal::TERM, timeout_ms, force_kill: true };
    log.append(stopping);
    // A stop by an operator: after a stop by the supervisor itself the process would be started again.
    log.alter(|event| {
        if matches!(event.kind, EventKind::Stopping { .. }) {
            event.actor = Actor::Operator { uid: 1, user: None, terminal: None };
        }
    });
    log
}

#[tokio::test]
async fn a_stop_under_way_is_finished_with_its_deadline() {
    let spec = never("");
    let mut child = orphan(&spec, "trap '' TERM; while :; do sleep 0.05; done");
    let _guard = KillOnDrop(child.id());
    let log = stopping(&spec, identify(child.id()).unwrap(), 300).await;
    let (supervisor, recovery) = taken_over(&log, &spec).await;
    assert_eq!(recovery.adopted, 1);
    let stream = in_time(supervisor.wait(id_of(&spec))).await.unwrap();
    assert!(!is_alive(child.id()));
    assert!(stream.handle.state.has_exited() && log.names().contains(&"signal_sent"), "{:?}", log.names());
    child.wait().unwrap();
}

#[tokio::test]
async fn the_policy_goes_on_where_it_was() {
    let backoff = BackoffConfig::Fixed { delay: Duration::from_millis(10) };
    let restart = RestartConfig { max_restarts: 2, backoff, ..RestartConfig::default() };
    let spec = sh_builder("exit 1").restart(restart).build();
    // First, the end is recorded without a decision of the policy. Then the decision is recorded, and the restart is
    // due.
    for lost in [|kind: &EventKind| matches!(kind, EventKind::RestartScheduled { .. }), |_: &EventKind| false] {
        let log = left(&spec, None, lost).await;
        log.alter(|event| {
            if let EventKind::Stopped { .. } = event.kind {
                let exit = Exit { outcome: ExitOutcome::Code(1), evidence: Evidence::Observed };
                event.kind = EventKind::Crashed { cause: RunEnd::Exit(exit) };
            }
        });
        if !lost(&EventKind::RestartScheduled { attempt: 1, delay_ms: 10 }) {
            log.append(EventKind::RestartScheduled { attempt: 1, delay_ms: 10 });
        }
        let (supervisor, _) = taken_over(&log, &spec).await;
        let stream = in_time(supervisor.wait(id_of(&spec))).await.unwrap();
        assert_eq!((stream.run, stream.handle.restart_count), (3, 2), "{:?}", log.names());
    }
}

#[tokio::test]
async fn what_cannot_be_launched_any_more_is_adopted_and_not_restarted() {
    let spec = sh("");
    let mut child = orphan(&spec, "sleep 1000");
    let _guard = KillOnDrop(child.id());
    let log = left(&spec, identify(child.id()), end).await;
    let (supervisor, recovery) = log.recovered(Vec::new()).await;
    assert_eq!(recovery.adopted, 1);
    // The start is refused because its event would be false. The running process is not changed.
    assert!(in_time(supervisor.scale(spec.id, 2, &Requester::default())).await.is_err());
    assert!(in_time(supervisor.restart(id_of(&spec), &Requester::default())).await.is_err());
    assert!(is_alive(child.id()) && !log.names().contains(&"stopping"), "{:?}", log.names());
    child.kill().unwrap();
    in_time(supervisor.wait(id_of(&spec))).await.unwrap();
    let refused = log.events().pop().unwrap();
    assert_eq!(refused.kind, EventKind::RestartRefused { rule: RestartRule::LaunchUnknown });
    let start = in_time(supervisor.start(id_of(&spec), &Requester::default())).await;
    assert!(start.is_err() && log.replay().unwrap().run == 1);
    child.wait().unwrap();
}

#[tokio::test]
async fn what_has_a_launch_that_cannot_be_read_stays_in_supervision() {
    let spec = sh("exit 0");
    let log = Log::default();
    let first = log.supervisor(Vec::new());
    in_time(first.apply(LaunchSpec::new(spec.clone()), &Requester::default())).await.unwrap();
    in_time(first.bring_up(LaunchSpec::new(spec.clone()), false, &Requester::default())).await.unwrap();
    in_time(first.wait(id_of(&spec))).await.unwrap();
    let why = "it has version 2".to_owned();
    let mut services = log.services(Vec::new());
    services.launches =
        Arc::new(MemoryLaunches::of_unreadable(vec![UnreadableLaunch { process: spec.id, why: why.clone() }]));
    let past = log.replay().into_iter().collect();
    let (supervisor, recovery) = in_time(Unrecovered::new(services).recover(Boot::default(), past)).await;
    assert_eq!(recovery.problems, [why]);
    assert_eq!(supervisor.find_process(&spec.name).unwrap(), spec.id);
    let start = in_time(supervisor.start(id_of(&spec), &Requester::default())).await;
    assert!(start.is_err_and(|error| error.to_string().contains("not known")) && log.replay().unwrap().run == 1);
    // With its launch specification supplied again, the process is handled like any other process.
    in_time(supervisor.apply(LaunchSpec::new(spec.clone()), &Requester::default())).await.unwrap();
    in_time(supervisor.start(id_of(&spec), &Requester::default())).await.unwrap();
    assert_eq!(in_time(supervisor.wait(id_of(&spec))).await.unwrap().run, 2);
}

#[tokio::test]
async fn a_trigger_is_kept_by_the_start_that_is_taken_up() {
    let spec = never("");
    let log = left_unstarted(&spec).await;
    log.alter(|event| {
        if let EventKind::StartRequested { trigger } = &mut event.kind {
            *trigger = StartTrigger::Restart { attempt: 3 };
        }
    });
    taken_over(&log, &spec).await;
    let starting = log.events().into_iter().find(|event| event.kind.name() == "starting").unwrap();
    let trigger = StartTrigger::Restart { attempt: 3 };
    assert_eq!(starting.kind, EventKind::Starting { identity: None, trigger });
}

/// A file descriptor store with one run.
struct OneRunStore(Mutex<Option<StoredRun>>);

impl FdStore for OneRunStore {
    fn hold(
        &self,
        _run: &str,
        _outputs: &[(BorrowedFd<'_>, Option<LogPosition>)],
        _pidfd: BorrowedFd<'_>,
        _identity: &ProcessIdentity,
    ) -> io::Result<()> {
        Ok(())
    }

    fn get(&self, _run: &str) -> io::Result<Option<StoredRun>> {
        Ok(self.0.lock().unwrap().take())
    }

    fn release(&self, _run: &str) -> io::Result<()> {
        Ok(())
    }

    fn held(&self) -> io::Result<Vec<String>> {
        Ok(Vec::new())
    }
}

/// The next supervisor, with `held` in its file descriptor store and its log files in `logs`.
async fn next_with(log: &Log, spec: &ProcessSpec, held: StoredRun, logs: &std::path::Path) -> Supervisor {
    let mut services = log.services(vec![LaunchSpec::new(spec.clone())]);
    services.fd_store = Some(Arc::new(OneRunStore(Mutex::new(Some(held)))));
    services.logs = Some((LogsDir::new(logs.to_owned()), Arc::new(LogThreads::default())));
    let past = log.replay().into_iter().collect();
    let (supervisor, recovery) = in_time(Unrecovered::new(services).recover(Boot::default(), past)).await;
    assert_eq!(recovery.problems, Vec::<String>::new());
    supervisor
}

fn pidfd_of(pid: u32) -> OwnedFd {
    let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
    rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap()
}

#[tokio::test]
async fn a_start_that_ended_at_the_exec_barrier_is_distinguished_from_a_run_that_ended() {
    for (script, expected) in [
        ("kill -16 $$", None),
        ("exit 7", Some((ExitOutcome::Code(7), Evidence::Recovered))),
        (
            "kill -KILL $$",
            Some((ExitOutcome::Signal { signal: Signal::KILL, core_dumped: false }, Evidence::Recovered)),
        ),
    ] {
        let spec = never("");
        let mut child = orphan(&spec, script);
        let (pidfd, identity) = (pidfd_of(child.id()), identify(child.id()).unwrap());
        until("it is a zombie", || !is_alive(child.id())).await;
        let log = left(&spec, None, |kind| matches!(kind, EventKind::Starting { .. })).await;
        let logs = tempfile::tempdir().unwrap();
        next_with(&log, &spec, StoredRun { outputs: Vec::new(), pidfd, identity }, logs.path()).await;
        until("its end is on record", || log.replay().is_some_and(|stream| stream.handle.state.has_exited())).await;
        let end =
            expected.map_or(RunEnd::NeverConfirmed, |(outcome, evidence)| RunEnd::Exit(Exit { outcome, evidence }));
        assert_eq!(log.replay().unwrap().end, Some(end), "{script}");
        child.wait().unwrap();
    }
}

#[tokio::test]
async fn the_last_lines_are_those_of_the_run_under_any_supervisor() {
    let file = "stdout.log";
    for (written, begins_at, expected) in [
        ("earlier\n", Some(8), &[][..]),
        ("earlier\nits own\n", Some(8), &["its own"]),
        // Without the position at which the output of the run begins, the lines of the run are unknown.
        ("earlier\nperhaps its own\n", None, &[]),
    ] {
        let spec = never("");
        let mut child = orphan(&spec, "exit 7");
        until("it is a zombie", || !is_alive(child.id())).await;
        let (pidfd, identity) = (pidfd_of(child.id()), identify(child.id()).unwrap());
        let log = left(&spec, Some(identity), end).await;
        let logs = tempfile::tempdir().unwrap();
        let dir = logs.path().join(format!("{}-0", spec.name));
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join(file), written).unwrap();
        let (pipe, _) = io::pipe().unwrap();
        let begins_at = begins_at.map(|offset| LogPosition { generation: 1, offset });
        let outputs = vec![StoredOutput { pipe: pipe.into(), begins_at }];
        let supervisor = next_with(&log, &spec, StoredRun { outputs, pidfd, identity }, logs.path()).await;
        in_time(supervisor.wait(id_of(&spec))).await.unwrap();
        let tails: Vec<_> = log
            .events()
            .into_iter()
            .filter_map(|event| match event.kind {
                EventKind::OutputTail { stdout, .. } => Some(stdout),
                _ => None,
            })
            .collect();
        assert_eq!(tails.concat(), expected, "{written:?}");
        child.wait().unwrap();
    }
}

#[tokio::test]
async fn a_removal_that_was_cut_off_is_finished() {
    let spec = never("");
    let log = left(&spec, None, |_| false).await;
    log.append(EventKind::Unregistered);
    let events = log.events().len();
    let (supervisor, recovery) = taken_over(&log, &spec).await;
    assert_eq!((recovery, log.events().len()), (Recovery::default(), events));
    let start = in_time(supervisor.start(id_of(&spec), &Requester::default())).await;
    assert!(matches!(start, Err(ProcessError::NotFound(_))), "{start:?}");
}
