//! The builder of a [`ProcessSpec`].

use std::{collections::HashMap, fmt, path::PathBuf};

use crate::spec::{
    ProcessSpec,
    config::{
        credentials::CredentialConfig, health::HealthCheckConfig, log::LogConfig, restart::RestartConfig,
        shutdown::ShutdownConfig,
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
}

/// Why a specification cannot be built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// No name, or an empty one (INV-0003).
    #[error("process name is required and must not be empty")]
    NoName,
    /// No command, or an empty one (INV-0004).
    #[error("process command is required and must not be empty")]
    NoCommand,
    /// A NUL byte, which no program name, argument or environment can carry (execve(2)).
    #[error("command, arguments and environment must not contain a NUL byte")]
    Nul,
    /// An environment variable without a name, or with `=` in it.
    #[error("the name of an environment variable must not be empty or contain '='")]
    BadVariable,
}

impl ProcessSpec {
    /// A builder with nothing set.
    #[must_use]
    pub fn builder() -> ProcessSpecBuilder {
        ProcessSpecBuilder::default()
    }
}

impl ProcessSpecBuilder {
    /// Sets the id. Default: a new one. With the id of an earlier specification, the recorded history continues.
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

    /// Sets the arguments of the command. Replaces earlier ones.
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

    /// Sets the health check.
    #[must_use]
    pub fn health(mut self, health: HealthCheckConfig) -> Self {
        self.health = Some(health);
        self
    }

    /// Sets where the output is stored.
    #[must_use]
    pub fn log(mut self, log: LogConfig) -> Self {
        self.log = log;
        self
    }

    /// Sets how the process is stopped.
    #[must_use]
    pub fn shutdown(mut self, shutdown: ShutdownConfig) -> Self {
        self.shutdown = shutdown;
        self
    }

    /// Sets the credentials.
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
        })
    }
}

impl fmt::Debug for ProcessSpecBuilder {
    /// Shows counts where values can be secrets: an incomplete specification cannot be redacted.
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
