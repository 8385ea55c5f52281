//! How the health of a process is checked, and what the results mean. What follows from them is the
//! [`supervisor`](crate::supervisor)'s matter.

mod monitor;
mod probe;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::{
    monitor::{HealthMonitor, HealthVerdict, ProbeResult},
    probe::{ProbeTarget, probe},
};

/// Characters of the words of a result.
pub const DETAIL_CHARS_MAX: usize = 200;

/// The shortest time between two checks.
pub const INTERVAL_MIN: Duration = Duration::from_millis(100);

/// What one health check does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HealthCheck {
    /// An HTTP GET; healthy when the status is the expected one.
    Http {
        /// The address to ask.
        url: String,
        /// The status that means healthy. Default: 200.
        #[serde(default = "ok")]
        expected_status: u16,
    },
    /// A TCP connection; healthy when it is accepted.
    Tcp {
        /// `host:port`.
        address: String,
    },
    /// A program; healthy when it exits with 0.
    Script {
        /// The program.
        command: String,
        /// Its arguments. Default: none.
        #[serde(default)]
        args: Vec<String>,
    },
    /// Healthy as long as the process exists.
    Liveness,
}

const fn ok() -> u16 {
    200
}

/// When and how often a process is checked, and what crosses the threshold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HealthCheckConfig {
    /// What is checked. Default: liveness.
    pub check: HealthCheck,
    /// Time between two checks. Default: 30 s.
    #[serde(with = "crate::duration")]
    pub interval: Duration,
    /// How long one check may take. Default: 5 s.
    #[serde(with = "crate::duration")]
    pub timeout: Duration,
    /// Time from the start to the first check. Default: 0 s.
    #[serde(with = "crate::duration")]
    pub initial_delay: Duration,
    /// Failures until the first success that are forgiven within this time of the start. Default: 0 s.
    #[serde(with = "crate::duration")]
    pub grace_period: Duration,
    /// Failures in a row that make a process unhealthy. Default: 3.
    pub failure_threshold: u32,
    /// Successes in a row that are recorded as a recovery. Default: 1.
    pub success_threshold: u32,
}

impl Default for HealthCheckConfig {
    fn default() -> Self {
        Self {
            check: HealthCheck::Liveness,
            interval: Duration::from_secs(30),
            timeout: Duration::from_secs(5),
            initial_delay: Duration::ZERO,
            grace_period: Duration::ZERO,
            failure_threshold: 3,
            success_threshold: 1,
        }
    }
}

impl HealthCheckConfig {
    /// Refuses what cannot be checked.
    ///
    /// # Errors
    /// In words.
    pub fn validate(&self) -> Result<(), String> {
        if self.interval < INTERVAL_MIN {
            return Err(format!("health.interval is shorter than {}", humantime::format_duration(INTERVAL_MIN)));
        }
        if self.timeout.is_zero() {
            return Err("health.timeout is zero: no check could succeed".to_owned());
        }
        if self.failure_threshold == 0 || self.success_threshold == 0 {
            return Err("the thresholds of health are at least 1".to_owned());
        }
        match &self.check {
            HealthCheck::Http { url, .. } if !url.starts_with("http://") => {
                Err(format!("health: {url:?} does not begin with http://, and there is no TLS here"))
            }
            HealthCheck::Tcp { address } if !address.contains(':') => {
                Err(format!("health: {address:?} is not host:port"))
            }
            HealthCheck::Script { command, .. } if command.is_empty() => {
                Err("health: the script has no command".to_owned())
            }
            _ => Ok(()),
        }
    }
}
