//! The time limit of a stop when everything is stopped. Pure.

use std::time::Duration;

/// Shares out the time in which everything has to be stopped.
#[derive(Debug, Clone, Copy)]
pub struct ShutdownManager {
    deadline: Duration,
}

impl ShutdownManager {
    /// Everything within `deadline`, all at the same time.
    #[must_use]
    pub const fn new(deadline: Duration) -> Self {
        Self { deadline }
    }

    /// What a process gets that would get `timeout` by itself.
    #[must_use]
    pub fn timeout(&self, timeout: Duration) -> Duration {
        timeout.min(self.deadline)
    }
}
