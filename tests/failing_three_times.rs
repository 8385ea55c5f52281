//! A command that fails three times under a policy: everything is on record, in order, and every view agrees.

use std::{path::Path, process::Command};

use serde_json::{Value, json};

use crate::support::Place;

const NAME: &str = "flaky";

fn fail_three_times() -> Place {
    let place = Place::new();
    let options = ["--name", NAME, "--restart", "on-failure", "--max-restarts", "2", "--backoff", "10ms..1s"];
    let options: Vec<_> = options.into_iter().chain(["--reason", "a drill"]).collect();
    let outcome = place.run_script(&options, "exit 7").left_with(7);
    assert_eq!(outcome.stdout, "");
    outcome.said(&["restart: attempt 1, in 10ms", "restart: attempt 2, in 20ms", "no restart"]);
    place
}

/// What an event says, its cause by type and not by number.
fn essence(event: &Value, all: &[Value]) -> Value {
    let cause = all.iter().find(|other| other["seq"] == event["cause"]);
    let detail = match event["type"].as_str().unwrap() {
        "restart_scheduled" => event["delay_ms"].clone(),
        "restart_refused" => json!([event["rule"], event["restarts"], event["max_restarts"]]),
        "starting" => json!([event["trigger"], event["attempt"]]),
        "crashed" => json!([event["exit"]["code"], event["exit"]["signal"], event["exit"]["evidence"]]),
        _ => Value::Null,
    };
    json!([
        event["run"],
        event["type"],
        event["from"],
        event["to"],
        event["actor"]["kind"],
        event["reason"],
        cause.map_or("none", |cause| cause["type"].as_str().unwrap()),
        detail
    ])
}

#[test]
fn every_transition_is_on_record_in_order() {
    let place = fail_three_times();
    let events = place.events(NAME);
    let seen: Vec<_> = events.iter().map(|event| essence(event, &events)).collect();
    let crash = json!([7, null, "observed"]);
    let reason = "a drill";
    let mut expected = vec![
        json!([0, "registered", null, null, "operator", reason, "none", null]),
        json!([1, "start_requested", null, null, "operator", reason, "none", null]),
        json!([1, "starting", "stopped", "starting", "system", null, "start_requested", ["start", null]]),
        json!([1, "running", "starting", "running", "system", null, "start_requested", null]),
        json!([1, "crashed", "running", "crashed", "system", null, "none", crash]),
    ];
    for (run, attempt, delay_ms) in [(2, 1, 10), (3, 2, 20)] {
        expected.extend([
            json!([run - 1, "restart_scheduled", null, null, "policy", null, "crashed", delay_ms]),
            json!([run, "start_requested", null, null, "policy", null, "restart_scheduled", null]),
            json!([run, "starting", "crashed", "starting", "system", null, "start_requested", ["restart", attempt]]),
            json!([run, "running", "starting", "running", "system", null, "start_requested", null]),
            json!([run, "crashed", "running", "crashed", "system", null, "none", crash]),
        ]);
    }
    let spent = json!(["budget_spent", 2, 2]);
    expected.push(json!([3, "restart_refused", null, null, "policy", null, "crashed", spent]));
    assert_eq!(seen, expected);

    let versions: Vec<_> = events.iter().map(|event| event["version"].as_u64().unwrap()).collect();
    assert_eq!(versions, (1..=versions.len() as u64).collect::<Vec<_>>());
}

#[test]
fn runs_and_handle_say_what_the_events_say() {
    let place = fail_three_times();
    let shown = place.json(&["show", NAME]);
    let starts: Vec<_> = events_of(&shown, "starting");
    let runs = shown["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 3);
    for ((run, start), number) in runs.iter().zip(&starts).zip(1..) {
        assert_eq!(run["run"], number);
        assert_eq!((&run["pid"], &run["started_at"]), (&start["pid"], &start["at"]));
        assert_eq!((&run["end"], &run["exit"]["code"]), (&json!("exit"), &json!(7)));
    }
    let handle = &shown["handle"];
    assert_eq!(handle["restart_count"], 2);
    assert_eq!((&handle["started_at"], &handle["last_restart"]), (&starts[2]["at"], &starts[2]["at"]));
    assert_eq!((&handle["state"], &handle["exit_code"], &handle["pid"]), (&json!("crashed"), &json!(7), &Value::Null));
}

fn events_of(shown: &Value, kind: &str) -> Vec<Value> {
    shown["events"].as_array().unwrap().iter().filter(|event| event["type"] == kind).cloned().collect()
}

#[test]
fn every_view_agrees_here_and_in_a_copy() {
    let place = fail_three_times();
    let here = place.json(&["show", NAME]);
    let copy = place.path("copy");
    copy_of(&place.ledger(), &copy);
    let copy = copy.to_str().unwrap();

    for dir in [place.ledger().to_str().unwrap(), copy] {
        for offline in [&["--ledger", dir][..], &["--ledger", dir, "--offline"]] {
            let json = |args: &[&str]| place.json(&[offline, args].concat());
            assert_eq!(json(&["show", NAME]), here);
            assert_eq!(json(&["list", "--all"]), json!([here["handle"]]));
            assert_eq!(json(&["replay"])["handles"], json!([here["handle"]]));
            assert_eq!(json(&["replay", "--from-snapshot"])["handles"], json!([here["handle"]]));
            assert_eq!(json(&["verify"])["ok"], true);
        }
    }
}

fn copy_of(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-r").arg(from).arg(to).status().unwrap().success());
}

#[test]
fn an_earlier_moment_is_shown_as_it_was() {
    let place = fail_three_times();
    let events = place.events(NAME);
    let second_start = events.iter().filter(|event| event["type"] == "running").nth(1).unwrap();
    let (seq, time) = (second_start["seq"].to_string(), second_start["at"].as_str().unwrap());
    let by_seq = place.json(&["list", "--at", &seq]);
    assert_eq!((&by_seq[0]["state"], &by_seq[0]["restart_count"]), (&json!("running"), &json!(1)));
    assert_eq!(by_seq[0]["uptime_secs"], 0);
    // A time that was printed means the same event.
    assert_eq!(place.json(&["list", "--at", time]), by_seq);
    assert_eq!(place.json(&["show", NAME, "--at", time])["handle"], by_seq[0]);
    assert_eq!(place.json(&["replay", "--at", &seq])["handles"], by_seq);
    assert_eq!(place.json(&["list", "--at", "1h ago"]), json!([]));
}

#[test]
fn a_table_has_the_last_runs_and_json_has_all() {
    let place = Place::new();
    let options = ["--name", NAME, "--restart", "on-failure", "--max-restarts", "11", "--backoff", "1ms"];
    place.run_script(&options, "exit 7").left_with(7);
    let heading = |args: &[&str]| {
        let page = place.run(&[&["show", NAME], args].concat()).succeeded().stdout;
        page.lines().find(|line| line.starts_with("Runs")).unwrap().to_owned()
    };
    assert_eq!(heading(&[]), "Runs (after 2 more, see --runs all)");
    assert_eq!(heading(&["--runs", "1"]), "Runs (after 11 more, see --runs all)");
    assert_eq!(heading(&["--runs", "12"]), "Runs");
    let runs = |args: &[&str]| place.json(&[&["show", NAME], args].concat())["runs"].as_array().unwrap().len();
    assert_eq!((runs(&[]), runs(&["--runs", "3"])), (12, 3));
}
