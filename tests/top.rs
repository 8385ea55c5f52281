//! The live screen, in a real terminal.

use std::{fs, process::Command};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::{
    idle::skip,
    support::{Place, Tmux, send, wait_until},
};

const PROCESSES: &str = "[[process]]\nname = 'one'\ncommand = 'sh'\nargs = ['-c', 'echo hello from one; sleep 1000']\n\
                         [[process]]\nname = 'two'\ncommand = 'sleep'\nargs = ['1000']\n";

/// Runs a test that needs a terminal, or says that it cannot.
fn in_terminal(place: &Place, test: impl FnOnce(&Tmux<'_>)) {
    if !Tmux::is_installed() {
        return skip("tmux is not installed");
    }
    let tmux = Tmux::start(place, 100, 30);
    let modes = tmux.asks("stty -g");
    test(&tmux);
    assert_restored(&tmux);
    assert_eq!(tmux.asks("stty -g"), modes, "the modes of the terminal are as before");
}

fn program() -> &'static str {
    env!("CARGO_BIN_EXE_apm2-ledger")
}

/// Opens the screen and waits until it shows this.
fn open(tmux: &Tmux<'_>, shown: &str) {
    tmux.line(&format!("echo before; {} top; echo \"code $?\"", program()));
    tmux.wait_for(shown);
    assert_eq!(tmux.fact("alternate_on"), "1");
}

/// Waits until the terminal is as it was before the screen, with what it showed then.
fn assert_restored(tmux: &Tmux<'_>) {
    wait_until("the terminal is restored", || (tmux.fact("alternate_on") == "0").then_some(()));
    for (flag, value) in [("cursor_flag", "1"), ("mouse_any_flag", "0"), ("keypad_cursor_flag", "0")] {
        wait_until(flag, || (tmux.fact(flag) == value).then_some(()));
    }
}

fn state(place: &Place, name: &str) -> String {
    place.json(&["list", "--name", name])[0]["state"].as_str().unwrap().to_owned()
}

#[test]
fn a_process_is_stopped_with_a_reason_and_the_terminal_is_as_before() {
    let place = Place::supervising(PROCESSES);
    in_terminal(&place, |tmux| {
        open(tmux, "● one");
        tmux.wait_for("● two");
        tmux.keys(&["3"]);
        tmux.wait_for("hello from one");
        tmux.keys(&["4"]);
        tmux.wait_for("one is running");
        tmux.keys(&["j"]);
        tmux.wait_for("two is running");
        tmux.keys(&["x"]);
        tmux.wait_for("Stop two?");
        tmux.line("night's rest");
        tmux.wait_for("two: stop is done");
        let text = tmux.wait_for("two is stopped");
        assert!(text.contains("reason: night's rest") || text.contains("night's rest"), "{text}");
        assert_eq!((state(&place, "one"), state(&place, "two")), ("running".to_owned(), "stopped".to_owned()));
        let stopping: Vec<Value> =
            place.events("two").into_iter().filter(|event| event["type"] == "stopping").collect();
        assert_eq!(stopping.len(), 1);
        assert_eq!(
            (&stopping[0]["reason"], &stopping[0]["actor"]["kind"]),
            (&"night's rest".into(), &"operator".into())
        );
        assert!(stopping[0]["actor"]["terminal"].as_str().unwrap().starts_with("pts/"), "{}", stopping[0]);
        tmux.keys(&["v"]);
        let text = tmux.wait_for("stopped two (night's rest)");
        assert!(text.contains("2 processes: 1 alive, 0 down, 1 ended"), "{text}");
        tmux.keys(&["Escape"]);
        // Read at once, both keys would be the beginning of an escape sequence.
        wait_until("the overview is closed", || (!tmux.text().contains("Overview")).then_some(()));
        tmux.keys(&["["]);
        tmux.wait_for("THE PAST");
        tmux.keys(&["Escape"]);
        wait_until("the present", || (!tmux.text().contains("THE PAST")).then_some(()));
        tmux.keys(&["s"]);
        tmux.wait_for("Start two?");
        tmux.keys(&["Enter"]);
        tmux.wait_for("● two");
        tmux.keys(&["q"]);
        let text = tmux.wait_for("code 0");
        assert!(text.contains("before"), "{text}");
    });
}

#[test]
fn signals_that_end_it_restore_the_terminal() {
    let place = Place::supervising(PROCESSES);
    in_terminal(&place, |tmux| {
        for (signal, code) in [(Signal::SIGTERM, 143), (Signal::SIGHUP, 129), (Signal::SIGINT, 130)] {
            open(tmux, "● two");
            // Also while a dialogue is open.
            tmux.keys(&["x"]);
            tmux.wait_for("Stop one?");
            send(screen(&place), signal);
            tmux.wait_for(&format!("code {code}"));
            assert_restored(tmux);
            tmux.asks("echo cleared");
        }
    });
    assert_eq!(state(&place, "one"), "running");
}

/// The pid of the screen.
fn screen(place: &Place) -> u32 {
    let ledger = place.ledger();
    let is_screen = |pid: &u32| {
        let read = |name: &str| fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
        let environment = String::from_utf8_lossy(&read("environ")).into_owned();
        read("cmdline").ends_with(b"\0top\0") && environment.contains(&*ledger.to_string_lossy())
    };
    let entries = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().file_name());
    let pids = entries.filter_map(|name| name.to_str()?.parse::<u32>().ok());
    pids.into_iter().find(is_screen).unwrap()
}

#[test]
fn it_is_suspended_and_comes_back() {
    let place = Place::supervising(PROCESSES);
    in_terminal(&place, |tmux| {
        open(tmux, "● two");
        for _ in 0..3 {
            tmux.keys(&["C-z"]);
            tmux.wait_for("Stopped");
            assert_restored(tmux);
            tmux.line("clear; fg");
            tmux.wait_for("● two");
            assert_eq!((tmux.fact("alternate_on"), tmux.fact("mouse_any_flag")), ("1".to_owned(), "1".to_owned()));
        }
        tmux.keys(&["j", "4"]);
        tmux.wait_for("two is running");
        tmux.keys(&["C-c"]);
        tmux.wait_for("ready>");
    });
}

#[test]
fn it_notices_events_and_daemons_that_come_and_go() {
    let place = Place::supervising(PROCESSES);
    in_terminal(&place, |tmux| {
        open(tmux, "● two");
        place.run(&["stop", "one", "--reason", "elsewhere"]).succeeded();
        tmux.wait_for("○ one");
        place.kill_daemon();
        let text = tmux.wait_for("no daemon");
        assert!(!text.contains("running  "), "{text}");
        tmux.wait_for("running (not supervised)");
        let unwatched = Command::new("date").args(["-u", "+%FT%T.%3NZ"]).output().unwrap().stdout;
        let unwatched = String::from_utf8(unwatched).unwrap();
        for is_over in [false, true] {
            if is_over {
                place.run(&["start", "one"]).succeeded();
                tmux.wait_for("● daemon runs");
                tmux.wait_for("● one");
            }
            tmux.keys(&["t"]);
            tmux.wait_for("Jump to a time");
            tmux.line(unwatched.trim());
            tmux.wait_for("No daemon ran then, so this is what was recorded last.");
            tmux.wait_for("running (last known)");
            tmux.keys(&["v"]);
            tmux.wait_for("last known, without a daemon: 1 alive");
            tmux.keys(&["Escape"]);
            wait_until("the overview is closed", || (!tmux.text().contains("Overview")).then_some(()));
            tmux.keys(&["["]);
            wait_until("a daemon ran then", || (!tmux.text().contains("No daemon ran then")).then_some(()));
            tmux.wait_for("THE PAST");
            tmux.keys(&["Escape"]);
            wait_until("the present", || (!tmux.text().contains("THE PAST")).then_some(()));
        }
        tmux.keys(&["q"]);
        tmux.wait_for("code 0");
    });
}

#[test]
fn without_a_terminal_it_is_refused() {
    let place = Place::supervising(PROCESSES);
    place.run(&["top"]).left_with(2).said(&["needs a terminal", "apm2-ledger list"]);
    place.run(&["ui"]).left_with(2).said(&["needs a terminal"]);
    place.run(&["--format", "json", "top"]).left_with(2).said(&["no JSON"]);
}

#[test]
fn a_missing_ledger_leaves_the_terminal_alone() {
    let place = Place::new();
    in_terminal(&place, |tmux| {
        tmux.line(&format!("{} top; echo \"code $?\"", program()));
        tmux.wait_for("code 5");
        assert!(tmux.text().contains("no ledger"), "{}", tmux.text());
    });
}
