//! JSON view of the state of an agent.

use apm2_model::{event::agent::label::Label, state::agent::AgentState};
use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::view::agent::{FindingView, UsageView, phase_name, reset_time};

/// The state of an agent. Tokens, cost and numbers are those of all runs.
#[derive(Debug, Serialize)]
pub(crate) struct AgentStateView<'a> {
    kind: &'static str,
    session_id: Option<&'a str>,
    model: Option<&'a str>,
    agent_version: Option<&'a str>,
    /// What it did at its latest report: `starting`, `model`, `tool` or `finished`.
    state: &'static str,
    /// The tool in progress.
    tool: Option<&'a str>,
    outcome: Option<&'static str>,
    class: Option<&'static str>,
    http_status: Option<u16>,
    #[serde(serialize_with = "crate::view::time_or_null")]
    resets_at: Option<DateTime<Utc>>,
    /// What it was stopped for, or is about to be, and is not started again.
    stopped_for: Option<FindingView>,
    turns: u32,
    tools: u32,
    denials: u32,
    background_tasks: u32,
    #[serde(flatten)]
    usage: UsageView,
    cost_micros: u64,
    /// Lines of output that were not used.
    lines_skipped: u64,
    #[serde(serialize_with = "crate::view::time")]
    reported_at: DateTime<Utc>,
}

impl<'a> AgentStateView<'a> {
    pub(crate) fn new(agent: &'a AgentState) -> Self {
        let session = agent.session.as_ref();
        let skipped = agent.skipped;
        Self {
            kind: agent.kind.name(),
            session_id: session.map(|session| session.id.as_str()),
            model: session.and_then(|session| session.model.as_ref()).map(Label::as_str),
            agent_version: session.and_then(|session| session.agent_version.as_ref()).map(Label::as_str),
            state: phase_name(agent.phase),
            tool: agent.tool().map(|call| call.tool.as_str()),
            outcome: agent.end.map(|end| end.outcome.name()),
            class: agent.end.and_then(|end| end.class).map(|class| class.name()),
            http_status: agent.http_status,
            resets_at: agent.reset_of_limit().and_then(reset_time),
            stopped_for: agent.stopped_for().map(Into::into),
            turns: agent.all.turns,
            tools: agent.all.tool_calls,
            denials: agent.all.denials,
            background_tasks: agent.background_tasks,
            usage: agent.all.usage.into(),
            cost_micros: agent.all.cost_micros,
            lines_skipped: skipped.unknown.saturating_add(skipped.invalid).saturating_add(skipped.cut),
            reported_at: agent.reported_at.wall(),
        }
    }
}
