//! The attributes of an agent's report in the words of the OpenTelemetry GenAI conventions.

use std::{collections::HashMap, io};

use apm2_ledger::Reader;
use apm2_model::{
    event::{
        Event,
        agent::{
            class::FailureClass,
            event::{AgentEvent, LimitStatus},
            outcome::AgentOutcome,
            report::AgentReport,
            usage::TokenUsage,
        },
        stream_id::StreamId,
    },
    spec::agent_kind::AgentKind,
    state::agent::AgentState,
};
use serde_json::{Value, json};

use crate::{
    agents::replay::AgentReplay,
    export::severity::{ERROR, INFO, Severity, WARN},
};

/// A name and a value.
pub(crate) type Attribute = (&'static str, Value);

/// The states of the agents whose events are exported. They have the session and the model, which most reports do not repeat.
pub(crate) struct GenAi {
    reader: Reader,
    replays: HashMap<StreamId, AgentReplay>,
}

impl GenAi {
    pub(crate) fn new(reader: Reader) -> Self {
        Self { reader, replays: HashMap::new() }
    }

    /// The attributes of a report. `name` is the displayed name of the instance.
    ///
    /// # Errors
    /// The state before the first exported event of the stream cannot be read.
    pub(crate) fn attributes(
        &mut self,
        event: &Event,
        report: &AgentReport,
        name: Option<&str>,
    ) -> io::Result<Vec<Attribute>> {
        if !self.replays.contains_key(&event.stream) {
            let before = self.reader.stream_at(event.stream, event.seq.saturating_sub(1)).map_err(io::Error::other)?;
            self.replays.insert(event.stream, AgentReplay::new(before.as_ref()));
        }
        let Some(replay) = self.replays.get_mut(&event.stream) else { return Ok(Vec::new()) };
        let (state, more) = replay.apply(event, report);
        let mut attributes = vec![("gen_ai.operation.name", json!(operation(&report.event)))];
        attributes.extend(provider(report.agent).map(|provider| ("gen_ai.provider.name", json!(provider))));
        attributes.extend(name.map(|name| ("gen_ai.agent.name", json!(name))));
        attributes.extend(session(state, &report.event));
        attributes.extend(tool(&report.event));
        // The final report of a run contains its turns. Only what it has beyond them is added, so that the sum over all
        // records is what was used.
        if more.totals.usage != TokenUsage::default() || matches!(report.event, AgentEvent::TurnEnded { .. }) {
            attributes.extend(usage(more.totals.usage));
        }
        attributes.extend(failure(&report.event).map(|class| ("error.type", json!(class.name()))));
        Ok(attributes)
    }
}

const fn operation(event: &AgentEvent) -> &'static str {
    use AgentEvent as E;
    match event {
        E::ToolStarted { .. } | E::ToolEnded { .. } | E::ToolsSummarized { .. } | E::PermissionDenied { .. } => {
            "execute_tool"
        }
        E::Retrying { .. } | E::RateLimited { .. } => "chat",
        _ => "invoke_agent",
    }
}

/// The provider of the models; `None` for an agent that can use those of several.
const fn provider(kind: AgentKind) -> Option<&'static str> {
    match kind {
        AgentKind::ClaudeCode => Some("anthropic"),
        AgentKind::Codex => Some("openai"),
        AgentKind::Gemini => Some("gcp.gemini"),
        AgentKind::OpenCode | AgentKind::QwenCode | AgentKind::Custom => None,
    }
}

/// The session and its model. A run that begins a new session has none until it reports it.
fn session(state: &AgentState, event: &AgentEvent) -> Vec<Attribute> {
    if let AgentEvent::SessionChosen { session_id, .. } = event {
        return session_id.iter().map(|id| ("gen_ai.conversation.id", json!(id.as_str()))).collect();
    }
    let session = state.session.as_ref().filter(|_| state.is_session_started || state.goes_on);
    let id = session.map(|session| ("gen_ai.conversation.id", json!(session.id.as_str())));
    let model = session.and_then(|session| session.model.as_ref());
    id.into_iter().chain(model.map(|model| ("gen_ai.request.model", json!(model.as_str())))).collect()
}

fn tool(event: &AgentEvent) -> Vec<Attribute> {
    match event {
        AgentEvent::ToolStarted { call, .. } | AgentEvent::ToolEnded { call, .. } => {
            vec![("gen_ai.tool.name", json!(call.tool.as_str())), ("gen_ai.tool.call.id", json!(call.call_id.as_str()))]
        }
        AgentEvent::PermissionDenied { tool, .. } => vec![("gen_ai.tool.name", json!(tool.as_str()))],
        _ => Vec::new(),
    }
}

fn usage(usage: TokenUsage) -> [Attribute; 4] {
    [
        ("gen_ai.usage.input_tokens", json!(usage.input)),
        ("gen_ai.usage.output_tokens", json!(usage.output)),
        ("gen_ai.usage.cache_read.input_tokens", json!(usage.cache_read)),
        ("gen_ai.usage.cache_creation.input_tokens", json!(usage.cache_creation)),
    ]
}

const fn failure(event: &AgentEvent) -> Option<FailureClass> {
    match event {
        AgentEvent::Failed { class, .. }
        | AgentEvent::Retrying { class, .. }
        | AgentEvent::RateLimited { status: LimitStatus::Rejected, class, .. } => Some(*class),
        AgentEvent::Finished { class, .. } => *class,
        AgentEvent::ToolEnded { is_ok: false, .. } => Some(FailureClass::Tool),
        AgentEvent::PermissionDenied { .. } => Some(FailureClass::Permission),
        AgentEvent::BudgetSpent(_) => Some(FailureClass::Budget),
        _ => None,
    }
}

/// The severity of a report.
pub(crate) const fn severity(event: &AgentEvent) -> Severity {
    match event {
        AgentEvent::Failed { .. } | AgentEvent::Finished { outcome: AgentOutcome::Failure, .. } => ERROR,
        AgentEvent::BudgetSpent(_) => ERROR,
        AgentEvent::Stalled { .. } | AgentEvent::LoopDetected { .. } | AgentEvent::AccountLimited { .. } => WARN,
        _ if failure(event).is_some() => WARN,
        _ => INFO,
    }
}
