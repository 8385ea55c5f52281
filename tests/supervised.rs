//! The contents of `list`: supervised processes, with `--all` also removed ones, and pending restarts.

use std::fs;

use serde_json::{Value, json};

use crate::support::{Place, wait_until};

fn with(text: &str) -> Place {
    let place = Place::new();
    fs::write(place.path("ecosystem.toml"), text).unwrap();
    place
}

fn names(listed: &Value) -> Vec<&str> {
    listed.as_array().unwrap().iter().map(|handle| handle["display_name"].as_str().unwrap()).collect()
}

const TWO: &str = "[[process]]\nname = 'a'\ncommand = 'sleep'\nargs = ['1000']\n\
     [[process]]\nname = 'b'\ncommand = 'true'\nrestart = { policy = 'never' }\n";

#[test]
fn a_list_holds_what_is_supervised_and_with_all_what_was() {
    let place = with(TWO);
    place.run(&["up"]).succeeded();
    place.run(&["run", "--name", "once", "--", "true"]).succeeded();
    let supervised = |args: &[&str]| place.json(&[&["list"], args].concat());
    // With a daemon and without one.
    for is_there in [true, false] {
        assert_eq!(names(&supervised(&[])), ["a", "b"], "a run that is over is not supervised");
        assert_eq!(names(&supervised(&["--all"])), ["a", "b", "once"]);
        assert_eq!(names(&supervised(&["--all", "--state", "stopped"])).last(), Some(&"once"));
        let empty = place.run(&["list", "--name", "once"]).succeeded().said(&["no processes", "1 more", "--all"]);
        assert_eq!(empty.stdout, "");
        if is_there {
            place.stop_daemon();
        }
    }
    place.run(&["down"]).succeeded();
    assert_eq!(supervised(&[]), json!([]));
    let all = supervised(&["--all"]);
    assert_eq!(names(&all), ["a", "b", "once"]);
    assert_eq!([&all[0]["removed"], &all[2]["removed"]], [&json!(true), &json!(false)]);
    let table = place.run(&["list", "--all"]).succeeded().stdout;
    assert!(table.lines().any(|line| line.starts_with("a ") && line.contains(", removed")), "{table}");
}

#[test]
fn a_run_is_listed_as_long_as_it_is_not_over() {
    let place = Place::new();
    let running = place.start_script(&["--name", "it"], "sleep 1000");
    wait_until("it runs", || place.run(&["list"]).stdout.contains("running").then_some(()));
    drop(running);
    assert_eq!(place.json(&["list"]), json!([]));
}

#[test]
fn a_process_that_waits_for_a_restart_says_when() {
    let place = with(
        "[[process]]\nname = 'it'\ncommand = 'false'\n\
         restart = { policy = 'always', backoff = '1h' }\n",
    );
    // The exit code for a start that fails at once is tested elsewhere.
    place.run(&["up"]);
    wait_until("a restart is due", || (place.json(&["list"])[0]["restart_at"] != Value::Null).then_some(()));
    let table = place.run(&["list"]).succeeded().stdout;
    assert!(table.contains("crashed (1), restarts in 1h") || table.contains("crashed (1), restarts in 59m"), "{table}");
    let page = place.run(&["show", "it"]).succeeded().stdout;
    assert!(page.contains("crashed (1), restarts in "), "{page}");
    let handle = &place.json(&["list"])[0];
    let scheduled = place.events("it").into_iter().find(|event| event["type"] == "restart_scheduled").unwrap();
    let time = |value: &Value| chrono::DateTime::parse_from_rfc3339(value.as_str().unwrap()).unwrap();
    assert_eq!(time(&handle["restart_at"]) - time(&scheduled["at"]), chrono::TimeDelta::hours(1));
    assert_eq!(handle["gave_up"], false);

    // No daemon, so nothing restarts it.
    place.kill_daemon();
    let table = place.run(&["list"]).succeeded().said(&["no daemon runs"]).stdout;
    assert!(table.contains("crashed (1), restart waits for a daemon"), "{table}");
    assert_eq!(place.json(&["list"])[0]["restart_at"], handle["restart_at"]);
    place.run(&["stop", "all"]).succeeded();
}

#[test]
fn a_process_that_gave_up_says_so() {
    let place = with(
        "[[process]]\nname = 'it'\ncommand = 'false'\n\
         restart = { policy = 'on-failure', max_restarts = 1, backoff = '1ms' }\n",
    );
    place.run(&["up"]);
    wait_until("it gives up", || (place.json(&["list"])[0]["gave_up"] == true).then_some(()));
    let table = place.run(&["list"]).succeeded().stdout;
    assert!(table.contains("crashed (1), gave up"), "{table}");
    assert_eq!(place.json(&["show", "it"])["handle"]["gave_up"], true);
    assert_eq!(place.json(&["replay"])["handles"][0]["gave_up"], true);
}
