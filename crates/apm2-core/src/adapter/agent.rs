//! The adapter for AI coding agents, whose output the crate `apm2-agents` reads.

use apm2_agents::{
    reader::AgentReader,
    record::{OnRecord, RunOnRecord, SessionOnRecord},
};
use apm2_model::{
    event::{agent::event::AgentEvent, timestamp::Timestamp},
    spec::{
        ProcessSpec,
        agent_kind::AgentKind,
        config::agent::{AgentChoice, AgentConfig},
    },
    state::agent::AgentState,
};
use chrono::Local;

use crate::adapter::{Adapter, AdapterContext, Line, Observation, ObservedEnd, agent_limits::AgentLimits};

/// The kind of an agent that is about to be started: as set, as recorded, or by the name of its program.
pub(crate) fn kind_of(spec: &ProcessSpec, recorded: Option<&AgentState>) -> AgentKind {
    match spec.agent.as_ref().map(|agent| agent.kind) {
        Some(AgentChoice::Kind(kind)) => kind,
        Some(AgentChoice::Auto) | None => {
            let of_program = AgentReader::auto(&spec.command, 0).kind();
            recorded.map(|agent| agent.kind).or(of_program).unwrap_or(AgentKind::Custom)
        }
    }
}

/// Reports what an agent prints as events without contents.
pub(crate) struct AgentAdapter {
    reader: AgentReader,
    limits: AgentLimits,
}

impl AgentAdapter {
    /// The adapter of a process with these settings, whose program is `command`.
    pub(crate) fn new(config: &AgentConfig, command: &str) -> Self {
        let utc_offset_secs = Local::now().offset().local_minus_utc();
        let reader = match config.kind {
            AgentChoice::Kind(kind) => AgentReader::new(kind, utc_offset_secs),
            AgentChoice::Auto => AgentReader::auto(command, utc_offset_secs),
        };
        Self { reader, limits: AgentLimits::new(config.clone()) }
    }

    fn observations(&self, events: Vec<AgentEvent>) -> Vec<Observation> {
        let agent = self.reader.kind().unwrap_or(AgentKind::Custom);
        events.into_iter().map(|event| Observation::Agent { agent, event }).collect()
    }
}

impl Adapter for AgentAdapter {
    fn name(&self) -> &'static str {
        self.reader.kind().map_or("agent", AgentKind::name)
    }

    fn wants_lines(&self) -> bool {
        true
    }

    fn hears_end(&self) -> bool {
        true
    }

    fn begin(&mut self, recorded: Option<&AgentState>, is_adopted: bool) {
        self.reader.begin_run(on_record(recorded, is_adopted));
        self.limits.begin();
    }

    fn line(&mut self, line: Line<'_>, now: Timestamp) -> Vec<Observation> {
        let mut events = self.reader.line(line.source, line.bytes, line.is_cut, now);
        events.extend(self.limits.line(&self.reader));
        self.observations(events)
    }

    fn tick(&mut self, context: &AdapterContext<'_>) -> Vec<Observation> {
        let events = self.limits.tick(&self.reader, context);
        self.observations(events)
    }

    fn end(&mut self, end: &ObservedEnd, now: Timestamp) -> Vec<Observation> {
        let events = self.reader.end(Some(&end.exit), end.was_stopped, now);
        self.observations(events)
    }
}

/// What the reader needs of the record.
fn on_record(recorded: Option<&AgentState>, is_adopted: bool) -> OnRecord {
    let Some(agent) = recorded else { return OnRecord { session: None, run: is_adopted.then(RunOnRecord::default) } };
    let session = agent.session.as_ref().map(|session| SessionOnRecord {
        id: session.id.clone(),
        usage: session.reported.usage,
        cost_micros: session.reported.cost_micros.unwrap_or(0),
    });
    let run = is_adopted.then(|| RunOnRecord {
        is_session_started: agent.is_session_started,
        turns: agent.reported.turns,
        agent_turns: agent.agent_turns,
        usage: agent.reported.usage,
        in_turn: agent.in_turn,
        cost_micros: agent.reported.cost_micros,
        tool_calls: agent.run.tool_calls,
        denials: agent.run.denials,
        background_tasks: agent.background_tasks,
        is_finished: agent.is_finished,
        failed: agent.open_failure,
        open_calls: agent.open_calls.clone(),
    });
    OnRecord { session, run }
}
