//! When a process is started again: the settings. The decision is made in [`policy::restart`](crate::policy::restart).

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

/// Restarts that a budget remembers; a larger `max_restarts` counts as this.
pub const RESTARTS_REMEMBERED_MAX: usize = 1024;

/// What is done when a process has ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    /// It stays as it is.
    Never,
    /// It is started again unless it ended by itself with 0.
    #[default]
    OnFailure,
    /// It is started again whatever its exit.
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

/// What a new supervisor does with a process that does not run when it takes over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnBoot {
    /// It is started if it ran, or was to be restarted, when the supervisor or the machine was shut down.
    #[default]
    AsBefore,
    /// It is started in any case.
    Start,
    /// It stays as it is.
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

/// How long a restart waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum BackoffConfig {
    /// The same time before each restart.
    Fixed {
        /// That time.
        #[serde(with = "crate::duration")]
        delay: Duration,
    },
    /// A time that grows by the same step.
    Linear {
        /// Before the first restart.
        #[serde(with = "crate::duration")]
        initial: Duration,
        /// What each further attempt adds.
        #[serde(with = "crate::duration")]
        step: Duration,
        /// Never longer than this.
        #[serde(with = "crate::duration")]
        max: Duration,
    },
    /// A time that is multiplied each time.
    Exponential {
        /// Before the first restart.
        #[serde(with = "crate::duration")]
        initial: Duration,
        /// The factor.
        factor: u32,
        /// Never longer than this.
        #[serde(with = "crate::duration")]
        max: Duration,
    },
}

impl Default for BackoffConfig {
    /// 1 s, doubled each time, up to 60 s.
    fn default() -> Self {
        Self::Exponential { initial: Duration::from_secs(1), factor: 2, max: Duration::from_secs(60) }
    }
}

impl BackoffConfig {
    /// The wait before this attempt, counted from 1. Saturates: no input can make it panic.
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

/// When a process is started again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RestartConfig {
    /// Which exits lead to a restart. Default: failures.
    pub policy: RestartPolicy,
    /// Restarts allowed in `restart_window`. Default: 10.
    pub max_restarts: u32,
    /// The window in which restarts are counted. Default: 10 min.
    #[serde(with = "crate::duration")]
    pub restart_window: Duration,
    /// A run at least this long counts as sustained: the back-off begins anew. Default: 10 s.
    #[serde(with = "crate::duration")]
    pub min_uptime: Duration,
    /// How long a restart waits. Default: 1 s, doubled up to 60 s.
    pub backoff: BackoffConfig,
    /// By how much a wait is shortened at random, at most, in percent of it: what failed together then does not come back
    /// together. More than 100 counts as 100. Default: 0.
    pub jitter_percent: u8,
    /// What a new supervisor does with it. Default: as before.
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
