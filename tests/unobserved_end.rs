//! A process that ends while no daemon runs: its exit is exact, and its time is a range.

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::support::{Place, send, wait_until};

fn time(event: &Value, field: &str) -> DateTime<Utc> {
    event[field].as_str().unwrap_or_else(|| panic!("{field} is not in {event}")).parse().unwrap()
}

#[test]
fn the_end_lies_between_the_last_daemon_and_the_next() {
    let place = Place::new();
    std::fs::write(
        place.path("ecosystem.toml"),
        "[[process]]\nname = 'a'\ncommand = 'sh'\nargs = ['-c', 'trap \"exit 7\" USR1; while :; do sleep 0.02; done']\nrestart = { policy = 'never' }\n",
    )
    .unwrap();
    place.run(&["up"]).succeeded();
    let pid = u32::try_from(place.json(&["list"])[0]["pid"].as_u64().unwrap()).unwrap();
    // The last event of the first daemon.
    place.run(&["daemon", "--leave"]).succeeded();
    wait_until("no daemon", || place.daemon().is_none().then_some(()));
    send(pid, nix::sys::signal::Signal::SIGUSR1);
    wait_until("it has ended", || crate::support::gone(pid).then_some(()));
    place.run(&["start", "never"]).left_with(3);
    let events = wait_until("the end", || {
        Some(place.events("a")).filter(|events| events.iter().any(|event| event["type"] == "end_unobserved"))
    });
    let end = events.iter().position(|event| event["type"] == "crashed").unwrap();
    let (crashed, unobserved) = (&events[end], &events[end + 1]);
    assert_eq!(crashed["exit"]["code"], 7, "{crashed}");
    assert_eq!(unobserved["type"], "end_unobserved");
    let all = place.run(&["--format", "jsonl", "replay"]).succeeded().stdout;
    let mut left = all.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let left = left.rfind(|event| event["type"] == "supervisor_stopped");
    let not_before = time(unobserved, "not_before");
    if let Some(left) = left {
        assert_eq!(not_before, time(&left, "at"), "the last that is known of the daemon before");
    }
    let last = events.iter().take(end).map(|event| time(event, "at")).max().unwrap();
    assert!(last <= not_before && not_before < time(unobserved, "not_after"), "{unobserved}");
    assert!(time(unobserved, "not_after") <= time(crashed, "at"));
}
