//! What runs again after a shutdown of the supervisor or of the machine, and what does not.

use std::time::Duration;

use apm2_core::{
    process::{Actor, EventKind, ProcessSpec, ProcessState, Request, RestartRule, StartTrigger, StreamId},
    restart::{BackoffConfig, OnBoot, RestartConfig, RestartPolicy},
    supervisor::{Boot, Launch, Supervisor},
};
use uuid::Uuid;

use crate::support::{AMPLE, KillOnDrop, Log, in_time, sh_builder, until};

/// The seq of the start of the next supervisor.
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

fn operator() -> Request {
    Actor::Operator { uid: 1, user: None, terminal: None }.into()
}

/// Started by an operator.
async fn begun(log: &Log, spec: &ProcessSpec) -> Supervisor {
    let supervisor = log.supervisor(Vec::new());
    in_time(supervisor.bring_up(Launch::new(spec.clone()), false, &operator())).await.unwrap();
    supervisor
}

async fn shut_down(supervisor: &Supervisor) {
    let report = in_time(supervisor.shutdown(AMPLE, &Request::default())).await;
    assert_eq!(report.problems, Vec::<String>::new());
}

/// The next supervisor.
async fn next(log: &Log, spec: &ProcessSpec) -> Supervisor {
    let supervisor = log.supervisor(vec![Launch::new(spec.clone())]);
    let boot = Boot { cause: Some(STARTED), ..Boot::default() };
    let recovery = in_time(supervisor.recover_after(boot, log.replay().into_iter().collect())).await;
    assert_eq!(recovery.problems, Vec::<String>::new());
    supervisor
}

/// Whether the next supervisor starts it, or leaves it.
async fn runs_again(log: &Log, spec: &ProcessSpec) -> bool {
    let before = log.replay().unwrap().run;
    let supervisor = next(log, spec).await;
    // What is on record of the run before it may not be closed yet.
    let runs = || log.replay().is_some_and(|now| now.run > before && now.handle.state == ProcessState::Running);
    until("it runs, or nothing is to be done", || runs() || supervisor.is_idle()).await;
    let runs = runs();
    shut_down(&supervisor).await;
    assert_eq!(log.replay().unwrap().run, before + u64::from(runs), "it is started once");
    runs
}

/// The same past on a machine that was started anew since then.
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
