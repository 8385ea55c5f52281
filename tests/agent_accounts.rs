//! The agents of one account wait together for its usage limit, and `doctor` checks an agent before it is left alone.

use std::fs;

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::{
    agents::{LINES, SUCCESS},
    support::{Place, wait_until},
};

fn reports(place: &Place, name: &str, event: &str) -> Vec<Value> {
    let events = place.events(name).into_iter();
    events.filter(|one| one["type"] == "agent" && one["event"] == event).collect()
}

fn time(value: &Value) -> DateTime<Utc> {
    value.as_str().unwrap().parse().unwrap()
}

#[test]
fn the_agents_of_an_account_start_after_its_limit_also_when_the_daemon_is_killed_meanwhile() {
    let place = Place::new();
    let script = format!(
        "{LINES}\nif [ $1 = a ] && [ ! -e limited ]; then : > limited; init s-1; limit s-1 $(($(date +%s) + 10)); \
         result s-1 '\"subtype\":\"success\",\"is_error\":true,\"api_error_status\":429,\"num_turns\":1,\"total_cost_usd\":0,\"usage\":{{}}'; exit 1; fi\n\
         init s-$1; result s-$1 '{SUCCESS}'"
    );
    fs::write(place.path("agent.sh"), script).unwrap();
    let process = |name: &str, account: &str| {
        format!(
            "[[process]]\nname = '{name}'\ncommand = 'sh'\nargs = ['agent.sh', '{name}']\nrestart = {{ policy = 'on-failure', backoff = '50ms' }}\n\
             [process.agent]\nkind = 'claude-code'\naccount = '{account}'\n"
        )
    };
    let first = process("a", "team");
    fs::write(place.path("ecosystem.toml"), &first).unwrap();
    // An agent that meets its limit at once has not failed.
    place.run(&["up"]).succeeded();
    let limited = wait_until("the limit", || reports(&place, "a", "rate_limited").pop());
    let reset = time(&limited["resets_at"]);
    wait_until("the wait", || (!place.json(&["list"])[0]["restart_at"].is_null()).then_some(()));
    let all = format!("{first}{}{}", process("b", "team"), process("c", "other"));
    fs::write(place.path("ecosystem.toml"), all).unwrap();
    let started = place.run(&["up"]).succeeded().stdout;
    assert!(started.contains("b: it waits for a usage limit"), "{started}");
    let waits = wait_until("the wait of the other", || reports(&place, "b", "account_limited").pop());
    assert_eq!((&waits["account"], time(&waits["resets_at"])), (&"team".into(), reset));
    let list = place.run(&["list", "--all"]).succeeded().stdout;
    assert_eq!(list.matches("waits for its usage limit until").count(), 2, "{list}");
    let why = place.run(&["why", "b"]).succeeded().stdout;
    assert!(why.contains("the usage limit of account team is reached; it is reset at"), "{why}");
    wait_until("the agent of another account", || reports(&place, "c", "finished").pop());
    place.kill_daemon();
    place.run(&["start", "never"]).left_with(3);
    for name in ["a", "b"] {
        let finished =
            wait_until(name, || reports(&place, name, "finished").into_iter().find(|end| end["outcome"] == "success"));
        assert!(time(&finished["at"]) >= reset, "{name}: {finished}");
    }
    assert_eq!(reports(&place, "b", "session_started").len(), 1);
    place.stop_daemon();
    place.run(&["verify"]).succeeded();
}

#[test]
fn up_keeps_the_wait_for_a_limit_unless_the_program_changed_and_a_start_by_hand_ends_it() {
    let place = Place::new();
    let script = format!(
        "{LINES}\ninit s-1; limit s-1 $(($(date +%s) + 3600)); \
         result s-1 '\"subtype\":\"success\",\"is_error\":true,\"api_error_status\":429,\"num_turns\":1,\"total_cost_usd\":0,\"usage\":{{}}'; exit 1"
    );
    fs::write(place.path("agent.sh"), script).unwrap();
    let write = |more: &str| {
        let agent = format!(
            "[[process]]\nname = 'a'\ncommand = 'sh'\nargs = ['agent.sh']\nrestart = {{ policy = 'on-failure', backoff = '50ms' }}\n{more}\n\
             [process.agent]\nkind = 'claude-code'\n"
        );
        fs::write(place.path("ecosystem.toml"), agent).unwrap();
    };
    let waits_after_run = |run: u64| {
        wait_until("the wait", || {
            let scheduled = place.events("a").into_iter().rfind(|event| event["type"] == "restart_scheduled");
            scheduled.filter(|event| event["run"] == run)
        });
    };
    let starts = || place.types("a").into_iter().filter(|kind| kind == "start_requested").count();
    write("");
    place.run(&["up"]);
    waits_after_run(1);
    place.run(&["up"]).succeeded();
    assert_eq!(starts(), 1, "the wait stays");
    for (run, order) in [(2, "start"), (3, "restart")] {
        place.run(&[order, "a"]);
        waits_after_run(run);
    }
    write("env = { CHANGED = '1' }");
    place.run(&["up"]);
    waits_after_run(4);
    // The next daemon goes on with a wait that the shutdown of this one interrupted.
    place.stop_daemon();
    place.run(&["up"]).succeeded();
    assert_eq!(starts(), 4, "{:?}", place.types("a"));
    let list = place.run(&["list", "--all"]).succeeded().stdout;
    assert!(list.contains("waits for its usage limit until"), "{list}");
    place.stop_daemon();
    place.run(&["verify"]).succeeded();
}

#[test]
fn an_agent_that_waits_for_its_limit_is_stopped_scaled_renamed_and_removed_like_any_other() {
    let place = Place::new();
    let script = format!(
        "{LINES}\ninit s-1; limit s-1 $(($(date +%s) + 3600)); \
         result s-1 '\"subtype\":\"success\",\"is_error\":true,\"api_error_status\":429,\"num_turns\":1,\"total_cost_usd\":0,\"usage\":{{}}'; exit 1"
    );
    fs::write(place.path("agent.sh"), script).unwrap();
    let write = |name: &str| {
        let agent = format!(
            "[[process]]\nname = '{name}'\ncommand = 'sh'\nargs = ['agent.sh']\n[process.agent]\nkind = 'claude-code'\n"
        );
        fs::write(place.path("ecosystem.toml"), agent).unwrap();
    };
    let waiting = |count: usize| {
        wait_until("the waits", || {
            let list = place.run(&["list"]).succeeded().stdout;
            (list.matches("waits for its usage limit until").count() == count).then_some(())
        });
    };
    let last = |name: &str| place.types(name).pop().unwrap();
    write("a");
    place.run(&["up"]).succeeded();
    waiting(1);
    place.run(&["stop", "a"]).succeeded();
    assert_eq!(
        (last("a"), place.json(&["list", "--all"])[0]["restart_at"].is_null()),
        ("restart_refused".into(), true)
    );
    place.run(&["start", "a"]).succeeded();
    waiting(1);
    // The new instance meets its limit too; the wait of the first one stays.
    place.run(&["scale", "a=2"]).succeeded();
    waiting(2);
    place.run(&["scale", "a=1"]).succeeded();
    waiting(1);
    write("b");
    let renamed = place.run(&["up"]).succeeded().stdout;
    assert!(renamed.contains("remove     a") && renamed.contains("create     b"), "{renamed}");
    assert_eq!([last("a-0"), last("a-1")], ["unregistered", "unregistered"]);
    waiting(1);
    place.run(&["down"]).succeeded();
    assert_eq!(last("b"), "unregistered");
    place.stop_daemon();
    place.run(&["verify"]).succeeded();
}

#[test]
fn doctor_checks_an_agent_before_it_is_left_alone() {
    let place = Place::new();
    let ecosystem = "[[process]]\nname = 'a'\ncommand = 'sh'\nargs = ['-p', '--output-format', 'stream-json', '{session-args}']\n\
                     [process.agent]\nkind = 'claude-code'\n\n[[process]]\nname = 'plain'\ncommand = 'sh'\n";
    fs::write(place.path("ecosystem.toml"), ecosystem).unwrap();
    let outcome = place.run(&["--format", "json", "doctor", "a"]);
    let (document, code) = (outcome.json(), outcome.code);
    let checks = document["checks"].as_array().unwrap();
    let status = |name: &str| checks.iter().find(|check| check["name"] == name).unwrap()["status"].clone();
    assert_eq!(code, 1);
    assert_eq!((status("agent_program"), status("agent_output")), ("ok".into(), "problem".into()), "{document}");
    assert_eq!((status("agent_permissions"), status("agent_budget")), ("problem".into(), "note".into()));
    assert!(checks.iter().all(|check| check["name"].as_str().unwrap().starts_with("agent_")));
    fs::rename(place.path("ecosystem.toml"), place.path("other.toml")).unwrap();
    let file = place.path("other.toml");
    let elsewhere = place.run(&["doctor", "a", "--file", file.to_str().unwrap()]).left_with(1);
    assert!(elsewhere.stdout.contains("add to args: -p --output-format stream-json --verbose"), "{}", elsewhere.stdout);
    let plain = place.run(&["doctor", "plain", "--file", file.to_str().unwrap()]).left_with(3);
    assert!(plain.stderr.contains("has no agent named plain"), "{}", plain.stderr);
}
