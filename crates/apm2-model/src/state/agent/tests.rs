//! Totals, sessions and ends of agents.

use uuid::Uuid;

use super::*;

fn at(seconds: u64) -> Timestamp {
    Timestamp { wall_ns: 0, boot_ns: seconds * 1_000_000_000, boot_id: Uuid::nil() }
}

fn label(text: &str) -> Label {
    Label::new(text).unwrap()
}

fn used(input: u64, output: u64) -> TokenUsage {
    TokenUsage { input, output, ..TokenUsage::default() }
}

fn session(id: &str) -> AgentEvent {
    AgentEvent::SessionStarted {
        session_id: label(id),
        model: Some(label("m")),
        agent_version: None,
        permission_mode: None,
        is_resumed: false,
        mcp_servers: Vec::new(),
    }
}

fn turn(usage: TokenUsage) -> AgentEvent {
    AgentEvent::TurnEnded { turn: 1, usage, cost_micros: Some(7), duration_ms: None, outcome: AgentOutcome::Success }
}

fn finished(usage: TokenUsage, class: Option<FailureClass>) -> AgentEvent {
    let outcome = if class.is_none() { AgentOutcome::Success } else { AgentOutcome::Failure };
    AgentEvent::Finished {
        outcome,
        class,
        is_permanent: false,
        usage,
        cost_micros: None,
        turns: 1,
        tool_calls: 0,
        denials: 0,
        background_tasks: 0,
        is_reported: true,
    }
}

fn applied(state: &mut AgentState, events: impl IntoIterator<Item = AgentEvent>) {
    for event in events {
        let report = AgentReport { agent: AgentKind::Codex, event, read_to: OutputPosition::default() };
        state.apply(&report, at(9));
    }
}

#[test]
fn the_totals_of_a_run_are_counted_once_whether_the_turns_or_the_result_say_them() {
    let mut state = AgentState::new(AgentKind::Codex, at(0));
    applied(&mut state, [session("s"), turn(used(10, 1)), finished(used(10, 1), None)]);
    assert_eq!((state.run.usage, state.run.turns, state.run.cost_micros), (used(10, 1), 1, 7));
    state.begin_run();
    // A turn that was interrupted is in the result only.
    applied(&mut state, [session("s"), finished(used(5, 2), Some(FailureClass::Aborted))]);
    assert_eq!(state.run.usage, used(5, 2));
    assert_eq!(state.all.usage, used(15, 3));
    assert_eq!(state.session.unwrap().totals.usage, used(15, 3));
}

#[test]
fn another_session_begins_with_nothing_used() {
    let mut state = AgentState::new(AgentKind::Codex, at(0));
    applied(&mut state, [session("a"), turn(used(10, 1)), session("b"), turn(used(1, 1))]);
    assert_eq!(state.session.unwrap().totals.usage, used(1, 1));
    assert_eq!(state.all.usage, used(11, 2));
}

#[test]
fn a_limit_after_an_answer_of_the_model_is_the_first_in_a_row_again() {
    let mut state = AgentState::new(AgentKind::Codex, at(0));
    for (output, in_a_row) in [(0, 1), (0, 2), (5, 1), (0, 2)] {
        state.begin_run();
        applied(&mut state, [finished(used(10, output), Some(FailureClass::RateLimit))]);
        assert_eq!(state.limited_runs, in_a_row, "{output}");
    }
}

#[test]
fn runs_that_a_limit_ended_are_counted_in_a_row() {
    let mut state = AgentState::new(AgentKind::Codex, at(0));
    for (class, in_a_row) in [
        (Some(FailureClass::RateLimit), 1),
        (Some(FailureClass::Overloaded), 2),
        (Some(FailureClass::Server), 0),
        (Some(FailureClass::RateLimit), 1),
        (None, 0),
    ] {
        state.begin_run();
        applied(&mut state, [finished(used(0, 0), class)]);
        assert_eq!(state.limited_runs, in_a_row, "{class:?}");
    }
}
