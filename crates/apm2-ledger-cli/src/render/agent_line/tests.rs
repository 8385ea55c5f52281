//! Lines as the agents print them, and what must not reach a terminal.

use super::*;

fn all(lines: &str) -> Vec<String> {
    lines.lines().map(|line| pretty(line).unwrap_or_else(|| panic!("{line}"))).filter(|text| !text.is_empty()).collect()
}

/// The captured run of an agent that was asked to run `echo hi`.
fn captured(agent: &str) -> Vec<String> {
    let captures = concat!(env!("CARGO_MANIFEST_DIR"), "/../apm2-agents/tests/captures");
    all(&std::fs::read_to_string(format!("{captures}/{agent}/ok.jsonl")).unwrap())
}

#[test]
fn a_captured_run_of_each_agent_reads_like_a_conversation() {
    let claude = captured("claude-code-2.1.332");
    let expected = ["I will run it.", "→ Bash: echo hi", "← ok, 2 B", "It said hi. Done."];
    assert_eq!(claude.iter().skip(1).take(4).collect::<Vec<_>>(), expected);
    assert_eq!(claude[0], "= session d43c9386-1a4d-4b29-8f09-0bc5400b36a5, model claude-opus-5-5");
    assert_eq!(claude[5], "= success, 2 turns, 3,000 tokens in, 84 out, $0.01");
    let codex = captured("codex-0.169.0");
    assert_eq!(
        codex[2..],
        [
            "~ **Thinking** about it",
            "→ command_execution: /bin/bash -lc 'echo hi'",
            "← ok, 3 B",
            "It said hi. Done.",
            "= success, 2,000 tokens in, 84 out",
        ]
    );
    assert!(codex[1].starts_with("! Model metadata"), "{codex:?}");
    let gemini = captured("gemini-cli-0.61.0");
    assert_eq!(
        gemini[1..],
        [
            "> run echo hi",
            "I will run it.",
            "→ run_shell_command: echo hi",
            "← ok, 2 B",
            "It said hi. Done.",
            "= success, 3,000 tokens in, 126 out",
        ]
    );
    let opencode = captured("opencode-1.18.33");
    assert_eq!(
        opencode,
        [
            "I will run it.",
            "→ bash: echo hi\n← ok, 3 B",
            "It said hi. Done.",
            "= success, last step 1,000 tokens in, 42 out, $0.000784",
        ]
    );
    let qwen = captured("qwen-code-0.24.4");
    assert_eq!(qwen.last().unwrap(), "= success, 2 turns, 2,000 tokens in, 84 out");
    assert!(qwen.contains(&"→ run_shell_command: echo hi".to_owned()), "{qwen:?}");
}

#[test]
fn failures_say_why() {
    let claude = r#"{"type":"result","session_id":"s","is_error":true,"num_turns":1,"result":"API Error:\n401","total_cost_usd":0}"#;
    let tool = r#"{"type":"user","session_id":"s","message":{"content":[{"type":"tool_result","is_error":true,"content":"no such file"}]}}"#;
    let codex = r#"{"type":"turn.failed","error":{"message":"unexpected status 401"}}"#;
    let item = r#"{"type":"item.completed","item":{"type":"command_execution","aggregated_output":"x","exit_code":7,"status":"failed"}}"#;
    let gemini =
        r#"{"type":"tool_result","timestamp":"t","tool_id":"i","status":"error","error":{"type":"policy_violation"}}"#;
    let custom = r#"{"apm2":1,"event":"finished","outcome":"failure","class":"budget","cost_micros":1500000}"#;
    assert_eq!(
        all(&[claude, tool, codex, item, gemini, custom].join("\n")),
        [
            "= failure, API Error: 401, 1 turn, $0.00",
            "← failed, 12 B",
            "= failure, unexpected status 401",
            "← failed (exit code 7), 1 B",
            "← failed (policy_violation), 0 B",
            "= failure, budget, $1.50",
        ]
    );
}

#[test]
fn other_lines_are_no_lines_of_an_agent() {
    for line in
        ["", "plain text", "{", "{}", "[1]", r#"{"type":"result"}"#, r#"{"level":"info","type":"user"}"#, "2 {x"]
    {
        assert_eq!(pretty(line), None, "{line}");
    }
}

#[test]
fn decoded_text_cannot_steer_a_terminal_and_a_short_text_has_one_line() {
    let line = r#"{"type":"assistant","session_id":"s","message":{"content":[{"type":"text","text":"a\u001b[2Jb\nc"},{"type":"tool_use","name":"B\nash","input":{"command":"one\ntwo\u001b]0;x\u0007"}}]}}"#;
    assert_eq!(pretty(line).unwrap(), "a\\x1b[2Jb\nc\n→ B ash: one two\\x1b]0;x\\x07");
    let long = format!(r#"{{"apm2":1,"event":"tool_started","tool":"{}"}}"#, "x".repeat(1000));
    assert_eq!(pretty(&long).unwrap().chars().count(), SHORT_COLUMNS + "→ ".chars().count());
}

#[test]
fn a_time_stamp_stays_before_the_text() {
    let line = r#"2026-11-26T10:00:00.000Z {"apm2":1,"event":"tool_started","tool":"search"}"#;
    assert_eq!(pretty(line).unwrap(), "2026-11-26T10:00:00.000Z → search");
}

#[test]
fn the_main_argument_is_the_one_that_says_most() {
    let of = |json: &str| main_argument(&serde_json::from_str(json).unwrap());
    assert_eq!(of(r#"{"description":"d","command":"ls"}"#).unwrap(), "ls");
    assert_eq!(of(r#"{"limit":7,"file_path":"/a"}"#).unwrap(), "/a");
    assert_eq!(of(r#"{"command":["ls","-l"]}"#).unwrap(), "ls -l");
    assert_eq!(of(r#"{"n":7,"other":"text"}"#).unwrap(), "text");
    assert_eq!(of(r#"{"n":7}"#).unwrap(), r#"{"n":7}"#);
    assert_eq!(of("{}"), None);
}
