//! Signals to the supervisor stop the command, and are recorded.

use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::{Place, Running, wait_until};

/// Waits for a file that the script creates when it is ready.
fn wait_for_ready(place: &Place) {
    wait_until("the script is ready", || place.path("ready").exists().then_some(()));
}

fn start(place: &Place, options: &[&str], script: &str) -> Running {
    let options: Vec<_> = ["--name", "it"].iter().chain(options).copied().collect();
    let running = place.start_script(&options, script);
    wait_for_ready(place);
    running
}

fn event(place: &Place, kind: &str) -> Value {
    place.events("it").into_iter().find(|event| event["type"] == kind).unwrap_or_else(|| panic!("no {kind}"))
}

const OBEDIENT: &str = "touch ready; while :; do sleep 0.01; done";
const STUBBORN: &str = "trap '' TERM INT; touch ready; while :; do sleep 0.01; done";

#[test]
fn an_exit_upon_the_stop_signal_is_no_failure() {
    for (signal, name) in [(Signal::SIGTERM, "SIGTERM"), (Signal::SIGINT, "SIGINT"), (Signal::SIGHUP, "SIGHUP")] {
        let place = Place::new();
        let running = start(&place, &["--restart", "always"], OBEDIENT);
        running.signal(signal);
        running.outcome().left_with(143);
        let stopping = event(&place, "stopping");
        assert_eq!(
            (&stopping["actor"]["kind"], &stopping["reason"]),
            (&json!("operator"), &json!(format!("received {name}")))
        );
        assert_eq!((&stopping["signal"], &stopping["timeout_ms"]), (&json!("SIGTERM"), &json!(10_000)));
        let stopped = event(&place, "stopped");
        assert_eq!((&stopped["exit"]["signal"], &stopped["from"]), (&json!("SIGTERM"), &json!("stopping")));
    }
}

#[test]
fn a_command_may_end_a_stop_with_a_code_of_its_own() {
    let place = Place::new();
    let script = "trap 'exit 5' USR1; touch ready; while :; do sleep 0.01; done";
    let running = start(&place, &["--stop-signal", "SIGUSR1"], script);
    running.signal(Signal::SIGTERM);
    running.outcome().left_with(5);
    assert_eq!(event(&place, "stopped")["exit"]["code"], 5);
}

#[test]
fn a_command_that_ignores_the_stop_is_killed() {
    let place = Place::new();
    let running = start(&place, &["--stop-timeout", "300ms"], STUBBORN);
    running.signal(Signal::SIGTERM);
    running.outcome().left_with(137);
    let terminated = event(&place, "terminated");
    assert_eq!(terminated["exit"]["signal"], "SIGKILL");
    assert_eq!(place.json(&["list", "--all"])[0]["state"], "terminated");
    let signals: Vec<_> = place
        .events("it")
        .iter()
        .filter(|event| event["type"] == "signal_sent")
        .map(|event| event["signal"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!((signals.first().unwrap().as_str(), signals.last().unwrap().as_str()), ("SIGTERM", "SIGKILL"));
}

#[test]
fn a_second_signal_does_not_wait() {
    let place = Place::new();
    let running = start(&place, &["--stop-timeout", "1h"], STUBBORN);
    running.signal(Signal::SIGTERM);
    wait_until("the stop is on record", || place.types("it").contains(&"stopping".to_owned()).then_some(()));
    running.signal(Signal::SIGTERM);
    running.outcome().left_with(137);
}

#[test]
fn a_stop_cancels_the_restart_that_is_pending() {
    let place = Place::new();
    let running = place.start_script(&["--name", "it", "--restart", "on-failure", "--backoff", "1h"], "exit 3");
    wait_until("the restart is scheduled", || {
        let shown = place.run(&["--format", "json", "show", "it"]);
        shown.stdout.contains("restart_scheduled").then_some(())
    });
    running.signal(Signal::SIGTERM);
    running.outcome().left_with(3).said(&["no restart: a stop was asked for"]);
    let refused = event(&place, "restart_refused");
    assert_eq!((&refused["rule"], &refused["actor"]["kind"]), (&json!("stop_requested"), &json!("operator")));
}

#[test]
fn a_supervisor_that_is_to_survive_the_terminal_does() {
    let place = Place::new();
    // nohup(1) ignores SIGHUP and executes the program.
    let mut nohup = Command::new("nohup");
    nohup.args([env!("CARGO_BIN_EXE_apm2-ledger"), "run", "--name", "it", "--", "sh", "-c", OBEDIENT]);
    nohup.current_dir(place.path(".")).env("APM2_LEDGER_DIR", place.ledger()).stdin(Stdio::null());
    let running = Running::start(&mut nohup);
    wait_for_ready(&place);
    running.signal(Signal::SIGHUP);
    running.signal(Signal::SIGTERM);
    running.outcome().left_with(143);
    assert_eq!(event(&place, "stopping")["reason"], "received SIGTERM");
}
