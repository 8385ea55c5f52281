//! Attributes that a daemon takes from a client, and those that it does not; and the keeper's life cycle.

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _},
        net::UnixStream,
    },
    process::{Command, Stdio},
};

use nix::sys::signal::Signal;

use crate::{
    daemon_troubles::{answer, frame},
    support::{Outcome, Place, Running, gone, helpers_of, send, wait_until},
};

fn with(text: &str) -> Place {
    let place = Place::new();
    fs::write(place.path("ecosystem.toml"), text).unwrap();
    place
}

fn script(name: &str, script: &str, more: &str) -> String {
    format!("[[process]]\nname = '{name}'\ncommand = 'sh'\nargs = ['-c', '''{script}''']\n{more}\n")
}

fn keeper(place: &Place) -> Option<u32> {
    helpers_of(&place.ledger(), &["keeper"]).first().copied()
}

/// The exit of a run, and its evidence.
fn last_exit(place: &Place, name: &str) -> (Option<u64>, String) {
    let run = place.json(&["show", name])["runs"].as_array().unwrap().last().unwrap().clone();
    (run["exit"]["code"].as_u64(), run["exit"]["evidence"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn a_keeper_that_is_killed_is_replaced_and_what_it_held_is_kept() {
    let place = with(&script(
        "it",
        "while [ ! -e go ]; do sleep 0.01; done; echo done; exit 7",
        "restart = { policy = 'never' }",
    ));
    place.run(&["up"]).succeeded();
    let first = wait_until("there is a keeper", || keeper(&place));
    send(first, Signal::SIGKILL);
    let has_its_pipe = |pid: &u32| {
        let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        open.filter_map(|fd| fs::read_link(fd.path()).ok()).any(|path| path.to_string_lossy().starts_with("pipe:"))
    };
    wait_until("another one has what it held", || keeper(&place).filter(|pid| *pid != first).filter(has_its_pipe));
    place.kill_daemon();
    let pid = u32::try_from(place.json(&["list"])[0]["pid"].as_u64().unwrap()).unwrap();
    fs::write(place.path("go"), "").unwrap();
    wait_until("it ends while nobody watches", || gone(pid).then_some(()));
    place.run(&["scale", "it=1"]).succeeded();
    wait_until("its end is on record", || (place.json(&["list"])[0]["state"] == "crashed").then_some(()));
    let (code, evidence) = last_exit(&place, "it");
    assert!((code == Some(7) && evidence == "recovered") || evidence == "unknown", "{code:?} {evidence}");
    let text = place.run(&["logs", "it", "--stdout"]).succeeded().stdout;
    assert_eq!(text, "done\n", "what was in the pipe is not lost with the process");
}

#[test]
fn a_stopped_keeper_does_not_block_clients() {
    let place = with(&script("it", "sleep 1000", ""));
    place.run(&["up"]).succeeded();
    let frozen = wait_until("there is a keeper", || keeper(&place));
    send(frozen, Signal::SIGSTOP);
    place.run(&["restart", "it"]).succeeded();
    assert_eq!(place.json(&["list"])[0]["state"], "running");
    send(frozen, Signal::SIGCONT);
    wait_until("it leaves, since another one has its place", || gone(frozen).then_some(()));
}

#[test]
fn what_is_asked_from_another_terminal_is_the_same() {
    let place = with(&script("it", "umask; sleep 1000", ""));
    place.run(&["up"]).succeeded();
    let again = place.command(&["up"]).env("LANG", "tlh").env("TERM", "vt52").output().unwrap();
    assert_eq!(Outcome::new(&again).succeeded().stdout, "unchanged  it\n");
}

#[test]
fn a_process_has_the_umask_of_its_client_and_not_of_the_daemon() {
    let place = with(&script("it", "echo > made; sleep 1000", ""));
    place.run_script(&["--name", "first"], "true").succeeded();
    let script = format!("umask 027; exec '{}' up", env!("CARGO_BIN_EXE_apm2-ledger"));
    let mut command = Command::new("sh");
    command.args(["-c", &script]).current_dir(place.path("")).env("APM2_LEDGER_DIR", place.ledger());
    assert!(command.stdout(Stdio::null()).status().unwrap().success());
    let made = wait_until("the file is there", || fs::metadata(place.path("made")).ok());
    assert_eq!(made.mode() & 0o777, 0o640);
}

#[test]
fn what_a_client_has_open_is_not_kept_open_by_a_daemon() {
    let place = Place::new();
    let script = format!("exec 9> held; exec '{}' run -- true", env!("CARGO_BIN_EXE_apm2-ledger"));
    let mut command = Command::new("sh");
    command.args(["-c", &script]).current_dir(place.path("")).env("APM2_LEDGER_DIR", place.ledger());
    assert!(command.status().unwrap().success());
    let helpers = helpers_of(&place.ledger(), &["daemon", "keeper"]);
    assert!(!helpers.is_empty());
    for pid in helpers {
        let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        let held = open.filter_map(|fd| fs::read_link(fd.path()).ok()).find(|path| path.ends_with("held"));
        assert_eq!(held, None, "{pid}");
    }
}

#[test]
fn a_ledger_that_is_open_to_others_gets_no_secrets() {
    let place = with(&script("it", "sleep 1000", "env = { TOKEN = 'x' }"));
    fs::create_dir(place.ledger()).unwrap();
    fs::set_permissions(place.ledger(), fs::Permissions::from_mode(0o755)).unwrap();
    let refused = place.run(&["up"]);
    assert_ne!(refused.code, 0);
    assert!(refused.stderr.contains("ledger") && !refused.stderr.contains("TOKEN"), "{refused:?}");
}

#[test]
fn two_hundred_silent_clients_do_not_block_others() {
    let place = with(&script("it", "sleep 1000", ""));
    place.run(&["up"]).succeeded();
    let silent: Vec<_> =
        (0..200).filter_map(|_| UnixStream::connect(place.ledger().join("daemon.sock")).ok()).collect();
    assert!(silent.len() > 60);
    place.run(&["restart", "it"]).succeeded();
    drop(silent);
}

#[test]
fn of_several_who_run_one_name_at_once_one_does() {
    let place = Place::new();
    let running: Vec<_> = (0..5).map(|_| place.start_script(&["--name", "it"], "echo ran; sleep 0.5")).collect();
    let codes: Vec<i32> = running.into_iter().map(|running| running.outcome().code).collect();
    assert_eq!(codes.iter().filter(|code| **code == 0).count(), 1, "{codes:?}");
    assert_eq!(place.json(&["list", "--all"]).as_array().unwrap().len(), 1);
    assert_eq!(place.json(&["show", "it"])["runs"].as_array().unwrap().len(), 1);
}

#[test]
fn changes_at_the_same_time_leave_each_instance_once() {
    let place = with(&script("it", "sleep 1000", "instances = 2"));
    place.run(&["up"]).succeeded();
    let asked = [&["scale", "it=4"][..], &["up"], &["scale", "it=1"], &["restart", "it"], &["up"], &["scale", "it=3"]];
    let asking: Vec<_> = asked.iter().map(|args| Running::start(&mut place.command(args))).collect();
    for asking in asking {
        // An instance may have ended before it can be restarted.
        drop(asking.outcome());
    }
    place.run(&["scale", "it=3"]).succeeded();
    let listed = place.json(&["list", "--state", "running"]);
    let mut pids: Vec<_> = listed.as_array().unwrap().iter().map(|handle| handle["pid"].as_u64().unwrap()).collect();
    pids.sort_unstable();
    pids.dedup();
    assert_eq!(pids.len(), 3, "{listed}");
    assert_eq!(place.json(&["verify"])["ok"], true);
}

#[test]
fn restart_all_leaves_alone_what_is_stopped_and_failed_starts_are_told() {
    let place = with(&(script("one", "sleep 1000", "") + &script("two", "sleep 1000", "")));
    place.run(&["up"]).succeeded();
    place.run(&["stop", "two"]).succeeded();
    place.run(&["restart", "all"]).succeeded();
    let listed = place.json(&["list"]);
    let states: Vec<_> = listed.as_array().unwrap().iter().map(|handle| handle["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["running", "stopped"]);
    let missing = "[[process]]\nname = 'missing'\ncommand = './not-there'\nrestart = { policy = 'never' }\n";
    fs::write(place.path("missing.toml"), missing).unwrap();
    let told = place.run(&["up", "missing.toml"]);
    assert_ne!(told.code, 0);
    assert!(told.stderr.contains("missing") && told.stderr.contains("not-there"), "{told:?}");
}

#[test]
fn values_of_variables_are_masked_in_last_lines() {
    let place = with(&script(
        "it",
        "echo key=$KEY; exit 1",
        "env = { KEY = 'hunter2hunter2' }\nrestart = { policy = 'never' }",
    ));
    place.run(&["up"]).left_with(1);
    wait_until("the last lines are on record", || place.types("it").contains(&"output_tail".to_owned()).then_some(()));
    let shown = place.run(&["show", "it"]).succeeded().stdout;
    assert!(shown.contains("key=") && !shown.contains("hunter2"), "{shown}");
}

#[test]
fn no_length_of_time_is_too_long() {
    let place = with(&script("it", "sleep 1000", ""));
    place.run(&["up"]).succeeded();
    for time in ["500000000y", "18446744073709551615s"] {
        // Refused or accepted, but answered.
        drop(place.run(&["stop", "it", "--timeout", time]));
        drop(place.run_script(&["--name", "other", "--stop-timeout", time, "--backoff", time], "true"));
    }
    assert!(place.daemon().is_some());
    assert_eq!(place.json(&["verify"])["ok"], true);
}

#[test]
fn a_process_may_write_what_looks_like_a_time() {
    let place = Place::new();
    for _ in 0..2 {
        let outcome = place.run_script(&["--name", "it"], "printf '2026-01-31T12:00:00.000Z '").succeeded();
        assert_eq!(outcome.stdout, "2026-01-31T12:00:00.000Z ");
    }
}

#[test]
fn a_stop_takes_what_earlier_runs_left_too() {
    let left = "setsid sleep 1003 & echo $! > left.$$; mv left.$$ left; sleep 1000";
    let place = with(&script("it", left, "restart = { policy = 'always', backoff = '0ms' }"));
    let read = || fs::read_to_string(place.path("left")).ok()?.trim().parse::<u32>().ok();
    place.run(&["up"]).succeeded();
    let stray = wait_until("it has left something", read);
    let pid = u32::try_from(place.json(&["list"])[0]["pid"].as_u64().unwrap()).unwrap();
    send(pid, Signal::SIGKILL);
    let second = wait_until("it is back", || read().filter(|next| *next != stray));
    assert!(gone(stray), "the next run is alone");
    place.run(&["down"]).succeeded();
    assert!(gone(second));
}

#[test]
fn a_request_that_is_too_long_to_be_recorded_changes_nothing() {
    let place = with(&script("it", "sleep 1000", "restart = { policy = 'always', backoff = '0ms' }"));
    place.run(&["up"]).succeeded();
    for order in [r#"{"stop":{"targets":["it"],"timeout":null}}"#, r#"{"restart":{"targets":["it"]}}"#] {
        let reason = "x".repeat(300_000);
        let call = format!(r#"{{"version":1,"reason":"{reason}","terminal":null,"request":{order}}}"#);
        let answered = answer(&place, &frame(call.as_bytes()));
        assert!(answered.contains("cannot be recorded"), "{answered}");
    }
    let pid = place.json(&["list"])[0]["pid"].as_u64().unwrap();
    send(u32::try_from(pid).unwrap(), Signal::SIGKILL);
    wait_until("its policy brings it back", || place.json(&["list"])[0]["pid"].as_u64().filter(|next| *next != pid));
}

#[test]
fn more_restarts_than_can_be_counted_are_refused() {
    let place = with(&script("it", "sleep 1000", "restart = { max_restarts = 1500 }"));
    let refused = place.run(&["up"]);
    assert!(refused.code != 0 && refused.stderr.contains("1024"), "{refused:?}");
}
