//! Descendants that a command leaves behind are ended with the supervisor.

use std::fs;

use nix::sys::signal::Signal;

use crate::support::{Place, gone, wait_until};

fn pid_in(place: &Place, file: &str) -> u32 {
    wait_until("the pid is written", || fs::read_to_string(place.path(file)).ok()?.trim().parse().ok())
}

#[test]
fn a_grandchild_that_is_left_behind_is_gone_afterwards() {
    let place = Place::new();
    place.run_script(&[], "sleep 1000 & echo $! > pid; exit 4").left_with(4);
    assert!(gone(pid_in(&place, "pid")));
}

#[test]
fn a_stubborn_grandchild_too() {
    let place = Place::new();
    let script = "sh -c 'trap \"\" TERM; echo $$ > pid; while :; do sleep 0.01; done' & \
                  while [ ! -s pid ]; do sleep 0.01; done; exit 0";
    place.run_script(&["--name", "it", "--stop-timeout", "200ms"], script).succeeded();
    assert!(gone(pid_in(&place, "pid")));
    let mut signals = place.events("it").into_iter().filter(|event| event["type"] == "signal_sent");
    assert!(signals.next_back().is_some_and(|event| event["signal"] == "SIGKILL" && event["target"] == "group"));
}

#[test]
fn a_stop_ends_all_descendants() {
    let place = Place::new();
    let running = place.start_script(&[], "sleep 1000 & echo $! > pid; wait");
    let pid = pid_in(&place, "pid");
    running.signal(Signal::SIGTERM);
    running.outcome().left_with(143);
    assert!(gone(pid));
}
