//! The command `doctor`: a healthy installation, and each fault made for real.

use std::{
    fs,
    os::unix::{fs::PermissionsExt as _, net::UnixListener},
    process::Command,
};

use rustix::process::Resource;
use serde_json::Value;

use crate::support::{Outcome, Place, finish, gone, limit, wait_until};

const ECOSYSTEM: &str =
    "[[process]]\nname = 'it'\ncommand = 'sleep'\nargs = ['1000']\nrestart = { policy = 'never' }\n";

/// The checks that `doctor` prints, and its exit code.
fn doctor(place: &Place) -> (Value, i32) {
    judged(place.run(&["--format", "json", "doctor"]))
}

fn judged(outcome: Outcome) -> (Value, i32) {
    (outcome.json(), outcome.code)
}

/// The first check with this name.
fn check<'a>(document: &'a Value, name: &str) -> &'a Value {
    let checks = document["checks"].as_array().unwrap();
    checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("no {name} in {document}"))
}

#[track_caller]
fn assert_status(document: &Value, name: &str, status: &str) {
    assert_eq!(check(document, name)["status"], status, "{document}");
}

/// The names of the checks that found a problem.
fn problems(document: &Value) -> Vec<&str> {
    let checks = document["checks"].as_array().unwrap();
    checks.iter().filter(|check| check["status"] == "problem").map(|check| check["name"].as_str().unwrap()).collect()
}

#[test]
fn a_healthy_installation_has_no_problem() {
    let place = Place::new();
    let (nothing, code) = doctor(&place);
    assert_eq!((problems(&nothing), code), (vec![], 0), "{nothing}");
    assert_status(&nothing, "ledger_directory", "note");
    assert!(!place.ledger().exists(), "nothing is written");
    fs::write(place.path("ecosystem.toml"), ECOSYSTEM).unwrap();
    place.run(&["up"]).succeeded();
    let (running, code) = doctor(&place);
    assert_eq!((problems(&running), code), (vec![], 0), "{running}");
    for name in
        ["daemon", "daemon_version", "daemon_program", "descriptor_store", "ecosystem_process", "ledger_journal"]
    {
        assert_status(&running, name, "ok");
    }
    let table = place.run(&["doctor"]).succeeded().stdout;
    assert!(table.contains("✓ ok") && table.lines().last().unwrap().starts_with("0 problems, "), "{table}");
    let lines = place.run(&["--format", "jsonl", "doctor"]).succeeded().stdout;
    assert_eq!(lines.lines().count(), running["checks"].as_array().unwrap().len());
}

#[test]
fn a_directory_that_others_may_read_is_a_problem() {
    let place = Place::new();
    place.run_script(&[], "true").succeeded();
    place.stop_daemon();
    fs::set_permissions(place.ledger(), fs::Permissions::from_mode(0o755)).unwrap();
    let (document, code) = doctor(&place);
    fs::set_permissions(place.ledger(), fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!((problems(&document), code), (vec!["ledger_directory"], 1));
    let remedy = check(&document, "ledger_directory")["remedy"].as_str().unwrap();
    assert_eq!(remedy, format!("chmod 0700 {}", place.ledger().display()));
}

#[test]
fn a_directory_that_cannot_be_a_ledger_is_one_problem() {
    let place = Place::new();
    fs::write(place.path("file"), "").unwrap();
    let (document, code) = judged(place.run(&["--format", "json", "--ledger", "file", "doctor"]));
    assert_eq!((problems(&document), code), (vec!["ledger_directory"], 1), "{document}");
}

#[test]
fn a_launch_file_that_others_may_read_is_a_problem() {
    let place = Place::supervising(ECOSYSTEM);
    let file = fs::read_dir(place.ledger().join("launch")).unwrap().next().unwrap().unwrap().path();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(problems(&doctor(&place).0), ["permissions_launch_files"]);
}

#[test]
fn a_damaged_journal_is_a_problem() {
    let place = Place::new();
    place.run_script(&[], "true").succeeded();
    place.stop_daemon();
    let segment = place.ledger().join("journal/0000000001.seg");
    let mut bytes = fs::read(&segment).unwrap();
    // Inside the first commit, after the header of the segment.
    bytes[600] ^= 1;
    fs::write(&segment, bytes).unwrap();
    let (document, code) = doctor(&place);
    assert_eq!(code, 1);
    assert_status(&document, "ledger_journal", "problem");
}

#[test]
fn programs_and_files_that_are_missing_are_problems() {
    let place = Place::new();
    let text = "[[process]]\nname = 'a'\ncommand = '/no/such/program'\n\n[[process]]\nname = 'b'\ncommand = 'true'\ncwd = 'none'\n";
    fs::write(place.path("ecosystem.toml"), text).unwrap();
    let (document, code) = doctor(&place);
    assert_eq!((problems(&document), code), (vec!["ecosystem_process"; 2], 1), "{document}");
    let (document, _) = judged(place.run(&["--format", "json", "doctor", "absent.toml"]));
    assert_eq!(problems(&document), ["ecosystem_file"]);
    let twice = "[[process]]\nname = 'a'\ncommand = 'true'\n[[process]]\nname = 'a'\ncommand = 'true'\n";
    fs::write(place.path("twice.toml"), twice).unwrap();
    let (document, _) = judged(place.run(&["--format", "json", "doctor", "twice.toml"]));
    assert!(check(&document, "ecosystem_file")["message"].as_str().unwrap().contains("two processes"), "{document}");
    assert!(!place.ledger().exists(), "nothing is written");
}

#[test]
fn a_stale_socket_is_a_note_and_a_directory_in_its_place_a_problem() {
    let place = Place::new();
    place.run_script(&[], "true").succeeded();
    place.stop_daemon();
    let socket = place.ledger().join("daemon.sock");
    let _ = fs::remove_file(&socket);
    drop(UnixListener::bind(&socket).unwrap());
    let (document, code) = doctor(&place);
    assert_status(&document, "socket_daemon", "note");
    assert_eq!(code, 0);
    fs::remove_file(&socket).unwrap();
    fs::create_dir(&socket).unwrap();
    let (document, code) = doctor(&place);
    fs::remove_dir(&socket).unwrap();
    assert_eq!((problems(&document), code), (vec!["socket_daemon"], 1), "{document}");
}

#[test]
fn a_low_limit_on_open_files_is_a_problem() {
    let place = Place::supervising(ECOSYSTEM);
    let daemon = place.daemon().unwrap();
    limit(daemon, Resource::Nofile, Some(100));
    let (document, _) = doctor(&place);
    limit(daemon, Resource::Nofile, None);
    assert_eq!(problems(&document), ["limit_daemon_open_files"], "{document}");
    let own = place.command(&["--format", "json", "doctor"]);
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -n 32; exec \"$@\"", "sh"]).arg(own.get_program()).args(own.get_args());
    shell.current_dir(place.path("")).env("APM2_LEDGER_DIR", place.ledger());
    let (document, code) = judged(finish(&mut shell));
    assert_eq!((problems(&document), code), (vec!["limit_open_files"], 1), "{document}");
}

#[test]
fn a_daemon_whose_program_was_removed_is_a_problem() {
    let place = Place::new();
    let copy = place.path("apm2-ledger");
    fs::copy(env!("CARGO_BIN_EXE_apm2-ledger"), &copy).unwrap();
    let mut daemon =
        Command::new(&copy).args(["--ledger".as_ref(), place.ledger().as_os_str(), "daemon".as_ref()]).spawn().unwrap();
    let pid = daemon.id();
    wait_until("the daemon answers", || {
        (check(&doctor(&place).0, "daemon")["message"].as_str()?.contains("answers")).then_some(())
    });
    assert_status(&doctor(&place).0, "daemon_program", "ok");
    fs::remove_file(&copy).unwrap();
    let (document, code) = doctor(&place);
    place.run(&["daemon", "--stop"]).succeeded();
    daemon.wait().unwrap();
    assert!(gone(pid));
    assert_eq!((problems(&document), code), (vec!["daemon_program"], 1), "{document}");
}

#[test]
fn a_stopped_daemon_and_a_killed_one_are_found() {
    let place = Place::supervising(ECOSYSTEM);
    let pid = place.daemon().unwrap();
    crate::support::send(pid, nix::sys::signal::Signal::SIGSTOP);
    let (document, code) = doctor(&place);
    crate::support::send(pid, nix::sys::signal::Signal::SIGCONT);
    assert_eq!(code, 1);
    assert_status(&document, "daemon", "problem");
    let (document, code) = judged(place.run(&["--offline", "--format", "json", "doctor"]));
    assert_eq!(code, 0);
    assert!(check(&document, "daemon")["message"].as_str().unwrap().contains("not asked"), "{document}");
    place.kill_daemon();
    let (document, _) = doctor(&place);
    assert_status(&document, "daemon", "note");
    assert_status(&document, "socket_daemon", "note");
    // The next daemon adopts the process, and ends it with the test.
    place.run(&["up"]).succeeded();
}
