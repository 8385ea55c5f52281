//! States when no daemon answers: recorded states are compared with the kernel.

use std::process::Command;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::{
    fixture,
    support::{Place, gone, send, wait_until},
};

/// A process `it` that is supervised and runs, and its pid.
fn supervising() -> (Place, u32) {
    let place = Place::supervising("[[process]]\nname = 'it'\ncommand = 'sleep'\nargs = ['1000']\n");
    let pid = place.pid_of("it");
    (place, pid)
}

fn status_fields(handle: &Value) -> [&Value; 5] {
    ["state", "supervised", "observed", "pid", "uptime_secs"].map(|field| &handle[field])
}

/// A process that ended while no daemon ran is not shown as running.
#[test]
fn a_process_that_ended_without_a_daemon_is_gone() {
    let (place, pid) = supervising();
    place.kill_daemon();
    send(pid, Signal::SIGKILL);
    wait_until("it is gone", || gone(pid).then_some(()));

    let listed = place.run(&["list"]).succeeded().said(&["no daemon runs", "nothing was recorded since"]);
    assert!(listed.stdout.contains("gone (not recorded)") && !listed.stdout.contains("running"), "{}", listed.stdout);
    assert_eq!(listed.stderr.lines().count(), 1, "{}", listed.stderr);
    let shown = place.run(&["show", "it", "--events", "0"]).succeeded().said(&["no daemon runs"]).stdout;
    assert!(shown.contains("gone (not recorded)") && !shown.contains("uptime"), "{shown}");
    let unseen = [&json!("running"), &json!(false), &json!("gone"), &Value::Null, &Value::Null];
    for source in [&[][..], &["--offline"]] {
        let json = |args: &[&str]| place.json(&[source, args].concat());
        assert_eq!(status_fields(&json(&["list"])[0]), unseen);
        assert_eq!(status_fields(&json(&["show", "it"])["handle"]), unseen);
        assert_eq!(status_fields(&json(&["replay"])["handles"][0]), unseen);
    }
    assert_eq!(place.json(&["list", "--state", "running"]), json!([]));
    assert_eq!(place.json(&["list", "--state", "gone"]).as_array().unwrap().len(), 1);
    // Another moment is shown as recorded.
    let then = place.run(&["--format", "json", "list", "--at", "@99999999999"]).succeeded();
    assert_eq!((&then.json()[0]["state"], &then.json()[0]["observed"]), (&json!("running"), &Value::Null));
    then.said(&["no daemon is known to have run then"]);
    // The next daemon records its exit.
    place.run(&["stop", "all"]).succeeded();
    assert_ne!(place.json(&["list"])[0]["state"], "running");
}

#[test]
fn a_process_that_outlives_its_daemon_runs_without_one() {
    let (place, pid) = supervising();
    assert_eq!(
        status_fields(&place.json(&["list"])[0])[..4],
        [&json!("running"), &json!(true), &Value::Null, &json!(pid)]
    );
    assert_eq!(place.run(&["list"]).succeeded().stderr, "");
    place.kill_daemon();
    let listed = place.run(&["list"]).succeeded().said(&["no daemon runs"]);
    assert!(listed.stdout.contains("running (not supervised)"), "{}", listed.stdout);
    let handle = &place.json(&["list", "--state", "running"])[0];
    assert_eq!(status_fields(handle)[..4], [&json!("running"), &json!(false), &json!("alive"), &json!(pid)]);
    assert!(handle["uptime_secs"].is_u64());
    // The next daemon adopts it.
    place.run(&["up"]).succeeded();
    assert_eq!(place.json(&["list"])[0]["supervised"], true);
}

/// The ledger of another machine, or from before a reboot: the states of its processes are unknown.
#[test]
fn what_another_boot_had_running_is_unknown() {
    let place = Place::new();
    fixture::write(&place.ledger());
    let listed = place.run(&["list", "--state", "unknown"]).succeeded().said(&["no daemon runs"]);
    assert!(listed.stdout.contains("unknown (another host or boot)"), "{}", listed.stdout);
    let web = place.json(&["show", "web-1"])["handle"].clone();
    assert_eq!(status_fields(&web), [&json!("running"), &json!(false), &json!("unknown"), &Value::Null, &Value::Null]);
    assert_eq!((&web["cpu_percent"], &web["memory_bytes"]), (&Value::Null, &Value::Null), "a sample of another boot");
}

#[test]
fn a_copy_reports_the_state_of_its_processes() {
    let (place, pid) = supervising();
    let copy = place.path("copy");
    assert!(Command::new("cp").arg("-r").arg(place.ledger()).arg(&copy).status().unwrap().success());
    let of_copy = |args: &[&str]| place.run(&[&["--ledger", copy.to_str().unwrap()], args].concat());
    assert!(of_copy(&["list"]).succeeded().stdout.contains("running (not supervised)"));
    place.run(&["stop", "it"]).succeeded();
    wait_until("it is gone", || gone(pid).then_some(()));
    assert!(of_copy(&["list"]).succeeded().stdout.contains("gone (not recorded)"));
}

#[test]
fn a_daemon_that_does_not_answer_leaves_the_last_known_state() {
    let (place, pid) = supervising();
    let daemon = place.daemon().unwrap();
    send(daemon, Signal::SIGSTOP);
    for args in [&["list"][..], &["show", "it", "--events", "0"]] {
        let outcome = place.run(args).succeeded().said(&["the daemon does not answer", "last known"]);
        assert!(outcome.stdout.contains("running (last known)"), "{}", outcome.stdout);
    }
    send(pid, Signal::SIGKILL);
    wait_until("it is gone", || gone(pid).then_some(()));
    let handle = &place.json(&["list"])[0];
    assert_eq!(status_fields(handle), [&json!("running"), &json!(true), &json!("gone"), &Value::Null, &Value::Null]);
    send(daemon, Signal::SIGCONT);
}
