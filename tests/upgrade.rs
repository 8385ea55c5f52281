//! A ledger of an older version of the program: its launch files are still used.

use std::fs;

use serde_json::Value;

use crate::support::{Place, send, wait_until};

const ECOSYSTEM: &str = "
[[process]]
name = 'a'
command = 'sleep'
args = ['1000']
env = { MODE = 'invented' }
";

/// The only launch file of a ledger.
fn launch_file(place: &Place) -> std::path::PathBuf {
    let entries = fs::read_dir(place.ledger().join("launch")).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    assert_eq!(files.len(), 1, "{files:?}");
    files.remove(0)
}

fn read(place: &Place) -> Value {
    serde_json::from_slice(&fs::read(launch_file(place)).unwrap()).unwrap()
}

/// Kills the daemon, and then its processes. Returns the daemon's pid.
fn lose_all(place: &Place) -> u64 {
    let pid = place.json(&["list"])[0]["pid"].as_u64().unwrap();
    place.kill_daemon();
    send(u32::try_from(pid).unwrap(), nix::sys::signal::Signal::SIGKILL);
    pid
}

/// Waits until a daemon has taken over, and the first process of the list is running and satisfies `is_meant`.
fn wait_for_running(place: &Place, is_meant: impl Fn(&Value) -> bool) -> Value {
    place.run(&["start", "no-such-process"]).left_with(3);
    let found = || Some(place.json(&["list"])[0].clone());
    wait_until("it runs", || found().filter(|handle| handle["state"] == "running" && is_meant(handle)))
}

#[test]
fn a_launch_without_a_version_is_restarted_as_it_was() {
    let place = Place::new();
    fs::write(place.path("ecosystem.toml"), ECOSYSTEM).unwrap();
    place.run(&["up"]).succeeded();
    let mut written = read(&place);
    assert_eq!(written["version"], 1);
    let lost = lose_all(&place);
    // As in version 0: later fields are missing, too.
    let mut launch = written["launch"].take();
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/../../migrations/golden/launch-v0/plain.json");
    let old: Value = serde_json::from_slice(&fs::read(golden).unwrap()).unwrap();
    keep_what_is_in(&mut launch, &old);
    fs::write(launch_file(&place), serde_json::to_vec(&launch).unwrap()).unwrap();
    // The exit of the lost process is recorded shortly after the daemon answers.
    let handle = wait_for_running(&place, |handle| handle["pid"] != lost);
    let environ = fs::read_to_string(format!("/proc/{}/environ", handle["pid"])).unwrap();
    assert!(environ.split('\0').any(|variable| variable == "MODE=invented"), "{environ:?}");
    place.run(&["up"]).succeeded().said(&[]);
    assert_eq!(place.json(&["list"])[0]["pid"], handle["pid"], "it is what it was");
}

fn keep_what_is_in(value: &mut Value, old: &Value) {
    let (Some(fields), Some(known)) = (value.as_object_mut(), old.as_object()) else { return };
    // The name of a variable is not a field.
    if known.keys().any(|key| key == "PATH") || known.is_empty() {
        return;
    }
    fields.retain(|name, _| known.contains_key(name));
    for (name, field) in fields {
        keep_what_is_in(field, &known[name]);
    }
}

#[test]
fn a_launch_of_a_newer_version_is_left_alone_and_said() {
    let place = Place::new();
    fs::write(place.path("ecosystem.toml"), ECOSYSTEM).unwrap();
    place.run(&["up"]).succeeded();
    let newer = r#"{"version":2,"launch":{"all":"new"}}"#;
    let file = launch_file(&place);
    let pid = place.json(&["list"])[0]["pid"].as_u64().unwrap();
    place.kill_daemon();
    fs::write(&file, newer).unwrap();
    // It runs, and is adopted.
    let handle = wait_for_running(&place, |_| true);
    assert_eq!(handle["pid"], pid);
    let log = fs::read_to_string(place.ledger().join("daemon.log")).unwrap();
    assert!(log.contains("it has version 2, and this program reads 0 to 1"), "{log}");
    send(u32::try_from(pid).unwrap(), nix::sys::signal::Signal::SIGKILL);
    wait_until("the refusal", || place.types("a").contains(&"restart_refused".to_owned()).then_some(()));
    place.run(&["start", "a"]).left_with(1).said(&["the values it was launched with are not known"]);
    // Unchanged after one more daemon.
    place.stop_daemon();
    place.run(&["start", "a"]).left_with(1).said(&["the values it was launched with are not known"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), newer);
}
