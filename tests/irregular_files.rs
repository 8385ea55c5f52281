//! FIFOs, directories and links in the places of a ledger's files: no command waits for them, and no daemon.

use std::{fs, os::unix::fs::symlink, path::Path};

use nix::{sys::stat::Mode, unistd::mkfifo};

use crate::support::{Place, wait_until};

const ECOSYSTEM: &str = "[[process]]\nname = 'svc'\ncommand = 'sleep'\nargs = ['1000']\n";

/// What the place of a file is taken by.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Fifo,
    Directory,
    DanglingLink,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Fifo, Self::Directory, Self::DanglingLink];

    fn take(self, path: &Path) {
        clear(path);
        match self {
            Self::Fifo => mkfifo(path, Mode::S_IRUSR | Mode::S_IWUSR).unwrap(),
            Self::Directory => fs::create_dir(path).unwrap(),
            Self::DanglingLink => symlink("/nonexistent/file", path).unwrap(),
        }
    }
}

fn clear(path: &Path) {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path).unwrap(),
        Ok(_) => fs::remove_file(path).unwrap(),
        Err(_) => {}
    }
}

/// A ledger that supervises one process and has no daemon.
fn place() -> Place {
    let place = Place::supervising(ECOSYSTEM);
    place.stop_daemon();
    place
}

/// No command and no daemon waits: `code` is the exit code of `up`, of which `words` are said.
fn check(name: &str, code: i32, words: &[&str]) {
    for kind in Kind::ALL {
        let place = place();
        let file = place.ledger().join(name);
        kind.take(&file);
        place.run(&["list"]).succeeded();
        place.run(&["daemon", "--stop"]).succeeded();
        let up = place.run(&["up"]);
        assert_eq!(up.code, code, "{name} {kind:?}: {up:?}");
        drop(up.said(words));
        place.run(&["daemon", "--stop"]).succeeded();
        // One that could not begin says so a moment before it has ended.
        wait_until("no daemon is left", || place.daemon().is_none().then_some(()));
        if code != 0 {
            clear(&file);
        }
        place.run(&["up"]).succeeded();
        place.stop_daemon();
        place.run(&["verify"]).succeeded();
    }
}

#[test]
fn the_hint_of_the_owner_is_not_waited_for() {
    check("owner", 0, &[]);
}

#[test]
fn the_file_of_the_place_is_not_waited_for() {
    check("place", 5, &["cannot read `place`"]);
}

#[test]
fn a_file_that_is_about_to_be_the_place_is_not_waited_for() {
    let place = place();
    fs::remove_file(place.ledger().join("place")).unwrap();
    Kind::Fifo.take(&place.ledger().join("place.new"));
    place.run(&["up"]).succeeded();
    assert!(fs::symlink_metadata(place.ledger().join("place")).unwrap().is_file());
}

#[test]
fn a_launch_that_is_being_written_is_not_waited_for() {
    let place = Place::supervising(ECOSYSTEM);
    let launch = fs::read_dir(place.ledger().join("launch")).unwrap().next().unwrap().unwrap().path();
    Kind::Fifo.take(&launch.with_extension("new"));
    fs::write(place.path("ecosystem.toml"), ECOSYSTEM.replace("1000", "1001")).unwrap();
    place.run(&["up"]).succeeded();
}

#[test]
fn the_log_of_the_daemon_is_not_waited_for() {
    check("daemon.log", 5, &["daemon.log"]);
}

#[test]
fn no_file_of_the_store_is_waited_for() {
    for name in ["sled/conf", "sled/db", "sled/snap.0000000000000001", "sled/blobs/1"] {
        let place = place();
        Kind::Fifo.take(&place.ledger().join(name));
        place.run(&["up"]).succeeded();
        place.stop_daemon();
        place.run(&["verify"]).succeeded();
    }
}
