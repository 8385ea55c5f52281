//! The events of each captured run, by version of the agent.

use std::fmt::Write as _;

use apm2_agents::{reader::AgentReader, record::OnRecord};
use apm2_model::event::agent::event::AgentPhase;

use crate::support::{Capture, captures, read, text, time};

fn report(capture: &Capture) -> String {
    let mut reader = AgentReader::new(capture.kind(), 0);
    reader.begin_run(OnRecord::default());
    let lines = capture.lines();
    let mut events = read(&mut reader, &lines, 0);
    let mut end = String::from("is still running");
    if let Some(exit) = &capture.exit {
        end = exit.to_string();
        events.extend(reader.end(Some(exit), false, time(lines.len())));
    }
    let mut report = format!("{}: {end}\n", capture.run);
    for event in &events {
        let _ = writeln!(report, "  {}", text(event));
    }
    if capture.exit.is_none() {
        let phase = match reader.phase() {
            AgentPhase::Starting => "starting",
            AgentPhase::Model => "model",
            AgentPhase::Tool => "tool",
            AgentPhase::Finished => "finished",
        };
        let tool = reader.tool_in_progress().map_or("-", |tool| tool.as_str());
        let _ = writeln!(report, "  phase {phase}, tool {tool}, {} in the background", reader.background_tasks());
    }
    report
}

#[test]
fn each_captured_run_has_these_events() {
    let captures = captures();
    assert!(captures.len() > 140, "{}", captures.len());
    for runs in captures.chunk_by(|one, next| one.agent == next.agent) {
        let reports: String = runs.iter().map(report).collect();
        insta::assert_snapshot!(runs[0].agent.as_str(), reports);
    }
}
