//! FIFOs, directories and links in place of a ledger's files: no command and no daemon blocks on them.

use std::{fs, os::unix::fs::symlink, path::Path};

use nix::{sys::stat::Mode, unistd::mkfifo};

use crate::support::{Place, wait_until};

const ECOSYSTEM: &str = "[[process]]\nname = 'svc'\ncommand = 'sleep'\nargs = ['1000']\n";

/// What replaces a file.
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

/// No command and no daemon blocks; `code` is the exit code of `up`, and its message contains `words`.
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
        // A daemon that cannot start reports that shortly before it has exited.
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
fn no_command_blocks_on_the_owner_file() {
    check("owner", 0, &[]);
}

#[test]
fn no_command_blocks_on_the_place_file() {
    check("place", 5, &["cannot read `place`"]);
}

#[test]
fn no_command_blocks_on_the_temporary_place_file() {
    let place = place();
    fs::remove_file(place.ledger().join("place")).unwrap();
    Kind::Fifo.take(&place.ledger().join("place.new"));
    place.run(&["up"]).succeeded();
    assert!(fs::symlink_metadata(place.ledger().join("place")).unwrap().is_file());
}

#[test]
fn no_command_blocks_on_a_temporary_launch_file() {
    let place = Place::supervising(ECOSYSTEM);
    let launch = fs::read_dir(place.ledger().join("launch")).unwrap().next().unwrap().unwrap().path();
    Kind::Fifo.take(&launch.with_extension("new"));
    fs::write(place.path("ecosystem.toml"), ECOSYSTEM.replace("1000", "1001")).unwrap();
    place.run(&["up"]).succeeded();
}

#[test]
fn no_command_blocks_on_the_daemon_log() {
    check("daemon.log", 5, &["daemon.log"]);
}

#[test]
fn no_command_blocks_on_a_file_of_the_store() {
    for name in ["sled/conf", "sled/db", "sled/snap.0000000000000001", "sled/blobs/1"] {
        let place = place();
        Kind::Fifo.take(&place.ledger().join(name));
        place.run(&["up"]).succeeded();
        place.stop_daemon();
        place.run(&["verify"]).succeeded();
    }
}
