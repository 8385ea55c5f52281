//! The settings of a health check.

use std::{collections::BTreeMap, fmt, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use crate::spec::{config::address, name::is_variable_name};

/// The greatest number of characters of the detail of a check result.
pub const DETAIL_CHARS_MAX: usize = 200;

/// The range of valid HTTP statuses (RFC 9110, section 15).
const STATUS_MIN: u16 = 100;

const STATUS_MAX: u16 = 599;

/// The shortest time between two checks.
pub const INTERVAL_MIN: Duration = Duration::from_millis(100);

/// The kinds of health checks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HealthCheck {
    /// An HTTP GET request. The process is healthy when the response has an expected status.
    Http {
        /// The URL of the request.
        url: String,
        /// The HTTP statuses that mean healthy. Default: 200.
        #[serde(default)]
        expected_status: ExpectedStatus,
    },
    /// A TCP connection. The process is healthy when the connection is accepted.
    Tcp {
        /// The address as `host:port`.
        address: String,
    },
    /// A connection to a Unix socket (unix(7)). The process is healthy when the connection is accepted.
    Unix {
        /// The path of the Unix socket.
        path: PathBuf,
    },
    /// A program. The checked process is healthy when the program exits with code 0.
    Script {
        /// The name or the path of the program.
        command: String,
        /// The arguments of the program. Default: none.
        #[serde(default)]
        args: Vec<String>,
    },
    /// The process is healthy unless it does not exist, or is stopped by a signal for the whole `timeout`.
    Liveness,
}

/// The HTTP statuses that mean healthy: one number, or a list of numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "OneOrMany", into = "OneOrMany")]
pub struct ExpectedStatus(Vec<u16>);

#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "expected_status is a number such as 200, or a list of them")]
enum OneOrMany {
    One(u16),
    Many(Vec<u16>),
}

impl ExpectedStatus {
    /// The statuses, in the order in which they were given.
    #[must_use]
    pub fn all(&self) -> &[u16] {
        &self.0
    }
}

impl Default for ExpectedStatus {
    /// Returns the default: status 200 alone.
    fn default() -> Self {
        200.into()
    }
}

impl From<u16> for ExpectedStatus {
    fn from(status: u16) -> Self {
        Self(vec![status])
    }
}

impl From<Vec<u16>> for ExpectedStatus {
    fn from(statuses: Vec<u16>) -> Self {
        Self(statuses)
    }
}

impl From<OneOrMany> for ExpectedStatus {
    fn from(statuses: OneOrMany) -> Self {
        match statuses {
            OneOrMany::One(status) => status.into(),
            OneOrMany::Many(statuses) => statuses.into(),
        }
    }
}

impl From<ExpectedStatus> for OneOrMany {
    fn from(ExpectedStatus(statuses): ExpectedStatus) -> Self {
        match statuses[..] {
            [status] => Self::One(status),
            _ => Self::Many(statuses),
        }
    }
}

impl fmt::Display for ExpectedStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<String> = self.0.iter().map(u16::to_string).collect();
        f.write_str(&words.join(" or "))
    }
}

/// When and how often a process is checked, and after how many results its health changes. `Debug` shows no value of a variable.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HealthCheckConfig {
    /// The kind of check. Default: liveness.
    pub check: HealthCheck,
    /// Time between two checks. Default: 30 s.
    #[serde(with = "crate::duration")]
    pub interval: Duration,
    /// Time limit of one check. Default: 5 s.
    #[serde(with = "crate::duration")]
    pub timeout: Duration,
    /// Time from the start to the first check. Default: 0 s.
    #[serde(with = "crate::duration")]
    pub initial_delay: Duration,
    /// Time from the start within which failures before the first success do not count. Default: 0 s.
    #[serde(with = "crate::duration")]
    pub grace_period: Duration,
    /// Number of consecutive failures that make a process unhealthy. Default: 3.
    pub failure_threshold: u32,
    /// Number of consecutive successes after which a recovery is recorded. Default: 1.
    pub success_threshold: u32,
    /// Environment variables of the check program, in addition to those of the process. Default: none.
    pub env: BTreeMap<String, String>,
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
            env: BTreeMap::new(),
        }
    }
}

impl HealthCheckConfig {
    /// Refuses settings that make checks impossible.
    ///
    /// # Errors
    /// The refused setting, with the reason.
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
        let is_script = matches!(self.check, HealthCheck::Script { .. });
        if !is_script && !self.env.is_empty() {
            return Err("health.env is for a script, and the check is none".to_owned());
        }
        if self.env.iter().any(|(name, value)| !is_variable_name(name) || value.contains('\0')) {
            return Err("health.env: a name is not empty and has no '=', and nothing has a NUL byte".to_owned());
        }
        self.check.validate()
    }
}

impl HealthCheck {
    /// Refuses a check that can never succeed.
    ///
    /// # Errors
    /// The refused setting, with the reason.
    pub fn validate(&self) -> Result<(), String> {
        match self {
            HealthCheck::Http { url, expected_status } => {
                let is_status = |status: &u16| (STATUS_MIN..=STATUS_MAX).contains(status);
                if expected_status.all().is_empty() {
                    return Err("health: expected_status names no status".to_owned());
                }
                if !expected_status.all().iter().all(is_status) {
                    return Err(format!("health: an expected_status is {STATUS_MIN} to {STATUS_MAX}"));
                }
                address::check_url(url)
            }
            HealthCheck::Tcp { address } => address::check_address(address),
            HealthCheck::Unix { path } => address::check_socket(path),
            HealthCheck::Script { command, .. } if command.is_empty() => {
                Err("health: the script has no command".to_owned())
            }
            HealthCheck::Script { .. } | HealthCheck::Liveness => Ok(()),
        }
    }
}

impl fmt::Debug for HealthCheckConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HealthCheckConfig")
            .field("check", &self.check)
            .field("interval", &self.interval)
            .field("timeout", &self.timeout)
            .field("initial_delay", &self.initial_delay)
            .field("grace_period", &self.grace_period)
            .field("failure_threshold", &self.failure_threshold)
            .field("success_threshold", &self.success_threshold)
            .field("env", &self.env.keys())
            .finish()
    }
}
