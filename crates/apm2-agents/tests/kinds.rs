//! Which agent a program is, and the lines of other agents.

use apm2_agents::{reader::AgentReader, record::OnRecord};
use apm2_model::{event::kind::OutputSource, spec::agent_kind::AgentKind};

use crate::support::{captures, exit_code, read, text, time};

#[test]
fn the_first_line_of_each_captured_run_says_the_kind() {
    for capture in captures().iter().filter(|capture| !capture.stdout.is_empty() && capture.run != "notify") {
        for program in ["agent", "/usr/bin/node", "/opt/bin/codex", "gemini"] {
            let mut reader = AgentReader::auto(program, 0);
            reader.begin_run(OnRecord::default());
            let lines = capture.lines();
            let events = read(&mut reader, &lines, 0);
            assert_eq!(reader.kind(), Some(capture.kind()), "{} {} {program}", capture.agent, capture.run);
            let mut fixed = AgentReader::new(capture.kind(), 0);
            let expected = read(&mut fixed, &lines, 0);
            if capture.stderr.is_empty() {
                assert_eq!(events, expected, "{} {} {program}", capture.agent, capture.run);
            }
        }
    }
}

#[test]
fn a_program_that_is_no_agent_has_no_events() {
    for program in ["claude", "codex", "make"] {
        let mut reader = AgentReader::auto(program, 0);
        reader.begin_run(OnRecord::default());
        for line in ["Building ...", "{\"level\":\"info\",\"message\":\"x\"}", "{\"type\":\"log\"}", "", "{"] {
            assert!(reader.line(OutputSource::Stdout, line.as_bytes(), false, time(0)).is_empty());
        }
        assert!(reader.line(OutputSource::Stderr, b"warning: unused", false, time(0)).is_empty());
        for code in [0, 1] {
            assert!(reader.end(Some(&exit_code(code)), false, time(1)).is_empty(), "{program} {code}");
        }
    }
}

#[test]
fn a_refusal_to_start_is_known_by_the_name_of_the_program() {
    let mut reader = AgentReader::auto("/usr/local/bin/claude", 0);
    reader.begin_run(OnRecord::default());
    reader.line(OutputSource::Stderr, b"Error: Session ID 1 is already in use.", false, time(0));
    let events = reader.end(Some(&exit_code(1)), false, time(1));
    assert_eq!(events.len(), 1);
    assert!(text(&events[0]).starts_with("finished failure resume_invalid permanent unreported"), "{events:?}");
    assert_eq!(reader.kind(), Some(AgentKind::ClaudeCode));
}

#[test]
fn a_time_stamp_before_a_line_is_taken_off() {
    let mut reader = AgentReader::auto("agent", 0);
    reader.begin_run(OnRecord::default());
    let line = b"2026-11-25T15:42:29.167Z {\"type\":\"thread.started\",\"thread_id\":\"t\"}\r";
    assert_eq!(reader.line(OutputSource::Stdout, line, false, time(0)).len(), 1);
    assert_eq!(reader.kind(), Some(AgentKind::Codex));
}

#[test]
fn a_custom_agent_has_all_events() {
    let lines = [
        r#"{"apm2":1,"event":"session_started","session_id":"s1","model":"m","agent_version":"1.0","permission_mode":"ask","mcp_servers":[{"name":"git","status":"connected"}]}"#,
        r#"{"apm2":1,"event":"retrying","attempt":1,"attempts_max":3,"delay_ms":500,"http_status":503}"#,
        r#"{"apm2":1,"event":"retrying","attempt":2,"attempts_max":3,"delay_ms":900,"class":"overloaded"}"#,
        r#"{"apm2":1,"event":"rate_limited","status":"warning","window":"day","used_percent":91,"resets_at":"2026-11-26T00:00:00Z"}"#,
        r#"{"apm2":1,"event":"tool_started","call_id":"c1","tool":"bash","input_bytes":12}"#,
        r#"{"apm2":1,"event":"tool_ended","call_id":"c1","ok":false,"exit_code":2,"output_bytes":40}"#,
        r#"{"apm2":1,"event":"permission_denied","tool":"write","reason":"mode"}"#,
        r#"{"apm2":1,"event":"tools_summarized","tools":[{"tool":"read","calls":70,"failed":1}],"period_ms":60000}"#,
        r#"{"apm2":1,"event":"background_changed","background_tasks":2}"#,
        r#"{"apm2":1,"event":"compacted"}"#,
        r#"{"apm2":1,"event":"turn_ended","outcome":"success","input_tokens":100,"output_tokens":20,"cache_read_tokens":30,"cost_micros":1500,"duration_ms":4000}"#,
        r#"{"apm2":1,"event":"failed","class":"budget"}"#,
        r#"{"apm2":1,"event":"finished","outcome":"failure","turns":4}"#,
        r#"{"apm2":1,"event":"unheard_of"}"#,
        r#"{"apm2":2,"event":"compacted"}"#,
    ];
    let mut reader = AgentReader::auto("my-agent", 0);
    reader.begin_run(OnRecord::default());
    let mut events = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        events.extend(reader.line(OutputSource::Stdout, line.as_bytes(), false, time(number)));
    }
    events.extend(reader.end(Some(&exit_code(0)), false, time(lines.len())));
    let report: String = events.iter().map(|event| text(event) + "\n").collect();
    insta::assert_snapshot!("custom", report);
}
