//! Which processes are started again after a shutdown of the supervisor or of the machine.

use std::time::Duration;

use apm2_core::{
    credentials::{CredentialConfig, CredentialSource},
    process::{Actor, EventKind, ProcessSpec, ProcessState, Requester, RestartRule, StartTrigger, StreamId},
    restart::{BackoffConfig, OnBoot, RestartConfig, RestartPolicy},
    supervisor::{Boot, LaunchSpec, Supervisor, Unrecovered},
};
use uuid::Uuid;

use crate::support::{AMPLE, KillOnDrop, Log, escaping, in_time, sh_builder, until};

/// The seq of the event that records the start of the next supervisor.
const STARTED: u64 = 77;

fn spec(script: &str, policy: RestartPolicy, on_boot: OnBoot) -> ProcessSpec {
    let backoff = BackoffConfig::Fixed { delay: Duration::from_secs(100_000) };
    sh_builder(script).restart(RestartConfig { policy, backoff, on_boot, ..RestartConfig::default() }).build()
}

fn forever(on_boot: OnBoot) -> ProcessSpec {
    spec("exec sleep 1000", RestartPolicy::OnFailure, on_boot)
}

fn id_of(spec: &ProcessSpec) -> StreamId {
    StreamId { process_id: spec.id, instance: 0 }
}

fn operator() -> Requester {
    Actor::Operator { uid: 1, user: None, terminal: None }.into()
}

/// A supervisor of `spec`, which an operator has started.
async fn begun(log: &Log, spec: &ProcessSpec) -> Supervisor {
    let supervisor = log.supervisor(Vec::new());
    in_time(supervisor.bring_up(LaunchSpec::new(spec.clone()), false, &operator())).await.unwrap();
    supervisor
}

async fn shut_down(supervisor: &Supervisor) {
    let report = in_time(supervisor.shutdown(AMPLE, &Requester::default())).await;
    assert_eq!(report.problems, Vec::<String>::new());
}

/// The next supervisor, which takes over from this log.
async fn next(log: &Log, spec: &ProcessSpec) -> Supervisor {
    let unrecovered = Unrecovered::new(log.services(vec![LaunchSpec::new(spec.clone())]));
    let boot = Boot { cause: Some(STARTED), ..Boot::default() };
    let (supervisor, recovery) = in_time(unrecovered.recover(boot, log.replay().into_iter().collect())).await;
    assert_eq!(recovery.problems, Vec::<String>::new());
    supervisor
}

/// Whether the next supervisor starts the process again.
async fn runs_again(log: &Log, spec: &ProcessSpec) -> bool {
    let before = log.replay().unwrap().run;
    let supervisor = next(log, spec).await;
    // At this moment, the run of the earlier supervisor may still be recorded as running.
    let runs =
        || log.replay().is_some_and(|stream| stream.run > before && stream.handle.state == ProcessState::Running);
    let is_over = || log.replay().unwrap().handle.state.has_exited() && supervisor.is_idle();
    until("it runs, or nothing is to be done", || runs() || is_over()).await;
    let runs = runs();
    shut_down(&supervisor).await;
    assert_eq!(log.replay().unwrap().run, before + u64::from(runs), "it is started once");
    runs
}

/// The same log, as it would be after a reboot of the machine.
fn of_another_boot(log: &Log) -> Log {
    let (past, other) = (Log::default(), Uuid::from_u128(1));
    past.adopt(log);
    past.alter(|event| {
        event.stamp.boot_id = other;
        if let EventKind::Starting { identity: Some(identity), .. } = &mut event.kind {
            identity.boot_id = other;
        }
    });
    past
}

fn triggers(log: &Log) -> Vec<(StartTrigger, Actor, Option<u64>)> {
    let starts = log.events().into_iter().filter_map(|event| match event.kind {
        EventKind::StartRequested { trigger } => Some((trigger, event.actor, event.cause)),
        _ => None,
    });
    starts.collect()
}

#[tokio::test]
async fn what_ran_at_a_shutdown_runs_again_after_it_however_often() {
    let (log, spec) = (Log::default(), forever(OnBoot::AsBefore));
    shut_down(&begun(&log, &spec).await).await;
    for _ in 0..2 {
        assert!(runs_again(&log, &spec).await);
    }
    let boot = (StartTrigger::Boot, Actor::System, Some(STARTED));
    assert_eq!(triggers(&log).get(1..), Some(&[boot.clone(), boot][..]));
    assert_eq!(log.replay().unwrap().handle.restart_count, 0, "the policy had no part in it");
}

#[tokio::test]
async fn a_restart_that_was_due_at_a_shutdown_is_made_at_once() {
    let (log, spec) =
        (Log::default(), spec("test -e /proc/self/no && exit 1; exit 1", RestartPolicy::Always, OnBoot::AsBefore));
    let supervisor = begun(&log, &spec).await;
    until("a restart is due", || log.names().contains(&"restart_scheduled")).await;
    shut_down(&supervisor).await;
    let supervisor = next(&log, &spec).await;
    until("it is started", || triggers(&log).len() == 2).await;
    assert_eq!(triggers(&log).pop().unwrap().0, StartTrigger::Boot);
    until("it has failed again", || log.replay().unwrap().handle.state.has_exited()).await;
    shut_down(&supervisor).await;
}

/// A supervisor that leaves its processes to the next one makes no more starts.
#[tokio::test]
async fn a_restart_that_is_due_at_a_leave_is_made_by_the_next_supervisor() {
    const DELAY: Duration = Duration::from_secs(2);
    let mut spec = spec("exit 1", RestartPolicy::Always, OnBoot::AsBefore);
    spec.restart.backoff = BackoffConfig::Fixed { delay: DELAY };
    let log = Log::default();
    let supervisor = begun(&log, &spec).await;
    until("a restart is due", || log.names().contains(&"restart_scheduled")).await;
    assert!(in_time(supervisor.leave(AMPLE)).await);
    tokio::time::sleep(DELAY + Duration::from_millis(500)).await;
    assert_eq!(triggers(&log).len(), 1, "{:?}", log.names());
    let supervisor = next(&log, &spec).await;
    until("it is started", || triggers(&log).len() == 2).await;
    assert!(matches!(triggers(&log).pop().unwrap().0, StartTrigger::Restart { .. }));
    shut_down(&supervisor).await;
}

#[tokio::test]
async fn what_an_operator_has_stopped_stays_stopped() {
    let (log, spec) = (Log::default(), forever(OnBoot::AsBefore));
    let supervisor = begun(&log, &spec).await;
    in_time(supervisor.stop(id_of(&spec), None, &operator())).await.unwrap();
    shut_down(&supervisor).await;
    assert!(!log.replay().unwrap().wanted);
    assert!(!runs_again(&log, &spec).await);
    assert!(!runs_again(&of_another_boot(&log), &spec).await);
    let supervisor = next(&log, &spec).await;
    in_time(supervisor.start(id_of(&spec), &operator())).await.unwrap();
    shut_down(&supervisor).await;
    assert!(runs_again(&log, &spec).await, "until it is started again");
}

#[tokio::test]
async fn what_has_finished_or_was_given_up_is_not_begun_again() {
    for (script, policy) in
        [("exit 0", RestartPolicy::OnFailure), ("exit 0", RestartPolicy::Never), ("exit 1", RestartPolicy::Never)]
    {
        let (log, spec) = (Log::default(), spec(script, policy, OnBoot::AsBefore));
        let supervisor = begun(&log, &spec).await;
        let stream = in_time(supervisor.wait(id_of(&spec))).await.unwrap();
        assert_eq!(stream.finished, script == "exit 0");
        shut_down(&supervisor).await;
        assert!(!runs_again(&log, &spec).await, "{script} {policy}");
        assert!(!runs_again(&of_another_boot(&log), &spec).await, "{script} {policy}");
    }
    let (log, mut spec) = (Log::default(), spec("exit 1", RestartPolicy::Always, OnBoot::AsBefore));
    spec.restart.max_restarts = 0;
    let supervisor = begun(&log, &spec).await;
    in_time(supervisor.wait(id_of(&spec))).await.unwrap();
    shut_down(&supervisor).await;
    assert!(!runs_again(&log, &spec).await && !runs_again(&of_another_boot(&log), &spec).await);
}

#[tokio::test]
async fn what_went_with_the_machine_runs_again_whatever_its_policy() {
    for policy in [RestartPolicy::Never, RestartPolicy::OnFailure, RestartPolicy::Always] {
        let (log, spec) = (Log::default(), spec("exec sleep 1000", policy, OnBoot::AsBefore));
        let _supervisor = begun(&log, &spec).await;
        let past = of_another_boot(&log);
        drop(log.replay().unwrap().handle.pid.map(KillOnDrop));
        assert!(runs_again(&past, &spec).await, "{policy}");
        assert!(triggers(&past).pop().unwrap().0 == StartTrigger::Boot && !past.names().contains(&"restart_scheduled"));
    }
}

#[tokio::test]
async fn what_is_to_stay_stays_whatever_its_policy() {
    let (log, spec) = (Log::default(), spec("exec sleep 1000", RestartPolicy::Always, OnBoot::Stay));
    let supervisor = begun(&log, &spec).await;
    let past = of_another_boot(&log);
    shut_down(&supervisor).await;
    assert!(!runs_again(&log, &spec).await);
    for _ in 0..2 {
        assert!(!runs_again(&past, &spec).await);
    }
    let refused = past.events().into_iter().find_map(|event| match event.kind {
        EventKind::RestartRefused { rule } => Some((rule, event.reason)),
        _ => None,
    });
    assert_eq!(refused, Some((RestartRule::StopRequested, Some("on_boot is stay".to_owned()))));
}

#[tokio::test]
async fn what_is_to_be_started_is_started_once_for_each_boot_of_the_machine() {
    let (log, spec) = (Log::default(), forever(OnBoot::Start));
    let supervisor = begun(&log, &spec).await;
    in_time(supervisor.stop(id_of(&spec), None, &operator())).await.unwrap();
    shut_down(&supervisor).await;
    assert!(!runs_again(&log, &spec).await, "another daemon is not another boot");
    let past = of_another_boot(&log);
    let supervisor = next(&past, &spec).await;
    until("it runs", || past.replay().unwrap().handle.state == ProcessState::Running).await;
    in_time(supervisor.stop(id_of(&spec), None, &operator())).await.unwrap();
    assert!(!runs_again(&past, &spec).await);
}

#[tokio::test]
async fn an_adopted_process_is_left_as_it_is() {
    let (log, spec) = (Log::default(), forever(OnBoot::Start));
    let _before = begun(&log, &spec).await;
    let kept = Log::default();
    kept.adopt(&log);
    let supervisor = next(&kept, &spec).await;
    assert_eq!(kept.names().last(), Some(&"adopted"));
    shut_down(&supervisor).await;
}

/// A process that needs a moment to end after its stop signal.
fn slow_to_end(on_boot: OnBoot) -> ProcessSpec {
    spec("trap 'sleep 0.3; exit 0' TERM; while :; do sleep 0.01; done", RestartPolicy::Never, on_boot)
}

/// Begins an operation that stops and starts the process, and waits until the stop has begun.
async fn begin_restart(supervisor: &Supervisor, log: &Log, what: impl Future<Output = ()> + Send + 'static) {
    let _supervisor = supervisor.clone();
    tokio::spawn(what);
    until("it is being stopped", || log.replay().unwrap().handle.state == ProcessState::Stopping).await;
}

fn restart(supervisor: &Supervisor, spec: &ProcessSpec) -> impl Future<Output = ()> + Send + 'static {
    let (supervisor, id) = (supervisor.clone(), id_of(spec));
    // The command is refused while the supervisor shuts down.
    async move { drop(supervisor.restart(id, &operator()).await) }
}

/// The next supervisor starts a process that was between the stop and the start of any operation.
#[tokio::test]
async fn a_shutdown_that_comes_between_stop_and_start_of_a_restart_puts_the_start_off() {
    for on_boot in [OnBoot::AsBefore, OnBoot::Start, OnBoot::Stay] {
        let (log, spec) = (Log::default(), slow_to_end(on_boot));
        let supervisor = begun(&log, &spec).await;
        begin_restart(&supervisor, &log, restart(&supervisor, &spec)).await;
        shut_down(&supervisor).await;
        assert_eq!(triggers(&log).len(), 1);
        assert_eq!(runs_again(&log, &spec).await, on_boot != OnBoot::Stay, "{on_boot:?}");
    }
}

#[tokio::test]
async fn a_shutdown_that_comes_between_stop_and_start_of_a_change_puts_the_start_off() {
    let (log, spec) = (Log::default(), slow_to_end(OnBoot::AsBefore));
    let supervisor = begun(&log, &spec).await;
    let changed = ProcessSpec { args: ["-c", "exec sleep 2000"].map(str::to_owned).to_vec(), ..spec.clone() };
    let (changing, launch) = (supervisor.clone(), LaunchSpec::new(changed.clone()));
    let bring_up = async move { drop(changing.bring_up(launch, false, &operator()).await) };
    begin_restart(&supervisor, &log, bring_up).await;
    shut_down(&supervisor).await;
    assert_eq!(log.replay().unwrap().handle.spec.args, changed.args, "the change is made, and through");
    assert!(runs_again(&log, &changed).await);
}

#[tokio::test]
async fn a_shutdown_that_comes_while_a_restart_waits_for_credentials_puts_the_start_off() {
    let dir = tempfile::tempdir().unwrap();
    let (file, waiting) = (dir.path().join("slow"), dir.path().join("waiting"));
    let script = format!("if [ -e {} ]; then touch {}; sleep 1000; fi; echo key=x", file.display(), waiting.display());
    let config = CredentialConfig {
        profile: "p".to_owned(),
        variables: [("A".to_owned(), "key".to_owned())].into(),
        reload_signal: None,
    };
    let (log, spec) = (Log::default(), ProcessSpec { credentials: Some(config), ..forever(OnBoot::AsBefore) });
    let credential_source = Some(CredentialSource::Command(["sh", "-c", &script].map(str::to_owned).to_vec()));
    let supervisor = log.supervisor(Vec::new());
    let launch = LaunchSpec { credential_source, ..LaunchSpec::new(spec.clone()) };
    in_time(supervisor.bring_up(launch, false, &operator())).await.unwrap();
    std::fs::write(&file, "").unwrap();
    tokio::spawn(restart(&supervisor, &spec));
    until("it waits for its credentials", || waiting.exists()).await;
    shut_down(&supervisor).await;
    let stream = log.replay().unwrap();
    assert!(stream.wanted && stream.handle.state.has_exited() && stream.run == 1, "{stream:?}");
}

/// A stop by an operator during a stop by the supervisor takes precedence.
#[tokio::test]
async fn a_stop_by_an_operator_during_a_shutdown_counts() {
    for is_restart in [false, true] {
        let (log, spec) = (Log::default(), slow_to_end(OnBoot::AsBefore));
        let supervisor = begun(&log, &spec).await;
        if is_restart {
            begin_restart(&supervisor, &log, restart(&supervisor, &spec)).await;
        }
        let leaving = supervisor.clone();
        let left = tokio::spawn(async move { shut_down(&leaving).await });
        let (name, is_put_off) = if is_restart { ("restart_refused", true) } else { ("stopping", false) };
        until("the shutdown is under way", || log.names().contains(&name)).await;
        assert_eq!(log.replay().unwrap().wanted, is_put_off || !is_restart);
        in_time(supervisor.stop(id_of(&spec), None, &operator())).await.unwrap();
        in_time(left).await.unwrap();
        assert!(!runs_again(&log, &spec).await, "{is_restart}");
    }
}

/// A process that ran at the shutdown is started again, whatever its exit code was then.
#[tokio::test]
async fn what_was_shut_down_while_it_finished_its_work_runs_again_under_any_policy() {
    for policy in [RestartPolicy::Never, RestartPolicy::OnFailure, RestartPolicy::Always] {
        for code in [0, 7] {
            let script = format!("trap 'sleep 0.1; exit {code}' TERM; while :; do sleep 0.01; done");
            let (log, spec) = (Log::default(), spec(&script, policy, OnBoot::AsBefore));
            shut_down(&begun(&log, &spec).await).await;
            assert!(log.replay().unwrap().exit().is_some_and(|exit| exit.code() == Some(code)));
            assert!(runs_again(&log, &spec).await, "{policy} {code}");
        }
    }
}

/// A process had ended by itself before the shutdown, and its policy does not restart it. The result is the same while
/// its output is still being read.
#[tokio::test]
async fn what_had_ended_by_itself_before_a_shutdown_is_not_started_by_it() {
    for policy in [RestartPolicy::Never, RestartPolicy::Always] {
        let dir = tempfile::tempdir().unwrap();
        // A process that the run leaves behind holds the output open for longer than the bounded wait. If there were a
        // second run, the wait would not end.
        let first = dir.path().join("first");
        let again = format!("test -e {0} && exec sleep 1000; touch {0}; ", first.display());
        let script = again + &escaping("sleep 3").replace("exit 0", "exit 3");
        let mut spec = spec(&script, policy, OnBoot::AsBefore);
        spec.shutdown.end_orphans = false;
        let log = Log::default();
        let supervisor = log.supervisor(Vec::new());
        in_time(supervisor.apply(LaunchSpec::new(spec.clone()), &operator())).await.unwrap();
        in_time(supervisor.start(id_of(&spec), &operator())).await.unwrap();
        until("it has ended", || log.replay().unwrap().handle.state.has_exited()).await;
        shut_down(&supervisor).await;
        let names = log.names();
        assert_eq!(runs_again(&log, &spec).await, policy == RestartPolicy::Always, "{policy}: {names:?}");
    }
}

/// If a supervisor is killed while it shuts down, the next one completes the stop and starts the process.
#[tokio::test]
async fn what_was_being_shut_down_when_the_supervisor_was_killed_runs_again() {
    let (log, spec) = (Log::default(), slow_to_end(OnBoot::AsBefore));
    let supervisor = begun(&log, &spec).await;
    let leaving = supervisor.clone();
    let left = tokio::spawn(async move { shut_down(&leaving).await });
    until("it is being stopped", || log.replay().unwrap().handle.state == ProcessState::Stopping).await;
    let kept = Log::default();
    kept.adopt(&log);
    let _next = next(&kept, &spec).await;
    until("it runs again", || {
        kept.replay().is_some_and(|stream| stream.run == 2 && stream.handle.state == ProcessState::Running)
    })
    .await;
    in_time(left).await.unwrap();
}

/// After a power failure `on_boot = "stay"` keeps a process stopped until a client starts it.
#[tokio::test]
async fn what_stayed_once_is_not_wanted_until_it_is_started() {
    let (log, spec) = (Log::default(), forever(OnBoot::Stay));
    let _supervisor = begun(&log, &spec).await;
    let past = of_another_boot(&log);
    drop(log.replay().unwrap().handle.pid.map(KillOnDrop));
    assert!(!runs_again(&past, &spec).await);
    assert!(!past.replay().unwrap().wanted);
    let before = forever(OnBoot::AsBefore);
    let now = ProcessSpec { restart: before.restart, ..spec.clone() };
    assert!(!runs_again(&past, &now).await && !runs_again(&of_another_boot(&past), &now).await);
    let supervisor = next(&past, &now).await;
    in_time(supervisor.start(id_of(&now), &operator())).await.unwrap();
    shut_down(&supervisor).await;
    assert!(runs_again(&past, &now).await);
}
