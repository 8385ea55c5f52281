//! Each request of a person that was answered as carried out is on record with its reason, also one that joined another.

use std::{collections::BTreeSet, fs};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::{Outcome, Place, Running, is_so_in_time, send, wait_until};

/// Ends a while after the stop signal, so that requests come while the stop is under way.
const SLOW_TO_STOP: &str = "trap 'sleep 0.5; exit 0' TERM; touch ready; while :; do sleep 0.01; done";

const REQUESTS: usize = 12;

fn slow_to_stop() -> Place {
    let place = Place::supervising_script(SLOW_TO_STOP, "");
    wait_until("the script is ready", || place.path("ready").exists().then_some(()));
    place
}

/// Runs each command with a reason of its own at the same time. Returns the reasons, with what was answered.
fn all_at_once(place: &Place, commands: &[Vec<&str>]) -> Vec<(String, Outcome)> {
    let begin = |(number, command): (usize, &Vec<&str>)| {
        let reason = format!("{} number {number}", command[0]);
        let running = Running::start(place.command(command).args(["--reason", &reason]));
        (reason, running)
    };
    let running: Vec<_> = commands.iter().enumerate().map(begin).collect();
    running.into_iter().map(|(reason, running)| (reason, running.outcome())).collect()
}

/// Whether the daemon said that it did this, and not that there was nothing to do.
fn is_carried_out(outcome: &Outcome, action: &str) -> bool {
    outcome.code == 0 && outcome.stdout.contains(action) && !outcome.stdout.contains("unchanged")
}

/// The reasons on record for the process.
fn reasons(place: &Place, name: &str) -> BTreeSet<String> {
    let reason = |event: &Value| event["reason"].as_str().map(str::to_owned);
    place.events(name).iter().filter(|event| event["actor"]["kind"] == "operator").filter_map(reason).collect()
}

fn check_all_on_record(place: &Place, action: &str, answered: &[(String, Outcome)]) {
    check_all_on_record_of(place, "it", action, answered);
}

fn check_all_on_record_of(place: &Place, name: &str, action: &str, answered: &[(String, Outcome)]) {
    let on_record = reasons(place, name);
    let done: Vec<_> = answered.iter().filter(|(_, outcome)| is_carried_out(outcome, action)).collect();
    assert!(!done.is_empty(), "{action}");
    for (reason, outcome) in done {
        assert!(on_record.contains(reason), "{reason} is not on record: {}; {on_record:?}", outcome.stdout);
    }
}

fn repeated<'a>(command: &[&'a str]) -> Vec<Vec<&'a str>> {
    vec![command.to_vec(); REQUESTS]
}

#[test]
fn concurrent_restarts_are_all_on_record() {
    let place = slow_to_stop();
    let answered = all_at_once(&place, &repeated(&["restart", "it"]));
    assert!(answered.iter().all(|(_, outcome)| outcome.code == 0));
    check_all_on_record(&place, "restart", &answered);
    let events = place.events("it");
    let stopping: Vec<_> = events.iter().filter(|event| event["type"] == "stopping").collect();
    assert!(stopping.len() < REQUESTS, "some joined a restart under way");
    let joined = events.iter().filter(|event| event["adapter"] == "supervisor");
    for event in joined {
        assert_eq!(event["detail"], "restart: joined the restart under way");
        let is_cause = |stopping: &&Value| stopping["seq"] == event["cause"];
        // One that comes before the stop is recorded has no cause.
        assert!(event["cause"].is_null() || stopping.iter().any(is_cause), "{event}");
    }
    // The lists of what persons did have each of them, and the displays one entry for several.
    let timeline = place.json(&["timeline", "it"]);
    let is_listed = |event: &Value| {
        let actions = timeline["actions"].as_array().unwrap();
        actions.iter().any(|action| action["seq"] == event["seq"] && action["detail"] == event["detail"])
    };
    assert!(events.iter().filter(|event| event["adapter"] == "supervisor").all(is_listed), "{timeline}");
    let shown = place.run(&["timeline", "it"]).succeeded().stdout;
    assert!((1..REQUESTS).contains(&shown.matches("joined the restart of it").count()), "{shown}");
    // Both halves of a restart have the reason of the request that began it.
    let starts = events.iter().filter(|event| event["type"] == "start_requested").skip(1);
    for (stopping, start) in stopping.iter().zip(starts) {
        assert_eq!(stopping["reason"], start["reason"]);
    }
    place.run(&["verify"]).succeeded();
}

#[test]
fn concurrent_stops_and_starts_are_all_on_record() {
    let place = slow_to_stop();
    let answered = all_at_once(&place, &repeated(&["stop", "it"]));
    check_all_on_record(&place, "stop", &answered);
    let answered = all_at_once(&place, &repeated(&["start", "it"]));
    check_all_on_record(&place, "start", &answered);
    let running = Running::start(&mut place.command(&["stop", "it", "--reason", "first"]));
    wait_until("the stop is on record", || reasons(&place, "it").contains("first").then_some(()));
    let answered = all_at_once(&place, &[repeated(&["start", "it"]), repeated(&["restart", "it"])].concat());
    running.outcome().succeeded();
    check_all_on_record(&place, "start", &answered);
    place.run(&["verify"]).succeeded();
}

#[test]
fn a_stop_that_cancels_the_second_half_of_a_restart_is_on_record() {
    let place = slow_to_stop();
    let restart = Running::start(&mut place.command(&["restart", "it", "--reason", "first"]));
    wait_until("the restart is on record", || reasons(&place, "it").contains("first").then_some(()));
    place.run(&["stop", "it", "--reason", "second"]).succeeded();
    restart.outcome().left_with(1);
    let events = place.events("it");
    let joined = events.iter().find(|event| event["reason"] == "second").expect("it is on record");
    assert_eq!(joined["detail"], "stop: joined the stop under way, and no start follows");
    assert_eq!(place.json(&["list"])[0]["state"], json!("stopped"));
}

/// Nothing of a start is on record before the credentials are fetched.
#[test]
fn requests_that_join_a_start_before_it_is_recorded_are_on_record() {
    let place = Place::supervising(
        "[[process]]\nname = 'it'\ncommand = 'sleep'\nargs = ['1000']\n\
         credentials = { profile = 'slow', variables = { TOKEN = 'value' } }\n\
         [profile.slow]\ncommand = ['sh', '-c', 'touch asked; sleep 0.5; echo value=x']\n",
    );
    place.run(&["stop", "it"]).succeeded();
    let answered = all_at_once(&place, &[repeated(&["start", "it"]), repeated(&["restart", "it"])].concat());
    check_all_on_record(&place, "start", &answered);
    let details = place.events("it").into_iter().filter_map(|event| event["detail"].as_str().map(str::to_owned));
    assert!(details.filter(|detail| detail.contains("joined")).count() > 0);
    place.run(&["stop", "it"]).succeeded();
    fs::remove_file(place.path("asked")).unwrap();
    let start = Running::start(&mut place.command(&["start", "it", "--reason", "first"]));
    wait_until("its credentials are fetched", || place.path("asked").exists().then_some(()));
    let stop = place.run(&["stop", "it", "--reason", "second"]).succeeded();
    start.outcome();
    if is_carried_out(&stop, "stop") {
        assert!(reasons(&place, "it").contains("second"));
    }
    place.run(&["verify"]).succeeded();
}

#[test]
fn concurrent_changes_of_a_group_are_on_record_or_said_to_change_nothing() {
    let place = slow_to_stop();
    let file = place.path("ecosystem.toml").to_str().unwrap().to_owned();
    check_all_on_record_of(&place, "it-0", "scale", &all_at_once(&place, &repeated(&["scale", "it=3"])));
    check_all_on_record_of(&place, "it-0", "remove", &all_at_once(&place, &repeated(&["down", &file])));
}

/// The end of a daemon is recorded as requested by the person, with the reason; each other end with its cause.
#[test]
fn the_end_of_a_daemon_is_on_record() {
    let place = Place::supervising_script("sleep 1000", "");
    let end = |place: &Place| {
        assert!(is_so_in_time(|| place.daemon().is_none()));
        let events = place.run(&["--format", "jsonl", "tail", "--type", "supervisor_stopped", "-n", "1"]).succeeded();
        let event: Value = serde_json::from_str(events.stdout.trim()).unwrap();
        assert_eq!(event["type"], "supervisor_stopped");
        (event["actor"]["kind"].clone(), event["reason"].clone())
    };
    place.run(&["daemon", "--leave", "--reason", "upgrade to 2"]).succeeded();
    assert_eq!(end(&place), (json!("operator"), json!("upgrade to 2")));
    place.run(&["restart", "it"]).succeeded();
    send(place.daemon().unwrap(), Signal::SIGTERM);
    assert_eq!(end(&place), (json!("system"), json!("the supervisor received SIGTERM")));
    place.run(&["start", "it"]).succeeded();
    place.run(&["daemon", "--stop", "--reason", "password=hunter2"]).succeeded();
    let (actor, reason) = end(&place);
    assert_eq!(actor, "operator");
    assert!(
        reason.as_str().unwrap().starts_with("password=") && !reason.as_str().unwrap().contains("hunter2"),
        "{reason}"
    );
}
