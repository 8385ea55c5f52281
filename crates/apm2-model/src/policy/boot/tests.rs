//! For each state in which an earlier supervisor can leave an instance: what the new supervisor does.

use super::*;
use crate::{
    event::{
        actor::Actor,
        exit::RunEnd,
        kind::{EventKind, RestartRule, StartTrigger},
    },
    spec::{
        ProcessSpec,
        config::restart::{RestartConfig, RestartPolicy},
    },
    testing::{History, SCHEDULED, STOPPING, at, at_boot, crashed, exit, operator},
};

const STOP_REQUESTED: EventKind = EventKind::RestartRefused { rule: RestartRule::StopRequested };

fn fresh() -> History {
    History::under(RestartConfig { policy: RestartPolicy::OnFailure, ..RestartConfig::default() })
}

fn up() -> History {
    fresh().at(at(5)).started()
}

fn stopped(code: i32) -> EventKind {
    EventKind::Stopped { exit: exit(code) }
}

/// The states in which an instance can be left. Each has the expected decisions on the same boot and on the next boot,
/// for `as-before`, `start` and `stay`. A decision is a letter: `n` for nothing, `s` for a start, `k` for keeping the
/// instance down.
fn left() -> Vec<(&'static str, History, &'static str, &'static str)> {
    let asked = EventKind::StartRequested { trigger: StartTrigger::Start };
    let spent = RestartRule::BudgetSpent { restarts: 1, max_restarts: 1, window_ms: 1 };
    let shut_down = || up().by(Actor::System).then([STOPPING]);
    vec![
        ("never started", fresh(), "nnn", "nnn"),
        ("running", up(), "nnn", "ssk"),
        ("start requested", fresh().at(at(5)).then([asked]), "nnn", "ssk"),
        ("being shut down", shut_down(), "ssn", "ssk"),
        ("shut down", shut_down().then([stopped(0)]), "ssn", "ssn"),
        ("stopped by an operator", up().by(operator()).then([STOPPING, stopped(0)]), "nnn", "nsn"),
        ("being stopped by an operator", up().by(operator()).then([STOPPING]), "nnn", "nsn"),
        ("being stopped by a health check", up().by(Actor::Health).then([STOPPING]), "nnn", "ssk"),
        ("finished", up().then([stopped(0)]), "nnn", "nsn"),
        ("crashed, undecided", up().then([crashed(1)]), "nnn", "nsn"),
        ("waiting for its restart", up().then([crashed(1), SCHEDULED]), "nnn", "ssk"),
        ("given up", up().then([crashed(1), EventKind::RestartRefused { rule: spent }]), "nnn", "nsn"),
        ("put off", up().then([crashed(1), STOP_REQUESTED]), "ssn", "ssn"),
        ("unregistered", up().then([crashed(1), EventKind::Unregistered]), "nnn", "nnn"),
        ("unregistered after its shutdown", shut_down().then([stopped(0), EventKind::Unregistered]), "nnn", "nnn"),
        (
            "never confirmed",
            fresh().then([
                EventKind::StartRequested { trigger: StartTrigger::Start },
                EventKind::Starting { identity: None, trigger: StartTrigger::Start },
                EventKind::Crashed { cause: RunEnd::NeverConfirmed },
            ]),
            "nnn",
            "nsn",
        ),
    ]
}

#[test]
fn each_instance_is_treated_as_its_setting_says() {
    for (name, history, same_boot, next_boot) in left() {
        for (now, expected) in [(at(60), same_boot), (at_boot(2, 60), next_boot)] {
            let letter = |on_boot| match at_boot_of(&history, on_boot, &now) {
                AtBoot::Nothing => 'n',
                AtBoot::Start => 's',
                AtBoot::Stay => 'k',
            };
            let found: String = [OnBoot::AsBefore, OnBoot::Start, OnBoot::Stay].map(letter).iter().collect();
            assert_eq!(found, expected, "{name}, boot {}", now.boot_id);
        }
    }
}

fn at_boot_of(history: &History, on_boot: OnBoot, now: &Timestamp) -> AtBoot {
    super::at_boot(&history.stream, on_boot, now)
}

#[test]
fn a_boot_can_keep_a_process_down_whatever_its_setting() {
    let restart = RestartConfig { on_boot: OnBoot::Start, ..RestartConfig::default() };
    let launch = LaunchSpec::new(ProcessSpec::builder().name("n").command("c").restart(restart).build());
    assert_eq!(Boot::default().on_boot(&launch), OnBoot::Start);
    assert_eq!(Boot { stays: |_| true, ..Boot::default() }.on_boot(&launch), OnBoot::Stay);
}
