//! The builder of a [`ProcessSpec`].

use std::{collections::HashMap, fmt, path::PathBuf};

use crate::spec::{
    ProcessSpec,
    config::{
        agent::AgentConfig, credentials::CredentialConfig, health::HealthCheckConfig, log::LogConfig,
        restart::RestartConfig, shutdown::ShutdownConfig,
    },
    id::ProcessId,
};

/// Collects the parts of a [`ProcessSpec`]; `name` and `command` are required (CTR-0001).
#[derive(Default)]
pub struct ProcessSpecBuilder {
    id: Option<ProcessId>,
    name: Option<String>,
    command: Option<String>,
    args: Vec<String>,
    cwd: Option<PathBuf>,
    env: HashMap<String, String>,
    instances: u32,
    restart: RestartConfig,
    health: Option<HealthCheckConfig>,
    log: LogConfig,
    shutdown: ShutdownConfig,
    credentials: Option<CredentialConfig>,
    stdin: Option<PathBuf>,
    agent: Option<AgentConfig>,
}

/// Why a specification cannot be built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// The specification has no name, or an empty one (INV-0003).
    #[error("process name is required and must not be empty")]
    NoName,
    /// The specification has no command, or an empty one (INV-0004).
    #[error("process command is required and must not be empty")]
    NoCommand,
    /// The specification contains a NUL byte. execve(2) cannot pass it in a program name, an argument or the
    /// environment.
    #[error("command, arguments and environment must not contain a NUL byte")]
    Nul,
    /// The specification has an environment variable with an empty name, or with `=` in its name.
    #[error("the name of an environment variable must not be empty or contain '='")]
    BadVariable,
}

impl ProcessSpec {
    /// A builder without any part set.
    #[must_use]
    pub fn builder() -> ProcessSpecBuilder {
        ProcessSpecBuilder::default()
    }
}

impl ProcessSpecBuilder {
    /// Sets the process id. Default: a new random id. With the id of an earlier specification, the recorded history of
    /// that process continues.
    #[must_use]
    pub fn id(mut self, id: ProcessId) -> Self {
        self.id = Some(id);
        self
    }

    /// Sets the process name (required).
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets the command to execute (required).
    #[must_use]
    pub fn command(mut self, command: impl Into<String>) -> Self {
        self.command = Some(command.into());
        self
    }

    /// Sets the arguments of the command, in place of earlier ones.
    #[must_use]
    pub fn args<I, S>(mut self, args: I) -> Self
    where
        I: IntoIterator<Item = S>,
        S: Into<String>,
    {
        self.args = args.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the working directory.
    #[must_use]
    pub fn cwd(mut self, cwd: impl Into<PathBuf>) -> Self {
        self.cwd = Some(cwd.into());
        self
    }

    /// Adds an environment variable.
    #[must_use]
    pub fn env(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.insert(key.into(), value.into());
        self
    }

    /// Sets the number of instances. Default: 1, which 0 also means (INV-0005).
    #[must_use]
    pub fn instances(mut self, instances: u32) -> Self {
        self.instances = instances;
        self
    }

    /// Sets the restart policy.
    #[must_use]
    pub fn restart(mut self, restart: RestartConfig) -> Self {
        self.restart = restart;
        self
    }

    /// Sets the health check of the process.
    #[must_use]
    pub fn health(mut self, health: HealthCheckConfig) -> Self {
        self.health = Some(health);
        self
    }

    /// Sets where the output of the process is stored.
    #[must_use]
    pub fn log(mut self, log: LogConfig) -> Self {
        self.log = log;
        self
    }

    /// Sets how the process is stopped: signal, timeout and pre-stop commands.
    #[must_use]
    pub fn shutdown(mut self, shutdown: ShutdownConfig) -> Self {
        self.shutdown = shutdown;
        self
    }

    /// Sets the credentials in the environment of the process.
    #[must_use]
    pub fn credentials(mut self, credentials: CredentialConfig) -> Self {
        self.credentials = Some(credentials);
        self
    }

    /// Sets the file that is opened as standard input at each start.
    #[must_use]
    pub fn stdin(mut self, stdin: impl Into<PathBuf>) -> Self {
        self.stdin = Some(stdin.into());
        self
    }

    /// Sets the settings of an AI coding agent. Default: none.
    #[must_use]
    pub fn agent(mut self, agent: AgentConfig) -> Self {
        self.agent = Some(agent);
        self
    }

    /// Builds the specification.
    ///
    /// # Panics
    /// The name or the command is missing or empty, or a part cannot be passed to execve(2) (CTR-0002).
    /// [`try_build`](Self::try_build) returns an error instead.
    #[expect(clippy::panic, reason = "CTR-0002 asks for it")]
    #[must_use]
    pub fn build(self) -> ProcessSpec {
        self.try_build().unwrap_or_else(|error| panic!("{error}"))
    }

    /// Builds the specification.
    ///
    /// # Errors
    /// See [`SpecError`].
    pub fn try_build(self) -> Result<ProcessSpec, SpecError> {
        let name = self.name.filter(|name| !name.is_empty()).ok_or(SpecError::NoName)?;
        let command = self.command.filter(|command| !command.is_empty()).ok_or(SpecError::NoCommand)?;
        if self.env.keys().any(|key| key.is_empty() || key.contains('=')) {
            return Err(SpecError::BadVariable);
        }
        let has_nul = |text: &String| text.contains('\0');
        let in_env = self.env.iter().any(|(key, value)| has_nul(key) || has_nul(value));
        if in_env || has_nul(&command) || self.args.iter().any(has_nul) {
            return Err(SpecError::Nul);
        }
        Ok(ProcessSpec {
            id: self.id.unwrap_or_else(ProcessId::new),
            name,
            command,
            args: self.args,
            cwd: self.cwd,
            env: self.env,
            instances: self.instances.max(1),
            restart: self.restart,
            health: self.health,
            log: self.log,
            shutdown: self.shutdown,
            credentials: self.credentials,
            stdin: self.stdin,
            agent: self.agent.map(Box::new),
        })
    }
}

impl fmt::Debug for ProcessSpecBuilder {
    /// `Debug` shows only counts of arguments and variables: they can contain secrets, and an incomplete specification
    /// cannot be redacted.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessSpecBuilder")
            .field("name", &self.name)
            .field("command", &self.command)
            .field("args", &self.args.len())
            .field("env", &self.env.keys())
            .field("instances", &self.instances)
            .finish_non_exhaustive()
    }
}
