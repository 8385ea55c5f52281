//! When something is restarted and when it counts as unhealthy: what holds for every history.

use std::time::Duration;

use apm2_core::{
    health::{HealthCheckConfig, HealthMonitor, HealthVerdict, ProbeResult},
    process::{RestartRule, Timestamp},
    restart::{
        BackoffConfig, RestartBudget, RestartConfig, RestartDecision, RestartManager, RestartPolicy, RunEndClass,
    },
};
use proptest::{collection::vec, prelude::*};
use uuid::Uuid;

fn at(seconds: u64) -> Timestamp {
    Timestamp { boot_id: Uuid::from_u128(1), boot_ns: seconds * 1_000_000_000, wall_ns: 0 }
}

fn decided(config: &RestartConfig, end: RunEndClass) -> RestartDecision {
    RestartManager::new(config).decide(end, &RestartBudget::default(), &at(0), 0)
}

proptest! {
    /// In no window are there more restarts of a kind than allowed, and none is refused for less.
    #[test]
    fn a_budget_is_kept_and_used_up(
        max_restarts in 0..5_u32, window in 1..60_u64, ends in vec((0..30_u64, any::<bool>()), 1..80),
    ) {
        let config = RestartConfig {
            max_restarts, restart_window: Duration::from_secs(window), ..RestartConfig::default()
        };
        let (mut budget, mut now) = (RestartBudget::default(), 0);
        let mut restarts: Vec<(u64, bool)> = Vec::new();
        for (gap, spawned) in ends {
            now += gap;
            let class = if spawned { RunEndClass::Failed } else { RunEndClass::SpawnFailed };
            let within = restarts.iter().filter(|(then, kind)| *kind == spawned && now - then <= window).count();
            let within = u32::try_from(within).unwrap();
            match RestartManager::new(&config).decide(class, &budget, &at(now), 0) {
                RestartDecision::Restart { .. } => {
                    prop_assert!(within < max_restarts);
                    let tally = if spawned { &mut budget.crashes } else { &mut budget.spawn_failures };
                    tally.spend(at(now));
                    restarts.push((now, spawned));
                }
                RestartDecision::Refuse(rule) => {
                    let window_ms = window * 1000;
                    prop_assert_eq!(rule, if spawned {
                        RestartRule::BudgetSpent { restarts: max_restarts, max_restarts, window_ms }
                    } else {
                        RestartRule::SpawnBudgetSpent { failures: max_restarts, max_restarts, window_ms }
                    });
                    prop_assert_eq!(within, max_restarts);
                }
            }
        }
    }

    #[test]
    fn jitter_shortens_a_wait_by_its_share_at_most(
        delay in any::<Duration>(), jitter_percent in any::<u8>(), random in any::<u32>(),
    ) {
        let backoff = BackoffConfig::Fixed { delay };
        let config = RestartConfig { backoff, jitter_percent, ..RestartConfig::default() };
        let decision =
            RestartManager::new(&config).decide(RunEndClass::Failed, &RestartBudget::default(), &at(0), random);
        let RestartDecision::Restart { delay: waited, .. } = decision else { panic!("{decision:?}") };
        let share = delay.as_nanos() / 100 * u128::from(jitter_percent.min(100));
        prop_assert!(waited <= delay && waited.as_nanos() + share >= delay.as_nanos());
    }

    /// The threshold is crossed by the failure that makes so many in a row, never before the first success within the
    /// grace period, and by no other.
    #[test]
    fn the_threshold_is_crossed_by_so_many_failures_in_a_row(
        threshold in 1..4_u32, grace in 0..20_u64, results in vec((0..5_u64, any::<bool>()), 1..60),
    ) {
        let config = HealthCheckConfig {
            failure_threshold: threshold, grace_period: Duration::from_secs(grace), ..HealthCheckConfig::default()
        };
        let mut monitor = HealthMonitor::new(config, at(0));
        let (mut now, mut counted) = (0, Vec::new());
        for (gap, healthy) in results {
            now += gap;
            if healthy || now >= grace || counted.contains(&true) {
                counted.push(healthy);
            }
            let verdict = monitor.on_result(&at(now), &ProbeResult { healthy, detail: String::new() });
            let in_a_row = counted.iter().rev().take_while(|healthy| !**healthy).count();
            let crosses = !healthy && in_a_row == usize::try_from(threshold).unwrap();
            prop_assert_eq!(matches!(verdict, HealthVerdict::CrossedUnhealthy { .. }), crosses, "{:?}", verdict);
        }
    }
}

#[test]
fn a_policy_says_which_ends_lead_to_a_restart() {
    use RunEndClass::{Failed, SpawnFailed, Succeeded, Unhealthy};
    for (policy, restarted) in [
        (RestartPolicy::Never, &[][..]),
        (RestartPolicy::OnFailure, &[Failed, SpawnFailed, Unhealthy]),
        (RestartPolicy::Always, &[Failed, SpawnFailed, Succeeded, Unhealthy]),
    ] {
        let config = RestartConfig { policy, ..RestartConfig::default() };
        for end in [Failed, SpawnFailed, Succeeded, Unhealthy] {
            let is_restart = matches!(decided(&config, end), RestartDecision::Restart { .. });
            assert_eq!(is_restart, restarted.contains(&end), "{policy} after {end:?}");
        }
    }
}

#[test]
fn health_is_told_when_it_changes_and_only_then() {
    let config = HealthCheckConfig { failure_threshold: 3, success_threshold: 2, ..HealthCheckConfig::default() };
    let mut monitor = HealthMonitor::new(config, at(0));
    let told: Vec<char> = "++-+++---++"
        .chars()
        .map(|result| {
            let result = ProbeResult { healthy: result == '+', detail: String::new() };
            match monitor.on_result(&at(1), &result) {
                HealthVerdict::Nothing => '.',
                HealthVerdict::Changed { healthy: true, .. } => 'h',
                HealthVerdict::Changed { healthy: false, .. } => 'f',
                HealthVerdict::CrossedUnhealthy { .. } => 'X',
            }
        })
        .collect();
    assert_eq!(told.iter().collect::<String>(), ".hf.h.f.X.h");
}
