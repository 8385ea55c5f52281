//! `run` waits for the run that it started and for no other, with any daemon; its exit code after a stop is that of the
//! process.

use std::fs;

use nix::sys::signal::Signal;

use crate::support::{Place, Running, gone, send, wait_until};

/// Number of concurrent stops, of rounds, and of rounds in which a daemon is killed.
const STOPS: usize = 10;
const ROUNDS: usize = 6;
const KILL_ROUNDS: usize = 3;

fn state(place: &Place, name: &str) -> Option<String> {
    let shown = place.run(&["--format", "json", "show", name]);
    (shown.code == 0).then(|| shown.json()["handle"]["state"].as_str().unwrap().to_owned())
}

fn runs(place: &Place, name: &str) -> usize {
    place.json(&["show", name])["runs"].as_array().unwrap().len()
}

fn wait_for(place: &Place, file: &str) {
    wait_until(file, || place.path(file).exists().then_some(()));
}

/// A script that exits with this code once the file `go` exists.
fn ending_with(code: u32) -> String {
    format!("touch ready; while [ ! -e go ]; do sleep 0.01; done; exit {code}")
}

/// Waits until the client knows that its process was started: from then on it passes signals on.
fn until_started(place: &Place, client: &Running, name: &str) {
    client.signal(Signal::SIGCONT);
    wait_until("a signal is passed on", || place.types(name).contains(&"signal_sent".to_owned()).then_some(()));
}

/// Kills the daemon while the client cannot see it, and ends the process.
fn lose_the_end(place: &Place, client: &Running) {
    client.signal(Signal::SIGSTOP);
    place.kill_daemon();
    fs::write(place.path("go"), "").unwrap();
}

#[test]
fn a_client_that_lost_its_daemon_gets_the_end_of_its_own_run_and_not_of_a_later_one() {
    let place = Place::new();
    let client = place.start_script(&["--name", "it"], &ending_with(3));
    wait_for(&place, "ready");
    until_started(&place, &client, "it");
    lose_the_end(&place, &client);
    // Another client gets the name as soon as the run has ended, and with it the history.
    let later = wait_until("the name is free", || {
        let later = place.start_script(&["--name", "it"], "touch later; exec sleep 1000");
        wait_until("it is started or refused", || {
            let is_refused = state(&place, "it").is_some() && place.path("later").exists();
            (is_refused || gone(later.pid())).then_some(())
        });
        if place.path("later").exists() {
            return Some(later);
        }
        drop(later.outcome());
        None
    });
    assert_eq!(runs(&place, "it"), 2);
    client.signal(Signal::SIGCONT);
    client.outcome().left_with(3);
    assert_eq!(state(&place, "it").as_deref(), Some("running"));
    place.run(&["stop", "it"]).succeeded();
    later.outcome().left_with(143);
}

#[test]
fn restarts_belong_to_what_is_waited_for_also_beyond_the_daemon() {
    let place = Place::new();
    // Fails at first, is restarted by its policy, then by hand, and then exits with 6.
    let script = "echo x >> runs; n=$(wc -l < runs); [ $n -gt 1 ] || exit 4; \
                  touch ready$n; while [ ! -e go ]; do sleep 0.01; done; exit 6";
    // The back-off leaves the time to cancel the restart after the third run.
    let options = ["--name", "it", "--restart", "on-failure", "--backoff", "5s", "--max-restarts", "1"];
    let client = place.start_script(&options, script);
    wait_for(&place, "ready2");
    until_started(&place, &client, "it");
    place.run(&["restart", "it"]).succeeded();
    wait_for(&place, "ready3");
    lose_the_end(&place, &client);
    // A daemon records the exit, and the stop that there is no restart.
    wait_until("the end is on record", || {
        drop(place.run(&["stop", "it"]));
        place.types("it").contains(&"restart_refused".to_owned()).then_some(())
    });
    client.signal(Signal::SIGCONT);
    client.outcome().left_with(6);
    assert_eq!(runs(&place, "it"), 3);
}

#[test]
fn a_restart_by_hand_is_waited_through_also_beyond_the_daemon() {
    let place = Place::new();
    let script = "echo x >> runs; touch ready$(wc -l < runs); while [ ! -e go ]; do sleep 0.01; done; exit 5";
    let client = place.start_script(&["--name", "it"], script);
    wait_for(&place, "ready1");
    until_started(&place, &client, "it");
    place.run(&["restart", "it"]).succeeded();
    wait_for(&place, "ready2");
    place.kill_daemon();
    // The client starts the next daemon and asks it.
    wait_until("there is a daemon", || place.daemon());
    place.run(&["stop", "other"]).left_with(3);
    assert!(!gone(client.pid()), "it is still waited for");
    fs::write(place.path("go"), "").unwrap();
    client.outcome().left_with(5);
}

/// Many concurrent stops of processes in any phase of their start.
#[test]
fn a_run_that_is_stopped_leaves_with_what_its_process_ended_with() {
    let place = Place::new();
    for round in 0..ROUNDS {
        let names: Vec<String> = (0..STOPS).map(|number| format!("it-{round}-{number}x")).collect();
        let clients: Vec<Running> = names
            .iter()
            .enumerate()
            .map(|(number, name)| {
                let script = ["exec sleep 1000", "trap 'exit 9' TERM; sleep 1000 & wait"][number % 2];
                place.start_script(&["--name", name], script)
            })
            .collect();
        let stops: Vec<Running> = names
            .iter()
            .map(|name| {
                wait_until("it runs", || place.run(&["show", name]).stdout.contains("running").then_some(()));
                Running::start(&mut place.command(&["stop", name]))
            })
            .collect();
        for stop in stops {
            stop.outcome().left_with(0);
        }
        for (client, name) in clients.into_iter().zip(&names) {
            let outcome = client.outcome();
            let exit = place.json(&["show", name])["runs"][0]["exit"].clone();
            let expected = match (exit["code"].as_i64(), exit["signal"].as_str()) {
                (Some(code), _) => code,
                (None, Some("SIGTERM")) => 143,
                _ => panic!("{name}: {exit}"),
            };
            assert_eq!(i64::from(outcome.code), expected, "{name}: {exit}: {outcome:?}");
            assert!([9, 143].contains(&outcome.code), "{name}: {outcome:?}");
        }
    }
}

/// The same while the daemon is killed.
#[test]
fn a_run_that_is_stopped_while_daemons_are_killed_leaves_with_what_its_process_ended_with() {
    let place = Place::new();
    for round in 0..KILL_ROUNDS {
        let names: Vec<String> = (0..STOPS / 2).map(|number| format!("it-{round}-{number}x")).collect();
        let clients: Vec<Running> =
            names.iter().map(|name| place.start_script(&["--name", name], "exec sleep 1000")).collect();
        for (client, name) in clients.iter().zip(&names) {
            wait_until("it runs", || place.run(&["show", name]).stdout.contains("running").then_some(()));
            until_started(&place, client, name);
        }
        let stops: Vec<Running> =
            names.iter().map(|name| Running::start(&mut place.command(&["stop", name]))).collect();
        if let Some(daemon) = place.daemon() {
            send(daemon, Signal::SIGKILL);
        }
        drop(stops.into_iter().map(Running::outcome).collect::<Vec<_>>());
        for (client, name) in clients.into_iter().zip(&names) {
            wait_until("it is stopped", || {
                drop(place.run(&["stop", name]));
                gone(client.pid()).then_some(())
            });
            let outcome = client.outcome();
            let shown = place.json(&["show", name]);
            assert_eq!(outcome.code, 143, "{name}: {}: {outcome:?}", shown["runs"]);
        }
    }
}
