//! Supervised AI agents, played by shell scripts that print the lines of Claude Code: what is recorded of them, and what their
//! reports decide.

use std::{fs, path::Path};

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::support::{Place, wait_until};

/// A text in every place of a line where an agent prints contents.
const CANARY: &str = "canary-in-the-contents";

/// Shell functions that print the lines of a session. `init ID`, `tool ID CALL`, `result ID JSON-members`.
pub(crate) const LINES: &str = r#"
init() { printf '{"type":"system","subtype":"init","session_id":"%s","model":"model-5","tools":["Bash"],"mcp_servers":[],"permissionMode":"default","claude_code_version":"2.1.332","cwd":"/canary-in-the-contents"}\n' "$1"; }
tool() {
  printf '{"type":"assistant","message":{"id":"m-%s","content":[{"type":"tool_use","id":"%s","name":"Bash","input":{"command":"canary-in-the-contents"}}],"usage":{"input_tokens":10,"output_tokens":2}},"session_id":"%s"}\n' "$2" "$2" "$1"
  printf '{"type":"user","message":{"content":[{"type":"tool_result","tool_use_id":"%s","is_error":false,"content":"canary-in-the-contents"}]},"session_id":"%s"}\n' "$2" "$1"
}
limit() { printf '{"type":"rate_limit_event","rate_limit_info":{"status":"rejected","resetsAt":%s,"rateLimitType":"five_hour"},"session_id":"%s"}\n' "$2" "$1"; }
result() { printf '{"type":"result","result":"canary-in-the-contents","session_id":"%s",%s}' "$1" "$2"; }
"#;

pub(crate) const SUCCESS: &str = r#""subtype":"success","is_error":false,"num_turns":1,"total_cost_usd":0.0125,"usage":{"input_tokens":100,"cache_creation_input_tokens":20,"cache_read_input_tokens":3,"output_tokens":7}"#;

/// A daemon that supervises an agent named `a`, which is this script. `$2` is the session in its arguments.
pub(crate) fn agent(script: &str, more: &str) -> Place {
    let place = Place::new();
    fs::write(place.path("agent.sh"), format!("{LINES}\n{script}")).unwrap();
    let ecosystem = format!(
        "[[process]]\nname = 'a'\ncommand = 'sh'\nargs = ['agent.sh', '{{session-args}}']\nrestart = {{ policy = 'on-failure', backoff = '50ms' }}\n{more}\n\
         [process.agent]\nkind = 'claude-code'\nfirst_args = ['--session-id', '{{session}}']\nresume_args = ['--resume', '{{session}}']\n"
    );
    fs::write(place.path("ecosystem.toml"), ecosystem).unwrap();
    place.run(&["up"]);
    place
}

fn reports<'a>(events: &'a [Value], name: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["type"] == "agent" && event["event"] == name).collect()
}

fn state(place: &Place) -> Value {
    place.json(&["list"])[0].clone()
}

fn wait_for_state(place: &Place, wanted: &str) -> Value {
    wait_until(wanted, || Some(state(place)).filter(|state| state["state"] == wanted))
}

/// No file of the ledger has the contents that the agent printed.
fn assert_no_canary(dir: &Path) {
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() && entry.file_name() != "logs" {
            assert_no_canary(&path);
        } else if path.is_file() {
            let bytes = fs::read(&path).unwrap();
            let found = bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes());
            assert!(!found, "{}", path.display());
        }
    }
}

#[test]
fn an_agent_waits_for_its_usage_limit_and_goes_on_with_its_session_also_when_the_daemon_is_killed_meanwhile() {
    let script = format!(
        "if [ ! -e limited ]; then : > limited; init $2; limit $2 $(($(date +%s) + 8)); result $2 '\"subtype\":\"success\",\"is_error\":true,\"api_error_status\":429,\"num_turns\":1,\"total_cost_usd\":0,\"usage\":{{}}'; exit 1; fi\n\
         echo \"$*\" > arguments; init $2; tool $2 toolu_1; result $2 '{SUCCESS}'"
    );
    let place = agent(&script, "");
    let waiting = wait_until("the wait", || Some(state(&place)).filter(|state| !state["restart_at"].is_null()));
    assert_eq!((&waiting["agent"]["outcome"], &waiting["agent"]["class"]), (&"failure".into(), &"rate_limit".into()));
    let time = |value: &Value| value.as_str().unwrap().parse::<DateTime<Utc>>().unwrap();
    let (restart_at, resets_at) = (time(&waiting["restart_at"]), time(&waiting["agent"]["resets_at"]));
    assert!(restart_at >= resets_at && restart_at - resets_at < chrono::TimeDelta::seconds(3), "{waiting}");
    assert!(place.run(&["list"]).succeeded().stdout.contains("waits for its usage limit until"));
    let why = place.run(&["why", "a"]).succeeded().stdout;
    assert!(why.starts_with("a waits for its usage limit until"), "{why}");
    assert!(why.contains("usage limit is reached (HTTP 429); it is reset at"), "{why}");
    place.kill_daemon();
    place.run(&["start", "never"]).left_with(3);
    let ended = wait_for_state(&place, "stopped");
    let resumed = fs::read_to_string(place.path("arguments")).unwrap();
    let session = ended["agent"]["session_id"].as_str().unwrap();
    assert_eq!(resumed.trim(), format!("--resume {session}"));
    let agent = &ended["agent"];
    assert_eq!((&agent["outcome"], &agent["turns"], &agent["tools"]), (&"success".into(), &2.into(), &1.into()));
    assert_eq!((&agent["input_tokens"], &agent["output_tokens"]), (&123.into(), &7.into()), "caches are included");
    assert_eq!(agent["cost_micros"], 12_500);
    let events = place.events("a");
    let chosen = reports(&events, "session_chosen");
    assert_eq!(chosen.len(), 2);
    assert_eq!((&chosen[0]["resumed"], &chosen[1]["resumed"]), (&false.into(), &true.into()));
    assert_eq!(chosen[1]["session_id"], session);
    assert_eq!(reports(&events, "finished").len(), 2, "once for each run");
    place.stop_daemon();
    assert_no_canary(&place.ledger());
    place.run(&["verify"]).succeeded();
}

#[test]
fn the_result_decides_and_not_the_exit_code() {
    // It ends with 0 and without a result, then with 3 after a success.
    let script = format!("init $2; if [ ! -e silent ]; then : > silent; exit 0; fi; result $2 '{SUCCESS}'; exit 3");
    let place = agent(&script, "");
    let ended = wait_until("the success", || {
        Some(state(&place)).filter(|state| state["agent"]["outcome"] == "success" && state["state"] == "crashed")
    });
    assert_eq!((&ended["exit_code"], &ended["restart_count"]), (&3.into(), &1.into()));
    let events = place.events("a");
    let finished = reports(&events, "finished");
    assert_eq!((&finished[0]["outcome"], &finished[0]["reported"]), (&"failure".into(), &false.into()));
    // No restart follows the success.
    let last =
        wait_until("the end", || Some(place.types("a")).filter(|types| !types.contains(&"restart_refused".to_owned())));
    assert_eq!(last.iter().filter(|kind| *kind == "restart_scheduled").count(), 1, "{last:?}");
    assert!(events.iter().all(|event| event["type"] != "output_tail"), "lines of an agent have contents");
}

#[test]
fn an_agent_that_would_fail_in_the_same_way_is_not_restarted() {
    let script = "init $2; result $2 '\"subtype\":\"success\",\"is_error\":true,\"api_error_status\":401,\"num_turns\":1,\"total_cost_usd\":0,\"usage\":{}'; exit 1";
    let place = agent(script, "");
    let refused =
        wait_until("the refusal", || place.events("a").into_iter().find(|event| event["type"] == "restart_refused"));
    assert_eq!((&refused["rule"], &refused["class"]), (&"agent_failed".into(), &"auth".into()));
    let why = place.run(&["why", "a"]).succeeded().stdout;
    assert!(why.contains("another run would fail in the same way: its credentials were refused"), "{why}");
}

#[test]
fn an_agent_whose_daemon_is_killed_in_the_middle_has_the_right_totals_and_each_report_once() {
    let script = format!(
        "init $2; tool $2 toolu_1; : > half; while [ ! -e go ]; do sleep 0.02; done; tool $2 toolu_2; result $2 '{SUCCESS}'"
    );
    for is_dead_meanwhile in [false, true] {
        let place = agent(&script, "");
        wait_until("the first half", || (reports(&place.events("a"), "tool_ended").len() == 1).then_some(()));
        place.kill_daemon();
        if is_dead_meanwhile {
            let pid = u32::try_from(state(&place)["pid"].as_u64().unwrap()).unwrap();
            fs::write(place.path("go"), "").unwrap();
            wait_until("its end", || crate::support::gone(pid).then_some(()));
        }
        place.run(&["start", "never"]).left_with(3);
        fs::write(place.path("go"), "").unwrap();
        let ended = wait_for_state(&place, "stopped");
        let agent = &ended["agent"];
        assert_eq!((&agent["outcome"], &agent["tools"]), (&"success".into(), &2.into()), "{agent}");
        assert_eq!((&agent["input_tokens"], &agent["cost_micros"]), (&123.into(), &12_500.into()));
        let events = place.events("a");
        for (name, count) in [("session_started", 1), ("tool_started", 2), ("tool_ended", 2), ("finished", 1)] {
            assert_eq!(reports(&events, name).len(), count, "{name}, {is_dead_meanwhile}: {events:?}");
        }
        place.stop_daemon();
        assert_no_canary(&place.ledger());
    }
}

#[test]
fn an_agent_under_run_is_recorded_without_an_ecosystem() {
    let place = Place::new();
    fs::write(place.path("agent.sh"), format!("{LINES}\ninit s-1; tool s-1 c-1; result s-1 '{SUCCESS}'")).unwrap();
    let outcome = place.run(&["run", "--name", "a", "--agent", "claude-code", "--", "sh", "agent.sh"]).succeeded();
    assert!(outcome.stdout.contains(CANARY), "its output is passed on");
    let agent = place.json(&["list", "--all"])[0]["agent"].clone();
    assert_eq!((&agent["session_id"], &agent["model"]), (&"s-1".into(), &"model-5".into()), "{agent}");
    assert_eq!(agent["kind"], "claude-code");
}
