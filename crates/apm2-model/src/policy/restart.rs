//! Decides whether a process is restarted, and after which delay. This module does no I/O.
//!
//! The back-off is implemented here. The existing crates keep the state of one retry loop in memory. This decision
//! depends on a restart budget that is computed from recorded events, and it must be the same after a restart of the
//! supervisor.

use std::time::Duration;

use crate::{
    duration::millis,
    event::{kind::RestartRule, timestamp::Timestamp},
    spec::config::restart::{RESTARTS_REMEMBERED_MAX, RestartConfig, RestartPolicy},
    state::restart_budget::RestartBudget,
};

/// The kinds of ends of a run that the restart policy distinguishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunEndClass {
    /// The process exited by itself with code 0.
    Succeeded,
    /// The process exited in another way, or its exit status is unknown.
    Failed,
    /// No process could be spawned.
    SpawnFailed,
    /// The supervisor stopped the process because it was unhealthy.
    Unhealthy,
}

/// The decision of the restart policy about the end of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestartDecision {
    /// Start the process again after a delay.
    Restart {
        /// The number of the restart since the last sustained run (a run of at least `min_uptime`), from 1.
        attempt: u32,
        /// The delay before the start.
        delay: Duration,
    },
    /// Do not start the process again, because the policy asks for no restart after such an end. No event records this
    /// decision.
    Leave,
    /// Do not start the process again although the policy asks for a restart, because of this rule.
    Refuse(RestartRule),
}

/// Decides whether and when a process is restarted after the end of a run.
#[derive(Debug, Clone, Copy)]
pub struct RestartManager<'a> {
    config: &'a RestartConfig,
}

impl<'a> RestartManager<'a> {
    /// A manager that decides by the settings in `config`.
    #[must_use]
    pub const fn new(config: &'a RestartConfig) -> Self {
        Self { config }
    }

    /// Decides about the end of a run. `random` is a random number for the jitter of the delay.
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

    /// `delay`, reduced by a random part of at most `jitter_percent` percent.
    fn jittered(&self, delay: Duration, random: u32) -> Duration {
        let percent = u128::from(self.config.jitter_percent.min(100));
        let share_max = delay.as_nanos() / 100 * percent;
        // `random` stands for the fraction `random / 2^32`. The product has at most 94 + 32 bits, so it fits in a
        // `u128`.
        let share = (share_max * u128::from(random)) >> u32::BITS;
        delay.saturating_sub(Duration::from_nanos(u64::try_from(share).unwrap_or(u64::MAX)))
    }
}
