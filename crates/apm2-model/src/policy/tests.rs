//! Property tests of the restart policy and of the health monitor, over random histories.

use std::time::Duration;

use proptest::{collection::vec, prelude::*};
use uuid::Uuid;

use crate::{
    event::{kind::RestartRule, timestamp::Timestamp},
    policy::{
        health_monitor::{HealthMonitor, HealthVerdict, ProbeResult},
        restart::{RestartDecision, RestartManager, RunEndClass},
        shutdown::ShutdownManager,
    },
    spec::config::{
        health::HealthCheckConfig,
        restart::{BackoffConfig, RESTARTS_REMEMBERED_MAX, RestartConfig, RestartPolicy},
    },
    state::restart_budget::{RestartBudget, Tally},
};

fn at(seconds: u64) -> Timestamp {
    Timestamp { boot_id: Uuid::from_u128(1), boot_ns: seconds * 1_000_000_000, wall_ns: 0 }
}

fn decided(config: &RestartConfig, end: RunEndClass) -> RestartDecision {
    RestartManager::new(config).decide(end, &RestartBudget::default(), &at(0), 0)
}

proptest! {
    /// No window contains more restarts of one kind than allowed, and no restart is refused while the window contains
    /// fewer.
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
                RestartDecision::Leave => prop_assert!(false, "a failure is restarted"),
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

    /// Exactly the failure that completes `failure_threshold` consecutive failures crosses the threshold. Failures
    /// within the grace period do not count before the first success.
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

fn waited(delay: Duration, jitter_percent: u8, random: u32) -> Duration {
    let config = RestartConfig { backoff: BackoffConfig::Fixed { delay }, jitter_percent, ..RestartConfig::default() };
    match RestartManager::new(&config).decide(RunEndClass::Failed, &RestartBudget::default(), &at(0), random) {
        RestartDecision::Restart { attempt: 1, delay } => delay,
        decision => panic!("{decision:?}"),
    }
}

proptest! {
    /// The random number selects a fraction of the part by which a wait may be shortened.
    #[test]
    fn jitter_takes_the_fraction_of_its_share(
        delay_ns in any::<u64>(), jitter_percent in 0..=100_u8, random in any::<u32>(),
    ) {
        let delay = Duration::from_nanos(delay_ns);
        let share = u128::from(delay_ns / 100) * u128::from(jitter_percent);
        let taken = (delay - waited(delay, jitter_percent, random)).as_nanos();
        // The formula for the reduction of the delay is `taken = floor(share * random / 2^32)`. The two inequalities
        // are equivalent to it.
        prop_assert!(taken << 32 <= share * u128::from(random) && share * u128::from(random) < (taken + 1) << 32);
    }

    #[test]
    fn the_time_limit_of_a_shutdown_is_the_shorter_one(deadline in any::<Duration>(), timeout in any::<Duration>()) {
        let given = ShutdownManager::new(deadline).timeout(timeout);
        prop_assert!(given <= deadline && given <= timeout && (given == deadline || given == timeout));
    }

    /// A tally stores the times of the latest restarts and the number of all restarts.
    #[test]
    fn a_tally_keeps_a_limited_number_of_restarts(restarts in 0..RESTARTS_REMEMBERED_MAX + 3) {
        let mut tally = Tally::default();
        for restart in 0..restarts {
            tally.spend(at(u64::try_from(restart).unwrap()));
        }
        let kept = restarts.min(RESTARTS_REMEMBERED_MAX);
        prop_assert_eq!(usize::try_from(tally.consecutive).unwrap(), restarts);
        prop_assert_eq!(tally.recent.len(), kept);
        let oldest = (restarts > 0).then(|| at(u64::try_from(restarts - kept).unwrap()));
        prop_assert_eq!(tally.recent.front().copied(), oldest);
    }
}

#[test]
fn jitter_is_nothing_for_0_and_half_of_the_share_for_half_of_the_numbers() {
    let second = Duration::from_secs(1);
    for (percent, random, expected_ms) in
        [(0, u32::MAX, 1000), (50, 0, 1000), (50, 1 << 31, 750), (100, 1 << 31, 500), (200, 1 << 31, 500)]
    {
        assert_eq!(waited(second, percent, random), Duration::from_millis(expected_ms), "{percent} % of {random}");
    }
    assert!(waited(Duration::MAX, 100, u32::MAX) < Duration::MAX, "the longest delay does not overflow");
}

#[test]
fn an_attempt_follows_the_last_of_its_kind() {
    let backoff = BackoffConfig::Linear { initial: Duration::ZERO, step: Duration::from_secs(1), max: Duration::MAX };
    let config = RestartConfig { backoff, ..RestartConfig::default() };
    let mut budget = RestartBudget::default();
    budget.crashes.spend(at(0));
    budget.crashes.spend(at(0));
    budget.spawn_failures.spend(at(0));
    for (end, attempt) in [(RunEndClass::Failed, 3), (RunEndClass::Unhealthy, 3), (RunEndClass::SpawnFailed, 2)] {
        let delay = Duration::from_secs(u64::from(attempt) - 1);
        let decision = RestartManager::new(&config).decide(end, &budget, &at(0), 0);
        assert_eq!(decision, RestartDecision::Restart { attempt, delay }, "{end:?}");
    }
}

#[test]
fn a_larger_budget_than_is_remembered_is_spent_by_what_is_remembered() {
    let config = RestartConfig { max_restarts: u32::MAX, ..RestartConfig::default() };
    let mut budget = RestartBudget::default();
    for _ in 0..RESTARTS_REMEMBERED_MAX {
        assert!(matches!(
            RestartManager::new(&config).decide(RunEndClass::Failed, &budget, &at(0), 0),
            RestartDecision::Restart { .. }
        ));
        budget.crashes.spend(at(0));
    }
    let (restarts, window_ms) = (1024, 600_000);
    let rule = RestartRule::BudgetSpent { restarts, max_restarts: restarts, window_ms };
    let decision = RestartManager::new(&config).decide(RunEndClass::Failed, &budget, &at(0), 0);
    assert_eq!(decision, RestartDecision::Refuse(rule));
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
            match decided(&config, end) {
                RestartDecision::Restart { .. } => assert!(restarted.contains(&end), "{policy} after {end:?}"),
                RestartDecision::Leave => assert!(!restarted.contains(&end), "{policy} after {end:?}"),
                RestartDecision::Refuse(rule) => panic!("{policy} after {end:?}: {rule:?}"),
            }
        }
    }
}

#[test]
fn health_is_reported_when_it_changes_and_only_then() {
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

#[test]
fn the_first_check_waits_for_its_delay_and_the_next_ones_for_the_interval() {
    let (interval, initial_delay) = (Duration::from_secs(30), Duration::from_secs(10));
    let config = HealthCheckConfig { interval, initial_delay, ..HealthCheckConfig::default() };
    let mut monitor = HealthMonitor::new(config, at(5));
    for (now, seconds) in [(5, 10), (9, 6), (15, 0), (99, 0)] {
        assert_eq!(monitor.next_probe(&at(now)), Duration::from_secs(seconds), "at {now} s");
    }
    let after_a_reboot = Timestamp { boot_id: Uuid::from_u128(2), ..at(6) };
    assert_eq!(monitor.next_probe(&after_a_reboot), Duration::ZERO, "the run is older than any delay");
    monitor.on_result(&at(20), &ProbeResult { healthy: true, detail: String::new() });
    assert_eq!(monitor.next_probe(&at(20)), interval);
}

/// The event has the detail of the check and the number of failures.
#[test]
fn a_verdict_says_what_the_check_said() {
    let config = HealthCheckConfig { failure_threshold: 2, ..HealthCheckConfig::default() };
    let mut monitor = HealthMonitor::new(config, at(0));
    let mut check =
        |healthy: bool, detail: &str| monitor.on_result(&at(1), &ProbeResult { healthy, detail: detail.to_owned() });
    let changed = |healthy, detail: &str| HealthVerdict::Changed { healthy, detail: detail.to_owned() };
    assert_eq!(check(true, "HTTP 200"), changed(true, "HTTP 200"));
    assert_eq!(check(true, "HTTP 200"), HealthVerdict::Nothing);
    assert_eq!(check(false, "HTTP 500"), changed(false, "HTTP 500"));
    let crossed = HealthVerdict::CrossedUnhealthy { failures: 2, detail: "HTTP 503".to_owned() };
    assert_eq!(check(false, "HTTP 503"), crossed);
    assert_eq!(check(false, "HTTP 503"), HealthVerdict::Nothing, "it is crossed once");
}

/// A failure within the grace period counts if a check has already succeeded. Failures after the grace period always
/// count.
#[test]
fn the_grace_period_ends_with_its_time_or_with_the_first_success() {
    let grace_period = Duration::from_secs(10);
    let config = HealthCheckConfig { failure_threshold: 1, grace_period, ..HealthCheckConfig::default() };
    let crosses = |seconds: u64, succeeded_before: bool| {
        let mut monitor = HealthMonitor::new(config.clone(), at(0));
        if succeeded_before {
            monitor.on_result(&at(0), &ProbeResult { healthy: true, detail: String::new() });
        }
        let verdict = monitor.on_result(&at(seconds), &ProbeResult { healthy: false, detail: String::new() });
        matches!(verdict, HealthVerdict::CrossedUnhealthy { .. })
    };
    for (seconds, succeeded_before, expected) in
        [(0, false, false), (9, false, false), (10, false, true), (11, false, true), (0, true, true), (9, true, true)]
    {
        assert_eq!(crosses(seconds, succeeded_before), expected, "{seconds} s, {succeeded_before}");
    }
}
