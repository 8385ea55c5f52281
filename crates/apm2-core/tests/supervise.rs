//! One process under a supervisor: restarts by policy, commands, health, changes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use apm2_core::{
    health::{HealthCheck, HealthCheckConfig},
    process::{
        Actor, Event, EventKind, ProcessError, ProcessSpec, ProcessState, Requester, RestartRule, RunEnd, StartTrigger,
        Stream, StreamId,
    },
    restart::{BackoffConfig, RestartConfig, RestartPolicy},
    supervisor::{Applied, LaunchSpec, Supervisor, Unrecovered},
};

use crate::support::{AMPLE, Log, LogForEach, MemoryLaunches, disk_full, in_time, sh, sh_builder, until};

fn policy(policy: RestartPolicy, max_restarts: u32) -> RestartConfig {
    let backoff = BackoffConfig::Fixed { delay: Duration::from_millis(10) };
    RestartConfig { policy, max_restarts, backoff, ..RestartConfig::default() }
}

fn operator() -> Requester {
    Actor::Operator { uid: 1, user: None, terminal: None }.into()
}

fn id_of(spec: &ProcessSpec) -> StreamId {
    StreamId { process_id: spec.id, instance: 0 }
}

/// Supervises `spec` and starts it. A failed spawn is no error here: the policy handles it.
async fn begin(log: &Log, spec: &ProcessSpec) -> Supervisor {
    let supervisor = log.supervisor(Vec::new());
    in_time(supervisor.apply(LaunchSpec::new(spec.clone()), &Requester::default())).await.unwrap();
    match in_time(supervisor.start(id_of(spec), &Requester::default())).await {
        Ok(()) | Err(ProcessError::SpawnFailed(_)) => supervisor,
        Err(error) => panic!("{error}"),
    }
}

/// Supervises `spec` until its restart policy makes no further restart.
async fn keep(log: &Log, spec: &ProcessSpec) -> Stream {
    let supervisor = begin(log, spec).await;
    let stream = in_time(supervisor.wait(id_of(spec))).await.unwrap();
    assert_eq!(Some(&stream), log.replay().as_ref(), "law 1: live state is replayed state");
    assert_eq!(stream.broken_invariant(), None);
    stream
}

fn kinds(log: &Log) -> Vec<EventKind> {
    log.events().into_iter().map(|event| event.kind).collect()
}

#[tokio::test]
async fn a_failing_process_is_restarted_until_the_budget_is_spent() {
    let log = Log::default();
    let stream = keep(&log, &sh_builder("exit 1").restart(policy(RestartPolicy::OnFailure, 3)).build()).await;
    assert_eq!((stream.run, stream.handle.restart_count), (4, 3));
    assert!(stream.handle.last_restart.is_some());
    let triggers: Vec<StartTrigger> = kinds(&log)
        .into_iter()
        .filter_map(|kind| match kind {
            EventKind::StartRequested { trigger } => Some(trigger),
            _ => None,
        })
        .collect();
    let restart = |attempt| StartTrigger::Restart { attempt };
    assert_eq!(triggers, [StartTrigger::Start, restart(1), restart(2), restart(3)]);
    let refused = log.events().pop().unwrap();
    assert!(matches!(
        refused.kind,
        EventKind::RestartRefused { rule: RestartRule::BudgetSpent { restarts: 3, max_restarts: 3, .. } }
    ));
    assert_eq!((&refused.actor, refused.cause), (&Actor::Policy, log.seq_of("crashed")));
    assert_causes(&log.events());
}

/// The cause of each restart is the exit, and the cause of each start by policy is the restart.
fn assert_causes(events: &[Event]) {
    let (mut exit, mut scheduled) = (None, None);
    for event in events {
        match event.kind {
            EventKind::Crashed { .. } => exit = Some(event.seq),
            EventKind::RestartScheduled { .. } => {
                assert_eq!((&event.actor, event.cause), (&Actor::Policy, exit));
                scheduled = Some(event.seq);
            }
            EventKind::StartRequested { trigger: StartTrigger::Restart { .. } } => {
                assert_eq!((&event.actor, event.cause), (&Actor::Policy, scheduled));
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn the_budget_outlives_the_supervisor() {
    let log = Log::default();
    let spec = sh_builder("exit 1").restart(policy(RestartPolicy::OnFailure, 3)).build();
    keep(&log, &spec).await;
    let (next, _) = log.recovered(vec![LaunchSpec::new(spec.clone())]).await;
    next.start(id_of(&spec), &Requester::default()).await.unwrap();
    let stream = in_time(next.wait(id_of(&spec))).await.unwrap();
    assert_eq!(stream.handle.restart_count, 3, "the first supervisor has spent it");
    assert_eq!(stream.run, 5);
}

#[tokio::test]
async fn success_ends_it_unless_the_policy_is_always() {
    for (restart, runs) in [(RestartPolicy::OnFailure, 1), (RestartPolicy::Never, 1), (RestartPolicy::Always, 3)] {
        let log = Log::default();
        let stream = keep(&log, &sh_builder("exit 0").restart(policy(restart, 2)).build()).await;
        assert_eq!(stream.run, runs, "{restart}");
        assert_eq!(log.names().contains(&"restart_refused"), runs > 1, "no word where nothing was to be done");
    }
}

#[tokio::test]
async fn failed_spawns_are_retried_by_policy_and_counted_apart() {
    let log = Log::default();
    let spec = ProcessSpec::builder().name("n").command("/no/such/program");
    let stream = keep(&log, &spec.restart(policy(RestartPolicy::OnFailure, 2)).build()).await;
    assert_eq!(stream.run, 3);
    assert!(matches!(stream.end, Some(RunEnd::SpawnFailed(_))));
    assert_eq!(stream.handle.restart_count, 0, "none of them ever started");
    assert_eq!((stream.budget.spawn_failures.consecutive, stream.budget.crashes.consecutive), (2, 0));
    let refused = kinds(&log).pop().unwrap();
    let rule = RestartRule::SpawnBudgetSpent { failures: 2, max_restarts: 2, window_ms: 600_000 };
    assert_eq!(refused, EventKind::RestartRefused { rule });
    assert_causes(&log.events());
}

#[tokio::test]
async fn a_stop_ends_the_process_and_its_restarts() {
    let log = Log::default();
    let spec = sh_builder("sleep 1000").restart(policy(RestartPolicy::Always, 5)).build();
    let supervisor = begin(&log, &spec).await;
    assert!(!supervisor.is_idle());
    in_time(supervisor.stop(id_of(&spec), Some(AMPLE), &operator())).await.unwrap();
    let stream = in_time(supervisor.wait(id_of(&spec))).await.unwrap();
    assert_eq!((stream.run, stream.handle.state), (1, ProcessState::Stopped { exit_code: None }));
    assert!(supervisor.is_idle());
}

#[tokio::test]
async fn a_second_stop_shortens_the_first() {
    let log = Log::default();
    let dir = tempfile::tempdir().unwrap();
    let ready = dir.path().join("ready");
    let script = format!("trap '' TERM; touch {}; while :; do sleep 1000; done", ready.display());
    let spec = sh_builder(&script).restart(policy(RestartPolicy::Always, 5)).build();
    let supervisor = begin(&log, &spec).await;
    until("it ignores SIGTERM", || ready.exists()).await;
    let first = tokio::spawn({
        let (supervisor, id) = (supervisor.clone(), id_of(&spec));
        async move { supervisor.stop(id, Some(Duration::from_secs(1000)), &operator()).await }
    });
    until("it is stopping", || log.names().contains(&"stopping")).await;
    in_time(supervisor.stop(id_of(&spec), Some(Duration::ZERO), &operator())).await.unwrap();
    in_time(first).await.unwrap().unwrap();
    assert!(log.replay().unwrap().handle.state.has_exited());
}

#[tokio::test]
async fn a_stop_cancels_the_restart_that_is_due() {
    let log = Log::default();
    let backoff = BackoffConfig::Fixed { delay: Duration::from_secs(100_000) };
    let spec = sh_builder("exit 1").restart(RestartConfig { backoff, ..policy(RestartPolicy::Always, 5) }).build();
    let supervisor = begin(&log, &spec).await;
    until("a restart is due", || log.names().contains(&"restart_scheduled")).await;
    in_time(supervisor.stop(id_of(&spec), None, &operator())).await.unwrap();
    assert_eq!(in_time(supervisor.wait(id_of(&spec))).await.unwrap().run, 1);
    let refused = log.events().pop().unwrap();
    assert_eq!(refused.kind, EventKind::RestartRefused { rule: RestartRule::StopRequested });
    assert!(matches!(refused.actor, Actor::Operator { uid: 1, .. }));
    let again = in_time(supervisor.stop(id_of(&spec), None, &operator())).await;
    assert!(matches!(again, Err(ProcessError::InvalidState(_))), "CTR-0006: {again:?}");
}

#[tokio::test]
async fn a_restart_by_hand_stops_and_starts_and_counts_for_nothing() {
    let log = Log::default();
    let spec = sh("sleep 1000");
    let supervisor = begin(&log, &spec).await;
    in_time(supervisor.restart(id_of(&spec), &operator())).await.unwrap();
    let stream = log.replay().unwrap();
    assert_eq!((stream.run, stream.handle.restart_count, stream.handle.state), (2, 0, ProcessState::Running));
    in_time(supervisor.stop(id_of(&spec), None, &operator())).await.unwrap();
}

#[tokio::test]
async fn an_end_that_cannot_be_recorded_ends_the_supervision_with_an_error() {
    let log = Log::refusing(|kind| matches!(kind, EventKind::Crashed { .. }));
    let spec = sh_builder("exit 1").restart(policy(RestartPolicy::Always, 5)).build();
    let supervisor = begin(&log, &spec).await;
    let error = in_time(supervisor.wait(id_of(&spec))).await.unwrap_err();
    assert!(matches!(error, ProcessError::Io(_)), "{error}");
}

#[tokio::test]
async fn what_fails_its_checks_is_unhealthy_and_restarted_by_policy() {
    let log = Log::default();
    let check = HealthCheck::Script { command: "false".to_owned(), args: Vec::new() };
    let interval = Duration::from_millis(100);
    let health = HealthCheckConfig { check, interval, failure_threshold: 2, ..HealthCheckConfig::default() };
    let spec = sh_builder("sleep 1000").health(health).restart(policy(RestartPolicy::OnFailure, 1)).build();
    let stream = keep(&log, &spec).await;
    assert_eq!(stream.run, 2, "restarted once, although it ended as it was asked to");
    let events = log.events();
    let unhealthy: Vec<&Event> = events.iter().filter(|event| event.kind.name() == "unhealthy").collect();
    assert_eq!(unhealthy.len(), 2);
    assert!(unhealthy.iter().all(|event| event.actor == Actor::Health && event.reason.is_some()));
    assert!(events.iter().filter(|event| event.kind.name() == "stopping").all(|event| event.actor == Actor::Health));
}

#[tokio::test]
async fn a_sustained_run_fills_the_budget_again() {
    let log = Log::default();
    let script = "test -e \"$0\" && exec sleep 1000; touch \"$0\"; exit 1";
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("seen").to_string_lossy().into_owned();
    let restart = RestartConfig { min_uptime: Duration::from_millis(50), ..policy(RestartPolicy::OnFailure, 3) };
    let spec = ProcessSpec::builder().name("n").command("sh").args(["-c", script, &file]).restart(restart).build();
    let supervisor = begin(&log, &spec).await;
    until("the budget is full again", || log.names().contains(&"budget_reset")).await;
    assert_eq!(log.replay().unwrap().budget.crashes.consecutive, 0);
    in_time(supervisor.stop(id_of(&spec), None, &operator())).await.unwrap();
}

#[tokio::test]
async fn what_runs_cannot_be_unregistered_and_keeps_its_history_when_it_is() {
    let log = Log::default();
    let spec = sh("sleep 1000");
    let supervisor = begin(&log, &spec).await;
    let refused = in_time(supervisor.unregister(spec.id, &operator())).await.unwrap_err();
    assert!(matches!(refused, ProcessError::InvalidState(_)), "{refused}");
    in_time(supervisor.stop(id_of(&spec), None, &operator())).await.unwrap();
    in_time(supervisor.wait(id_of(&spec))).await.unwrap();
    in_time(supervisor.unregister(spec.id, &operator())).await.unwrap();
    assert!(supervisor.instances().is_empty() && log.replay().unwrap().unregistered);

    let again = ProcessSpec { id: sh("").id, ..spec.clone() };
    assert_eq!(in_time(supervisor.apply(LaunchSpec::new(again), &operator())).await.unwrap(), Applied::Created);
    let stream = supervisor.instances().pop().unwrap();
    assert_eq!((stream.id, stream.unregistered), (id_of(&spec), false), "the name goes on under its id");
}

#[tokio::test]
async fn a_changed_launch_stops_and_starts_what_ran() {
    let log = Log::default();
    let spec = sh("sleep 1000");
    let supervisor = begin(&log, &spec).await;
    let same = LaunchSpec::new(spec.clone());
    assert_eq!(in_time(supervisor.apply(same, &operator())).await.unwrap(), Applied::Unchanged);
    let other = ProcessSpec { args: vec!["-c".to_owned(), "sleep 2000".to_owned()], ..spec.clone() };
    assert_eq!(in_time(supervisor.apply(LaunchSpec::new(other), &operator())).await.unwrap(), Applied::Changed);
    let stream = log.replay().unwrap();
    assert_eq!((stream.run, stream.handle.state), (2, ProcessState::Running));
    assert!(log.names().contains(&"spec_changed"));
    in_time(supervisor.stop(id_of(&spec), None, &operator())).await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_a_name_is_refused() {
    let supervisor = Log::default().supervisor(Vec::new());
    for name in ["-a", "a b", "a/b", "../x", "ä", "all"] {
        let launch = LaunchSpec::new(ProcessSpec::builder().name(name).command("true").build());
        let refused = supervisor.apply(launch, &Requester::default()).await;
        assert!(matches!(refused, Err(ProcessError::InvalidState(_))), "{name:?}: {refused:?}");
    }
}

#[tokio::test]
async fn commands_before_a_stop_run_first_and_are_on_record() {
    let log = Log::default();
    let mut spec = sh("trap 'exit 0' TERM; while :; do sleep 0.01; done");
    spec.shutdown.pre_stop = vec![vec!["true".to_owned()], vec!["sh".to_owned(), "-c".to_owned(), "exit 3".to_owned()]];
    let supervisor = begin(&log, &spec).await;
    in_time(supervisor.stop(id_of(&spec), None, &operator())).await.unwrap();
    let names = log.names();
    let from = names.iter().position(|name| *name == "stopping").unwrap();
    let expected = ["stopping", "pre_stop_ended", "pre_stop_ended", "signal_sent", "stopped"];
    assert_eq!(names.get(from..).unwrap(), expected);
    let ended = kinds(&log).into_iter().filter_map(|kind| match kind {
        EventKind::PreStopEnded { succeeded, .. } => Some(succeeded),
        _ => None,
    });
    assert_eq!(ended.collect::<Vec<_>>(), [true, false]);
}

/// The names of the events from the stop on.
fn names_of_stop(log: &Log) -> Vec<&'static str> {
    let names = log.names();
    let from = names.iter().position(|name| *name == "stopping").unwrap();
    names.get(from..).unwrap().to_vec()
}

fn details(log: &Log) -> Vec<String> {
    let details = kinds(log).into_iter().filter_map(|kind| match kind {
        EventKind::PreStopEnded { detail, .. } => Some(detail),
        _ => None,
    });
    details.collect()
}

#[tokio::test]
async fn a_stop_that_is_hurried_cuts_its_commands_short_and_still_asks_the_process() {
    let log = Log::default();
    let mut spec = sh("trap 'exit 0' TERM; while :; do sleep 0.01; done");
    spec.shutdown.pre_stop = vec![vec!["sleep".to_owned(), "1000".to_owned()], vec!["true".to_owned()]];
    spec.shutdown.force_kill = false;
    spec.shutdown.timeout = Duration::from_secs(1000);
    let supervisor = begin(&log, &spec).await;
    let first = {
        let (supervisor, id) = (supervisor.clone(), id_of(&spec));
        tokio::spawn(async move { supervisor.stop(id, None, &operator()).await })
    };
    until("the stop is on record", || log.names().contains(&"stopping")).await;
    // The process must not be killed (`force_kill` is off), so the stop takes longer than its timeout.
    let _ = in_time(supervisor.stop(id_of(&spec), Some(Duration::ZERO), &operator())).await;
    let _ = in_time(first).await.unwrap();
    in_time(supervisor.wait(id_of(&spec))).await.unwrap();
    assert_eq!(
        names_of_stop(&log),
        ["stopping", "observed", "pre_stop_ended", "pre_stop_ended", "signal_sent", "stopped"]
    );
    assert_eq!(details(&log), ["cut short: no time was left", "not run: no time was left"]);
}

#[tokio::test]
async fn a_process_that_ends_before_its_signal_ends_the_commands_before_it() {
    let log = Log::default();
    let mut spec = sh("exec sleep 1000");
    spec.shutdown.timeout = Duration::from_secs(1000);
    spec.shutdown.pre_stop =
        vec![vec!["sh".to_owned(), "-c".to_owned(), "kill -KILL $APM2_PID; sleep 1000".to_owned()]];
    let supervisor = begin(&log, &spec).await;
    in_time(supervisor.stop(id_of(&spec), None, &operator())).await.unwrap();
    assert_eq!(names_of_stop(&log), ["stopping", "pre_stop_ended", "stopped"]);
    assert_eq!(details(&log), ["cut short: no time was left"]);
}

#[tokio::test]
async fn a_change_under_way_starts_nothing_once_everything_is_to_stop() {
    let log = Log::default();
    let spec = sh("trap '' TERM; while :; do sleep 0.01; done");
    let supervisor = begin(&log, &spec).await;
    let pid = log.replay().unwrap().handle.pid.unwrap();
    // The bit of SIGTERM (proc(5)).
    let ignores = |line: &str| u64::from_str_radix(line.trim(), 16).unwrap() & (1 << 14) != 0;
    until("it ignores SIGTERM", || {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        status.lines().find_map(|line| line.strip_prefix("SigIgn:")).is_some_and(ignores)
    })
    .await;
    let mut changed = spec.clone();
    changed.args.push("changed".to_owned());
    changed.shutdown.timeout = Duration::from_millis(300);
    let changing = {
        let supervisor = supervisor.clone();
        tokio::spawn(async move { supervisor.apply(LaunchSpec::new(changed), &operator()).await })
    };
    until("what runs is being stopped", || log.names().contains(&"stopping")).await;
    let report = in_time(supervisor.shutdown(Duration::from_millis(300), &operator())).await;
    assert_eq!(report.problems, Vec::<String>::new());
    let _ = in_time(changing).await.unwrap();
    assert!(log.replay().unwrap().handle.state.has_exited());
    assert_eq!(log.names().iter().filter(|name| **name == "start_requested").count(), 1, "{:?}", log.names());
}

#[tokio::test]
async fn a_change_that_cannot_be_kept_leaves_what_is_left_in_supervision() {
    let is_full = Arc::<AtomicBool>::default();
    let mut services = Log::default().services(Vec::new());
    // Each instance has a log of its own.
    services.store = Arc::new(LogForEach);
    let is_disk_full = is_full.clone();
    services.launches = Arc::new(MemoryLaunches::checked_at_save(move |_| {
        if is_disk_full.load(Ordering::Acquire) { Err(disk_full()) } else { Ok(()) }
    }));
    let supervisor = Unrecovered::new(services).without_past();
    let spec = ProcessSpec { instances: 3, ..sh("exec sleep 1000") };
    in_time(supervisor.apply(LaunchSpec::new(spec.clone()), &operator())).await.unwrap();
    in_time(supervisor.bring_up(LaunchSpec::new(spec.clone()), false, &operator())).await.unwrap();
    is_full.store(true, Ordering::Release);
    assert!(in_time(supervisor.scale(spec.id, 1, &operator())).await.is_err());
    is_full.store(false, Ordering::Release);
    in_time(supervisor.scale(spec.id, 1, &operator())).await.unwrap();
    in_time(supervisor.remove(spec.id, None, &operator())).await.unwrap();
    assert!(supervisor.is_idle());
}

/// How long a bring-up of `script` takes, and its report about an early end.
async fn bring_up_time(script: &str) -> (Duration, Option<String>) {
    let log = Log::default();
    let supervisor = log.supervisor(Vec::new());
    let spec = sh_builder(script).restart(policy(RestartPolicy::Never, 0)).build();
    let began = Instant::now();
    let report = in_time(supervisor.bring_up(LaunchSpec::new(spec.clone()), false, &operator())).await.unwrap();
    let took = began.elapsed();
    in_time(supervisor.remove(spec.id, None, &operator())).await.unwrap();
    (took, report.ended_at_once)
}

/// The longest time for which a bring-up observes a process.
const LOOK_MAX: Duration = Duration::from_millis(300);

/// Attempts of a test that a busy machine can delay.
const ATTEMPTS: usize = 20;

#[tokio::test]
async fn a_bring_up_returns_early_when_the_process_is_idle() {
    let mut latest = Duration::ZERO;
    for _ in 0..ATTEMPTS {
        let (took, ended) = bring_up_time("exec sleep 1000").await;
        assert_eq!(ended, None);
        if took < LOOK_MAX {
            return;
        }
        latest = took;
    }
    panic!("each of {ATTEMPTS} attempts took {LOOK_MAX:?} or longer, the last one {latest:?}");
}

#[tokio::test]
async fn a_bring_up_observes_a_process_that_works_until_it_fails() {
    let (took, ended) = bring_up_time("while :; do :; done").await;
    assert!(took >= LOOK_MAX && ended.is_none(), "{took:?} {ended:?}");
    // The process works for 100 ms and then fails.
    let script = "end=$(($(date +%s%N) + 100000000)); while [ $(date +%s%N) -lt $end ]; do :; done; exit 3";
    for _ in 0..ATTEMPTS {
        let (took, ended) = bring_up_time(script).await;
        if ended.is_some_and(|words| words.contains("right after its start")) {
            return;
        }
        assert!(took >= LOOK_MAX, "{took:?}");
    }
    panic!("none of {ATTEMPTS} attempts reported the failure");
}

#[tokio::test]
async fn what_waits_for_a_restart_is_started_by_a_bring_up_and_what_has_finished_is_not() {
    let log = Log::default();
    let backoff = BackoffConfig::Fixed { delay: Duration::from_secs(100_000) };
    let dir = tempfile::tempdir().unwrap();
    let flag = dir.path().join("flag");
    let spec = sh_builder(&format!("test -e {}", flag.display()))
        .restart(RestartConfig { backoff, ..policy(RestartPolicy::OnFailure, 5) })
        .build();
    let supervisor = log.supervisor(Vec::new());
    let by = operator();
    let up = || supervisor.bring_up(LaunchSpec::new(spec.clone()), false, &by);
    let ended = in_time(up()).await.unwrap().ended_at_once;
    assert!(ended.as_ref().is_some_and(|words| words.contains("right after its start")), "{ended:?}");
    until("a restart is due", || log.names().contains(&"restart_scheduled")).await;
    std::fs::write(&flag, "").unwrap();
    let again = in_time(up()).await.unwrap();
    assert_eq!((again.applied, again.has_started, again.ended_at_once), (Applied::Unchanged, true, None));
    in_time(supervisor.wait(id_of(&spec))).await.unwrap();
    let done = in_time(up()).await.unwrap();
    assert_eq!((done.has_started, done.has_finished), (false, true));
    assert_eq!(log.replay().unwrap().run, 2);
}
