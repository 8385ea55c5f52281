//! The command `why`: the chain of causes of real processes, in each way of reading.

use std::fs;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::{
    fixture,
    support::{Place, gone, send, wait_until},
};

/// The kinds of causes of a process, the newest first. The table has one sentence for each, and every event that is named
/// exists and belongs to the process or to a daemon.
fn causes(place: &Place, name: &str) -> Vec<Value> {
    let why = place.json(&["why", name]);
    assert_eq!((&why["is_cut"], &why["notice"]), (&json!(false), &Value::Null), "{why}");
    let causes = why["causes"].as_array().unwrap().clone();
    let page = place.run(&["why", name]).succeeded().stdout;
    let lines: Vec<_> = page.lines().collect();
    assert_eq!(lines.len(), causes.len() + 1, "{page}");
    assert_eq!(lines[0], why["text"].as_str().unwrap());
    let all = place.run(&["--format", "jsonl", "tail", "-n", "100000"]).succeeded().stdout;
    let all: Vec<Value> = all.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (line, cause) in lines.iter().skip(1).zip(&causes) {
        assert!(line.contains(cause["text"].as_str().unwrap()), "{line}");
        assert!(!line.contains("  ") || line.starts_with("  "), "{line}");
        for seq in cause["seqs"].as_array().unwrap() {
            let event = all.iter().find(|event| event["seq"] == *seq).unwrap_or_else(|| panic!("no event {seq}"));
            let is_of_daemon = event["type"].as_str().unwrap().starts_with("supervisor_");
            assert!(is_of_daemon || event["process_id"] == why["handle"]["id"], "{event}");
        }
    }
    let offline = place.json(&["--offline", "why", name]);
    let last = |why: &Value| why["causes"].as_array().unwrap().last().cloned();
    assert_eq!(last(&offline), last(&why), "the journal gives the same answer");
    causes
}

fn kinds(causes: &[Value]) -> Vec<&str> {
    causes.iter().map(|cause| cause["kind"].as_str().unwrap()).collect()
}

fn wait_for(place: &Place, name: &str, kind: &str) {
    wait_until(kind, || place.types(name).contains(&kind.to_owned()).then_some(()));
}

fn process(name: &str, script: &str, more: &str) -> String {
    format!("[[process]]\nname = '{name}'\ncommand = 'sh'\nargs = ['-c', '''{script}''']\n{more}\n")
}

/// A daemon with processes that may have failed already.
fn with(processes: &[String]) -> Place {
    let place = Place::new();
    fs::write(place.path("ecosystem.toml"), processes.concat()).unwrap();
    place.run(&["up", "--reason", "trial"]);
    place
}

const NEVER: &str = "restart = { policy = 'never' }";
const FOREVER: &str = "while :; do sleep 0.02; done";

#[test]
fn ends_of_runs() {
    let place = with(&[
        process("code", "echo boom >&2; exit 7", NEVER),
        process("killed", FOREVER, NEVER),
        process("done", "exit 0", ""),
        "[[process]]\nname = 'missing'\ncommand = '/nowhere/program'\nrestart = { policy = 'never' }\n".to_owned(),
    ]);
    send(place.pid_of("killed"), Signal::SIGKILL);
    for (name, kind) in [("code", "output_tail"), ("killed", "crashed"), ("done", "stopped"), ("missing", "crashed")] {
        wait_for(&place, name, kind);
    }

    let code = causes(&place, "code");
    assert_eq!(kinds(&code), ["not_restarted", "ended", "started"]);
    assert_eq!((&code[0]["policy"], &code[1]["exit"]["code"]), (&json!("never"), &json!(7)));
    assert_eq!(code[1]["last_line"], json!({"source": "stderr", "line": "boom"}));
    assert_eq!((&code[2]["reason"], &code[2]["actor"]["kind"]), (&json!("trial"), &json!("operator")));

    let killed = causes(&place, "killed");
    assert_eq!(kinds(&killed), ["not_restarted", "ended", "started"]);
    assert_eq!((&killed[1]["exit"]["signal"], &killed[1]["signal_sent"]), (&json!("SIGKILL"), &Value::Null));

    let done = causes(&place, "done");
    assert_eq!((&done[0]["kind"], &done[0]["policy"]), (&json!("not_restarted"), &json!("on-failure")));

    let missing = causes(&place, "missing");
    assert_eq!(kinds(&missing), ["not_restarted", "ended", "started"]);
    assert_eq!((&missing[1]["end"], &missing[1]["spawn_failure"]["errno"]), (&json!("spawn_failed"), &json!(2)));
}

#[test]
fn restarts_refusals_and_waits() {
    let restart = |max: u32, backoff: &str| {
        format!("restart = {{ policy = 'on-failure', max_restarts = {max}, backoff = '{backoff}' }}")
    };
    let place = with(&[
        process("loop", "exit 7", &restart(3, "10ms")),
        process("waits", "exit 3", &restart(3, "1h")),
        process("cancelled", "exit 3", &restart(3, "1h")),
    ]);
    wait_for(&place, "loop", "restart_refused");
    wait_for(&place, "waits", "restart_scheduled");
    wait_for(&place, "cancelled", "restart_scheduled");
    place.run(&["stop", "cancelled", "--reason", "enough"]).succeeded();

    let refused = causes(&place, "loop");
    assert_eq!(kinds(&refused), ["restart_refused", "ended", "restarted_often", "started"]);
    let rule = ["rule", "restarts", "max_restarts", "window_ms"].map(|field| &refused[0][field]);
    assert_eq!(rule, [&json!("budget_spent"), &json!(3), &json!(3), &json!(600_000)]);
    assert_eq!((&refused[2]["restarts"], &refused[2]["ends"][0]["runs"]), (&json!(3), &json!(3)));
    let text = refused[2]["text"].as_str().unwrap();
    assert!(text.contains("Restarted 3 times") && text.contains("exited with code 7 each time"), "{text}");

    let waits = causes(&place, "waits");
    assert_eq!(kinds(&waits), ["restart_due", "ended", "started"]);
    assert_eq!((&waits[0]["attempt"], &waits[0]["delay_ms"]), (&json!(1), &json!(3_600_000)));
    assert_eq!(waits[0]["restart_at"], place.json(&["show", "waits"])["handle"]["restart_at"]);

    let cancelled = causes(&place, "cancelled");
    assert_eq!(kinds(&cancelled), ["start_cancelled", "ended", "started"]);
    assert_eq!((&cancelled[0]["was_scheduled"], &cancelled[0]["reason"]), (&json!(true), &json!("enough")));
}

#[test]
fn what_persons_did() {
    let place =
        with(&[process("stopped", FOREVER, ""), process("changed", FOREVER, ""), process("removed", FOREVER, "")]);
    let running = place.json(&["why", "stopped"]);
    assert_eq!(running["causes"][0]["kind"], "started");
    let seq = running["causes"][0]["seqs"].as_array().unwrap().last().unwrap().to_string();
    place.run(&["stop", "stopped", "--reason", "deploy"]).succeeded();
    place.run(&["down", "--name", "removed", "--reason", "not needed"]).succeeded();
    let changed = process("changed", "while :; do sleep 0.03; done", "");
    fs::write(place.path("ecosystem.toml"), [process("stopped", FOREVER, ""), changed].concat()).unwrap();
    place.run(&["up", "--reason", "faster"]);
    wait_until("it runs again", || (place.json(&["why", "changed"])["handle"]["state"] == "running").then_some(()));
    place.run(&["stop", "stopped", "--reason", "deploy"]);

    let stopped = causes(&place, "stopped");
    assert_eq!(kinds(&stopped).get(..2), Some(&["ended", "stop_requested"][..]));
    assert_eq!((&stopped[1]["signal"], &stopped[1]["reason"]), (&json!("SIGTERM"), &json!("deploy")));
    assert!(stopped[1]["text"].as_str().unwrap().ends_with("with SIGTERM: deploy."), "{}", stopped[1]);
    let before = place.json(&["why", "stopped", "--at", &seq]);
    assert_eq!(before["causes"][0]["kind"], "started", "the state before the stop: {before}");

    let changed = causes(&place, "changed");
    assert_eq!(kinds(&changed), ["started", "spec_changed", "stop_requested"]);
    assert_eq!((&changed[1]["is_applied"], &changed[1]["reason"]), (&json!(true), &json!("faster")));
    assert_eq!(changed[1]["changed"], json!(["args"]));

    let removed = causes(&place, "removed");
    assert_eq!(kinds(&removed), ["removed", "ended", "stop_requested", "started"]);
    assert_eq!(removed[0]["reason"], "not needed");
}

#[test]
fn a_stop_that_needed_sigkill_and_a_scale() {
    let stubborn = "trap \"\" TERM; touch ready; while :; do sleep 0.02; done";
    let place = with(&[
        process("stubborn", stubborn, "shutdown = { timeout = '200ms' }"),
        process("worker", FOREVER, "instances = 2"),
    ]);
    wait_until("its trap is set", || place.path("ready").exists().then_some(()));
    place.run(&["stop", "stubborn", "--reason", "too slow"]).succeeded();
    place.run(&["scale", "worker=1"]).succeeded();

    let killed = causes(&place, "stubborn");
    assert_eq!(kinds(&killed), ["ended", "stop_requested", "started"]);
    let text = killed[0]["text"].as_str().unwrap();
    assert!(text.contains("killed by SIGKILL") && text.contains("SIGKILL was sent"), "{text}");
    assert_eq!(killed[1]["reason"], "too slow");

    let removed = causes(&place, "worker-1");
    assert_eq!(kinds(&removed).get(..3), Some(&["removed", "ended", "stop_requested"][..]));
    let changed = causes(&place, "worker-0");
    assert_eq!((&changed[0]["kind"], &changed[0]["changed"]), (&json!("spec_changed"), &json!(["instances"])));
}

#[test]
fn a_failed_health_check() {
    let health = "health = { check = { script = { command = 'false' } }, interval = '100ms', failure_threshold = 2 }";
    let restart = "restart = { policy = 'on-failure', max_restarts = 0, backoff = '10ms' }";
    let place = with(&[process("sick", FOREVER, &format!("{health}\n{restart}"))]);
    wait_for(&place, "sick", "restart_refused");
    let causes = causes(&place, "sick");
    assert_eq!(kinds(&causes), ["restart_refused", "ended", "stop_requested", "unhealthy", "started"]);
    assert_eq!((&causes[2]["actor"]["kind"], &causes[3]["failures"]), (&json!("health"), &json!(2)));
}

#[test]
fn intervals_without_a_daemon() {
    let place = with(&[
        process("ended", "trap 'exit 137' USR1; touch ready; while :; do sleep 0.02; done", NEVER),
        process("adopted", FOREVER, ""),
    ]);
    wait_until("its trap is set", || place.path("ready").exists().then_some(()));
    let daemon = place.daemon().unwrap();
    let pid = place.pid_of("ended");
    place.kill_daemon();
    let unwatched = &place.json(&["why", "ended"])["causes"][0];
    assert_eq!((&unwatched["kind"], &unwatched["process"]), (&json!("unwatched"), &json!("alive")));
    send(pid, Signal::SIGUSR1);
    wait_until("it has ended", || gone(pid).then_some(()));
    assert_eq!(place.json(&["why", "ended"])["causes"][0]["process"], "gone");
    place.run(&["start", "none"]).left_with(3);
    wait_for(&place, "ended", "end_unobserved");

    let ended = causes(&place, "ended");
    assert_eq!(kinds(&ended), ["not_restarted", "ended", "started"]);
    assert_eq!((&ended[1]["exit"]["code"], &ended[1]["exit"]["evidence"]), (&json!(137), &json!("recovered")));
    let gap = &ended[1]["gap"];
    assert_eq!((&gap["why"], &gap["pid_before"]), (&json!("died"), &json!(daemon)));
    assert_eq!(gap["pid_after"], json!(place.daemon().unwrap()));

    let adopted = causes(&place, "adopted");
    assert_eq!(kinds(&adopted), ["adopted", "started"]);
    assert_eq!((&adopted[0]["gap"]["from"], &adopted[0]["gap"]["why"]), (&gap["from"], &json!("died")));

    place.stop_daemon();
    place.run(&["start", "none"]).left_with(3);
    wait_until("it runs again", || (place.json(&["why", "adopted"])["handle"]["state"] == "running").then_some(()));
    let again = causes(&place, "adopted");
    assert_eq!(kinds(&again), ["started", "ended", "stop_requested"]);
    assert_eq!((&again[0]["trigger"], &again[2]["actor"]["kind"]), (&json!("boot"), &json!("system")));
}

#[test]
fn json_lines_are_causes_and_unknown_names_are_refused() {
    let place = with(&[process("code", "exit 7", NEVER)]);
    wait_for(&place, "code", "crashed");
    let lines = place.run(&["--format", "jsonl", "why", "code"]).succeeded().stdout;
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(json!(lines), place.json(&["why", "code"])["causes"]);
    place.run(&["why", "none"]).left_with(3);
    place.run(&["why", "code", "--at", "1"]).left_with(3);
}

#[test]
fn the_start_of_a_run_with_many_events_is_found_by_its_time() {
    let place = Place::new();
    fixture::write_long(&place.ledger());
    let why = place.json(&["why", "long", "--at", "1003"]);
    assert_eq!((&why["is_cut"], kinds(why["causes"].as_array().unwrap())), (&json!(true), vec!["started"]));
    assert_eq!(why["causes"][0]["seqs"], json!([2, 3]));
    let page = place.run(&["why", "long", "--at", "1003"]).succeeded().stdout;
    assert!(page.ends_with("Earlier causes were left out; `apm2-ledger show long --events all` has all events.\n"));
}

#[test]
fn a_process_is_down_since_its_outage_began_in_each_view() {
    let place = Place::new();
    let absent = "[[process]]\nname = 'absent'\ncommand = '/no/such/program'\nrestart = { policy = 'never' }\n";
    fs::write(place.path("ecosystem.toml"), absent).unwrap();
    place.run(&["up"]).left_with(1);
    let first = place.json(&["why", "absent"])["since"].clone();
    place.run(&["start", "absent"]);
    wait_until("it fails again", || {
        let failed = place.types("absent").iter().filter(|kind| *kind == "crashed").count();
        (failed == 2).then_some(())
    });
    let outage = place.json(&["timeline"])["figures"]["down"][0]["value"]["from"].clone();
    assert_eq!((&place.json(&["why", "absent"])["since"], &outage), (&first, &first));
    assert_eq!(place.json(&["--offline", "why", "absent"])["since"], first);
    let text = place.run(&["why", "absent"]).succeeded().stdout;
    // To the millisecond.
    assert!(text.contains(&format!(", since {}", &first.as_str().unwrap()[..23])), "{text}");
}
