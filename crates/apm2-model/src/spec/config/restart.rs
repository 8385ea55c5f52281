//! The settings of restarts. [`policy::restart`](crate::policy::restart) makes the decision; its documentation says why
//! the back-off is implemented there.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

/// The greatest number of restarts that a budget remembers; a larger `max_restarts` counts as this number.
pub const RESTARTS_REMEMBERED_MAX: usize = 1024;

/// The ends of a process that lead to a restart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    /// No end leads to a restart.
    Never,
    /// Every end except an exit with code 0 leads to a restart.
    #[default]
    OnFailure,
    /// Every end leads to a restart.
    Always,
}

impl fmt::Display for RestartPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Never => "never",
            Self::OnFailure => "on-failure",
            Self::Always => "always",
        })
    }
}

impl FromStr for RestartPolicy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "never" => Ok(Self::Never),
            "on-failure" => Ok(Self::OnFailure),
            "always" => Ok(Self::Always),
            _ => Err(format!("{text:?} is no restart policy; write never, on-failure or always")),
        }
    }
}

/// Whether a new supervisor starts a process that does not run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnBoot {
    /// The new supervisor starts the process if it ran, or if a restart was due, when the supervisor or the machine was
    /// shut down.
    #[default]
    AsBefore,
    /// The new supervisor always starts the process.
    Start,
    /// The new supervisor never starts the process.
    Stay,
}

impl fmt::Display for OnBoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::AsBefore => "as-before",
            Self::Start => "start",
            Self::Stay => "stay",
        })
    }
}

/// How long the supervisor waits before a restart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum BackoffConfig {
    /// The delay is the same before each restart.
    Fixed {
        /// The delay before each restart.
        #[serde(with = "crate::duration")]
        delay: Duration,
    },
    /// The delay grows by a constant step with each further attempt (linear back-off).
    Linear {
        /// The delay before the first restart.
        #[serde(with = "crate::duration")]
        initial: Duration,
        /// The increase of the delay with each further attempt.
        #[serde(with = "crate::duration")]
        step: Duration,
        /// The upper limit of the delay.
        #[serde(with = "crate::duration")]
        max: Duration,
    },
    /// The delay is multiplied by a constant factor with each further attempt (exponential back-off).
    Exponential {
        /// The delay before the first restart.
        #[serde(with = "crate::duration")]
        initial: Duration,
        /// The factor by which the delay grows with each further attempt.
        factor: u32,
        /// The upper limit of the delay.
        #[serde(with = "crate::duration")]
        max: Duration,
    },
}

impl Default for BackoffConfig {
    /// The default back-off: 1 s, doubled each time, up to 60 s.
    fn default() -> Self {
        Self::Exponential { initial: Duration::from_secs(1), factor: 2, max: Duration::from_secs(60) }
    }
}

impl BackoffConfig {
    /// The delay before restart number `attempt`, counted from 1. The computation saturates, so that no setting causes
    /// a panic.
    #[must_use]
    pub fn delay(&self, attempt: u32) -> Duration {
        let earlier = attempt.saturating_sub(1);
        match self {
            Self::Fixed { delay } => *delay,
            Self::Linear { initial, step, max } => initial.saturating_add(step.saturating_mul(earlier)).min(*max),
            Self::Exponential { initial, factor, max } => {
                initial.saturating_mul(factor.saturating_pow(earlier)).min(*max)
            }
        }
    }
}

/// The restart settings of a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RestartConfig {
    /// The ends of the process that lead to a restart. Default: `on-failure`.
    pub policy: RestartPolicy,
    /// Number of restarts that are allowed in `restart_window`. Default: 10.
    pub max_restarts: u32,
    /// The time window in which restarts are counted. Default: 10 min.
    #[serde(with = "crate::duration")]
    pub restart_window: Duration,
    /// The minimum length of a sustained run. A sustained run resets the back-off. Default: 10 s.
    #[serde(with = "crate::duration")]
    pub min_uptime: Duration,
    /// The delay before a restart. Default: 1 s, doubled up to 60 s.
    pub backoff: BackoffConfig,
    /// The greatest random reduction of a delay, in percent of the delay. The reduction avoids that processes that
    /// failed together are restarted together. More than 100 counts as 100. Default: 0.
    pub jitter_percent: u8,
    /// Whether a new supervisor starts the process. Default: `as-before`.
    pub on_boot: OnBoot,
}

impl Default for RestartConfig {
    fn default() -> Self {
        Self {
            policy: RestartPolicy::default(),
            max_restarts: 10,
            restart_window: Duration::from_secs(600),
            min_uptime: Duration::from_secs(10),
            backoff: BackoffConfig::default(),
            jitter_percent: 0,
            on_boot: OnBoot::default(),
        }
    }
}
