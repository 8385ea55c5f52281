//! What the results of health checks mean. Pure: no process, no clock.

use std::time::Duration;

use crate::{event::timestamp::Timestamp, spec::config::health::HealthCheckConfig};

/// What one check said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeResult {
    /// Whether it is well.
    pub healthy: bool,
    /// In words. As `apm2_core::health::probe` gives it, at most
    /// [`DETAIL_CHARS_MAX`](crate::spec::config::health::DETAIL_CHARS_MAX) characters, secrets masked; so it is recorded in
    /// any case.
    pub detail: String,
}

/// What a result means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HealthVerdict {
    /// Nothing that was not known.
    Nothing,
    /// It is well again, or for the first time, or the first check after that has failed.
    Changed {
        /// What it is now.
        healthy: bool,
        /// In words.
        detail: String,
    },
    /// So many checks in a row have failed that it counts as unhealthy.
    CrossedUnhealthy {
        /// How many.
        failures: u32,
        /// What the last one said.
        detail: String,
    },
}

/// The health of one run: a fold over the results of its checks.
#[derive(Debug, Clone)]
pub struct HealthMonitor {
    config: HealthCheckConfig,
    started: Timestamp,
    /// The last verdict that was told.
    told: Option<bool>,
    failures: u32,
    successes: u32,
    has_succeeded: bool,
    is_checked: bool,
}

impl HealthMonitor {
    /// The health of a run that was started at `started`.
    #[must_use]
    pub const fn new(config: HealthCheckConfig, started: Timestamp) -> Self {
        Self { config, started, told: None, failures: 0, successes: 0, has_succeeded: false, is_checked: false }
    }

    /// How long to wait from `now` until the next check.
    #[must_use]
    pub fn next_probe(&self, now: &Timestamp) -> Duration {
        if self.is_checked { self.config.interval } else { self.config.initial_delay.saturating_sub(self.age(now)) }
    }

    /// Takes a result in.
    pub fn on_result(&mut self, now: &Timestamp, result: &ProbeResult) -> HealthVerdict {
        self.is_checked = true;
        let detail = result.detail.clone();
        if result.healthy {
            self.has_succeeded = true;
            self.failures = 0;
            self.successes = self.successes.saturating_add(1);
            if self.told == Some(true) || self.successes < self.config.success_threshold {
                return HealthVerdict::Nothing;
            }
            self.told = Some(true);
            return HealthVerdict::Changed { healthy: true, detail };
        }
        // What has never been well yet is given time to become so.
        if !self.has_succeeded && self.age(now) < self.config.grace_period {
            return HealthVerdict::Nothing;
        }
        self.successes = 0;
        self.failures = self.failures.saturating_add(1);
        if self.failures == self.config.failure_threshold {
            self.told = Some(false);
            return HealthVerdict::CrossedUnhealthy { failures: self.failures, detail };
        }
        if self.told == Some(true) {
            self.told = Some(false);
            return HealthVerdict::Changed { healthy: false, detail };
        }
        HealthVerdict::Nothing
    }

    /// Of a run of another boot nothing is known but that it is not young.
    fn age(&self, now: &Timestamp) -> Duration {
        now.nanos_since(&self.started).map_or(Duration::MAX, Duration::from_nanos)
    }
}
