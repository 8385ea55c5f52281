//! Silence, loops and tokens in progress of an agent that prints lines of Claude Code, on a fixed clock.

use apm2_agents::record::OnRecord;
use apm2_model::{
    event::{agent::event::AgentPhase, kind::OutputSource},
    spec::{
        agent_kind::AgentKind,
        config::{
            agent_budget::{AgentBudget, AgentBudgets},
            agent_loop::AgentLoop,
            agent_silence::AgentSilence,
            reaction::Reaction,
        },
    },
};
use uuid::Uuid;

use super::*;
use crate::adapter::MeterReading;

const INIT: &str = r#"{"type":"system","subtype":"init","session_id":"s-1","model":"m"}"#;
const RESULT: &str = r#"{"type":"result","subtype":"success","is_error":false,"num_turns":1,"session_id":"s-1","usage":{"input_tokens":9}}"#;

fn call(id: u32, command: &str) -> String {
    format!(
        r#"{{"type":"assistant","message":{{"id":"m-{id}","content":[{{"type":"tool_use","id":"c-{id}","name":"Bash","input":{{"command":"{command}"}}}}],"usage":{{"input_tokens":10,"output_tokens":2}}}},"session_id":"s-1"}}"#
    )
}

fn returned(id: u32) -> String {
    format!(
        r#"{{"type":"user","message":{{"content":[{{"type":"tool_result","tool_use_id":"c-{id}","is_error":false,"content":""}}]}},"session_id":"s-1"}}"#
    )
}

/// An agent whose output is observed once a second.
struct Observed {
    reader: AgentReader,
    limits: AgentLimits,
    now_secs: u64,
    written_secs: u64,
}

impl Observed {
    fn new(config: AgentConfig) -> Self {
        let mut reader = AgentReader::new(AgentKind::ClaudeCode, 0);
        reader.begin_run(OnRecord::default());
        let mut limits = AgentLimits::new(config);
        limits.begin();
        let mut observed = Self { reader, limits, now_secs: 1000, written_secs: 0 };
        // A silence before its first look at the run is not measured.
        assert_eq!(observed.tick(), []);
        observed
    }

    fn now(&self) -> Timestamp {
        Timestamp { boot_id: Uuid::nil(), boot_ns: self.now_secs * 1_000_000_000, wall_ns: 0 }
    }

    fn line(&mut self, line: &str) -> Option<AgentEvent> {
        self.written_secs = self.now_secs;
        self.reader.line(OutputSource::Stdout, line.as_bytes(), false, self.now());
        self.limits.line(&self.reader)
    }

    fn tick(&mut self) -> Vec<AgentEvent> {
        let silent = Duration::from_secs(self.now_secs - self.written_secs);
        let meter = MeterReading { silent, ..MeterReading::default() };
        self.limits.tick(&self.reader, &AdapterContext { meter, now: self.now(), last_lines: &Vec::new })
    }

    /// What is reported in the next `seconds`.
    fn wait(&mut self, seconds: u64) -> Vec<AgentEvent> {
        let mut events = Vec::new();
        for _ in 0..seconds {
            self.now_secs += 1;
            events.extend(self.tick());
        }
        events
    }
}

#[test]
fn a_silence_is_reported_once_for_each_phase_after_its_limit() {
    let silence = AgentSilence { reaction: Reaction::Restart, ..AgentSilence::default() };
    let mut agent = Observed::new(AgentConfig { silence, ..AgentConfig::default() });
    let stalled = |phase, tool: Option<&str>, silent_ms, reaction| {
        let tool = tool.and_then(apm2_model::event::agent::label::Label::new);
        AgentEvent::Stalled { phase, tool, silent_ms, reaction }
    };
    let rows: [(&[String], u64, AgentEvent); 4] = [
        (&[], 60, stalled(AgentPhase::Starting, None, 60_000, Reaction::Restart)),
        (&[INIT.to_owned()], 600, stalled(AgentPhase::Model, None, 600_000, Reaction::Restart)),
        (&[call(1, "make")], 3600, stalled(AgentPhase::Tool, Some("Bash"), 3_600_000, Reaction::Restart)),
        (&[returned(1), RESULT.to_owned()], 30, stalled(AgentPhase::Finished, None, 30_000, Reaction::Stop)),
    ];
    for (lines, limit_secs, expected) in rows {
        for line in lines {
            assert_eq!(agent.line(line), None);
        }
        assert_eq!(agent.wait(limit_secs - 1), [], "{expected:?}");
        assert_eq!(agent.wait(limit_secs), [expected]);
    }
}

#[test]
fn a_call_that_is_made_again_and_again_is_reported_once_for_each_series() {
    let repetition = AgentLoop { calls: 3, reaction: Reaction::Stop };
    let mut agent = Observed::new(AgentConfig { repetition, ..AgentConfig::default() });
    agent.line(INIT);
    let commands = ["a", "a", "b", "a", "a", "a", "a", "a", "b", "b", "b", "b"];
    let found: Vec<_> = (0..).zip(commands).map(|(id, command)| agent.line(&call(id, command))).collect();
    let expected = |calls| Some(calls).filter(|calls| *calls == 3);
    let calls = [1, 2, 1, 1, 2, 3, 4, 5, 1, 2, 3, 4].map(expected);
    let found: Vec<_> = found
        .into_iter()
        .map(|event| match event? {
            AgentEvent::LoopDetected { calls, reaction: Reaction::Stop, tool: Some(_) } => Some(calls),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(found, calls);
    let none = AgentLoop { calls: 0, ..repetition };
    let mut unlimited = Observed::new(AgentConfig { repetition: none, ..AgentConfig::default() });
    assert!((0..50).all(|id| unlimited.line(&call(id, "a")).is_none()));
}

#[test]
fn the_tokens_of_a_turn_are_reported_at_most_every_10_s_if_a_budget_limits_tokens() {
    let run = AgentBudget { total_tokens: Some(1), ..AgentBudget::default() };
    for (budget, is_reported) in
        [(AgentBudgets { run, ..AgentBudgets::default() }, true), (AgentBudgets::default(), false)]
    {
        let mut agent = Observed::new(AgentConfig { budget, ..AgentConfig::default() });
        agent.line(INIT);
        assert_eq!(agent.wait(3), []);
        let mut used = Vec::new();
        for id in 0..25 {
            agent.line(&call(id, "a"));
            used.extend(agent.wait(1).into_iter().map(|event| match event {
                AgentEvent::UsageSoFar { usage } => (id, usage.input),
                other => panic!("{other:?}"),
            }));
        }
        let expected = if is_reported { vec![(0, 10), (10, 110), (20, 210)] } else { Vec::new() };
        assert_eq!(used, expected);
    }
}
