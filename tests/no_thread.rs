//! Commands in a process that cannot create a thread, as at the limit on processes (RLIMIT_NPROC, EAGAIN).
//!
//! The limit does not apply to root, so the threads ask for a stack that no address space has room for; pthread_create(3)
//! then also fails with EAGAIN.

use nix::unistd::geteuid;

use crate::{
    fixture,
    idle::skip,
    support::{Outcome, Place, Unprivileged, finish},
};

/// More processes and threads than a daemon has when it starts its runtime.
const THREADS_MAX: u32 = 64;

/// The stack size of the threads, in bytes (std::thread).
const STACK: (&str, &str) = ("RUST_MIN_STACK", "1125899906842624");

fn without_threads(place: &Place, args: &[&str]) -> Outcome {
    finish(place.command(args).env(STACK.0, STACK.1))
}

#[test]
fn reading_needs_no_second_thread() {
    let place = Place::new();
    place.run_script(&["--name", "it"], "exit 3").left_with(3);
    place.stop_daemon();
    let args = ["--offline", "replay"];
    let (with, without) = (place.run(&args).succeeded(), without_threads(&place, &args).succeeded());
    assert_eq!(without.stdout, with.stdout);
    let verified = without_threads(&place, &["verify"]).succeeded().stdout;
    assert!(verified.contains("not compared: no thread can be created"), "{verified}");
}

#[test]
fn the_states_in_many_segments_are_read_without_a_second_thread() {
    let place = Place::new();
    fixture::write_many_sealed(&place.ledger());
    let args = ["--offline", "list", "--all"];
    let (with, without) = (place.run(&args).succeeded(), without_threads(&place, &args).succeeded());
    assert_eq!(without.stdout, with.stdout);
    assert_eq!(with.stdout.lines().count(), 81, "{}", with.stdout);
}

#[test]
fn a_daemon_without_threads_for_its_runtime_says_so() {
    if !geteuid().is_root() {
        return skip("a user without other processes is needed, which only root can become");
    }
    let user = Unprivileged::new();
    let is_said = (8..THREADS_MAX).any(|limit| {
        let outcome = finish(&mut user.limited(limit, &["run", "--", "true"]));
        assert_ne!(outcome.code, 0, "{limit} are enough");
        assert!(!outcome.stderr.contains("bug"), "{limit}: {}", outcome.stderr);
        outcome.stderr.contains("cannot start threads") && outcome.stderr.contains("ulimit -u")
    });
    assert!(is_said);
}

#[test]
fn run_reports_that_it_has_no_thread() {
    let place = Place::new();
    without_threads(&place, &["run", "--", "true"]).left_with(1).said(&["no thread can be created", "ulimit -u"]);
}
