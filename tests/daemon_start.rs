//! A daemon that cannot start reports the reason to the client that started it, without delay.

use std::{
    fs,
    os::unix::fs::DirBuilderExt as _,
    time::{Duration, Instant},
};

use nix::fcntl::{Flock, FlockArg};

use crate::support::Place;

/// A place whose ledger cannot be opened.
fn unusable() -> Place {
    let place = Place::new();
    fs::DirBuilder::new().mode(0o700).create(place.ledger()).unwrap();
    fs::write(place.ledger().join("journal"), "no directory").unwrap();
    fs::write(place.path("ecosystem.toml"), "[[process]]\nname = 'it'\ncommand = 'true'\n").unwrap();
    place
}

#[test]
fn a_daemon_that_cannot_begin_says_why_at_once() {
    let place = unusable();
    for args in [&["up"][..], &["run", "--", "true"], &["start", "it"]] {
        let began = Instant::now();
        let refused = place.run(args);
        assert!(matches!(refused.code, 4 | 5) && refused.stderr.contains("journal"), "{refused:?}");
        assert!(began.elapsed() < Duration::from_secs(10), "{args:?} took {:?}", began.elapsed());
    }
}

#[test]
fn a_daemon_that_dies_before_it_listens_is_not_waited_for() {
    let place = unusable();
    // A log that cannot be written does not suppress the message.
    fs::create_dir(place.ledger().join("daemon.log")).unwrap();
    let began = Instant::now();
    let refused = place.run(&["up"]);
    assert!(refused.code != 0 && refused.stderr.contains("daemon.log"), "{refused:?}");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[test]
fn a_ledger_that_is_free_a_moment_later_is_waited_for() {
    let place = Place::new();
    place.run_script(&["--name", "it"], "true").succeeded();
    place.stop_daemon();
    let locked = Flock::lock(fs::File::open(place.ledger()).unwrap(), FlockArg::LockExclusiveNonblock).unwrap();
    let running = place.start_script(&["--name", "it"], "true");
    let log = place.ledger().join("owner");
    crate::support::wait_until("a daemon has tried", || log.exists().then_some(()));
    drop(locked);
    running.outcome().succeeded();
}
