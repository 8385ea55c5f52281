//! A supervisor that is killed leaves a run open; the next one closes it with the evidence that it finds.

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::{Place, gone, send, wait_until};

/// A command whose supervisor was killed, and its pid.
fn orphaned(place: &Place) -> u32 {
    let running = place.start_script(&["--name", "it"], "touch ready; while :; do sleep 0.01; done");
    wait_until("the script is ready", || place.path("ready").exists().then_some(()));
    let pid = place.json(&["list"])[0]["pid"].as_u64().unwrap();
    running.crash();
    u32::try_from(pid).unwrap()
}

#[test]
fn a_process_whose_client_died_goes_on_under_the_daemon() {
    let place = Place::new();
    let pid = orphaned(&place);
    place.run_script(&["--name", "it"], "exit 8").left_with(1).said(&["already running", &pid.to_string(), "hint: "]);
    assert!(!gone(pid), "nor is it touched");
    place.run(&["stop", "it"]).succeeded();
    assert!(gone(pid));
    place.run_script(&["--name", "it"], "exit 8").left_with(8);
}

#[test]
fn a_run_that_ended_without_a_supervisor_is_closed_truthfully() {
    let place = Place::new();
    let pid = orphaned(&place);
    place.kill_daemon();
    send(pid, Signal::SIGKILL);
    wait_until("it is gone", || gone(pid).then_some(()));

    place.run_script(&["--name", "it"], "exit 8").left_with(8);
    let events = place.events("it");
    let closed = events.iter().find(|event| event["type"] == "crashed").unwrap();
    assert_eq!((&closed["actor"]["kind"], &closed["run"]), (&Value::from("recovery"), &Value::from(1)));
    // What the kernel reports depends on whether the process was reaped; `observed` would be wrong in any case.
    match closed["exit"]["evidence"].as_str().unwrap() {
        "recovered" => assert_eq!(closed["exit"]["signal"], "SIGKILL"),
        "unknown" => assert_eq!((&closed["exit"]["code"], &closed["exit"]["signal"]), (&Value::Null, &Value::Null)),
        evidence => panic!("{evidence}"),
    }
    assert_eq!(place.json(&["show", "it"])["runs"][1]["exit"]["code"], 8);
    assert_eq!(place.json(&["verify"])["ok"], true);
}
