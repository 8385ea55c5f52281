//! No output makes a reader panic, and no output makes its events inconsistent.

use std::{collections::HashSet, sync::OnceLock};

use apm2_agents::{reader::AgentReader, record::OnRecord};
use apm2_model::{
    event::{agent::event::AgentEvent, kind::OutputSource},
    spec::agent_kind::AgentKind,
};
use proptest::prelude::*;

use crate::support::{Capture, captures, time};

fn all() -> &'static [Capture] {
    static CAPTURES: OnceLock<Vec<Capture>> = OnceLock::new();
    CAPTURES.get_or_init(captures)
}

fn run(kind: Option<AgentKind>, lines: &[(OutputSource, Vec<u8>, bool)]) -> Vec<AgentEvent> {
    let mut reader = kind.map_or_else(|| AgentReader::auto("agent", 3600), |kind| AgentReader::new(kind, 3600));
    reader.begin_run(OnRecord::default());
    let mut events = Vec::new();
    for (number, (source, line, is_cut)) in lines.iter().enumerate() {
        events.extend(reader.line(*source, line, *is_cut, time(number)));
    }
    events.extend(reader.end(None, false, time(lines.len())));
    events
}

/// A call ends once, turns are numbered from 1, and the run ends with a result.
fn check(events: &[AgentEvent], is_fixed: bool) {
    let mut open = HashSet::new();
    let mut last_turn = 0;
    for event in events {
        match event {
            AgentEvent::ToolStarted { call, .. } => {
                open.insert(&call.call_id);
            }
            AgentEvent::ToolEnded { call, duration_ms: Some(_), .. } => {
                assert!(open.remove(&call.call_id) || call.tool.as_str() != "unnamed", "{event:?}");
            }
            AgentEvent::TurnEnded { turn, .. } => {
                assert_eq!(*turn, last_turn + 1);
                last_turn = *turn;
            }
            AgentEvent::Finished { outcome, class, .. } => {
                assert_eq!(class.is_none(), *outcome == apm2_model::event::agent::outcome::AgentOutcome::Success);
            }
            _ => {}
        }
    }
    if is_fixed {
        assert!(events.iter().any(|event| matches!(event, AgentEvent::Finished { .. })));
    }
}

fn any_kind() -> impl Strategy<Value = Option<AgentKind>> {
    proptest::option::of(proptest::sample::select(AgentKind::ALL.to_vec()))
}

fn lines_of(index: usize) -> Vec<(OutputSource, Vec<u8>, bool)> {
    let capture = &all()[index % all().len()];
    capture.lines().into_iter().map(|(source, line)| (source, line.to_vec(), false)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_part_of_a_run_in_any_order_is_read(
        kind in any_kind(), index in any::<usize>(), seed in any::<u64>(), length in 0_usize..30,
    ) {
        let mut lines = lines_of(index);
        let mut state = seed | 1;
        for number in (1..lines.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            lines.swap(number, usize::try_from(state >> 33).unwrap() % (number + 1));
        }
        lines.truncate(length);
        check(&run(kind, &lines), kind.is_some());
    }

    #[test]
    fn a_damaged_line_is_read(
        is_right_kind in any::<bool>(), kind in any_kind(), index in any::<usize>(), line in any::<usize>(),
        at in any::<usize>(), byte in any::<u8>(), cut in proptest::option::of(any::<usize>()), is_cut in any::<bool>(),
    ) {
        let mut lines = lines_of(index);
        let kind = if is_right_kind { Some(all()[index % all().len()].kind()) } else { kind };
        let number = line % lines.len().max(1);
        if let Some((_, line, cut_flag)) = lines.get_mut(number) && !line.is_empty() {
            let length = line.len();
            line[at % length] = byte;
            if let Some(cut) = cut {
                line.truncate(cut % length);
                *cut_flag = is_cut;
            }
        }
        check(&run(kind, &lines), kind.is_some());
    }

    #[test]
    fn random_bytes_are_read(kind in any_kind(), lines in proptest::collection::vec(
        (any::<bool>(), proptest::collection::vec(any::<u8>(), 0..200), any::<bool>()), 0..20,
    )) {
        let source = |is_error| if is_error { OutputSource::Stderr } else { OutputSource::Stdout };
        let lines: Vec<_> = lines.into_iter().map(|(is_error, line, is_cut)| (source(is_error), line, is_cut)).collect();
        check(&run(kind, &lines), kind.is_some());
    }

    #[test]
    fn members_with_values_of_any_type_are_read(
        kind in any_kind(),
        lines in proptest::collection::vec(proptest::collection::vec((key(), value()), 0..12), 0..12),
    ) {
        let object = |members: Vec<(&str, String)>| {
            let members: Vec<_> = members.into_iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
            format!("{{{}}}", members.join(",")).into_bytes()
        };
        let lines: Vec<_> = lines.into_iter().map(|line| (OutputSource::Stdout, object(line), false)).collect();
        check(&run(kind, &lines), kind.is_some());
    }
}

/// Keys that the dialects read, some of them twice in a line.
fn key() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(vec![
        "type",
        "type",
        "type",
        "subtype",
        "session_id",
        "sessionID",
        "thread_id",
        "message",
        "item",
        "usage",
        "error",
        "event",
        "part",
        "stats",
        "apm2",
        "event",
        "call_id",
        "tool",
        "tool_id",
        "tool_name",
        "is_error",
        "num_turns",
        "total_cost_usd",
        "modelUsage",
        "model_usage_since_last_result",
        "rate_limit_info",
        "attempt",
        "tasks",
        "permission_denials",
        "tool_result_meta",
        "result",
        "resets_at",
        "status",
        "outcome",
        "class",
        "tools",
    ])
}

fn value() -> impl Strategy<Value = String> {
    let words = [
        "null",
        "true",
        "false",
        "0",
        "-1",
        "1.5",
        "1e999",
        "18446744073709551616",
        "NaN",
        "\"\"",
        "\"\\ud800\"",
        "\"init\"",
        "\"system\"",
        "\"assistant\"",
        "\"user\"",
        "\"result\"",
        "\"stream_event\"",
        "\"success\"",
        "\"error\"",
        "\"turn.failed\"",
        "\"turn.completed\"",
        "\"thread.started\"",
        "\"item.completed\"",
        "\"item.started\"",
        "\"step_finish\"",
        "\"tool_use\"",
        "\"tool_result\"",
        "\"rate_limit_event\"",
        "\"tool_started\"",
        "\"tool_ended\"",
        "\"finished\"",
        "\"turn_ended\"",
        "\"x\"",
        "\"api_retry\"",
        "\"try again at 99:99 PM\"",
        "[]",
        "[1,{}]",
        "{}",
        "[{\"id\":\"x\",\"type\":\"tool_use\"}]",
        "{\"id\":\"x\",\"type\":\"command_execution\"}",
        "{\"id\":\"m\",\"content\":[{\"type\":\"tool_use\",\"id\":\"x\"},{\"type\":\"tool_result\",\"tool_use_id\":\"x\"}]}",
        "{\"input_tokens\":18446744073709551615,\"output_tokens\":18446744073709551615}",
        "{\"m\":{\"inputTokens\":18446744073709551615,\"costUSD\":1e9}}",
        "{\"message\":\"Reconnecting... 4294967295/5\"}",
        "{\"callID\":\"x\",\"tool\":\"t\",\"reason\":\"stop\",\"cost\":-1,\"state\":[]}",
    ];
    proptest::sample::select(words.map(str::to_owned).to_vec())
}

#[test]
fn deep_nesting_and_long_lines_are_read() {
    let deep = "[".repeat(200_000) + &"]".repeat(200_000);
    let long = "x".repeat(1 << 20);
    for kind in AgentKind::ALL {
        for key in ["message", "item", "part", "parameters", "usage", "unknown", "mcp_servers", "modelUsage"] {
            let line = format!("{{\"apm2\":1,\"type\":\"user\",\"{key}\":{deep},\"text\":\"{long}\"}}").into_bytes();
            check(&run(Some(kind), &[(OutputSource::Stdout, line, false)]), true);
        }
        let line = format!("{{\"message\":{}", "{\"message\":".repeat(100_000)).into_bytes();
        check(&run(Some(kind), &[(OutputSource::Stdout, line, true)]), true);
    }
}
