//! The record of a specification, version 1, and what version 3 adds to it. Built from redacted specifications only.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use apm2_model::{
    duration::millis,
    spec::{
        ProcessSpec,
        config::{
            credentials::CredentialConfig,
            health::{ExpectedStatus, HealthCheck, HealthCheckConfig},
            log::LogConfig,
            restart::{BackoffConfig, OnBoot, RestartConfig, RestartPolicy},
            shutdown::ShutdownConfig,
        },
        id::ProcessId,
        redact::{mark::REDACTED, spec::RedactedSpec},
    },
};
use serde::{Deserialize, Serialize};

use crate::record::{
    RecordError,
    exit::{mirrored, signal},
    id::Id,
};

#[derive(Serialize, Deserialize)]
pub(crate) struct SpecV1 {
    id: Id,
    name: String,
    command: String,
    args: Vec<String>,
    /// Paths are bytes: they need not be UTF-8.
    cwd: Option<Vec<u8>>,
    /// Names only, in order.
    env_names: Vec<String>,
    instances: u32,
    restart: RestartV1,
    health: Option<HealthV1>,
    log: LogV1,
    shutdown: ShutdownV1,
    credentials: Option<CredentialsV1>,
}

/// A specification that sets what version 1 has no place for.
#[derive(Serialize, Deserialize)]
pub(crate) struct SpecV3 {
    base: SpecV1,
    on_boot: OnBootV3,
    end_orphans: bool,
    stdin: Option<Vec<u8>>,
    /// Names of the variables of a health check, in order.
    health_env_names: Vec<String>,
}

mirrored!(OnBootV3, OnBoot, AsBefore, Start, Stay);

/// Whether version 1 has no place for something that `spec` sets.
pub(crate) fn needs_version_3(spec: &ProcessSpec) -> bool {
    let has_new_check = spec.health.as_ref().is_some_and(|health| match &health.check {
        HealthCheck::Http { expected_status, .. } => expected_status.all().len() != 1,
        HealthCheck::Unix { .. } => true,
        HealthCheck::Tcp { .. } | HealthCheck::Script { .. } | HealthCheck::Liveness => false,
    });
    let has_env = spec.health.as_ref().is_some_and(|health| !health.env.is_empty());
    let is_new = spec.restart.on_boot != OnBoot::default() || !spec.shutdown.end_orphans || spec.stdin.is_some();
    has_new_check || has_env || is_new
}

mirrored!(PolicyV1, RestartPolicy, Never, OnFailure, Always);

#[derive(Serialize, Deserialize)]
struct RestartV1 {
    policy: PolicyV1,
    max_restarts: u32,
    restart_window_ms: u64,
    min_uptime_ms: u64,
    backoff: BackoffV1,
}

#[derive(Serialize, Deserialize)]
enum BackoffV1 {
    Fixed {
        delay_ms: u64,
    },
    Linear {
        initial_ms: u64,
        step_ms: u64,
        max_ms: u64,
    },
    Exponential {
        initial_ms: u64,
        factor: u32,
        max_ms: u64,
    },
    /// From version 2 on: another one, shortened at random.
    Jittered {
        percent: u8,
        backoff: Box<BackoffV1>,
    },
}

#[derive(Serialize, Deserialize)]
struct HealthV1 {
    check: CheckV1,
    interval_ms: u64,
    timeout_ms: u64,
    initial_delay_ms: u64,
    grace_period_ms: u64,
    failure_threshold: u32,
    success_threshold: u32,
}

#[derive(Serialize, Deserialize)]
enum CheckV1 {
    Http { url: String, expected_status: u16 },
    Tcp { address: String },
    Script { command: String, args: Vec<String> },
    Liveness,
    // From version 3 on.
    HttpAny { url: String, statuses: Vec<u16> },
    Unix { path: Vec<u8> },
}

#[derive(Serialize, Deserialize)]
struct LogV1 {
    stdout: Option<Vec<u8>>,
    stderr: Option<Vec<u8>>,
    merge: bool,
    timestamps: bool,
    rotate_bytes: u64,
    rotate_age_ms: u64,
    compress: bool,
    total_bytes_max: u64,
}

#[derive(Serialize, Deserialize)]
struct ShutdownV1 {
    signal: u8,
    timeout_ms: u64,
    pre_stop: Vec<Vec<String>>,
    force_kill: bool,
}

#[derive(Serialize, Deserialize)]
struct CredentialsV1 {
    profile: String,
    variables: BTreeMap<String, String>,
    reload_signal: Option<u8>,
}

fn bytes(path: &Path) -> Vec<u8> {
    path.as_os_str().as_bytes().to_vec()
}

fn path(bytes: Vec<u8>) -> PathBuf {
    OsString::from_vec(bytes).into()
}

impl From<&RedactedSpec> for SpecV1 {
    fn from(spec: &RedactedSpec) -> Self {
        let mut env_names: Vec<String> = spec.env.keys().cloned().collect();
        env_names.sort_unstable();
        Self {
            id: Id(*spec.id.as_bytes()),
            name: spec.name.clone(),
            command: spec.command.clone(),
            args: spec.args.clone(),
            cwd: spec.cwd.as_deref().map(bytes),
            env_names,
            instances: spec.instances,
            restart: (&spec.restart).into(),
            health: spec.health.as_ref().map(Into::into),
            log: (&spec.log).into(),
            shutdown: ShutdownV1 {
                signal: spec.shutdown.signal.number(),
                timeout_ms: millis(spec.shutdown.timeout),
                pre_stop: spec.shutdown.pre_stop.clone(),
                force_kill: spec.shutdown.force_kill,
            },
            credentials: spec.credentials.as_ref().map(|credentials| CredentialsV1 {
                profile: credentials.profile.clone(),
                variables: credentials.variables.clone(),
                reload_signal: credentials.reload_signal.map(|signal| signal.number()),
            }),
        }
    }
}

impl From<&RedactedSpec> for SpecV3 {
    fn from(spec: &RedactedSpec) -> Self {
        Self {
            base: spec.into(),
            on_boot: spec.restart.on_boot.into(),
            end_orphans: spec.shutdown.end_orphans,
            stdin: spec.stdin.as_deref().map(bytes),
            health_env_names: spec.health.iter().flat_map(|health| health.env.keys().cloned()).collect(),
        }
    }
}

impl SpecV3 {
    /// The specification of an event.
    ///
    /// # Errors
    /// When version 1 can hold this specification: a writer would have used version 1, so the record is invalid.
    pub(crate) fn into_spec(self) -> Result<RedactedSpec, RecordError> {
        let spec = self.into_kept()?;
        if needs_version_3(&spec) { Ok(spec) } else { Err(RecordError::Range("version of a specification")) }
    }

    /// The specification of a kept fold, which is of this form whatever it holds.
    pub(crate) fn into_kept(self) -> Result<RedactedSpec, RecordError> {
        let mut spec = self.base.into_plain()?;
        spec.restart.on_boot = self.on_boot.into();
        spec.shutdown.end_orphans = self.end_orphans;
        spec.stdin = self.stdin.map(path);
        match &mut spec.health {
            Some(health) => {
                health.env = self.health_env_names.into_iter().map(|name| (name, REDACTED.to_owned())).collect();
            }
            None if self.health_env_names.is_empty() => {}
            None => return Err(RecordError::Range("variables of a health check")),
        }
        Ok(RedactedSpec::new(&spec))
    }
}

impl SpecV1 {
    /// The specification of an event.
    ///
    /// # Errors
    /// When it holds what only version 3 has.
    pub(crate) fn into_spec(self) -> Result<RedactedSpec, RecordError> {
        let spec = RedactedSpec::new(&self.into_plain()?);
        if needs_version_3(&spec) { Err(RecordError::Range("version of a specification")) } else { Ok(spec) }
    }

    fn into_plain(self) -> Result<ProcessSpec, RecordError> {
        if self.name.is_empty() || self.command.is_empty() || self.instances == 0 {
            return Err(RecordError::Range("specification"));
        }
        let shutdown = ShutdownConfig {
            signal: signal(self.shutdown.signal)?,
            timeout: Duration::from_millis(self.shutdown.timeout_ms),
            pre_stop: self.shutdown.pre_stop,
            force_kill: self.shutdown.force_kill,
            ..ShutdownConfig::default()
        };
        Ok(ProcessSpec {
            id: ProcessId::from_bytes(self.id.0),
            name: self.name,
            command: self.command,
            args: self.args,
            cwd: self.cwd.map(path),
            env: self.env_names.into_iter().map(|name| (name, REDACTED.to_owned())).collect(),
            instances: self.instances,
            restart: self.restart.into_config()?,
            health: self.health.map(Into::into),
            log: self.log.into(),
            shutdown,
            credentials: self.credentials.map(CredentialsV1::into_config).transpose()?,
            stdin: None,
        })
    }
}

impl CredentialsV1 {
    fn into_config(self) -> Result<CredentialConfig, RecordError> {
        let reload_signal = self.reload_signal.map(signal).transpose()?;
        Ok(CredentialConfig { profile: self.profile, variables: self.variables, reload_signal })
    }
}

impl From<&RestartConfig> for RestartV1 {
    fn from(config: &RestartConfig) -> Self {
        let backoff = match &config.backoff {
            BackoffConfig::Fixed { delay } => BackoffV1::Fixed { delay_ms: millis(*delay) },
            BackoffConfig::Linear { initial, step, max } => {
                BackoffV1::Linear { initial_ms: millis(*initial), step_ms: millis(*step), max_ms: millis(*max) }
            }
            BackoffConfig::Exponential { initial, factor, max } => {
                BackoffV1::Exponential { initial_ms: millis(*initial), factor: *factor, max_ms: millis(*max) }
            }
        };
        let backoff = match config.jitter_percent {
            0 => backoff,
            percent => BackoffV1::Jittered { percent, backoff: Box::new(backoff) },
        };
        Self {
            policy: config.policy.into(),
            max_restarts: config.max_restarts,
            restart_window_ms: millis(config.restart_window),
            min_uptime_ms: millis(config.min_uptime),
            backoff,
        }
    }
}

impl BackoffV1 {
    /// The back-off and its jitter.
    fn into_config(self) -> Result<(BackoffConfig, u8), RecordError> {
        let ms = Duration::from_millis;
        Ok(match self {
            Self::Fixed { delay_ms } => (BackoffConfig::Fixed { delay: ms(delay_ms) }, 0),
            Self::Linear { initial_ms, step_ms, max_ms } => {
                (BackoffConfig::Linear { initial: ms(initial_ms), step: ms(step_ms), max: ms(max_ms) }, 0)
            }
            Self::Exponential { initial_ms, factor, max_ms } => {
                (BackoffConfig::Exponential { initial: ms(initial_ms), factor, max: ms(max_ms) }, 0)
            }
            Self::Jittered { percent, backoff } => match *backoff {
                // No writer produces nested bytes.
                Self::Jittered { .. } => return Err(RecordError::Range("jitter")),
                backoff => (backoff.into_config()?.0, percent),
            },
        })
    }
}

impl RestartV1 {
    fn into_config(self) -> Result<RestartConfig, RecordError> {
        let (backoff, jitter_percent) = self.backoff.into_config()?;
        Ok(RestartConfig {
            policy: self.policy.into(),
            max_restarts: self.max_restarts,
            restart_window: Duration::from_millis(self.restart_window_ms),
            min_uptime: Duration::from_millis(self.min_uptime_ms),
            backoff,
            jitter_percent,
            on_boot: OnBoot::default(),
        })
    }
}

impl From<&HealthCheckConfig> for HealthV1 {
    fn from(config: &HealthCheckConfig) -> Self {
        let check = match config.check.clone() {
            HealthCheck::Http { url, expected_status } => match expected_status.all() {
                [status] => CheckV1::Http { url, expected_status: *status },
                statuses => CheckV1::HttpAny { url, statuses: statuses.to_vec() },
            },
            HealthCheck::Unix { path } => CheckV1::Unix { path: bytes(&path) },
            HealthCheck::Tcp { address } => CheckV1::Tcp { address },
            HealthCheck::Script { command, args } => CheckV1::Script { command, args },
            HealthCheck::Liveness => CheckV1::Liveness,
        };
        Self {
            check,
            interval_ms: millis(config.interval),
            timeout_ms: millis(config.timeout),
            initial_delay_ms: millis(config.initial_delay),
            grace_period_ms: millis(config.grace_period),
            failure_threshold: config.failure_threshold,
            success_threshold: config.success_threshold,
        }
    }
}

impl From<HealthV1> for HealthCheckConfig {
    fn from(record: HealthV1) -> Self {
        let check = match record.check {
            CheckV1::Http { url, expected_status } => {
                HealthCheck::Http { url, expected_status: ExpectedStatus::from(expected_status) }
            }
            CheckV1::HttpAny { url, statuses } => {
                HealthCheck::Http { url, expected_status: ExpectedStatus::from(statuses) }
            }
            CheckV1::Unix { path: bytes } => HealthCheck::Unix { path: path(bytes) },
            CheckV1::Tcp { address } => HealthCheck::Tcp { address },
            CheckV1::Script { command, args } => HealthCheck::Script { command, args },
            CheckV1::Liveness => HealthCheck::Liveness,
        };
        Self {
            check,
            interval: Duration::from_millis(record.interval_ms),
            timeout: Duration::from_millis(record.timeout_ms),
            initial_delay: Duration::from_millis(record.initial_delay_ms),
            grace_period: Duration::from_millis(record.grace_period_ms),
            failure_threshold: record.failure_threshold,
            success_threshold: record.success_threshold,
            env: BTreeMap::new(),
        }
    }
}

impl From<&LogConfig> for LogV1 {
    fn from(config: &LogConfig) -> Self {
        Self {
            stdout: config.stdout.as_deref().map(bytes),
            stderr: config.stderr.as_deref().map(bytes),
            merge: config.merge,
            timestamps: config.timestamps,
            rotate_bytes: config.rotate_bytes,
            rotate_age_ms: millis(config.rotate_age),
            compress: config.compress,
            total_bytes_max: config.total_bytes_max,
        }
    }
}

impl From<LogV1> for LogConfig {
    fn from(record: LogV1) -> Self {
        Self {
            stdout: record.stdout.map(path),
            stderr: record.stderr.map(path),
            merge: record.merge,
            timestamps: record.timestamps,
            rotate_bytes: record.rotate_bytes,
            rotate_age: Duration::from_millis(record.rotate_age_ms),
            compress: record.compress,
            total_bytes_max: record.total_bytes_max,
        }
    }
}
