//! Serialization format of a process specification, version 1 and the additions of versions 3 to 5. Only redacted
//! specifications are serialized.

pub(crate) mod agent;
mod health;
mod log;
mod path;
mod restart;

use std::{collections::BTreeMap, time::Duration};

use apm2_model::{
    duration::millis,
    spec::{
        ProcessSpec,
        config::{
            agent::AgentConfig, credentials::CredentialConfig, health::HealthCheck, restart::OnBoot,
            shutdown::ShutdownConfig,
        },
        id::ProcessId,
        redact::{mark::REDACTED, spec::RedactedSpec},
    },
};
use serde::{Deserialize, Serialize};

use crate::record::{
    RecordError,
    exit::signal,
    id::Id,
    mirrored::mirrored,
    spec::{
        agent::{AgentV4, AgentV5, needs_version_5},
        health::HealthV1,
        log::LogV1,
        path::{bytes, path},
        restart::RestartV1,
    },
};

#[derive(Serialize, Deserialize)]
pub(crate) struct SpecV1 {
    id: Id,
    name: String,
    command: String,
    args: Vec<String>,
    /// The path as bytes, because a path need not be valid UTF-8.
    cwd: Option<Vec<u8>>,
    /// Names of the environment variables, sorted. Their values are not recorded.
    env_names: Vec<String>,
    instances: u32,
    restart: RestartV1,
    health: Option<HealthV1>,
    log: LogV1,
    shutdown: ShutdownV1,
    credentials: Option<CredentialsV1>,
}

/// A specification with settings that version 1 cannot represent.
#[derive(Serialize, Deserialize)]
pub(crate) struct SpecV3 {
    base: Box<SpecV1>,
    on_boot: OnBootV3,
    end_orphans: bool,
    stdin: Option<Vec<u8>>,
    /// Names of the environment variables of the health check, sorted.
    health_env_names: Vec<String>,
}

/// A specification of an agent.
#[derive(Serialize, Deserialize)]
pub(crate) struct SpecV4 {
    base: SpecV3,
    agent: AgentV4,
}

/// A specification of an agent with settings that version 4 cannot represent.
#[derive(Serialize, Deserialize)]
pub(crate) struct SpecV5 {
    base: SpecV3,
    agent: AgentV5,
}

mirrored!(OnBootV3, OnBoot, AsBefore, Start, Stay);

/// Whether `spec` has settings that version 1 cannot represent.
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
            base: Box::new(spec.into()),
            on_boot: spec.restart.on_boot.into(),
            end_orphans: spec.shutdown.end_orphans,
            stdin: spec.stdin.as_deref().map(bytes),
            health_env_names: spec.health.iter().flat_map(|health| health.env.keys().cloned()).collect(),
        }
    }
}

impl SpecV4 {
    /// The record of `spec`, which has the settings `agent`.
    pub(crate) fn new(spec: &RedactedSpec, agent: &AgentConfig) -> Self {
        Self { base: spec.into(), agent: agent.into() }
    }
}

impl SpecV5 {
    /// The record of `spec`, which has the settings `agent`.
    pub(crate) fn new(spec: &RedactedSpec, agent: &AgentConfig) -> Self {
        Self { base: spec.into(), agent: agent.into() }
    }

    /// Converts the specification of an event.
    ///
    /// # Errors
    /// When version 4 can represent this specification.
    pub(crate) fn into_spec(self) -> Result<RedactedSpec, RecordError> {
        let agent = AgentConfig::from(self.agent);
        if !needs_version_5(&agent) {
            return Err(RecordError::Range("version of a specification"));
        }
        Ok(RedactedSpec::from(ProcessSpec { agent: Some(Box::new(agent)), ..self.base.into_recorded()? }))
    }
}

impl SpecV4 {
    /// Converts the specification of an event.
    pub(crate) fn into_spec(self) -> Result<RedactedSpec, RecordError> {
        let agent = Some(Box::new(self.agent.into()));
        Ok(RedactedSpec::from(ProcessSpec { agent, ..self.base.into_recorded()? }))
    }
}

impl SpecV3 {
    /// Converts the specification of an event.
    ///
    /// # Errors
    /// When version 1 can represent this specification. A writer would have used version 1, so the record is invalid.
    pub(crate) fn into_spec(self) -> Result<RedactedSpec, RecordError> {
        let spec = RedactedSpec::from(self.into_recorded()?);
        if needs_version_3(&spec) { Ok(spec) } else { Err(RecordError::Range("version of a specification")) }
    }

    /// Converts the specification of a stream snapshot, without masking it again. Snapshots always use this version; the settings of
    /// an agent are beside it.
    pub(crate) fn into_recorded(self) -> Result<ProcessSpec, RecordError> {
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
        Ok(spec)
    }
}

impl SpecV1 {
    /// Converts the specification of an event.
    ///
    /// # Errors
    /// When the specification has settings that need version 3.
    pub(crate) fn into_spec(self) -> Result<RedactedSpec, RecordError> {
        let spec = RedactedSpec::from(self.into_plain()?);
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
            agent: None,
        })
    }
}

impl CredentialsV1 {
    fn into_config(self) -> Result<CredentialConfig, RecordError> {
        let reload_signal = self.reload_signal.map(signal).transpose()?;
        Ok(CredentialConfig { profile: self.profile, variables: self.variables, reload_signal })
    }
}
