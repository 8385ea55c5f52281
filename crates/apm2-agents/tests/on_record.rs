//! What a reader makes of the record: the new part of cumulative figures, and a run that a supervisor takes over.

use apm2_agents::{
    reader::AgentReader,
    record::{OnRecord, SessionOnRecord},
};
use apm2_model::{
    event::agent::{event::AgentEvent, label::Label, usage::TokenUsage},
    spec::agent_kind::AgentKind,
};

use crate::support::{Capture, capture, captures, exit_code, on_record, read, text, time};

/// All events of a run that begins with this record.
fn events_of(capture: &Capture, record: OnRecord) -> Vec<AgentEvent> {
    let mut reader = AgentReader::new(capture.kind(), 0);
    reader.begin_run(record);
    let lines = capture.lines();
    let mut events = read(&mut reader, &lines, 0);
    events.extend(reader.end(capture.exit.as_ref(), false, time(lines.len())));
    events
}

/// The record of the session of a run, for the next run.
fn session_after(capture: &Capture, before: &OnRecord) -> OnRecord {
    let events = events_of(capture, before.clone());
    OnRecord { session: on_record(before, &events).session, run: None }
}

fn turn(events: &[AgentEvent]) -> (u64, u64, Option<u64>) {
    events
        .iter()
        .find_map(|event| match event {
            AgentEvent::TurnEnded { usage, cost_micros, .. } => Some((usage.input, usage.output, *cost_micros)),
            _ => None,
        })
        .expect("a turn has ended")
}

fn is_resumed(events: &[AgentEvent]) -> bool {
    events.iter().any(|event| matches!(event, AgentEvent::SessionStarted { is_resumed: true, .. }))
}

#[test]
fn totals_of_a_session_are_recorded_once() {
    let cases = [
        ("codex-0.169.0", "warn", "resume_ok", (2000, 84, None)),
        ("claude-code-2.1.332", "sidkill3", "sidkill4", (3000, 84, Some(11_800))),
        ("claude-code-2.1.332", "sig_kill", "resume_after_kill", (3000, 84, Some(11_800))),
        ("claude-code-2.1.197", "ok", "resume_ok", (3000, 84, Some(14_900))),
        ("gemini-cli-0.61.0", "sig_kill", "resume_after_kill", (2000, 98, None)),
    ];
    for (agent, first, second, figures) in cases {
        let record = session_after(&capture(agent, first), &OnRecord::default());
        let events = events_of(&capture(agent, second), record);
        assert_eq!(turn(&events), figures, "{agent} {second}");
        assert!(is_resumed(&events), "{agent} {second}");
    }
}

#[test]
fn totals_of_a_process_that_reach_those_of_the_session_are_not_reduced() {
    // Claude Code 2.1.197 counts from 0 in each process. The session has used as much before as this run.
    let usage = TokenUsage { input: 3000, output: 84, cache_read: 600, cache_creation: 400, reasoning: 0 };
    let capture = capture("claude-code-2.1.197", "resume_ok");
    let id = Label::new("a7ad0c31-c2eb-4be8-915b-eb3c07366853").unwrap();
    let session = Some(SessionOnRecord { id, usage, cost_micros: 14_900 });
    assert_eq!(turn(&events_of(&capture, OnRecord { session, run: None })), (3000, 84, Some(14_900)));
}

#[test]
fn another_session_than_the_one_on_record_is_not_resumed() {
    let record = session_after(&capture("codex-0.169.0", "warn"), &OnRecord::default());
    let events = events_of(&capture("codex-0.169.0", "resume_bad_sid"), record);
    assert!(!is_resumed(&events));
    assert_eq!(turn(&events), (2000, 84, None));
}

#[test]
fn a_second_run_of_a_reader_begins_anew() {
    let capture = capture("claude-code-2.1.332", "bgtask");
    let mut reader = AgentReader::new(capture.kind(), 0);
    let lines = capture.lines();
    let mut last = Vec::new();
    for _ in 0..2 {
        reader.begin_run(OnRecord::default());
        assert_eq!((reader.background_tasks(), reader.loop_count()), (0, 0));
        last = read(&mut reader, &lines, 0);
        assert_eq!((reader.background_tasks(), reader.loop_count()), (1, 1));
        assert!(reader.end(Some(&exit_code(0)), true, time(9)).is_empty(), "the result is recorded already");
    }
    assert_eq!(last, read_all(&capture));
}

fn read_all(capture: &Capture) -> Vec<AgentEvent> {
    let mut reader = AgentReader::new(capture.kind(), 0);
    reader.begin_run(OnRecord::default());
    read(&mut reader, &capture.lines(), 0)
}

/// Events that a takeover may repeat or lose: the state of retries, of limits and of skipped lines is in memory only.
fn is_certain(event: &AgentEvent) -> bool {
    !matches!(
        event,
        AgentEvent::Retrying { .. }
            | AgentEvent::RateLimited { .. }
            | AgentEvent::LinesSkipped(_)
            | AgentEvent::BackgroundChanged { .. }
    )
}

/// The event without what is lost with the memory: the tokens of the messages of a turn in progress, and the reason of a failure that
/// only an earlier line has.
fn essence(kind: AgentKind, event: &AgentEvent) -> String {
    let text = text(event);
    match event {
        AgentEvent::Finished { outcome, turns, tool_calls, denials, is_reported, .. } => {
            format!("{outcome:?} {turns} {tool_calls} {denials} {is_reported}")
        }
        AgentEvent::TurnEnded { turn, outcome, .. } if kind == AgentKind::OpenCode => format!("{turn} {outcome:?}"),
        AgentEvent::Failed { .. } => "failed".to_owned(),
        AgentEvent::ToolEnded { duration_ms: Some(ms), .. } => text.replace(&format!(" ms={ms}"), ""),
        _ => text,
    }
}

#[test]
fn a_run_that_is_taken_over_at_any_line_has_the_same_events() {
    for capture in captures() {
        let lines = capture.lines();
        let whole: Vec<String> = events_of(&capture, OnRecord::default())
            .iter()
            .filter(|event| is_certain(event))
            .map(|event| essence(capture.kind(), event))
            .collect();
        for at in 0..=lines.len() {
            let (before, after) = lines.split_at(at);
            let mut first = AgentReader::new(capture.kind(), 0);
            first.begin_run(OnRecord::default());
            let mut events = read(&mut first, before, 0);
            let mut second = AgentReader::new(capture.kind(), 0);
            second.begin_run(on_record(&OnRecord::default(), &events));
            assert_eq!(first.phase(), second.phase(), "{} {} at {at}", capture.agent, capture.run);
            assert_eq!(first.tool_in_progress(), second.tool_in_progress());
            assert_eq!(first.background_tasks(), second.background_tasks());
            events.extend(read(&mut second, after, at));
            events.extend(second.end(capture.exit.as_ref(), false, time(lines.len())));
            let joined: Vec<String> =
                events.iter().filter(|event| is_certain(event)).map(|event| essence(capture.kind(), event)).collect();
            assert_eq!(joined, whole, "{} {} at {at}", capture.agent, capture.run);
        }
    }
}
