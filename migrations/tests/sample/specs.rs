//! Sample specifications. Together they set every field to different values.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _, time::Duration};

use apm2_core::{
    credentials::CredentialConfig,
    health::{HealthCheck, HealthCheckConfig},
    log::LogConfig,
    process::{ProcessId, ProcessSpec, ProcessSpecBuilder, RedactedSpec, Signal},
    restart::{BackoffConfig, OnBoot, RestartConfig, RestartPolicy},
    shutdown::ShutdownConfig,
};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

fn worker_builder(id: ProcessId) -> ProcessSpecBuilder {
    let log = LogConfig {
        stdout: Some("/var/log/worker.out".into()),
        stderr: Some("/var/log/worker.err".into()),
        merge: true,
        timestamps: true,
        rotate_bytes: 1 << 20,
        rotate_age: 60 * MINUTE,
        compress: true,
        total_bytes_max: 1 << 33,
    };
    let shutdown = ShutdownConfig {
        signal: Signal::INT,
        timeout: 30 * SECOND,
        pre_stop: vec![vec!["drain".to_owned(), "--fast".to_owned()], vec!["sync".to_owned()]],
        force_kill: false,
        ..ShutdownConfig::default()
    };
    let credentials = CredentialConfig {
        profile: "prod".to_owned(),
        variables: [("API_KEY", "api"), ("TOKEN", "token")].map(|(name, key)| (name.to_owned(), key.to_owned())).into(),
        reload_signal: Signal::from_number(1),
    };
    ProcessSpec::builder()
        .id(id)
        .name("worker")
        .command("python")
        .args(["worker.py", "--token", "hunter2", "--verbose"])
        .cwd(OsStr::from_bytes(b"/srv/w\xff"))
        .env("LANG", "C")
        .env("API_KEY", "hunter2")
        .instances(2)
        .log(log)
        .shutdown(shutdown)
        .credentials(credentials)
}

/// A specification with a script health check and an exponential back-off.
pub(super) fn worker(id: ProcessId) -> RedactedSpec {
    let restart = RestartConfig {
        policy: RestartPolicy::Always,
        max_restarts: 5,
        restart_window: 10 * MINUTE,
        min_uptime: 10 * SECOND,
        backoff: BackoffConfig::Exponential { initial: SECOND / 2, factor: 2, max: MINUTE },
        jitter_percent: 0,
        on_boot: OnBoot::default(),
    };
    let check = HealthCheck::Script { command: "check".to_owned(), args: vec!["-q".to_owned()] };
    let health = HealthCheckConfig {
        check,
        interval: 15 * SECOND,
        timeout: 2 * SECOND,
        initial_delay: SECOND,
        grace_period: 5 * SECOND,
        failure_threshold: 3,
        success_threshold: 2,
        env: std::collections::BTreeMap::new(),
    };
    RedactedSpec::new(&worker_builder(id).restart(restart).health(health).build())
}

/// A specification with an HTTP health check and a linear back-off.
pub(super) fn worker_changed(id: ProcessId) -> RedactedSpec {
    let backoff = BackoffConfig::Linear { initial: SECOND, step: SECOND, max: MINUTE };
    let restart = RestartConfig { policy: RestartPolicy::OnFailure, backoff, ..RestartConfig::default() };
    let check = HealthCheck::Http { url: "http://127.0.0.1:8080/health".to_owned(), expected_status: 204.into() };
    let health = HealthCheckConfig { check, ..HealthCheckConfig::default() };
    RedactedSpec::new(&worker_builder(id).restart(restart).health(health).build())
}

/// A specification that sets only a TCP health check and a fixed back-off. All other optional fields have their
/// defaults.
pub(super) fn task(id: ProcessId) -> RedactedSpec {
    let backoff = BackoffConfig::Fixed { delay: SECOND };
    let restart = RestartConfig { policy: RestartPolicy::Never, backoff, ..RestartConfig::default() };
    let check = HealthCheck::Tcp { address: "[::1]:80".to_owned() };
    let health = HealthCheckConfig { check, ..HealthCheckConfig::default() };
    let spec = ProcessSpec::builder().id(id).name("task").command("true").restart(restart).health(health);
    RedactedSpec::new(&spec.build())
}

/// A specification with the default health check and the default credentials.
pub(super) fn task_changed(id: ProcessId) -> RedactedSpec {
    let spec = ProcessSpec::builder().id(id).name("task").command("true").health(HealthCheckConfig::default());
    RedactedSpec::new(&spec.credentials(CredentialConfig::default()).build())
}
