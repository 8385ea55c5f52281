//! Where a process stands in its life cycle.

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
    /// Up, but failing its health check; the way back is a restart (INV-0006).
    Unhealthy,
    /// Asked to stop, not yet gone.
    Stopping,
    /// Ended as it should (terminal, INV-0007).
    Stopped {
        /// The exit code, where there was one.
        exit_code: Option<i32>,
    },
    /// Ended as it should not, or never came up (terminal, INV-0007).
    Crashed {
        /// The exit code, where there was one.
        exit_code: Option<i32>,
    },
    /// Had to be killed with SIGKILL by us (terminal, INV-0007).
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
