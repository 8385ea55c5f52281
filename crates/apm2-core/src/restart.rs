//! When a process is started again, and how long that waits. Pure: no process, no clock, no storage.

use std::{collections::VecDeque, fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    duration::millis,
    process::{RestartRule, Stamp},
};

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

/// Restarts of one kind that count against a process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// When the latest restarts were scheduled, oldest first, at most [`RESTARTS_REMEMBERED_MAX`].
    pub recent: VecDeque<Stamp>,
    /// Restarts since the last sustained run.
    pub consecutive: u32,
}

impl Tally {
    /// Counts a restart scheduled at `stamp`.
    pub fn spend(&mut self, stamp: Stamp) {
        if self.recent.len() == RESTARTS_REMEMBERED_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(stamp);
        self.consecutive = self.consecutive.saturating_add(1);
    }

    /// Restarts within `window` before `now`. What another boot did is outside of every window.
    fn spent(&self, now: &Stamp, window: Duration) -> u32 {
        let window_ns = u64::try_from(window.as_nanos()).unwrap_or(u64::MAX);
        let within = |stamp: &&Stamp| now.nanos_since(stamp).is_some_and(|nanos| nanos <= window_ns);
        u32::try_from(self.recent.iter().filter(within).count()).unwrap_or(u32::MAX)
    }
}

/// The restarts that count against a process: a fold over its events. A program that cannot be started is another
/// trouble than one that crashes, so the two are counted apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RestartBudget {
    /// After runs, however they ended.
    pub crashes: Tally,
    /// After starts of which no process came.
    pub spawn_failures: Tally,
}

/// How a run ended, as far as the policy is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunEndClass {
    /// By itself, with 0.
    Succeeded,
    /// In any other way, an unknown one included.
    Failed,
    /// No process came to be.
    SpawnFailed,
    /// It was stopped because it was unhealthy.
    Unhealthy,
}

/// What the policy says of the end of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestartDecision {
    /// Start again after a while.
    Restart {
        /// Which attempt since the last sustained run, from 1.
        attempt: u32,
        /// How long to wait.
        delay: Duration,
    },
    /// Leave it.
    Refuse(RestartRule),
}

/// Decides what follows the end of a run.
#[derive(Debug, Clone, Copy)]
pub struct RestartManager<'a> {
    config: &'a RestartConfig,
}

impl<'a> RestartManager<'a> {
    /// One that decides by `config`.
    #[must_use]
    pub const fn new(config: &'a RestartConfig) -> Self {
        Self { config }
    }

    /// Decides. `random` is any number that was drawn at random; it matters where there is jitter.
    #[must_use]
    pub fn decide(&self, end: RunEndClass, budget: &RestartBudget, now: &Stamp, random: u32) -> RestartDecision {
        match (self.config.policy, end) {
            (RestartPolicy::Never, _) => return RestartDecision::Refuse(RestartRule::PolicyNever),
            (RestartPolicy::OnFailure, RunEndClass::Succeeded) => {
                return RestartDecision::Refuse(RestartRule::Succeeded);
            }
            (RestartPolicy::OnFailure | RestartPolicy::Always, _) => {}
        }
        let tally = if end == RunEndClass::SpawnFailed { &budget.spawn_failures } else { &budget.crashes };
        let remembered_max = u32::try_from(RESTARTS_REMEMBERED_MAX).unwrap_or(u32::MAX);
        let max_restarts = self.config.max_restarts.min(remembered_max);
        let spent = tally.spent(now, self.config.restart_window);
        if spent >= max_restarts {
            let window_ms = millis(self.config.restart_window);
            return RestartDecision::Refuse(if end == RunEndClass::SpawnFailed {
                RestartRule::SpawnBudgetSpent { failures: spent, max_restarts, window_ms }
            } else {
                RestartRule::BudgetSpent { restarts: spent, max_restarts, window_ms }
            });
        }
        let attempt = tally.consecutive.saturating_add(1);
        RestartDecision::Restart { attempt, delay: self.jittered(self.config.backoff.delay(attempt), random) }
    }

    /// `delay`, shortened by up to `jitter_percent` of it.
    fn jittered(&self, delay: Duration, random: u32) -> Duration {
        let percent = u128::from(self.config.jitter_percent.min(100));
        let share_max = delay.as_nanos() / 100 * percent;
        // A fraction of 2^32, which the number drawn is out of.
        let share = (share_max >> 32).saturating_mul(u128::from(random))
            + (((share_max & u128::from(u32::MAX)) * u128::from(random)) >> 32);
        delay.saturating_sub(Duration::from_nanos(u64::try_from(share).unwrap_or(u64::MAX)))
    }
}
