//! What agents used (`cost`), their sessions (`sessions`), their events in the words of the GenAI conventions (`export --as otlp`) and their
//! output as text (`logs --pretty`).

use std::fs;

use serde_json::{Value, json};

use crate::{
    agents::{LINES, SUCCESS, agent},
    support::{Following, Place, wait_until},
};

/// Three agents and a process that is none: `a` had two sessions, one of which ended without a result; `own` reports tokens and
/// no cost.
fn place() -> Place {
    let place = Place::new();
    let run = |name: &str, kind: &str, script: &str| {
        let file = place.path("agent.sh");
        fs::write(file, format!("{LINES}\n{script}")).unwrap();
        place.run(&["run", "--name", name, "--agent", kind, "--", "sh", "agent.sh"])
    };
    run("a", "claude-code", &format!("init s-1; tool s-1 c-1; result s-1 '{SUCCESS}'")).succeeded();
    run("a", "claude-code", &format!("init s-2; tool s-2 c-2; result s-2 '{SUCCESS}'")).succeeded();
    run("a", "claude-code", "init s-2; tool s-2 c-3; exit 1").left_with(1);
    let own = r#"echo '{"apm2":1,"event":"session_started","session_id":"--x"}'
        echo '{"apm2":1,"event":"turn_ended","outcome":"success","input_tokens":1000,"output_tokens":5}'
        echo '{"apm2":1,"event":"finished","outcome":"success"}'"#;
    run("own", "custom", own).succeeded();
    place.run(&["run", "--name", "plain", "--", "true"]).succeeded();
    place
}

fn rows(report: &Value) -> &[Value] {
    report["rows"].as_array().unwrap()
}

fn sum(values: &[Value], name: &str) -> u64 {
    values.iter().filter_map(|value| value[name].as_u64()).sum()
}

#[test]
fn tokens_and_cost_are_added_up_once_by_process_day_and_model() {
    let place = place();
    let cost = place.json(&["cost"]);
    let [a, own] = rows(&cost) else { panic!("{cost}") };
    assert_eq!((&a["name"], &own["name"]), (&json!("a"), &json!("own")));
    // The result of a run contains its turn. A run without a result has what its messages say.
    assert_eq!((&a["input_tokens"], &a["output_tokens"]), (&json!(2 * 123 + 10), &json!(2 * 7 + 2)), "{a}");
    assert_eq!((&a["cost_micros"], &a["tool_calls"]), (&json!(25_000), &json!(3)), "{a}");
    assert_eq!((&own["input_tokens"], &own["cost_micros"], &own["turns"]), (&json!(1000), &Value::Null, &json!(1)));
    assert_eq!(cost["total"]["input_tokens"], 1256);
    let listed = place.json(&["list", "--all", "--name", "a"])[0]["agent"].clone();
    assert_eq!((&listed["input_tokens"], &listed["turns"]), (&a["input_tokens"], &a["turns"]));
    let models = place.json(&["cost", "--by", "model"]);
    let names: Vec<_> = rows(&models).iter().map(|row| (&row["model"], &row["agent"])).collect();
    assert_eq!(names, [(&Value::Null, &json!("custom")), (&json!("model-5"), &json!("claude-code"))]);
    let days = place.json(&["cost", "--by", "day"]);
    assert_eq!((sum(rows(&days), "input_tokens"), &days["total"]), (1256, &cost["total"]));
    assert!(rows(&days)[0]["day"].as_str().unwrap().starts_with("20"), "{days}");
    let table = place.run(&["cost"]).succeeded().stdout;
    let total = table.lines().last().unwrap().split_whitespace().collect::<Vec<_>>();
    assert_eq!((total[0], total[3], total[7]), ("total", "1,256", "$0.03"), "{table}");
    place.run(&["cost", "plain"]).succeeded().said(&["no agent has reported anything"]);
    place.run(&["cost", "--since", "2026-01-31", "--until", "2026-01-30"]).left_with(2);
    place.run(&["cost", "nothing"]).left_with(3);
}

#[test]
fn a_period_that_begins_in_a_run_has_what_the_run_used_in_it() {
    let place = place();
    let events = place.events("a");
    let turn = events.iter().rfind(|event| event["event"] == "turn_ended").unwrap()["seq"].to_string();
    let before = place.json(&["cost", "a", "--until", &turn])["total"].clone();
    let after = place.json(&["cost", "a", "--since", &turn])["total"].clone();
    assert_eq!((&before["input_tokens"], &before["cost_micros"]), (&json!(246), &json!(25_000)));
    // Not the 123 tokens that the result after it repeats, but the 10 of the next run.
    assert_eq!((&after["input_tokens"], &after["turns"], &after["tool_calls"]), (&json!(10), &json!(0), &json!(1)));
}

#[test]
fn each_session_is_listed_with_its_runs_and_the_command_that_goes_on_with_it() {
    let place = place();
    let sessions = place.json(&["sessions"]);
    let ids: Vec<_> = sessions.as_array().unwrap().iter().map(|session| &session["session_id"]).collect();
    assert_eq!(ids, ["--x", "s-2", "s-1"], "the latest first");
    let [own, second, first] = sessions.as_array().unwrap().as_slice() else { panic!("{sessions}") };
    assert_eq!((&own["resume"], &own["cost_micros"]), (&Value::Null, &Value::Null));
    assert_eq!(second["resume"], json!(["claude", "--resume", "s-2"]));
    assert_eq!((&second["runs"], &second["input_tokens"]), (&json!(2), &json!(133)), "{second}");
    assert_eq!((&second["outcome"], &first["outcome"]), (&json!("failure"), &json!("success")));
    assert_eq!((&first["runs"], &first["turns"], &first["model"]), (&json!(1), &json!(1), &json!("model-5")));
    assert!(first["last_seen"].as_str() < second["first_seen"].as_str(), "{sessions}");
    let table = place.run(&["sessions", "a", "-n", "1"]).succeeded().stdout;
    let lines: Vec<_> = table.lines().collect();
    assert!(lines.len() == 3 && lines[1].starts_with("a     claude-code  model-5"), "{table}");
    assert_eq!(lines[2], "  claude --resume s-2");
    assert!(place.run(&["sessions", "own"]).succeeded().stdout.ends_with("\n  session --x\n"));
    place.run(&["sessions", "plain"]).succeeded().said(&["no session of an agent is on record"]);
}

#[test]
fn the_command_that_goes_on_with_a_session_needs_no_prompt() {
    let place = Place::new();
    for (agent, line, resume) in [
        ("codex", r#"{"type":"thread.started","thread_id":"s-1"}"#, json!(["codex", "resume", "s-1"])),
        ("opencode", r#"{"type":"step_start","sessionID":"s-1"}"#, json!(["opencode", "--session", "s-1"])),
    ] {
        place.run(&["run", "--name", agent, "--agent", agent, "--", "echo", line]);
        assert_eq!(place.json(&["sessions", agent])[0]["resume"], resume);
    }
}

#[test]
fn a_resumed_session_is_one_session_in_each_way_of_reading() {
    let script = format!(
        "init $2; if [ ! -e once ]; then : > once; tool $2 c-1; exit 1; fi; tool $2 c-2; result $2 '{SUCCESS}'"
    );
    let place = agent(&script, "");
    wait_until("the success", || (place.json(&["list", "--all"])[0]["agent"]["outcome"] == "success").then_some(()));
    let sessions = place.json(&["sessions"]);
    let [session] = sessions.as_array().unwrap().as_slice() else { panic!("{sessions}") };
    assert_eq!(
        (&session["runs"], &session["outcome"], &session["tool_calls"]),
        (&json!(2), &json!("success"), &json!(2))
    );
    wait_until("the end", || place.types("a").contains(&"stopped".to_owned()).then_some(()));
    let last = place.json(&["tail", "-n", "1"])[0]["seq"].to_string();
    for args in [&["sessions"][..], &["cost", "--until", &last], &["cost", "a", "--by", "model", "--until", &last]] {
        assert_eq!(place.json(args), place.json(&[&["--offline"], args].concat()), "{args:?}");
    }
}

/// The attributes of a log record by their names.
fn attribute<'a>(record: &'a Value, name: &str) -> Option<&'a Value> {
    let all = record["attributes"].as_array().unwrap();
    all.iter().find(|attribute| attribute["key"] == name).map(|attribute| &attribute["value"])
}

fn records(place: &Place, more: &[&str]) -> Vec<Value> {
    let text = place.run(&[&["export", "--as", "otlp", "--type", "agent"], more].concat()).succeeded().stdout;
    let requests = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    requests
        .flat_map(|request| request["resourceLogs"][0]["scopeLogs"][0]["logRecords"].as_array().unwrap().clone())
        .collect()
}

#[test]
fn reports_are_exported_in_the_words_of_the_genai_conventions() {
    let place = place();
    let all = records(&place, &[]);
    let named = |name: &str| -> Vec<&Value> {
        all.iter().filter(|record| attribute(record, "apm2.event") == Some(&json!({ "stringValue": name }))).collect()
    };
    let text = |record: &Value, name: &str| {
        attribute(record, name).map(|value| value["stringValue"].as_str().unwrap().to_owned())
    };
    let tool = named("tool_started")[0];
    for (name, value) in [
        ("gen_ai.operation.name", "execute_tool"),
        ("gen_ai.provider.name", "anthropic"),
        ("gen_ai.agent.name", "a"),
        ("gen_ai.conversation.id", "s-1"),
        ("gen_ai.request.model", "model-5"),
        ("gen_ai.tool.name", "Bash"),
        ("gen_ai.tool.call.id", "c-1"),
    ] {
        assert_eq!(text(tool, name).as_deref(), Some(value), "{name}");
    }
    let turn = named("turn_ended")[0];
    assert_eq!(text(turn, "gen_ai.operation.name").unwrap(), "invoke_agent");
    for (name, value) in [
        ("input_tokens", "123"),
        ("output_tokens", "7"),
        ("cache_read.input_tokens", "3"),
        ("cache_creation.input_tokens", "20"),
    ] {
        assert_eq!(attribute(turn, &format!("gen_ai.usage.{name}")), Some(&json!({ "intValue": value })), "{name}");
    }
    // The sum over all records is what was used.
    let used = |records: &[Value]| -> u64 {
        let values = records.iter().filter_map(|record| attribute(record, "gen_ai.usage.input_tokens"));
        values.map(|value| value["intValue"].as_str().unwrap().parse::<u64>().unwrap()).sum()
    };
    assert_eq!(used(&all), 1256);
    let failed = *named("finished").iter().find(|record| attribute(record, "error.type").is_some()).unwrap();
    assert_eq!((&failed["severityText"], text(failed, "error.type").unwrap()), (&json!("ERROR"), "unknown".to_owned()));
    assert_eq!(
        attribute(named("turn_ended").last().unwrap(), "gen_ai.provider.name"),
        None,
        "not known of a custom agent"
    );
    // An extract has the session that began before it.
    let seq = place.events("a").iter().find(|event| event["event"] == "tool_started").unwrap()["seq"].as_u64().unwrap();
    let later = records(&place, &["a", "--since", &(seq - 1).to_string()]);
    assert_eq!(text(&later[0], "gen_ai.conversation.id").unwrap(), "s-1");
    assert_eq!(used(&later), 256);
}

#[test]
fn the_output_of_an_agent_is_shown_as_text_also_while_it_comes() {
    let script = format!(
        "echo plain; init $2; tool $2 c-1; printf '{{\"type\":\"assistant\",\"session_id\":\"s\",\"message\":{{\"content\":[{{\"type\":\"text\",\"text\":\"one\\\\ntwo\\\\u001b[2J\"}}]}}}}\\n'
         : > half; while [ ! -e go ]; do sleep 0.02; done; result $2 '{SUCCESS}'"
    );
    let place = agent(&script, "");
    wait_until("the first half", || place.path("half").exists().then_some(()));
    let wanted = "→ Bash: canary-in-the-contents\n← ok, 22 B\none\ntwo\\x1b[2J\n";
    let shown = wait_until("the first half in the log", || {
        let shown = place.run(&["logs", "a", "--stdout", "--pretty"]).succeeded().stdout;
        shown.contains("two").then_some(shown)
    });
    assert!(shown.starts_with("plain\n= session ") && shown.ends_with(wanted), "{shown}");
    let following = Following::start(&place, &["logs", "a", "--stdout", "--pretty", "-f", "-n", "1"]);
    wait_until("the last line", || following.printed().contains("one\ntwo").then_some(()));
    fs::write(place.path("go"), "").unwrap();
    wait_until("the result", || {
        following.printed().ends_with("= success, 1 turn, 123 tokens in, 7 out, $0.01\n").then_some(())
    });
    assert!(!following.printed().contains("Bash"), "{}", following.printed());
    place.run(&["--format", "json", "logs", "a", "--pretty"]).left_with(2);
    place.run(&["logs", "a", "--pretty", "--raw"]).left_with(2);
}
