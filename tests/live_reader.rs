//! Reading beside a supervisor that is writing.

use std::io::Read as _;

use serde_json::{Value, json};

use crate::{
    fixture,
    support::{Place, Running, wait_until},
};

fn start(place: &Place) -> Running {
    let running = place.start_script(&["--name", "it"], "touch ready; while :; do sleep 0.01; done");
    wait_until("the script is ready", || place.path("ready").exists().then_some(()));
    running
}

#[test]
fn a_running_process_is_seen_from_outside() {
    let place = Place::new();
    let running = start(&place);
    let outcome = place.run(&["-v", "--format", "json", "list"]).succeeded().said(&["from its daemon"]);
    let handle = &outcome.json()[0];
    assert_eq!(handle["state"], "running");
    let pid = handle["pid"].as_u64().unwrap();
    let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap();
    assert!(command.starts_with(b"sh\0-c\0"), "{command:?}");
    assert!(handle["uptime_secs"].as_i64().is_some_and(|seconds| seconds >= 0));
    let shown = place.json(&["show", "it"]);
    assert_eq!((&shown["runs"][0]["end"], &shown["runs"][0]["ended_at"]), (&Value::Null, &Value::Null));
    drop(running);
}

#[test]
fn a_live_ledger_verifies() {
    let place = Place::new();
    let running = start(&place);
    let report = place.json(&["verify"]);
    assert_eq!((&report["ok"], &report["store"]), (&json!(true), &json!("skipped")));
    drop(running);
    place.stop_daemon();
    let report = place.json(&["verify"]);
    assert_eq!((&report["ok"], &report["store"]), (&json!(true), &json!("done")));
}

#[test]
fn two_runs_share_a_ledger() {
    let place = Place::new();
    let running = start(&place);
    place.run(&["run", "--name", "other", "--", "sh", "-c", "exit 3"]).left_with(3);
    let listed = place.json(&["list", "--all"]);
    let states: Vec<_> = listed.as_array().unwrap().iter().map(|handle| &handle["state"]).collect();
    assert_eq!(states, ["running", "crashed"]);
    drop(running);
}

#[test]
fn the_source_is_said_when_it_is_asked_for() {
    let place = Place::new();
    place.run_script(&["--name", "it"], "true").succeeded();
    place.run(&["-v", "list"]).succeeded().said(&["from its daemon"]);
    place.stop_daemon();
    place.run(&["-v", "list"]).succeeded().said(&["from its journal"]);
    place.run(&["-v", "--offline", "list"]).succeeded().said(&["from its journal"]);
    assert_eq!(place.run(&["list", "--all"]).succeeded().stderr, "");
}

#[test]
fn a_reader_whose_output_blocks_does_not_block_the_daemon() {
    let place = Place::new();
    fixture::write_long(&place.ledger());
    let mut stuck = Running::start(&mut place.command(&["--format", "json", "show", "long"]));
    // Its first byte is there, more than a pipe holds is still to come, and nobody reads on.
    stuck.child().stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    place.run(&["run", "--", "true"]).succeeded();
    drop(stuck.child().stdout.take());
    stuck.outcome().succeeded();
}
