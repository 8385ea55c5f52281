//! A daemon and clients in another pid namespace than the processes of a ledger.

use std::{
    fs,
    process::Command,
    sync::{Mutex, MutexGuard, PoisonError},
};

use nix::sys::signal::Signal;

use crate::support::{Outcome, Place, finish, gone, helpers_of, send, wait_until};

const ECOSYSTEM: &str =
    "[[process]]\nname = 'it'\ncommand = 'sleep'\nargs = ['1000']\nrestart = { policy = 'never' }\n";

/// The program with these arguments, in a pid namespace of its own.
fn elsewhere(place: &Place, args: &[&str]) -> Outcome {
    let asked = place.command(args);
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--kill-child", "--mount-proc"]).arg(asked.get_program()).args(asked.get_args());
    command.env_clear().envs(asked.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.current_dir(asked.get_current_dir().unwrap());
    finish(&mut command)
}

/// Lets one of these tests run at a time. The kernel gives the inode number of a namespace that is gone to the next one, and a
/// process that ran in the first may then be in the second.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn keeper(place: &Place) -> u32 {
    wait_until("there is a keeper", || helpers_of(&place.ledger(), &["keeper"]).first().copied())
}

#[test]
#[ignore = "needs root, to make a pid namespace"]
fn a_daemon_in_another_namespace_touches_nothing() {
    let _alone = alone();
    let place = Place::supervising(ECOSYSTEM);
    let pid = place.pid_of("it");
    place.kill_daemon();
    let before = place.run(&["--offline", "--format", "jsonl", "tail", "-n", "1000"]).stdout;
    for args in [&["up"][..], &["stop", "it"], &["restart", "it"], &["daemon", "--on-demand", "--idle-timeout", "0s"]] {
        let refused = elsewhere(&place, args).left_with(5);
        refused.said(&["another pid namespace", &format!("it (pid {pid} there)"), "--forget-other-namespaces"]);
    }
    assert!(!gone(pid));
    assert_eq!(place.run(&["--offline", "--format", "jsonl", "tail", "-n", "1000"]).stdout, before);
    assert!(elsewhere(&place, &["list"]).succeeded().stdout.contains("unknown"));
    place.run(&["up"]).succeeded();
    assert_eq!(place.pid_of("it"), pid, "where it runs it is adopted");
}

#[test]
#[ignore = "needs root, to make a pid namespace"]
fn what_has_ended_is_taken_over_from_another_namespace_by_its_descriptor() {
    let _alone = alone();
    let place = Place::supervising(ECOSYSTEM);
    let pid = place.pid_of("it");
    place.kill_daemon();
    send(pid, Signal::SIGKILL);
    wait_until("it ends", || gone(pid).then_some(()));
    elsewhere(&place, &["daemon", "--on-demand", "--idle-timeout", "0s"]);
    let run = place.json(&["show", "it"])["runs"][0].clone();
    // The exit of a zombie is visible only in its own namespace; that it has ended is certain.
    let is_told = run["exit"]["signal"] == "SIGKILL" && run["exit"]["evidence"] == "recovered";
    assert!(is_told || run["exit"]["evidence"] == "unknown", "{run}");
    assert_eq!(place.json(&["show", "it"])["handle"]["state"], "crashed");
}

/// Without the keeper, a process in another namespace cannot be checked, and is not taken for ended.
#[test]
#[ignore = "needs root, to make a pid namespace"]
fn without_a_keeper_nothing_is_taken_for_gone() {
    let _alone = alone();
    let place = Place::supervising(ECOSYSTEM);
    let pid = place.pid_of("it");
    let keeper = keeper(&place);
    place.kill_daemon();
    send(keeper, Signal::SIGKILL);
    wait_until("the keeper ends", || gone(keeper).then_some(()));
    elsewhere(&place, &["up"]).left_with(5).said(&["another pid namespace"]);
    assert!(!gone(pid));
    place.run(&["up"]).succeeded();
    assert_eq!(place.pid_of("it"), pid);
}

/// The processes of a container that no longer exists have ended, which the initial namespace can determine.
#[test]
#[ignore = "needs root, to make a pid namespace"]
fn what_ran_in_a_namespace_that_is_gone_is_started_anew() {
    let _alone = alone();
    let place = Place::new();
    fs::write(place.path("ecosystem.toml"), ECOSYSTEM).unwrap();
    // The exit of the first process of a namespace, here the client, ends all of them (pid_namespaces(7)).
    elsewhere(&place, &["up"]).succeeded();
    assert!(place.run(&["list"]).succeeded().stdout.contains("unknown"));
    place.run(&["up"]).succeeded();
    // Its exit is found and recorded shortly after.
    wait_until("it is over, or runs again", || {
        (place.json(&["show", "it"])["handle"]["state"] != "starting"
            && place.types("it").contains(&"crashed".to_owned()))
        .then_some(())
    });
    place.run(&["up"]).succeeded();
    assert!(!gone(place.pid_of("it")));
    let shown = place.run(&["show", "it"]).succeeded().stdout;
    assert!(shown.contains("it ran in another pid namespace"), "{shown}");
}

#[test]
#[ignore = "needs root, to make a pid namespace"]
fn a_client_in_another_namespace_is_refused_with_the_reason() {
    let _alone = alone();
    let place = Place::supervising(ECOSYSTEM);
    let pid = place.pid_of("it");
    for args in [&["up"][..], &["restart", "it"], &["run", "--", "true"]] {
        elsewhere(&place, args).left_with(5).said(&["the daemon of this ledger runs in another pid namespace"]);
    }
    // Read-only requests are answered.
    assert!(elsewhere(&place, &["list"]).succeeded().stdout.contains("running"));
    assert_eq!(place.pid_of("it"), pid);
    elsewhere(&place, &["daemon", "--stop"]).succeeded();
    wait_until("it is stopped", || gone(pid).then_some(()));
}
