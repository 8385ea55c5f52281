//! A ledger that cannot be written temporarily: its daemon reports that, leaves processes running, and recovers by itself.

use std::{
    fs,
    process::{Command, Stdio},
    time::Duration,
};

use rustix::process::Resource;

use crate::{
    idle::{can_trace, skip},
    support::{Following, Place, Running, gone, limit, wait_until},
};

#[test]
fn a_poisoned_daemon_says_so_and_begins_again_once_the_ledger_can_be_written() {
    let place = Place::new();
    let text = "[[process]]\nname = 'steady'\ncommand = 'sleep'\nargs = ['1000']\n\
                [[process]]\nname = 'idle'\ncommand = 'true'\nrestart = { policy = 'never' }\n";
    fs::write(place.path("ecosystem.toml"), text).unwrap();
    place.run(&["up"]).succeeded();
    let pid_of = || place.json(&["list", "--name", "steady"])[0]["pid"].as_u64().map(|pid| u32::try_from(pid).unwrap());
    let pid = pid_of().unwrap();
    let daemon = place.daemon().unwrap();
    // The write fails, as on a full disk.
    limit(daemon, Resource::Fsize, Some(1));
    place.run(&["restart", "idle"]).said(&["poisoned since ", "0000000001.seg", "File too large"]);
    // Every request is refused with the reason, whether the daemon still runs, executes itself again, or waits.
    let waiting = wait_until("it waits with its socket", || {
        let listed = place.run(&["list"]);
        (listed.code == 5).then_some(listed)
    });
    waiting.said(&["poisoned since ", "because "]);
    for args in [&["up"][..], &["stop", "steady"], &["show", "steady"]] {
        let refused = place.run(args);
        assert!(refused.code == 5 || args[0] == "show", "{refused:?}");
    }
    assert!(!gone(pid), "what runs goes on");
    assert_eq!(place.daemon(), Some(daemon), "the same process");
    limit(daemon, Resource::Fsize, None);
    wait_until("it is back", || (place.run(&["list"]).code == 0).then_some(()));
    wait_until("and supervises", || (pid_of() == Some(pid)).then_some(()));
    assert!(place.types("steady").contains(&"adopted".to_owned()));
    assert_eq!(place.daemon(), Some(daemon));
    place.run(&["stop", "steady"]).succeeded();
    assert!(gone(pid));
    place.stop_daemon();
    place.run(&["verify"]).succeeded();
}

#[test]
fn a_run_whose_daemon_is_poisoned_still_ends_with_the_code_of_its_command() {
    let place = Place::new();
    let running = place.start_script(&["--name", "it"], "echo begun; while [ ! -e go ]; do sleep 0.05; done; exit 7");
    let daemon =
        wait_until("it runs", || place.daemon().filter(|_| place.ledger().join("logs/it-0/stdout.log").exists()));
    limit(daemon, Resource::Fsize, Some(1));
    place.run(&["stop", "it"]).said(&["poisoned since "]);
    limit(daemon, Resource::Fsize, None);
    fs::write(place.path("go"), "").unwrap();
    let outcome = running.outcome();
    // The stop was requested and not recorded: the command ended by itself, or by the signal of a recorded stop.
    assert!([7, 143].contains(&outcome.code), "{outcome:?}");
}

#[test]
fn a_ledger_is_followed_on_after_it_was_poisoned() {
    let place = Place::supervising("[[process]]\nname = 'steady'\ncommand = 'sleep'\nargs = ['1000']\n");
    let daemon = place.daemon().unwrap();
    let following = Following::start(&place, &["--format", "jsonl", "tail", "-f", "-n", "all"]);
    wait_until("it follows", || following.printed().contains("\"running\"").then_some(()));
    limit(daemon, Resource::Fsize, Some(1));
    place.run(&["restart", "steady"]).said(&["poisoned since "]);
    // The second attempt to open the ledger fails a second after the first one.
    wait_until("its daemon tries again", || {
        place.run(&["list"]).stderr.contains("cannot be opened again").then_some(())
    });
    limit(daemon, Resource::Fsize, None);
    wait_until("it follows on", || following.printed().contains("\"adopted\"").then_some(()));
    let events = place.run(&["--format", "jsonl", "tail", "-n", "all"]).succeeded().stdout;
    wait_until("each event is printed", || (following.lines() >= events.lines().count()).then_some(()));
    assert!(following.printed().starts_with(&events), "each once");
}

#[test]
fn a_daemon_that_waits_for_its_disk_leaves_what_runs_when_it_is_stopped() {
    let place = Place::supervising("[[process]]\nname = 'steady'\ncommand = 'sleep'\nargs = ['1000']\n");
    let (pid, daemon) = (place.pid_of("steady"), place.daemon().unwrap());
    limit(daemon, Resource::Fsize, Some(1));
    place.run(&["restart", "steady"]).said(&["poisoned since "]);
    wait_until("it waits with its socket", || (place.run(&["list"]).code == 5).then_some(()));
    let stopped = place.run(&["daemon", "--stop"]).left_with(5);
    drop(stopped.said(&["poisoned since ", "left running", &format!("(pid {pid})")]));
    wait_until("it leaves", || gone(daemon).then_some(()));
    assert!(!gone(pid));
    place.run(&["up"]).succeeded();
    assert_eq!(place.pid_of("steady"), pid);
}

/// Time for which the daemon is held in execve(2), after its descriptors are closed.
const HELD: Duration = Duration::from_secs(1);

fn threads(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count)
}

fn is_traced(pid: u32) -> bool {
    let tracers = |path: std::path::PathBuf| fs::read_to_string(path.join("status")).unwrap_or_default();
    let mut tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    tasks.all(|task| !tracers(task.path()).contains("TracerPid:\t0\n"))
}

#[test]
fn a_daemon_that_is_in_execve_is_stopped_and_never_said_to_be_missing() {
    if !can_trace() {
        return skip("strace(1) is missing, or may not trace here");
    }
    let place = Place::supervising("[[process]]\nname = 'steady'\ncommand = 'sleep'\nargs = ['1000']\n");
    let (pid, daemon) = (place.pid_of("steady"), place.daemon().unwrap());
    let mut tracer = Command::new("strace");
    tracer.args(["-f", "-e", "trace=execve", "-e", &format!("inject=execve:delay_exit={}", HELD.as_micros())]);
    tracer.args(["-o", "/dev/null", "-p", &daemon.to_string()]).stdin(Stdio::null()).stderr(Stdio::null());
    let tracer = Running::start(&mut tracer);
    wait_until("it is traced", || is_traced(daemon).then_some(()));
    limit(daemon, Resource::Fsize, Some(1));
    let restarting = Running::start(&mut place.command(&["restart", "steady"]));
    wait_until("it is in execve", || (threads(daemon) == 1).then_some(()));
    limit(daemon, Resource::Fsize, None);
    let stopped = place.run(&["daemon", "--stop"]).succeeded();
    assert!(!stopped.stderr.contains("there is no daemon"), "{stopped:?}");
    assert!(gone(daemon) && gone(pid), "{stopped:?}");
    drop((restarting.outcome(), tracer.outcome()));
}

#[test]
fn a_daemon_whose_journal_is_removed_makes_no_other_ledger_and_names_what_it_leaves_running() {
    let place = Place::supervising("[[process]]\nname = 'steady'\ncommand = 'sleep'\nargs = ['1000']\n");
    let (pid, daemon) = (place.pid_of("steady"), place.daemon().unwrap());
    limit(daemon, Resource::Fsize, Some(1));
    place.run(&["restart", "steady"]).said(&["poisoned since "]);
    wait_until("it waits with its socket", || (place.run(&["list"]).code == 5).then_some(()));
    let away = place.path("away");
    fs::create_dir(&away).unwrap();
    for entry in fs::read_dir(place.ledger()).unwrap().flatten().filter(|entry| entry.file_name() != "daemon.sock") {
        fs::rename(entry.path(), away.join(entry.file_name())).unwrap();
    }
    limit(daemon, Resource::Fsize, None);
    let why = "was removed while the ledger was open";
    wait_until("it says that the journal is gone", || {
        let listed = place.run(&["list"]);
        listed.stderr.contains(why).then_some(listed)
    });
    assert!(!place.ledger().join("journal").exists(), "no other ledger is made");
    assert_eq!(place.daemon(), Some(daemon));
    let stopped = place.run(&["daemon", "--stop"]).left_with(5);
    drop(stopped.said(&[why, "left running", &format!("steady (pid {pid})")]));
    wait_until("it leaves", || gone(daemon).then_some(()));
    assert!(!gone(pid), "as it was said");
    for entry in fs::read_dir(&away).unwrap().flatten() {
        let to = place.ledger().join(entry.file_name());
        if entry.file_name() != "daemon.log" {
            fs::rename(entry.path(), to).unwrap();
        }
    }
    place.run(&["up"]).succeeded();
    assert_eq!(place.pid_of("steady"), pid, "taken over");
}

#[test]
fn a_stop_of_a_daemon_whose_journal_is_removed_names_what_it_leaves_running() {
    let place = Place::supervising("[[process]]\nname = 'steady'\ncommand = 'sleep'\nargs = ['1000']\n");
    let (pid, daemon) = (place.pid_of("steady"), place.daemon().unwrap());
    let (journal, away) = (place.ledger().join("journal"), place.path("away"));
    fs::rename(&journal, &away).unwrap();
    wait_until("it refuses", || (place.run(&["list"]).code == 5).then_some(()));
    let stopped = place.run(&["daemon", "--stop"]).left_with(5);
    drop(stopped.said(&["journal was removed", "left running", &format!("steady (pid {pid})")]));
    wait_until("it leaves", || gone(daemon).then_some(()));
    assert!(!gone(pid), "as it was said");
    fs::rename(&away, &journal).unwrap();
    place.run(&["up"]).succeeded();
    assert_eq!(place.pid_of("steady"), pid, "taken over");
}

#[test]
fn a_stop_while_the_ledger_is_poisoned_and_nothing_runs_says_why_it_succeeds() {
    let place = Place::supervising("[[process]]\nname = 'it'\ncommand = 'sleep'\nargs = ['1000']\n");
    let daemon = place.daemon().unwrap();
    place.run(&["stop", "it"]).succeeded();
    limit(daemon, Resource::Fsize, Some(1));
    place.run(&["start", "it"]).said(&["poisoned since "]);
    wait_until("it refuses", || (place.run(&["list"]).code == 5).then_some(()));
    let stopped = place.run(&["daemon", "--stop"]).succeeded();
    drop(stopped.said(&["poisoned since ", "nothing is left running"]));
    wait_until("it leaves", || gone(daemon).then_some(()));
}
