//! A ledger whose directory is renamed, or exchanged for another one, while a daemon owns it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use crate::support::{Outcome, Place, gone, helpers_of, wait_until};

/// A second ledger beside that of the place. Its daemon and keeper are ended when it is dropped.
struct Beside<'a> {
    place: &'a Place,
    dir: PathBuf,
}

impl<'a> Beside<'a> {
    fn new(place: &'a Place, name: &str) -> Self {
        Self { place, dir: place.path(name) }
    }

    fn run(&self, args: &[&str]) -> Outcome {
        let all: Vec<_> = ["--ledger", self.dir.to_str().unwrap()].iter().chain(args).copied().collect();
        self.place.run(&all)
    }

    fn list(&self) -> Value {
        self.run(&["--format", "json", "list"]).json()
    }

    fn daemon(&self) -> Option<u32> {
        helpers_of(&self.dir, &["daemon"]).first().copied()
    }
}

impl Drop for Beside<'_> {
    fn drop(&mut self) {
        if self.dir.exists() {
            self.run(&["daemon", "--stop"]);
        }
        let all = || helpers_of(&self.dir, &["daemon", "keeper"]);
        if !std::thread::panicking() {
            wait_until("daemon and keeper leave", || all().is_empty().then_some(()));
        }
    }
}

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
}

fn ecosystem(place: &Place, text: &str) {
    fs::write(place.path("ecosystem.toml"), text).unwrap();
}

#[test]
fn a_ledger_that_is_moved_is_left_by_its_daemon_and_what_runs_goes_on_under_the_next() {
    let place = Place::new();
    ecosystem(&place, "[[process]]\nname = 'it'\ncommand = 'sleep'\nargs = ['1000']\n");
    place.run(&["up"]).succeeded();
    let pid = place.json(&["list"])[0]["pid"].clone();
    let daemon = place.daemon().unwrap();
    fs::rename(place.ledger(), place.path("moved")).unwrap();
    wait_until("the daemon leaves", || gone(daemon).then_some(()));
    assert!(!gone(u32::try_from(pid.as_u64().unwrap()).unwrap()), "the process goes on");
    assert!(!place.ledger().exists(), "nothing is made where the ledger was");
    let moved = Beside::new(&place, "moved");
    let said = fs::read_to_string(moved.dir.join("daemon.log")).unwrap();
    assert!(said.contains("the ledger's directory was moved"), "{said}");
    moved.run(&["up"]).succeeded();
    assert_eq!(moved.list()[0]["pid"], pid, "the same process, adopted");
    moved.run(&["stop", "it"]).succeeded();
    moved.run(&["daemon", "--stop"]).succeeded();
    moved.run(&["verify"]).succeeded();
}

#[test]
fn a_ledger_that_is_exchanged_under_its_daemon_and_the_one_in_its_place_stay_sound() {
    let place = Place::new();
    place.run_script(&["--name", "before"], "true").succeeded();
    place.stop_daemon();
    copy(&place.ledger(), &place.path("backup"));
    // It writes as much as possible: restarts without a pause, with output.
    ecosystem(
        &place,
        "[[process]]\nname = 'busy'\ncommand = 'sh'\nargs = ['-c', 'echo busy; exit 1']\ninstances = 3\n\
         restart = { policy = 'always', backoff = '1ms', max_restarts = 1000, restart_window = '1s', min_uptime = '1h' }\n",
    );
    // Each fails at once, which `up` reports.
    place.run(&["up"]);
    let daemon = place.daemon().unwrap();
    fs::rename(place.ledger(), place.path("old")).unwrap();
    copy(&place.path("backup"), &place.ledger());
    place.run_script(&["--name", "after"], "true").succeeded();
    wait_until("the daemon of the moved ledger leaves", || gone(daemon).then_some(()));
    let names: Vec<_> =
        place.json(&["list", "--all"]).as_array().unwrap().iter().map(|it| it["name"].clone()).collect();
    assert_eq!(names, ["after", "before"]);
    assert!(!place.ledger().join("logs/busy-0").exists(), "no output of the other ledger's processes");
    let launches = fs::read_dir(place.ledger().join("launch")).map_or(0, Iterator::count);
    assert_eq!(launches, 0, "no launch of the other ledger's processes");
    place.stop_daemon();
    place.run(&["verify"]).succeeded();
    let old = Beside::new(&place, "old");
    old.run(&["down", "--all"]).succeeded();
    assert!(old.daemon().is_some());
    old.run(&["daemon", "--stop"]).succeeded();
    old.run(&["verify"]).succeeded();
}
