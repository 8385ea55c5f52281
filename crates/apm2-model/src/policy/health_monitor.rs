//! Computes the health of a run from the results of its checks. This module does no I/O.

use std::time::Duration;

use crate::{event::timestamp::Timestamp, spec::config::health::HealthCheckConfig};

/// The result of one health check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeResult {
    /// Whether the health check succeeded.
    pub healthy: bool,
    /// The detail of the result. `apm2_core::health::probe` limits it to
    /// [`DETAIL_CHARS_MAX`](crate::spec::config::health::DETAIL_CHARS_MAX) characters and masks secrets, so every
    /// detail can be recorded.
    pub detail: String,
}

/// The consequence of a check result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HealthVerdict {
    /// The health of the run did not change.
    Nothing,
    /// The health changed: the first success, the first success after failures, or the first failure after successes.
    Changed {
        /// Whether the last check succeeded.
        healthy: bool,
        /// The detail of the check.
        detail: String,
    },
    /// `failure_threshold` consecutive checks have failed.
    CrossedUnhealthy {
        /// The number of consecutive failures.
        failures: u32,
        /// The detail of the last check.
        detail: String,
    },
}

/// The health of one run, computed from the results of its checks in order.
#[derive(Debug, Clone)]
pub struct HealthMonitor {
    config: HealthCheckConfig,
    started: Timestamp,
    /// The result that was reported last; `None` before the first report.
    reported: Option<bool>,
    failures: u32,
    successes: u32,
    has_succeeded: bool,
    is_checked: bool,
}

impl HealthMonitor {
    /// The initial health of a run that was started at `started`.
    #[must_use]
    pub const fn new(config: HealthCheckConfig, started: Timestamp) -> Self {
        Self { config, started, reported: None, failures: 0, successes: 0, has_succeeded: false, is_checked: false }
    }

    /// The time from `now` until the next check is due.
    #[must_use]
    pub fn next_probe(&self, now: &Timestamp) -> Duration {
        if self.is_checked { self.config.interval } else { self.config.initial_delay.saturating_sub(self.age(now)) }
    }

    /// Takes the result of the next check and returns the consequence.
    pub fn on_result(&mut self, now: &Timestamp, result: &ProbeResult) -> HealthVerdict {
        self.is_checked = true;
        let detail = result.detail.clone();
        if result.healthy {
            self.has_succeeded = true;
            self.failures = 0;
            self.successes = self.successes.saturating_add(1);
            if self.reported == Some(true) || self.successes < self.config.success_threshold {
                return HealthVerdict::Nothing;
            }
            self.reported = Some(true);
            return HealthVerdict::Changed { healthy: true, detail };
        }
        // Before the first success, failures within the grace period do not count.
        if !self.has_succeeded && self.age(now) < self.config.grace_period {
            return HealthVerdict::Nothing;
        }
        self.successes = 0;
        self.failures = self.failures.saturating_add(1);
        if self.failures == self.config.failure_threshold {
            self.reported = Some(false);
            return HealthVerdict::CrossedUnhealthy { failures: self.failures, detail };
        }
        if self.reported == Some(true) {
            self.reported = Some(false);
            return HealthVerdict::Changed { healthy: false, detail };
        }
        HealthVerdict::Nothing
    }

    /// The age of the run. For a run of another boot, whose boot clock cannot be compared, the greatest duration.
    fn age(&self, now: &Timestamp) -> Duration {
        now.nanos_since(&self.started).map_or(Duration::MAX, Duration::from_nanos)
    }
}
