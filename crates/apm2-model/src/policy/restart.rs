//! When a process is started again, and how long that waits. Pure: no process, no clock, no storage.

use std::time::Duration;

use crate::{
    duration::millis,
    event::{kind::RestartRule, timestamp::Timestamp},
    spec::config::restart::{RESTARTS_REMEMBERED_MAX, RestartConfig, RestartPolicy},
    state::restart_budget::RestartBudget,
};

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
    /// Do not start again: the policy asks for no restart after such an end. Not an event of its own.
    Leave,
    /// Do not start again although the policy asks for it, because of this rule.
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
    pub fn decide(&self, end: RunEndClass, budget: &RestartBudget, now: &Timestamp, random: u32) -> RestartDecision {
        match (self.config.policy, end) {
            (RestartPolicy::Never, _) | (RestartPolicy::OnFailure, RunEndClass::Succeeded) => {
                return RestartDecision::Leave;
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
        // `random` is a fraction of 2^32. The product has at most 94 + 32 bits.
        let share = (share_max * u128::from(random)) >> u32::BITS;
        delay.saturating_sub(Duration::from_nanos(u64::try_from(share).unwrap_or(u64::MAX)))
    }
}
