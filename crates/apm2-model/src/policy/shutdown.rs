//! Computes the time limits of stops during a shutdown of the supervisor. This module does no I/O.

use std::time::Duration;

/// Limits the stop timeout of each process, so that all processes end before the deadline of the shutdown.
#[derive(Debug, Clone, Copy)]
pub struct ShutdownManager {
    deadline: Duration,
}

impl ShutdownManager {
    /// A shutdown that stops all processes at the same time and must complete within `deadline`.
    #[must_use]
    pub const fn new(deadline: Duration) -> Self {
        Self { deadline }
    }

    /// The timeout that applies to a process with the configured stop timeout `timeout`.
    #[must_use]
    pub fn timeout(&self, timeout: Duration) -> Duration {
        timeout.min(self.deadline)
    }
}
