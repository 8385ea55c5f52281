//! No event has a content: all text of the captures that is not a name is replaced by a mark, which must not come out.

use apm2_agents::{reader::AgentReader, record::OnRecord};
use apm2_model::{event::kind::OutputSource, spec::agent_kind::AgentKind};
use serde_json::{Value, json};

use crate::support::{Capture, captures, text, time};

const MARK: &str = "CANARY";

/// Members whose value is a name, an identifier or a word of the agent. All others are contents.
const NAMES: [&str; 34] = [
    "type",
    "subtype",
    "session_id",
    "sessionID",
    "thread_id",
    "id",
    "model",
    "claude_code_version",
    "qwen_code_version",
    "permissionMode",
    "permission_mode",
    "name",
    "status",
    "tool_use_id",
    "parent_tool_use_id",
    "api_message_id",
    "tool_name",
    "tool_id",
    "callID",
    "tool",
    "server",
    "error",
    "api_error",
    "terminal_reason",
    "decision",
    "reason_type",
    "decision_reason_type",
    "rateLimitType",
    "task_id",
    "reason",
    "role",
    "severity",
    "timestamp",
    "backgroundTaskId",
];

/// Members whose value is prose that decides the class: the mark is put behind it.
const PROSE: [&str; 4] = ["message", "result", "errors", "responseBody"];

/// Members whose values are contents at any depth, whatever the keys in them.
const OPAQUE: [&str; 10] = [
    "input",
    "parameters",
    "arguments",
    "tool_input",
    "tool_use_result",
    "output",
    "aggregated_output",
    "tools",
    "stdout",
    "stderr",
];

fn mark(value: &mut Value, key: &str, is_opaque: bool) {
    match value {
        Value::String(text) if is_opaque => *text = MARK.to_owned(),
        Value::String(text) if PROSE.contains(&key) => text.push_str(&format!(" {MARK} \"{MARK}\"")),
        Value::String(text) if !NAMES.contains(&key) => *text = format!("{MARK} \u{1f600} \"quoted\" \\ {MARK}"),
        Value::Array(values) => values.iter_mut().for_each(|value| mark(value, key, is_opaque)),
        Value::Object(members) => {
            for (key, value) in members.iter_mut() {
                mark(value, key, is_opaque || OPAQUE.contains(&key.as_str()));
            }
            members.insert(MARK.to_owned(), json!({ "text": MARK, "email": MARK, "type": MARK }));
        }
        _ => {}
    }
}

fn marked(capture: &Capture) -> Vec<(OutputSource, Vec<u8>)> {
    let mark_line = |(source, line): (OutputSource, &[u8])| {
        let line = match serde_json::from_slice::<Value>(line) {
            Ok(mut value) => {
                mark(&mut value, "", false);
                value.to_string().into_bytes()
            }
            Err(_) => [line, b" ", MARK.as_bytes()].concat(),
        };
        (source, line)
    };
    capture.lines().into_iter().map(mark_line).collect()
}

#[test]
fn no_event_of_a_captured_run_has_a_content() {
    let mut number_of_events = 0;
    for capture in captures() {
        let lines = marked(&capture);
        for kind in AgentKind::ALL {
            let mut reader = AgentReader::new(kind, 0);
            reader.begin_run(OnRecord::default());
            let mut events = Vec::new();
            for (number, (source, line)) in lines.iter().enumerate() {
                events.extend(reader.line(*source, line, false, time(number)));
                events.extend(reader.line(*source, &line[..line.len() / 2], true, time(number)));
                let state = format!("{reader:?}");
                assert!(!state.contains(MARK), "{} {}: {state}", capture.agent, capture.run);
            }
            events.extend(reader.end(capture.exit.as_ref(), false, time(lines.len())));
            number_of_events += events.len();
            for event in &events {
                assert!(!format!("{event:?}").contains(MARK), "{} {}: {event:?}", capture.agent, capture.run);
            }
        }
    }
    assert!(number_of_events > 1000, "{number_of_events}");
}

/// The marks change nothing else: the class of each failure is still found.
#[test]
fn the_events_of_a_captured_run_do_not_depend_on_contents() {
    for capture in captures() {
        let mut plain = AgentReader::new(capture.kind(), 0);
        let mut with_marks = AgentReader::new(capture.kind(), 0);
        for (number, ((source, line), (_, marked))) in capture.lines().into_iter().zip(marked(&capture)).enumerate() {
            let names = |events: Vec<_>| events.iter().map(|event| without_sizes(&text(event))).collect::<Vec<_>>();
            let expected = names(plain.line(source, line, false, time(number)));
            let found = names(with_marks.line(source, &marked, false, time(number)));
            assert_eq!(found, expected, "{} {}", capture.agent, capture.run);
        }
    }
}

fn without_sizes(text: &str) -> String {
    let is_size = |word: &&str| word.starts_with("input=") || word.starts_with("output=") || word.starts_with("exit=");
    text.split(' ').filter(|word| !is_size(word)).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_command_in_the_place_of_a_name_is_not_taken() {
    let command = "rm -rf CANARY";
    let lines = [
        (
            AgentKind::ClaudeCode,
            json!({"type": "assistant", "session_id": "s", "message": {"id": "m", "content": [
            {"type": "tool_use", "id": command, "name": command, "input": {}}]}}),
        ),
        (AgentKind::Gemini, json!({"type": "tool_use", "tool_name": command, "tool_id": command, "parameters": {}})),
        (
            AgentKind::Codex,
            json!({"type": "item.started", "item": {"id": command, "type": "mcp_tool_call",
            "server": command, "tool": command}}),
        ),
        (
            AgentKind::OpenCode,
            json!({"type": "tool_use", "sessionID": command, "part": {"tool": command,
            "callID": command, "state": {"status": "completed", "title": command}}}),
        ),
        (
            AgentKind::Custom,
            json!({"apm2": 1, "event": "tool_started", "call_id": command, "tool": command,
            "mcp_server": command, "parent_call_id": command}),
        ),
    ];
    for (kind, line) in lines {
        let mut reader = AgentReader::new(kind, 0);
        let events = reader.line(OutputSource::Stdout, line.to_string().as_bytes(), false, time(0));
        let shown = format!("{events:?}");
        assert!(!shown.contains("CANARY"), "{shown}");
        assert!(shown.contains("unnamed"), "the call is recorded without its name: {shown}");
    }
}
