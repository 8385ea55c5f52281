//! Tool calls: too many of them, the same call again, and lines that are cut.

use apm2_agents::{reader::AgentReader, record::OnRecord};
use apm2_model::{
    event::{
        agent::{
            event::{AgentEvent, AgentPhase, SUMMARY_TOOLS_MAX},
            report::{AgentReport, OutputPosition},
        },
        kind::OutputSource,
        timestamp::Timestamp,
    },
    spec::agent_kind::AgentKind,
    state::agent::{AgentState, OPEN_CALLS_MAX},
};
use serde_json::{Value, json};

use crate::support::{text, time};

fn reader(kind: AgentKind) -> AgentReader {
    let mut reader = AgentReader::new(kind, 0);
    reader.begin_run(OnRecord::default());
    reader
}

fn line(reader: &mut AgentReader, line: &Value, now: Timestamp) -> Vec<AgentEvent> {
    reader.line(OutputSource::Stdout, line.to_string().as_bytes(), false, now)
}

fn begin(number: usize, tool: &str, input: &Value) -> Value {
    json!({"type": "assistant", "session_id": "s", "message": {"id": format!("m{number}"), "content": [
        {"type": "tool_use", "id": format!("t{number}"), "name": tool, "input": input}]}})
}

fn end(number: usize, is_error: bool) -> Value {
    json!({"type": "user", "session_id": "s", "message": {"content": [
        {"type": "tool_result", "tool_use_id": format!("t{number}"), "is_error": is_error, "content": "x"}]}})
}

fn summaries(events: &[AgentEvent]) -> Vec<String> {
    events.iter().filter(|event| matches!(event, AgentEvent::ToolsSummarized { .. })).map(text).collect()
}

#[test]
fn above_sixty_calls_a_minute_there_is_a_summary() {
    let mut reader = reader(AgentKind::ClaudeCode);
    let mut events = Vec::new();
    // Two lines for each call: 300 calls in one minute, then one more.
    for number in 0..300 {
        let tool = if number % 2 == 0 { "Read" } else { "Edit" };
        events.extend(line(&mut reader, &begin(number, tool, &json!({})), time(2 * number)));
        events.extend(line(&mut reader, &end(number, number % 4 == 1), time(2 * number + 1)));
    }
    let count = |events: &[AgentEvent], name: &str| events.iter().filter(|event| event.name() == name).count();
    assert_eq!((count(&events, "tool_started"), count(&events, "tool_ended")), (60, 60));
    assert!(summaries(&events).is_empty(), "the minute is not over");
    assert_eq!(reader.phase(), AgentPhase::Model);
    let later = line(&mut reader, &begin(300, "Read", &json!({})), time(600));
    assert_eq!(summaries(&later), ["tools_summarized Read=0/120 Edit=60/120 ms=60000"]);
    assert_eq!(count(&later, "tool_started"), 1, "the next minute has its own calls");
    let end = reader.end(None, false, time(601));
    assert_eq!(summaries(&end), Vec::<String>::new());
    assert!(text(end.last().unwrap()).contains("tools=301"));
}

#[test]
fn calls_without_a_summary_are_summarized_at_the_end() {
    let mut reader = reader(AgentKind::ClaudeCode);
    for number in 0..200 {
        line(&mut reader, &begin(number, &format!("tool{number}"), &json!({})), time(number));
        line(&mut reader, &end(number, false), time(number));
    }
    let events = reader.end(None, true, time(200));
    let Some(AgentEvent::ToolsSummarized { tools, period_ms }) = events.first() else { panic!("{events:?}") };
    assert_eq!((tools.len(), *period_ms), (SUMMARY_TOOLS_MAX, 20_000));
    assert_eq!(tools.iter().map(|count| count.calls).sum::<u32>(), 140);
    assert_eq!((tools[SUMMARY_TOOLS_MAX - 1].tool.as_str(), tools[SUMMARY_TOOLS_MAX - 1].calls), ("other", 109));
}

#[test]
fn the_end_of_a_recorded_call_is_recorded() {
    let mut reader = reader(AgentKind::ClaudeCode);
    let mut events = Vec::new();
    for number in 0..100 {
        events.extend(line(&mut reader, &begin(number, "Task", &json!({ "n": number })), time(0)));
    }
    for number in 0..100 {
        events.extend(line(&mut reader, &end(number, false), time(1)));
    }
    events.extend(reader.end(None, true, time(2)));
    let names: Vec<_> = events.iter().map(AgentEvent::name).collect();
    assert_eq!(names.iter().filter(|name| **name == "tool_started").count(), 60);
    assert_eq!(names.iter().filter(|name| **name == "tool_ended").count(), 60);
    assert_eq!(summaries(&events), ["tools_summarized Task=0/40 ms=200"]);
}

#[test]
fn the_same_call_again_is_counted() {
    let mut reader = reader(AgentKind::ClaudeCode);
    let mut count = |number: usize, tool: &str, input: Value| {
        line(&mut reader, &begin(number, tool, &input), time(number));
        reader.loop_count()
    };
    assert_eq!(count(1, "Bash", json!({"command": "make"})), 1);
    assert_eq!(count(2, "Bash", json!({"command": "make"})), 2);
    assert_eq!(count(2, "Bash", json!({"command": "make"})), 2, "the same line again is not another call");
    assert_eq!(count(3, "Bash", json!({"command": "make"})), 3);
    assert_eq!(count(4, "Bash", json!({"command": "make test"})), 1);
    assert_eq!(count(5, "Read", json!({"command": "make test"})), 1);
}

#[test]
fn calls_in_parallel_and_of_subagents_are_distinguished() {
    let mut reader = reader(AgentKind::ClaudeCode);
    line(&mut reader, &begin(1, "Task", &json!({})), time(0));
    let mut inner = begin(2, "mcp__github__create_issue", &json!({"title": "x"}));
    inner["parent_tool_use_id"] = json!("t1");
    let events = line(&mut reader, &inner, time(1));
    assert_eq!(
        events.iter().map(text).collect::<Vec<_>>(),
        ["tool_started create_issue t2 server=github parent=t1 input=13"]
    );
    assert_eq!(reader.tool_in_progress().unwrap().as_str(), "create_issue");
    line(&mut reader, &end(2, false), time(2));
    assert_eq!((reader.phase(), reader.tool_in_progress().unwrap().as_str()), (AgentPhase::Tool, "Task"));
    let events = line(&mut reader, &end(1, true), time(3));
    assert_eq!(events.iter().map(text).collect::<Vec<_>>(), ["tool_ended Task t1 failed output=3 ms=300"]);
    assert_eq!(reader.phase(), AgentPhase::Model);
}

#[test]
fn a_cut_result_ends_its_call() {
    let content = "\u{e9}\\\"".repeat(700_000);
    let cases = [
        (
            AgentKind::ClaudeCode,
            r#"{"type":"assistant","session_id":"s","message":{"id":"m","content":[{"type":"tool_use","id":"t1","name":"Read"}]}}"#,
            r#"{"type":"user","message":{"role":"user","content":[{"tool_use_id":"t1","type":"tool_result","content":""#,
        ),
        (
            AgentKind::ClaudeCode,
            r#"{"type":"assistant","session_id":"s","message":{"id":"m","content":[{"type":"tool_use","id":"t1","name":"Read"}]}}"#,
            r#"{"type":"user","message":{"role":"user","content":[{"type":"tool_result","content":""#,
        ),
        (
            AgentKind::Codex,
            r#"{"type":"item.started","item":{"id":"t1","type":"command_execution"}}"#,
            r#"{"type":"item.completed","item":{"id":"t1","type":"command_execution","aggregated_output":""#,
        ),
        (
            AgentKind::Gemini,
            r#"{"type":"tool_use","tool_name":"read_file","tool_id":"t1"}"#,
            r#"{"type":"tool_result","tool_id":"t1","status":"success","output":""#,
        ),
    ];
    for (kind, start, result) in cases {
        let mut reader = reader(kind);
        reader.line(OutputSource::Stdout, start.as_bytes(), false, time(0));
        assert_eq!(reader.phase(), AgentPhase::Tool, "{kind}");
        let result = format!("{result}{content}");
        let events = reader.line(OutputSource::Stdout, &result.as_bytes()[..1 << 20], true, time(5));
        let is_end = |event: &AgentEvent| matches!(event, AgentEvent::ToolEnded { output_bytes, duration_ms: Some(500), .. } if *output_bytes > 1_000_000);
        assert!(events.iter().any(is_end), "{kind}: {events:?}");
        assert_ne!(reader.phase(), AgentPhase::Tool, "{kind}");
        let end = reader.end(None, true, time(6));
        assert_eq!(text_of(&end, "lines_skipped"), "lines_skipped unknown=0 invalid=0 cut=1", "{kind}");
    }
}

fn text_of(events: &[AgentEvent], name: &str) -> String {
    events.iter().find(|event| event.name() == name).map(text).unwrap_or_default()
}

#[test]
fn a_cut_result_of_a_run_is_its_result() {
    let mut reader = reader(AgentKind::ClaudeCode);
    let members = r#"{"duration_api_ms":1,"session_id":"s","total_cost_usd":0.5,"usage":{"input_tokens":7,"output_tokens":3},"is_error":false,"num_turns":2,"subtype":"success","result":"xxxx"#;
    let events = reader.line(OutputSource::Stdout, members.as_bytes(), true, time(0));
    assert_eq!(
        text_of(&events, "finished"),
        "finished success in=7 out=3 read=0 creation=0 reasoning=0 cost=500000 turns=2 tools=0 denials=0 background=0"
    );
}

#[test]
fn more_calls_in_progress_than_are_kept_are_counted_once() {
    let mut reader = reader(AgentKind::ClaudeCode);
    let mut state = AgentState::new(AgentKind::ClaudeCode, time(0));
    let count = 5 * OPEN_CALLS_MAX;
    let lines = (0..count).map(|number| begin(number, "Read", &json!({})));
    let lines = lines.chain((0..count).map(|number| end(number, false)));
    // At two seconds a line, each call is recorded.
    for (number, spoken) in lines.enumerate() {
        let now = time(20 * number);
        for event in line(&mut reader, &spoken, now) {
            let report = AgentReport { agent: AgentKind::ClaudeCode, event, read_to: OutputPosition::default() };
            state.apply(&report, now);
        }
    }
    let events = reader.end(None, false, time(40 * count));
    assert!(text(events.last().unwrap()).contains(&format!("tools={count}")));
    for event in events {
        state.apply(
            &AgentReport { agent: AgentKind::ClaudeCode, event, read_to: OutputPosition::default() },
            time(40 * count),
        );
    }
    assert_eq!((state.run.tool_calls, state.open_calls.len()), (u32::try_from(count).unwrap(), 0));
}
