//! The time limits of stops during a shutdown of the supervisor. Pure.

use std::time::Duration;

/// Limits the stop timeout of each process to the deadline of the shutdown.
#[derive(Debug, Clone, Copy)]
pub struct ShutdownManager {
    deadline: Duration,
}

impl ShutdownManager {
    /// All processes are stopped at the same time and within `deadline`.
    #[must_use]
    pub const fn new(deadline: Duration) -> Self {
        Self { deadline }
    }

    /// The timeout of a process whose own timeout is `timeout`.
    #[must_use]
    pub fn timeout(&self, timeout: Duration) -> Duration {
        timeout.min(self.deadline)
    }
}
