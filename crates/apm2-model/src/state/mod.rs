//! The state machine of one instance and the folds over its events.

pub mod handle;
#[cfg(test)]
mod properties;
pub mod restart_budget;
pub mod series;
pub mod stream;
pub mod transition;

use std::fmt;

use serde::{Deserialize, Serialize};

/// The state of one instance. Which state may follow which: [`transition`].
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
pub enum ProcessState {
    /// Spawned, not yet ready.
    Starting,
    /// Up.
    Running,
    /// Up, and failing its health check. It is left by a stop or an end only (INV-0006).
    Unhealthy,
    /// Requested to stop, and not ended yet.
    Stopping,
    /// Ended with exit code 0 or after a requested stop (terminal, INV-0007).
    Stopped {
        /// The exit code, if there is one.
        exit_code: Option<i32>,
    },
    /// Ended with a failure, or could not be started (terminal, INV-0007).
    Crashed {
        /// The exit code, if there is one.
        exit_code: Option<i32>,
    },
    /// Ended by the SIGKILL of the supervisor (terminal, INV-0007).
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

    /// The exit code that the state carries, if any.
    #[must_use]
    pub const fn exit_code(&self) -> Option<i32> {
        match self {
            Self::Stopped { exit_code } | Self::Crashed { exit_code } => *exit_code,
            Self::Starting | Self::Running | Self::Unhealthy | Self::Stopping | Self::Terminated => None,
        }
    }

    /// The name of the state alone, in `snake_case`.
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
    /// `running`, or `crashed (exit code: 1)` where there is one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.exit_code() {
            Some(code) => f.pad(&format!("{} (exit code: {code})", self.name())),
            None => f.pad(self.name()),
        }
    }
}
