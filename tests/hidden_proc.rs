//! A daemon to which `/proc` does not show a process of its ledger (`hidepid`, masked `/proc`).

use std::{fs, process::Command};

use nix::sys::signal::Signal;

use crate::support::{Outcome, Place, finish, gone, helpers_of, send, wait_until};

const ECOSYSTEM: &str = "[[process]]\nname = 'it'\ncommand = 'sh'\n\
    args = ['-c', 'while [ ! -e go ]; do sleep 0.02; done; exit 7']\nrestart = { policy = 'never' }\n";

/// The program with these arguments, and the daemon that it starts, in a mount namespace where `/proc` hides `pid`.
fn without_sight_of(pid: u32, place: &Place, args: &[&str]) -> Outcome {
    let asked = place.command(args);
    let mut command = Command::new("unshare");
    let script = "mount -t tmpfs -o ro,size=4k none \"$0\" && exec \"$@\"";
    command.args(["--mount", "sh", "-c", script, &format!("/proc/{pid}")]);
    command.arg(asked.get_program()).args(asked.get_args());
    command.env_clear().envs(asked.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.current_dir(asked.get_current_dir().unwrap());
    finish(&mut command)
}

fn starts(place: &Place) -> usize {
    place.types("it").iter().filter(|name| *name == "start_requested").count()
}

#[test]
#[ignore = "needs root, to mask a part of /proc"]
fn a_process_whose_descriptor_is_held_is_alive_though_proc_hides_it() {
    let place = Place::supervising(ECOSYSTEM);
    let pid = place.pid_of("it");
    place.kill_daemon();
    let asked = without_sight_of(pid, &place, &["up"]).succeeded();
    assert!(asked.stdout.contains("unchanged"), "{asked:?}");
    assert!(place.types("it").contains(&"adopted".to_owned()));
    assert_eq!((place.pid_of("it"), starts(&place)), (pid, 1));
    place.run(&["start", "it"]).succeeded();
    assert_eq!((place.pid_of("it"), starts(&place)), (pid, 1), "it runs already");
    // Its exit is observed, too.
    fs::write(place.path("go"), "").unwrap();
    let handle = wait_until("its end is on record", || {
        let handle = place.json(&["show", "it"])["handle"].clone();
        (handle["state"] != "running").then_some(handle)
    });
    assert_eq!(handle["state"], "crashed");
    assert!(gone(pid));
    // The exit of a zombie is visible in `/proc` only.
    assert!(handle["exit_code"] == 7 || handle["exit_code"].is_null(), "{handle}");
}

#[test]
#[ignore = "needs root, to mask a part of /proc"]
fn a_process_whose_descriptor_is_held_is_stopped_though_proc_hides_it() {
    let place = Place::supervising(ECOSYSTEM);
    let pid = place.pid_of("it");
    place.kill_daemon();
    without_sight_of(pid, &place, &["up"]).succeeded();
    assert_eq!(place.pid_of("it"), pid);
    place.run(&["restart", "it"]).succeeded();
    assert!(gone(pid));
    assert_eq!(starts(&place), 2);
    assert!(!gone(place.pid_of("it")));
}

/// Whether it is alive cannot be determined: it is neither recorded as ended nor started again.
#[test]
#[ignore = "needs root, to mask a part of /proc"]
fn a_process_that_neither_proc_nor_a_descriptor_shows_is_left_alone() {
    let place = Place::supervising(ECOSYSTEM);
    let pid = place.pid_of("it");
    let keeper = wait_until("there is a keeper", || helpers_of(&place.ledger(), &["keeper"]).first().copied());
    place.kill_daemon();
    send(keeper, Signal::SIGKILL);
    wait_until("the keeper ends", || gone(keeper).then_some(()));
    for args in [&["up"][..], &["start", "it"], &["restart", "it"]] {
        without_sight_of(pid, &place, args);
        assert!(!gone(pid), "{args:?}");
    }
    let types = place.types("it");
    assert_eq!(types.last().map(String::as_str), Some("running"), "nothing is recorded of it: {types:?}");
    let said = fs::read_to_string(place.ledger().join("daemon.log")).unwrap();
    assert!(
        said.contains(&format!("it: invalid state for operation: process {pid} cannot be seen from here")),
        "{said}"
    );
    assert!(said.contains("or mount /proc without hidepid"), "what to do is said: {said}");
    // A daemon that can see it adopts it.
    place.run(&["daemon", "--leave"]).succeeded();
    wait_until("the daemon leaves", || place.daemon().is_none().then_some(()));
    place.run(&["up"]).succeeded();
    assert_eq!((place.pid_of("it"), starts(&place)), (pid, 1));
}
