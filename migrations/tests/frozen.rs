//! Converts current events to the types of version 1. A new event kind is a compile error here, as a reminder that it
//! needs a record version and golden bytes.

use std::{num::NonZeroU32, os::unix::ffi::OsStrExt as _, path::Path, time::Duration};

use apm2_core::{
    credentials::CredentialConfig,
    health::{HealthCheck, HealthCheckConfig},
    log::LogConfig,
    process::{self as now, EventKind, ProcessSpec},
    restart::{BackoffConfig, RestartConfig, RestartPolicy},
    shutdown::ShutdownConfig,
};
use apm2_migrations::v1::record::{self as v1, Kind};

pub(crate) fn event(event: &now::Event) -> v1::Event {
    v1::Event {
        process_id: v1::Id(*event.stream.process_id.as_bytes()),
        instance: event.stream.instance,
        version: event.version,
        run: event.run,
        cause: event.cause,
        stamp: v1::Timestamp {
            wall_ns: event.stamp.wall_ns,
            boot_ns: event.stamp.boot_ns,
            boot_id: v1::Id(event.stamp.boot_id.into_bytes()),
        },
        actor: actor(&event.actor),
        reason: event.reason.clone(),
        kind: kind(&event.kind),
    }
}

fn actor(actor: &now::Actor) -> v1::Actor {
    match actor.clone() {
        now::Actor::Operator { uid, user, terminal } => v1::Actor::Operator { uid, user, terminal },
        now::Actor::Policy => v1::Actor::Policy,
        now::Actor::Health => v1::Actor::Health,
        now::Actor::Recovery => v1::Actor::Recovery,
        now::Actor::System => v1::Actor::System,
    }
}

fn kind(kind: &EventKind) -> Kind {
    match kind.clone() {
        EventKind::Registered { spec: it } => Kind::Registered { spec: spec(&it) },
        EventKind::SpecChanged { spec: it } => Kind::SpecChanged { spec: spec(&it) },
        EventKind::Unregistered => Kind::Unregistered,
        EventKind::StartRequested { trigger: it } => Kind::StartRequested { trigger: trigger(it) },
        EventKind::Starting { identity: it, trigger: why } => {
            Kind::Starting { identity: it.map(identity), trigger: trigger(why) }
        }
        EventKind::Running => Kind::Running,
        EventKind::Unhealthy { failures } => Kind::Unhealthy { failures },
        EventKind::Stopping { signal: it, timeout_ms, force_kill } => {
            Kind::Stopping { signal: signal(it), timeout_ms, force_kill }
        }
        EventKind::Stopped { exit: it } => Kind::Stopped { exit: exit(it) },
        EventKind::Crashed { cause } => Kind::Crashed { cause: run_end(cause) },
        EventKind::Terminated { exit: it } => Kind::Terminated { exit: exit(it) },
        EventKind::SignalSent { signal: it, target } => {
            Kind::SignalSent { signal: signal(it), target: signal_target(target) }
        }
        EventKind::SignalFailed { signal: it, errno } => Kind::SignalFailed { signal: signal(it), errno },
        EventKind::GroupSurvived { pids } => Kind::GroupSurvived { pids },
        EventKind::RestartScheduled { attempt, delay_ms } => Kind::RestartScheduled { attempt, delay_ms },
        EventKind::RestartRefused { rule } => Kind::RestartRefused { rule: restart_rule(rule) },
        EventKind::BudgetReset => Kind::BudgetReset,
        EventKind::HealthChanged { healthy, detail } => Kind::HealthChanged { healthy, detail },
        EventKind::Adopted { identity: it } => Kind::Adopted { identity: identity(it) },
        EventKind::OutputLeaked { source } => Kind::OutputLeaked { source: output_source(source) },
        EventKind::Sampled { cpu_centipercent, memory_bytes, processes: None } => {
            Kind::Sampled { cpu_centipercent, memory_bytes }
        }
        EventKind::CredentialRotated { profile, variables } => Kind::CredentialRotated { profile, variables },
        EventKind::Observed { adapter, detail } => Kind::Observed { adapter, detail },
        EventKind::SupervisorStarted { pid, version } => Kind::SupervisorStarted { pid, version },
        EventKind::SupervisorStopped => Kind::SupervisorStopped,
        EventKind::Checkpointed { size, chain } => Kind::Checkpointed { size, chain },
        EventKind::StoreRebuilt { cause, set_aside } => Kind::StoreRebuilt { cause, set_aside },
        EventKind::TailCut { segment, offset } => Kind::TailCut { segment, offset },
        newer @ (EventKind::OutputTail { .. }
        | EventKind::OutputDropped { .. }
        | EventKind::PreStopEnded { .. }
        | EventKind::Sampled { processes: Some(_), .. }
        | EventKind::OrphansEnded { .. }
        | EventKind::EndUnobserved { .. }
        | EventKind::Agent { .. }) => {
            unreachable!("version 1 has no {}", newer.name())
        }
    }
}

const fn trigger(trigger: now::StartTrigger) -> v1::Trigger {
    match trigger {
        now::StartTrigger::Start => v1::Trigger::Start,
        now::StartTrigger::Restart { attempt } => v1::Trigger::Restart { attempt },
        now::StartTrigger::Boot => unreachable!(),
    }
}

const fn signal(signal: now::Signal) -> v1::Signal {
    v1::Signal(signal.number())
}

const fn signal_target(target: now::SignalTarget) -> v1::SignalTarget {
    match target {
        now::SignalTarget::Process => v1::SignalTarget::Process,
        now::SignalTarget::Group => v1::SignalTarget::Group,
    }
}

const fn output_source(source: now::OutputSource) -> v1::OutputSource {
    match source {
        now::OutputSource::Stdout => v1::OutputSource::Stdout,
        now::OutputSource::Stderr => v1::OutputSource::Stderr,
    }
}

fn identity(identity: now::ProcessIdentity) -> v1::Identity {
    let now::ProcessIdentity { boot_id, pid, start_ticks, pid_namespace } = identity;
    assert_eq!(pid_namespace, None, "version 1 has no namespace");
    v1::Identity { boot_id: v1::Id(boot_id.into_bytes()), pid, start_ticks }
}

fn exit(exit: now::Exit) -> v1::Exit {
    let outcome = match exit.outcome {
        now::ExitOutcome::Code(code) => v1::Outcome::Code { code },
        now::ExitOutcome::Signal { signal: it, core_dumped } => v1::Outcome::Signal { signal: signal(it), core_dumped },
        now::ExitOutcome::Unknown => v1::Outcome::Unknown,
    };
    let evidence = match exit.evidence {
        now::Evidence::Observed => v1::Evidence::Observed,
        now::Evidence::Recovered => v1::Evidence::Recovered,
        now::Evidence::Unknown => v1::Evidence::Unknown,
    };
    v1::Exit { outcome, evidence }
}

fn run_end(end: now::RunEnd) -> v1::RunEnd {
    match end {
        now::RunEnd::Exit(it) => v1::RunEnd::Exit { exit: exit(it) },
        now::RunEnd::SpawnFailed(now::SpawnFailure { stage, errno, message }) => {
            let stage = match stage {
                now::SpawnStage::WorkingDirectory => v1::SpawnStage::WorkingDirectory,
                now::SpawnStage::Fork => v1::SpawnStage::Fork,
                now::SpawnStage::Exec => v1::SpawnStage::Exec,
                now::SpawnStage::Credentials | now::SpawnStage::Stdin => unreachable!("version 1 has no such stage"),
            };
            v1::RunEnd::SpawnFailed { stage, errno, message }
        }
        now::RunEnd::NeverConfirmed => v1::RunEnd::NeverConfirmed,
    }
}

fn restart_rule(rule: now::RestartRule) -> v1::RestartRule {
    match rule {
        now::RestartRule::PolicyNever => v1::RestartRule::PolicyNever,
        now::RestartRule::Succeeded => v1::RestartRule::Succeeded,
        now::RestartRule::BudgetSpent { restarts, max_restarts, window_ms } => {
            v1::RestartRule::BudgetSpent { restarts, max_restarts, window_ms }
        }
        now::RestartRule::StopRequested => v1::RestartRule::StopRequested,
        now::RestartRule::SpawnBudgetSpent { .. }
        | now::RestartRule::LaunchUnknown
        | now::RestartRule::AgentFailed { .. }
        | now::RestartRule::AgentStopped { .. } => {
            unreachable!("version 1 has no such rule")
        }
    }
}

fn spec(spec: &ProcessSpec) -> v1::Spec {
    let mut env_names: Vec<String> = spec.env.keys().cloned().collect();
    env_names.sort();
    v1::Spec {
        id: v1::Id(*spec.id.as_bytes()),
        name: v1::NonEmpty(spec.name.clone()),
        command: v1::NonEmpty(spec.command.clone()),
        args: spec.args.clone(),
        cwd: spec.cwd.as_deref().map(path),
        env_names,
        instances: NonZeroU32::new(spec.instances).unwrap(),
        restart: restart(&spec.restart),
        health: spec.health.as_ref().map(health),
        log: log(&spec.log),
        shutdown: shutdown(&spec.shutdown),
        credentials: spec.credentials.as_ref().map(credentials),
    }
}

fn path(path: &Path) -> Vec<u8> {
    path.as_os_str().as_bytes().to_vec()
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap()
}

fn restart(config: &RestartConfig) -> v1::Restart {
    let policy = match config.policy {
        RestartPolicy::Never => v1::Policy::Never,
        RestartPolicy::OnFailure => v1::Policy::OnFailure,
        RestartPolicy::Always => v1::Policy::Always,
    };
    let backoff = match &config.backoff {
        BackoffConfig::Fixed { delay } => v1::Backoff::Fixed { delay_ms: ms(*delay) },
        BackoffConfig::Linear { initial, step, max } => {
            v1::Backoff::Linear { initial_ms: ms(*initial), step_ms: ms(*step), max_ms: ms(*max) }
        }
        BackoffConfig::Exponential { initial, factor, max } => {
            v1::Backoff::Exponential { initial_ms: ms(*initial), factor: *factor, max_ms: ms(*max) }
        }
    };
    v1::Restart {
        policy,
        max_restarts: config.max_restarts,
        restart_window_ms: ms(config.restart_window),
        min_uptime_ms: ms(config.min_uptime),
        backoff,
    }
}

fn health(config: &HealthCheckConfig) -> v1::Health {
    let check = match config.check.clone() {
        HealthCheck::Http { url, expected_status } => {
            let expected_status = *expected_status.all().first().unwrap();
            v1::Check::Http { url, expected_status }
        }
        HealthCheck::Unix { .. } => unreachable!("version 1 has no such check"),
        HealthCheck::Tcp { address } => v1::Check::Tcp { address },
        HealthCheck::Script { command, args } => v1::Check::Script { command, args },
        HealthCheck::Liveness => v1::Check::Liveness,
    };
    v1::Health {
        check,
        interval_ms: ms(config.interval),
        timeout_ms: ms(config.timeout),
        initial_delay_ms: ms(config.initial_delay),
        grace_period_ms: ms(config.grace_period),
        failure_threshold: config.failure_threshold,
        success_threshold: config.success_threshold,
    }
}

fn log(config: &LogConfig) -> v1::Log {
    v1::Log {
        stdout: config.stdout.as_deref().map(path),
        stderr: config.stderr.as_deref().map(path),
        merge: config.merge,
        timestamps: config.timestamps,
        rotate_bytes: config.rotate_bytes,
        rotate_age_ms: ms(config.rotate_age),
        compress: config.compress,
        total_bytes_max: config.total_bytes_max,
    }
}

fn shutdown(config: &ShutdownConfig) -> v1::Shutdown {
    let ShutdownConfig { signal: it, timeout, pre_stop, force_kill, end_orphans } = config.clone();
    assert!(end_orphans, "version 1 has no such setting");
    v1::Shutdown { signal: signal(it), timeout_ms: ms(timeout), pre_stop, force_kill }
}

fn credentials(config: &CredentialConfig) -> v1::Credentials {
    let CredentialConfig { profile, variables, reload_signal } = config.clone();
    v1::Credentials { profile, variables, reload_signal: reload_signal.map(signal) }
}
