//! The files of the daemon's and the keeper's sockets are removed, by a cleaner of old files or a copy that deletes what it
//! does not know.

use std::{
    fs,
    os::unix::fs::FileTypeExt as _,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use nix::{
    fcntl::{Flock, FlockArg},
    sys::signal::Signal,
};

use crate::support::{Place, gone, helpers_of, send, wait_until};

/// How long a keeper is stopped that answers late.
const KEEPER_DELAY: Duration = Duration::from_secs(2);

const NEVER: &str = "restart = { policy = 'never' }";

fn is_socket(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket())
}

#[test]
fn a_daemon_makes_its_socket_again() {
    let place = Place::supervising_script("sleep 1000", NEVER);
    let (daemon, socket) = (place.daemon().unwrap(), place.ledger().join("daemon.sock"));
    for taken in [false, true] {
        if taken {
            // At once: the daemon may be as fast.
            fs::write(place.path("other"), "no socket").unwrap();
            fs::rename(place.path("other"), &socket).unwrap();
        } else {
            fs::remove_file(&socket).unwrap();
        }
        let began = Instant::now();
        place.run(&["restart", "it"]).succeeded();
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
        wait_until("the socket is there", || is_socket(&socket).then_some(()));
        assert_eq!(place.daemon(), Some(daemon));
    }
    let said = fs::read_to_string(place.ledger().join("daemon.log")).unwrap();
    assert_eq!(said.matches("socket was removed").count(), 2, "{said}");
}

#[test]
fn a_daemon_without_its_socket_is_stopped_all_the_same() {
    let place = Place::supervising_script("sleep 1000", NEVER);
    let (daemon, pid) = (place.daemon().unwrap(), place.pid_of("it"));
    fs::remove_file(place.ledger().join("daemon.sock")).unwrap();
    let stopped = place.run(&["daemon", "--stop", "--reason", "by its reason"]).succeeded();
    assert!(!stopped.stderr.contains("there is no daemon"), "{stopped:?}");
    wait_until("it ends", || gone(daemon).then_some(()));
    assert!(gone(pid));
    assert!(place.run(&["show", "it"]).succeeded().stdout.contains("by its reason"));
}

#[test]
fn a_daemon_that_cannot_make_its_socket_again_is_found_by_its_lock() {
    for (option, signal) in [("--leave", "SIGHUP"), ("--stop", "SIGTERM")] {
        let place = Place::supervising_script("sleep 1000", NEVER);
        let (daemon, pid) = (place.daemon().unwrap(), place.pid_of("it"));
        let socket = place.ledger().join("daemon.sock");
        // Nothing can be renamed over a directory. The daemon may be faster than this at first.
        wait_until("a directory has its place", || {
            let _ = fs::remove_file(&socket);
            fs::create_dir(&socket).ok()
        });
        place.run(&["daemon", option]).succeeded().said(&[&daemon.to_string(), signal]);
        assert!(gone(daemon));
        assert_eq!(gone(pid), option == "--stop");
        fs::remove_dir(&socket).unwrap();
        place.run(&["down"]).succeeded();
        assert!(gone(pid));
    }
}

#[test]
fn another_program_that_has_the_ledger_open_is_named_and_not_ended() {
    let place = Place::supervising_script("sleep 1000", NEVER);
    place.stop_daemon();
    let locked = Flock::lock(fs::File::open(place.ledger()).unwrap(), FlockArg::LockExclusiveNonblock).unwrap();
    let refused = place.run(&["daemon", "--stop"]).left_with(5);
    assert!(refused.stderr.contains(&format!("process {}", std::process::id())), "{refused:?}");
    drop(locked);
    place.run(&["daemon", "--stop"]).succeeded().said(&["there is no daemon"]);
}

const LAST_LINE: &str = "while [ ! -e go ]; do sleep 0.01; done; echo the last line; exit 7";

/// Starts `it` again with a new daemon, and checks that it records what happened while no daemon ran.
fn assert_end_is_recovered(place: &Place) {
    place.run(&["start", "it"]).succeeded();
    let run = place.json(&["show", "it"])["runs"][0].clone();
    assert_eq!((&run["exit"]["code"], &run["exit"]["evidence"]), (&7.into(), &"recovered".into()), "{run}");
    assert!(place.run(&["logs", "it"]).succeeded().stdout.contains("the last line"));
}

/// Kills the daemon, and lets `it` end afterwards.
fn end_without_daemon(place: &Place) {
    let pid = place.pid_of("it");
    place.kill_daemon();
    fs::write(place.path("go"), "").unwrap();
    wait_until("it ends while nothing supervises it", || gone(pid).then_some(()));
}

/// What the keeper holds is the next daemon's, though that does not find the keeper at once.
#[test]
fn a_keeper_makes_its_socket_again() {
    let place = Place::supervising_script(LAST_LINE, NEVER);
    let keepers = || helpers_of(&place.ledger(), &["keeper"]);
    let (keeper, socket) = (keepers(), place.ledger().join("keeper.sock"));
    fs::remove_file(&socket).unwrap();
    wait_until("the socket is there again", || is_socket(&socket).then_some(()));
    assert_eq!(keepers(), keeper, "of the same keeper");
    end_without_daemon(&place);
    fs::remove_file(&socket).unwrap();
    assert_end_is_recovered(&place);
    assert_eq!(keepers(), keeper);
}

/// As on a machine that is busy or was suspended: a keeper that is replaced loses the only descriptors of the output.
#[test]
fn a_keeper_that_answers_late_is_not_replaced() {
    let place = Place::supervising_script(LAST_LINE, NEVER);
    let keepers = || helpers_of(&place.ledger(), &["keeper"]);
    let keeper = keepers();
    end_without_daemon(&place);
    send(keeper[0], Signal::SIGSTOP);
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(KEEPER_DELAY);
            send(keeper[0], Signal::SIGCONT);
        });
        assert_end_is_recovered(&place);
    });
    assert_eq!(keepers(), keeper);
}
