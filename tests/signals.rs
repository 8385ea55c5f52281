//! Signals to `run` reach its command, and no signal leaves the command running unattended.

use std::{fs, fs::File};

use nix::{
    fcntl::{Flock, FlockArg},
    sys::signal::Signal,
};
use serde_json::{Value, json};

use crate::support::{Place, Running, gone, send, wait_until};

fn start(place: &Place, script: &str) -> Running {
    let running = place.start_script(&["--name", "it"], script);
    wait_until("the script is ready", || place.path("ready").exists().then_some(()));
    running
}

fn sent(place: &Place, signal: &str) -> Option<Value> {
    place.events("it").into_iter().find(|event| event["type"] == "signal_sent" && event["signal"] == signal)
}

/// The state of a process in `/proc/PID/stat`: `T` when it is stopped.
fn state(pid: u32) -> String {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit(')').next().unwrap().trim_start()[..1].to_owned()
}

#[test]
fn signals_that_do_not_stop_are_passed_on_and_recorded() {
    let place = Place::new();
    let names = ["QUIT", "USR1", "USR2", "ALRM", "35"];
    let traps: String = names.iter().map(|name| format!("trap 'echo {name} >> got' {name}; ")).collect();
    let running = start(&place, &format!("{traps} touch ready; while :; do sleep 0.01; done"));
    let got = || fs::read_to_string(place.path("got")).unwrap_or_default();
    for (number, name) in [(3, "QUIT"), (10, "USR1"), (12, "USR2"), (14, "ALRM"), (35, "35")] {
        // The signal enum of the library has no real-time signals.
        let kill = std::process::Command::new("kill").args([format!("-{number}"), running.pid().to_string()]).status();
        assert!(kill.unwrap().success());
        wait_until(name, || got().lines().any(|line| line == name).then_some(()));
        assert!(!gone(running.pid()), "{name}");
        let event = sent(&place, &format!("SIG{name}")).unwrap_or_else(|| panic!("{name} is not recorded"));
        assert_eq!((&event["actor"]["kind"], &event["target"]), (&json!("operator"), &json!("group")), "{name}");
        assert_eq!(event["reason"], format!("received SIG{name}"));
    }
    running.signal(Signal::SIGTERM);
    running.outcome().left_with(143);
}

#[test]
fn a_command_that_a_passed_on_signal_kills_has_crashed() {
    for (signal, name, code) in [(Signal::SIGQUIT, "SIGQUIT", 131), (Signal::SIGUSR1, "SIGUSR1", 138)] {
        let place = Place::new();
        let running = start(&place, "touch ready; exec sleep 1000");
        running.signal(signal);
        running.outcome().left_with(code);
        let shown = place.json(&["show", "it"]);
        assert_eq!((&shown["handle"]["state"], &shown["handle"]["signal"]), (&json!("crashed"), &json!(name)));
    }
}

#[test]
fn ctrl_z_suspends_the_command_too_and_both_go_on() {
    let place = Place::new();
    // No shell: one that waits for the exec of a vfork(2) child is not stopped while the child is.
    let running = start(&place, "echo $$ > pid; touch ready; exec sleep 1000");
    let pid = fs::read_to_string(place.path("pid")).unwrap().trim().parse().unwrap();
    for _ in 0..2 {
        running.signal(Signal::SIGTSTP);
        wait_until("the command is stopped", || (state(pid) == "T").then_some(()));
        wait_until("the supervisor is, too", || (state(running.pid()) == "T").then_some(()));
        running.signal(Signal::SIGCONT);
        wait_until("the command goes on", || (state(pid) != "T").then_some(()));
    }
    assert_eq!(sent(&place, "SIGSTOP").unwrap()["reason"], "received SIGTSTP");
    assert_eq!(sent(&place, "SIGCONT").unwrap()["reason"], "received SIGCONT");
    running.signal(Signal::SIGTERM);
    running.outcome().left_with(143);
}

#[test]
fn a_suspended_run_can_be_stopped() {
    let place = Place::new();
    let running = start(&place, "touch ready; exec sleep 1000");
    running.signal(Signal::SIGTSTP);
    wait_until("it is suspended", || (state(running.pid()) == "T").then_some(()));
    // As a shell does when it ends its stopped jobs.
    running.signal(Signal::SIGHUP);
    running.signal(Signal::SIGCONT);
    running.outcome().left_with(143);
}

#[test]
fn run_leaves_a_command_that_cannot_be_stopped_with_a_message() {
    let place = Place::new();
    let running = start(&place, "trap 'touch told' USR2; touch ready; while :; do sleep 0.01; done");
    // Passed on once the supervisor knows the pid.
    running.signal(Signal::SIGUSR2);
    wait_until("the signal is passed on", || place.path("told").exists().then_some(()));
    let daemon = place.daemon().unwrap();
    send(daemon, Signal::SIGSTOP);
    let supervisor = running.pid();
    wait_until("it leaves", || {
        if !gone(supervisor) {
            running.signal(Signal::SIGINT);
        }
        gone(supervisor).then_some(())
    });
    send(daemon, Signal::SIGCONT);
    running.outcome().left_with(130).said(&["it", "running; `apm2-ledger"]);
}

#[test]
fn a_run_whose_daemon_cannot_begin_is_called_off_at_once() {
    let place = Place::new();
    place.run_script(&["--name", "it"], "true").succeeded();
    place.stop_daemon();
    let lock = Flock::lock(File::open(place.ledger()).unwrap(), FlockArg::LockExclusiveNonblock).unwrap();
    let running = place.start_script(&["--name", "it"], "touch ready");
    wait_until("it looks for a daemon", || place.daemon());
    running.signal(Signal::SIGINT);
    running.outcome().left_with(130).said(&["received SIGINT; it was not started"]);
    drop(lock);
    place.run_script(&["--name", "other"], "true").succeeded();
    assert!(!place.path("ready").exists());
}
