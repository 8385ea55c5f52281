//! Restarting by policy, and closing what a dead supervisor left open.

use std::time::Duration;

use apm2_core::{
    process::{
        Actor, Event, EventKind, Evidence, Exit, ExitOutcome, ProcessError, ProcessIdentity, ProcessRunner,
        ProcessSpec, ProcessState, RestartRule, RunEnd, StartTrigger, Stream,
    },
    restart::{BackoffConfig, RestartConfig, RestartPolicy},
    supervisor::{Reconciled, StopRequest, keep_running, reconcile},
};
use tokio::sync::mpsc;

use crate::support::{AMPLE, KillOnDrop, Log, in_time, is_alive, sh, sh_builder, until};

fn policy(policy: RestartPolicy, max_restarts: u32) -> RestartConfig {
    let backoff = BackoffConfig::Fixed { delay: Duration::from_millis(10) };
    RestartConfig { policy, max_restarts, backoff, ..RestartConfig::default() }
}

fn stop_request(timeout: Duration) -> StopRequest {
    StopRequest { timeout, request: Actor::Operator { uid: 1, user: None, terminal: None }.into() }
}

async fn keep(runner: &mut ProcessRunner) -> Stream {
    let (_stop, mut stops) = mpsc::channel(1);
    in_time(keep_running(runner, Actor::System.into(), &mut stops)).await.unwrap()
}

fn kinds(log: &Log) -> Vec<EventKind> {
    log.events().into_iter().map(|event| event.kind).collect()
}

#[tokio::test]
async fn a_failing_process_is_restarted_until_the_budget_is_spent() {
    let log = Log::default();
    let mut runner = log.runner(sh_builder("exit 1").restart(policy(RestartPolicy::OnFailure, 3)).build());
    let stream = keep(&mut runner).await;
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
    log.assert_live_equals_replayed(&runner);
}

/// Each restart names the exit that caused it, and each start by policy the restart.
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
    keep(&mut log.runner(spec.clone())).await;
    let stream = keep(&mut log.runner(spec)).await;
    assert_eq!(stream.handle.restart_count, 3, "the first supervisor has spent it");
    assert_eq!(stream.run, 5);
}

#[tokio::test]
async fn success_ends_it_unless_the_policy_is_always() {
    for (restart, runs) in [(RestartPolicy::OnFailure, 1), (RestartPolicy::Never, 1), (RestartPolicy::Always, 3)] {
        let log = Log::default();
        let mut runner = log.runner(sh_builder("exit 0").restart(policy(restart, 2)).build());
        assert_eq!(keep(&mut runner).await.run, runs, "{restart}");
        assert_eq!(log.names().contains(&"restart_refused"), runs > 1, "no word where nothing was to be done");
        log.assert_live_equals_replayed(&runner);
    }
}

#[tokio::test]
async fn a_failed_spawn_is_retried_by_policy() {
    let log = Log::default();
    let spec = ProcessSpec::builder().name("n").command("/no/such/program");
    let mut runner = log.runner(spec.restart(policy(RestartPolicy::OnFailure, 2)).build());
    let stream = keep(&mut runner).await;
    assert_eq!(stream.run, 3);
    assert!(matches!(stream.end, Some(RunEnd::SpawnFailed(_))));
    assert_eq!(stream.handle.restart_count, 0, "none of them ever started");
    assert_causes(&log.events());
    log.assert_live_equals_replayed(&runner);
}

#[tokio::test]
async fn a_stop_ends_the_process_and_its_restarts() {
    let log = Log::default();
    let mut runner = log.runner(sh_builder("sleep 1000").restart(policy(RestartPolicy::Always, 5)).build());
    let (stop, mut stops) = mpsc::channel(1);
    let request = async {
        until("it runs", || log.names().contains(&"running")).await;
        stop.send(stop_request(AMPLE)).await.unwrap();
    };
    let (stream, ()) = tokio::join!(in_time(keep_running(&mut runner, Actor::System.into(), &mut stops)), request);
    assert_eq!(stream.unwrap().run, 1);
    assert_eq!(runner.state(), ProcessState::Stopped { exit_code: None });
    log.assert_live_equals_replayed(&runner);
}

#[tokio::test]
async fn a_second_stop_request_shortens_the_first() {
    let log = Log::default();
    let script = "trap '' TERM; while :; do sleep 1000; done";
    let mut runner = log.runner(sh_builder(script).restart(policy(RestartPolicy::Always, 5)).build());
    let mut chunks = runner.subscribe_output();
    let (stop, mut stops) = mpsc::channel(2);
    let request = async {
        until("it runs", || log.names().contains(&"running")).await;
        stop.send(stop_request(Duration::from_secs(1000))).await.unwrap();
        until("it is stopping", || log.names().contains(&"stopping")).await;
        stop.send(stop_request(Duration::ZERO)).await.unwrap();
    };
    let (stream, ()) = tokio::join!(in_time(keep_running(&mut runner, Actor::System.into(), &mut stops)), request);
    assert!(stream.unwrap().handle.state.has_exited());
    assert!(chunks.try_recv().is_err());
    log.assert_live_equals_replayed(&runner);
}

#[tokio::test]
async fn a_stop_cancels_the_restart_that_is_pending() {
    let log = Log::default();
    let backoff = BackoffConfig::Fixed { delay: Duration::MAX };
    let restart = RestartConfig { backoff, ..policy(RestartPolicy::Always, 5) };
    let mut runner = log.runner(sh_builder("exit 1").restart(restart).build());
    let (stop, mut stops) = mpsc::channel(1);
    let request = async {
        until("a restart is pending", || log.names().contains(&"restart_scheduled")).await;
        stop.send(stop_request(AMPLE)).await.unwrap();
    };
    let (stream, ()) = tokio::join!(in_time(keep_running(&mut runner, Actor::System.into(), &mut stops)), request);
    assert_eq!(stream.unwrap().run, 1);
    let refused = log.events().pop().unwrap();
    assert_eq!(refused.kind, EventKind::RestartRefused { rule: RestartRule::StopRequested });
    assert!(matches!(refused.actor, Actor::Operator { uid: 1, .. }));
    log.assert_live_equals_replayed(&runner);
}

#[tokio::test]
async fn an_end_that_cannot_be_recorded_ends_the_supervision_with_an_error() {
    let log = Log::refusing(|kind| matches!(kind, EventKind::Crashed { .. }));
    let mut runner = log.runner(sh_builder("exit 1").restart(policy(RestartPolicy::Always, 5)).build());
    let (_stop, mut stops) = mpsc::channel(1);
    let error = in_time(keep_running(&mut runner, Actor::System.into(), &mut stops)).await.unwrap_err();
    assert!(matches!(error, ProcessError::Io(_)), "{error}");
}

/// A log that holds what a supervisor recorded before it died: everything but what `lost` picks.
async fn cut_short(spec: &ProcessSpec, lost: impl Fn(&EventKind) -> bool + Send + 'static) -> Log {
    let log = Log::refusing(lost);
    let mut runner = log.runner(spec.clone());
    // Whether it failed at once or at its end, the events tell.
    if runner.start().is_ok() {
        in_time(runner.wait()).await;
    }
    let kept = Log::default();
    kept.adopt(&log);
    kept
}

#[tokio::test]
async fn a_start_that_never_happened_is_closed() {
    let spec = sh("exit 0");
    let log = cut_short(&spec, |kind| matches!(kind, EventKind::Starting { .. })).await;
    let mut runner = log.runner(spec);
    until("its process is gone", || reconcile(&mut runner).is_ok()).await;
    assert_eq!(log.names(), ["registered", "start_requested", "starting", "crashed"]);
    assert_eq!(runner.stream().unwrap().end, Some(RunEnd::NeverConfirmed));
    assert!(log.events().iter().skip(2).all(|event| event.actor == Actor::Recovery));
    assert_eq!(reconcile(&mut runner).unwrap(), Reconciled::Nothing);
    log.assert_live_equals_replayed(&runner);
    runner.start().unwrap();
    assert!(in_time(runner.wait()).await.unwrap().success());
}

#[tokio::test]
async fn an_end_that_nobody_saw_is_unknown() {
    let spec = sh("exit 0");
    let log = cut_short(&spec, |kind| matches!(kind, EventKind::Stopped { .. })).await;
    let mut runner = log.runner(spec);
    assert_eq!(runner.state(), ProcessState::Running);
    assert!(matches!(runner.start().unwrap_err(), ProcessError::InvalidState(_)));
    assert!(matches!(in_time(runner.stop(AMPLE)).await.unwrap_err(), ProcessError::InvalidState(_)));
    assert_eq!(reconcile(&mut runner).unwrap(), Reconciled::Closed);
    assert_eq!(runner.state(), ProcessState::Crashed { exit_code: None });
    assert_eq!(runner.stream().unwrap().exit(), Some(&Exit::UNKNOWN));
    log.assert_live_equals_replayed(&runner);
}

/// The stream of a run whose process is a child of this test, which has not waited for it.
async fn orphaned(child: &std::process::Child, spec: &ProcessSpec) -> Log {
    let log = cut_short(spec, |kind| matches!(kind, EventKind::Stopped { .. })).await;
    let identity = ProcessIdentity::of(child.id()).unwrap();
    log.alter(|event| {
        if let EventKind::Starting { identity: Some(found), .. } = &mut event.kind {
            *found = identity;
        }
    });
    log
}

#[tokio::test]
async fn an_end_that_the_kernel_still_tells_of_is_recovered() {
    let spec = sh("exit 0");
    let mut child = std::process::Command::new("sh").args(["-c", "exit 7"]).spawn().unwrap();
    until("it is a zombie", || !is_alive(child.id())).await;
    let log = orphaned(&child, &spec).await;
    let mut runner = log.runner(spec);
    assert_eq!(reconcile(&mut runner).unwrap(), Reconciled::Closed);
    child.wait().unwrap();
    let exit = Exit { outcome: ExitOutcome::Code(7), evidence: Evidence::Recovered };
    assert_eq!(runner.stream().unwrap().exit(), Some(&exit));
    assert_eq!(runner.state(), ProcessState::Crashed { exit_code: Some(7) });
    log.assert_live_equals_replayed(&runner);
}

#[tokio::test]
async fn a_process_that_lives_on_is_left_alone() {
    let spec = sh("exit 0");
    let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    let guard = KillOnDrop(child.id());
    let log = orphaned(&child, &spec).await;
    let mut runner = log.runner(spec);
    let error = reconcile(&mut runner).unwrap_err();
    assert!(matches!(&error, ProcessError::AlreadyExists(text) if text.contains(&child.id().to_string())), "{error}");
    assert!(is_alive(child.id()));
    drop(guard);
    child.wait().unwrap();
    assert_eq!(reconcile(&mut runner).unwrap(), Reconciled::Closed);
    log.assert_live_equals_replayed(&runner);
}

#[tokio::test]
async fn reconciling_what_is_supervised_is_refused() {
    let mut runner = Log::default().runner(sh("sleep 1000"));
    assert_eq!(reconcile(&mut runner).unwrap(), Reconciled::Nothing);
    runner.start().unwrap();
    assert!(matches!(reconcile(&mut runner).unwrap_err(), ProcessError::InvalidState(_)));
    in_time(runner.stop(AMPLE)).await.unwrap();
}
