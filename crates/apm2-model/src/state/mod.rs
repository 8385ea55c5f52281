//! The state machine of one instance, and the folds over its events: state that is computed by replaying events.

pub mod agent;
pub mod agent_clock;
pub mod handle;
#[cfg(test)]
mod properties;
pub mod restart_budget;
pub mod series;
pub mod statistics;
pub mod stream;
pub mod transition;

use std::fmt;

use serde::{Deserialize, Serialize};

/// The state of one instance. [`transition`] defines which state may follow which.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
pub enum ProcessState {
    /// The process is spawned, but not yet ready.
    Starting,
    /// The process is up, and no health check has declared it unhealthy.
    Running,
    /// The process is up, but its health check fails. Only a stop or the end of the process ends this state (INV-0006).
    Unhealthy,
    /// A stop of the process was requested, and the process has not ended yet.
    Stopping,
    /// The process ended with exit code 0 or after a requested stop (terminal state, INV-0007).
    Stopped {
        /// The exit code, if there is one.
        exit_code: Option<i32>,
    },
    /// The process failed, or could not be started (terminal state, INV-0007).
    Crashed {
        /// The exit code, if there is one.
        exit_code: Option<i32>,
    },
    /// The SIGKILL of the supervisor ended the process (terminal state, INV-0007).
    Terminated,
}

impl ProcessState {
    /// Whether the process is `Starting`, `Running` or `Unhealthy`.
    #[must_use]
    pub const fn is_running(&self) -> bool {
        matches!(self, Self::Starting | Self::Running | Self::Unhealthy)
    }

    /// Whether the process is `Stopped`, `Crashed` or `Terminated`.
    #[must_use]
    pub const fn has_exited(&self) -> bool {
        matches!(self, Self::Stopped { .. } | Self::Crashed { .. } | Self::Terminated)
    }

    /// The exit code that is part of the state; `None` for states without an exit code.
    #[must_use]
    pub const fn exit_code(&self) -> Option<i32> {
        match self {
            Self::Stopped { exit_code } | Self::Crashed { exit_code } => *exit_code,
            Self::Starting | Self::Running | Self::Unhealthy | Self::Stopping | Self::Terminated => None,
        }
    }

    /// The name of the state in `snake_case`, without the exit code.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Unhealthy => "unhealthy",
            Self::Stopping => "stopping",
            Self::Stopped { .. } => "stopped",
            Self::Crashed { .. } => "crashed",
            Self::Terminated => "terminated",
        }
    }
}

impl fmt::Display for ProcessState {
    /// The name of the state, with its exit code where there is one: `running`, `crashed (exit code: 1)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.exit_code() {
            Some(code) => f.pad(&format!("{} (exit code: {code})", self.name())),
            None => f.pad(self.name()),
        }
    }
}
