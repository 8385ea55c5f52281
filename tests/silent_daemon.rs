//! A daemon that does not answer: stopped (SIGSTOP), as one that waits for a disk, or killed during a request.

use std::{
    fs,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use crate::support::{Place, Running, gone, send, wait_until};

const ECOSYSTEM: &str = "[[process]]\nname = 'svc'\ncommand = 'sleep'\nargs = ['1000']\n";

/// Time limit for a command after a signal: less than the timeout for the daemon.
const PROMPT: Duration = Duration::from_secs(15);

/// Number of threads of a process that wait for data on a connection.
fn receivers(pid: u32) -> usize {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return 0 };
    let places = threads.flatten().filter_map(|thread| fs::read_to_string(thread.path().join("wchan")).ok());
    places.filter(|place| place.contains("unix_stream")).count()
}

/// Suspends the daemon. Returns its pid.
fn suspend(place: &Place) -> u32 {
    let daemon = place.daemon().unwrap();
    send(daemon, Signal::SIGSTOP);
    daemon
}

/// A command that waits for the answer of a suspended daemon.
fn asking(place: &Place, args: &[&str]) -> Running {
    let asking = Running::start(&mut place.command(args));
    wait_until("it has asked", || (receivers(asking.pid()) > 0).then_some(()));
    asking
}

/// A `run` whose command has started, its pid and that of its command.
fn running(place: &Place) -> (Running, u32) {
    let running = place.start_script(&["--name", "it"], "echo $$ > pid; exec sleep 1000");
    let pid = wait_until("it runs", || fs::read_to_string(place.path("pid")).ok()?.trim().parse().ok());
    // Until the daemon reports the start, a signal cancels the launch.
    running.signal(Signal::SIGCONT);
    wait_until("a signal is passed on", || place.types("it").contains(&"signal_sent".to_owned()).then_some(()));
    (running, pid)
}

#[test]
fn a_run_asks_the_next_daemon_to_stop_its_command_when_the_first_is_killed() {
    let place = Place::new();
    let (running, pid) = running(&place);
    let daemon = suspend(&place);
    // It already waits for the end and for events.
    let before = receivers(running.pid());
    running.signal(Signal::SIGTERM);
    wait_until("the daemon is asked", || (receivers(running.pid()) > before.min(2)).then_some(()));
    send(daemon, Signal::SIGKILL);
    running.outcome().left_with(143);
    assert!(gone(pid));
}

#[test]
fn a_stop_is_asked_for_again_when_the_daemon_is_killed() {
    let place = Place::supervising(ECOSYSTEM);
    let pid = place.pid_of("svc");
    let daemon = suspend(&place);
    let stopping = asking(&place, &["stop", "svc"]);
    send(daemon, Signal::SIGKILL);
    stopping.outcome().succeeded();
    assert!(gone(pid));
}

#[test]
fn a_request_that_a_killed_daemon_has_not_read_is_sent_to_the_next_one() {
    let place = Place::supervising(ECOSYSTEM);
    let pid = place.pid_of("svc");
    let daemon = suspend(&place);
    let restarting = asking(&place, &["restart", "svc"]);
    send(daemon, Signal::SIGKILL);
    restarting.outcome().succeeded();
    assert!(gone(pid));
    let starts = place.types("svc").into_iter().filter(|kind| kind == "start_requested");
    assert_eq!(starts.count(), 2, "restarted once: {:?}", place.types("svc"));
    place.stop_daemon();
}

#[test]
fn what_could_be_done_twice_is_not_asked_for_again_and_that_is_said() {
    let place = Place::supervising_script("trap '' TERM; while :; do sleep 1; done", "shutdown = { timeout = '60s' }");
    let restarting = Running::start(&mut place.command(&["restart", "it"]));
    wait_until("the stop has begun", || place.types("it").contains(&"stopping".to_owned()).then_some(()));
    place.kill_daemon();
    restarting.outcome().left_with(5).said(&["may or may not have been carried out"]);
    // The next daemon adopts it.
    place.run(&["stop", "it", "--timeout", "0s"]).succeeded();
    place.stop_daemon();
}

#[test]
fn a_signal_to_a_run_whose_launch_is_not_answered_cancels_the_launch_at_once() {
    for (signal, code) in [(Signal::SIGTERM, 143), (Signal::SIGHUP, 129), (Signal::SIGINT, 130)] {
        let place = Place::supervising(ECOSYSTEM);
        let daemon = suspend(&place);
        let asking = asking(&place, &["run", "--name", "it", "--", "touch", "ran"]);
        let began = Instant::now();
        asking.signal(signal);
        asking.outcome().left_with(code).said(&["the daemon does not answer", "withdrawn"]);
        assert!(began.elapsed() < PROMPT, "{:?}", began.elapsed());
        send(daemon, Signal::SIGCONT);
        // Requested later, and answered later.
        place.run(&["run", "--name", "later", "--", "true"]).succeeded();
        wait_until("nothing is left of it", || {
            let listed = place.json(&["list"]);
            let is_it = |handle: &serde_json::Value| handle["name"] == "it";
            (!listed.as_array().unwrap().iter().any(is_it)).then_some(())
        });
        assert!(!place.path("ran").exists());
    }
}

#[test]
fn a_request_whose_client_has_left_before_it_was_started_is_not_carried_out() {
    let place = Place::supervising(ECOSYSTEM);
    let pid = place.pid_of("svc");
    let daemon = suspend(&place);
    for args in [&["daemon", "--stop"][..], &["stop", "svc"], &["down"], &["restart", "svc"]] {
        asking(&place, args).crash();
    }
    send(daemon, Signal::SIGCONT);
    place.run(&["run", "--", "true"]).succeeded();
    assert_eq!(place.daemon(), Some(daemon));
    assert_eq!(place.pid_of("svc"), pid);
    assert!(!gone(pid));
}

/// Number of tries for a request that the daemon may begin before it handles the signal to shut down.
const TRIES: usize = 20;

#[test]
fn what_a_daemon_that_leaves_has_not_begun_is_asked_of_the_next_one() {
    for args in [&["restart", "svc"][..], &["start", "svc"], &["run", "--name", "it", "--", "true"]] {
        let asked_next = (0..TRIES).any(|_| {
            let place = Place::supervising(ECOSYSTEM);
            let daemon = suspend(&place);
            let asking = asking(&place, args);
            // Accepted before the connection is closed.
            send(daemon, Signal::SIGTERM);
            send(daemon, Signal::SIGCONT);
            let outcome = asking.outcome();
            // A restart that has begun is cancelled by the shutdown; the next daemon starts the process.
            let is_begun = args[0] == "restart" && outcome.code == 1 && outcome.stderr.contains("is leaving");
            if !is_begun {
                drop(outcome.succeeded());
                assert!(gone(daemon));
            }
            !is_begun
        });
        assert!(asked_next, "{args:?}");
    }
}

#[test]
fn a_daemon_that_leaves_already_is_waited_for_when_it_is_stopped() {
    let place = Place::supervising(ECOSYSTEM);
    let daemon = suspend(&place);
    let stopping = asking(&place, &["daemon", "--stop"]);
    send(daemon, Signal::SIGTERM);
    send(daemon, Signal::SIGCONT);
    drop(stopping.outcome().succeeded());
    assert!(gone(daemon));
}
