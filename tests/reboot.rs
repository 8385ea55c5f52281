//! Which processes run again after a shutdown of the daemon, as at a shutdown of the machine.

use std::fs;

use nix::sys::signal::Signal;

use crate::support::{Place, Running, gone, send, wait_until};

fn state(place: &Place, name: &str) -> String {
    place.json(&["show", name])["handle"]["state"].as_str().unwrap().to_owned()
}

/// The trigger, the actor and the cause of the latest start.
fn start(place: &Place, name: &str) -> (String, String, u64) {
    let event = place.events(name).into_iter().rev().find(|event| event["type"] == "start_requested").unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    (text(&event["trigger"]), text(&event["actor"]["kind"]), event["cause"].as_u64().unwrap())
}

fn with_five(place: &Place) {
    let process = |name: &str, script: &str, restart: &str| {
        let command = format!("command = 'sh'\nargs = ['-c', '{script}']");
        format!("[[process]]\nname = '{name}'\n{command}\nrestart = {{ {restart} }}\n")
    };
    let forever = "exec sleep 1000";
    let text = [
        process("never", forever, "policy = 'never'"),
        process("always", forever, "policy = 'always'"),
        process("stays", forever, "on_boot = 'stay'"),
        process("stopped", forever, "policy = 'always'"),
        process("done", "exit 0", "policy = 'never'"),
    ];
    fs::write(place.path("ecosystem.toml"), text.concat()).unwrap();
    place.run(&["up"]).succeeded();
    place.run(&["stop", "stopped"]).succeeded();
    wait_until("it has finished", || (state(place, "done") == "stopped").then_some(()));
}

/// The next daemon, which any request starts.
fn next(place: &Place) {
    place.run(&["stop", "done"]).succeeded();
    for name in ["never", "always"] {
        wait_until("it runs again", || (state(place, name) == "running").then_some(()));
    }
}

#[test]
fn what_ran_before_a_shutdown_runs_again_after_it() {
    let place = Place::new();
    with_five(&place);
    for round in 0..3 {
        match round {
            // As at a shutdown of the machine, and by hand.
            0 | 1 => {
                let daemon = place.daemon().unwrap();
                send(daemon, Signal::SIGTERM);
                wait_until("the daemon leaves", || gone(daemon).then_some(()));
            }
            _ => place.stop_daemon(),
        }
        assert_eq!(state(&place, "always"), "stopped");
        next(&place);
        for name in ["never", "always"] {
            let (trigger, actor, cause) = start(&place, name);
            assert_eq!((&*trigger, &*actor), ("boot", "system"), "{name}");
            let told = place.run(&["--format", "jsonl", "tail", "-n", "1000"]).succeeded().stdout;
            let caused = told.lines().find(|line| line.contains(&format!("\"seq\":{cause},"))).unwrap();
            assert!(caused.contains("supervisor_started"), "{caused}");
        }
        for name in ["stays", "stopped", "done"] {
            assert_eq!(state(&place, name), "stopped", "{name}");
        }
    }
    let stopping = place.events("always").into_iter().rev().find(|event| event["type"] == "stopping").unwrap();
    assert_eq!(stopping["actor"]["kind"], "system", "{stopping}");
    assert!(stopping["reason"].as_str().unwrap().contains("`daemon --stop` by "), "{stopping}");
    // An explicit request takes precedence over the state before the shutdown.
    place.run(&["start", "stays"]).succeeded();
    place.run(&["down"]).succeeded();
    place.stop_daemon();
    place.run(&["stop", "all"]).succeeded();
    assert_eq!(place.json(&["list", "--state", "running"]), serde_json::json!([]));
}

#[test]
fn a_daemon_that_leaves_everything_running_has_nothing_started_again() {
    let place = Place::new();
    with_five(&place);
    let pid = |name: &str| place.json(&["show", name])["handle"]["pid"].clone();
    let before = (pid("never"), pid("always"));
    let daemon = place.daemon().unwrap();
    place.run(&["daemon", "--leave"]).succeeded();
    wait_until("the daemon leaves", || gone(daemon).then_some(()));
    next(&place);
    assert_eq!((pid("never"), pid("always")), before);
}

#[test]
fn what_run_has_started_is_not_started_again() {
    let place = Place::new();
    let run = place.start_script(&["--name", "it", "--restart", "always"], "echo $$; exec sleep 1000");
    wait_until("it runs", || {
        let listed = place.run(&["--format", "json", "list"]);
        (listed.code == 0 && listed.json()[0]["state"] == "running").then_some(())
    });
    place.stop_daemon();
    drop(run.outcome());
    place.run(&["stop", "all"]).succeeded();
    assert_eq!(state(&place, "it"), "stopped");
    assert_eq!(place.json(&["show", "it"])["runs"].as_array().unwrap().len(), 1);
}

/// The stop is done or in progress, and the start is not: the next daemon makes it.
#[test]
fn a_daemon_that_is_shut_down_in_the_middle_of_a_restart_or_an_up_leaves_the_start_to_the_next_one() {
    let place = Place::new();
    let slow = "trap 'touch asked; sleep 0.5; exit 0' TERM; while :; do sleep 0.01; done # ";
    let file = |what: &str| {
        let text = format!("[[process]]\nname = 'it'\ncommand = 'sh'\nargs = ['-c', \"{slow}{what}\"]\n");
        fs::write(place.path("ecosystem.toml"), text).unwrap();
    };
    file("0");
    place.run(&["up"]).succeeded();
    for (round, what) in ["restart", "up"].into_iter().enumerate() {
        for is_signalled in [true, false] {
            drop(fs::remove_file(place.path("asked")));
            file(&format!("{round}{is_signalled}"));
            let before = place.json(&["show", "it"])["runs"].as_array().unwrap().len();
            let args = if what == "up" { vec!["up"] } else { vec!["restart", "it"] };
            let changing = Running::start(&mut place.command(&args));
            wait_until("it is asked to end", || place.path("asked").exists().then_some(()));
            if is_signalled {
                let daemon = place.daemon().unwrap();
                send(daemon, Signal::SIGTERM);
                wait_until("the daemon leaves", || gone(daemon).then_some(()));
            } else {
                place.stop_daemon();
            }
            // The error says that the supervisor is shutting down, or that no daemon runs. An `up` whose daemon ends
            // before it answers asks the next one.
            // before it answers asks the next one.
            let code = changing.outcome().code;
            assert!(code != 0 || what == "up", "{what}: {code}");
            // A command that needs a daemon starts the next one.
            place.run(&["stop", "nothing"]).left_with(3);
            wait_until("it runs again", || (state(&place, "it") == "running").then_some(()));
            assert_eq!(start(&place, "it").0, "boot", "{what}");
            let shown = place.json(&["show", "it"]);
            assert_eq!(shown["runs"].as_array().unwrap().len(), before + 1, "{what}");
            let events = shown["events"].as_array().unwrap();
            let spec = events.iter().rev().find(|event| event["spec"].is_object()).unwrap();
            let is_changed = spec["spec"]["args"].to_string().contains(&format!("{round}{is_signalled}"));
            assert_eq!(is_changed, what == "up", "{spec}");
        }
    }
}
