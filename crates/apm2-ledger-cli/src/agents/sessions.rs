//! The sessions of agents that are on record.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    ops::ControlFlow,
};

use apm2_ledger::{EventsQuestion, ReadLedger as _};
use apm2_model::{
    event::{
        Event,
        agent::{event::AgentEvent, label::Label},
        kind::EventKind,
        stream_id::StreamId,
        timestamp::Timestamp,
    },
    spec::agent_kind::AgentKind,
    state::{
        agent::{AgentEnd, AgentState},
        stream::Stream,
    },
};

use crate::{
    agents::{Spent, agents, replay::AgentReplay, reports},
    source::{LedgerSource, ReadFailure},
};

/// A session of an agent.
#[derive(Debug)]
pub(crate) struct SessionRecord {
    pub(crate) id: Label,
    pub(crate) stream: StreamId,
    pub(crate) kind: AgentKind,
    pub(crate) model: Option<Label>,
    /// When the session was first reported.
    pub(crate) first_seen: Timestamp,
    /// When a run with the session made its latest report.
    pub(crate) last_seen: Timestamp,
    last_seq: u64,
    /// The number of runs that had the session.
    pub(crate) runs: u64,
    last_run: Option<u64>,
    pub(crate) spent: Spent,
    /// How the latest run ended by the agent's account; `None` while it has not.
    pub(crate) end: Option<AgentEnd>,
}

/// The sessions on record.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    /// The latest one first.
    pub(crate) all: Vec<SessionRecord>,
    /// The agents that had them.
    pub(crate) agents: BTreeMap<StreamId, Stream>,
}

impl Sessions {
    /// The sessions of these instances, or of all.
    pub(crate) fn read(source: &LedgerSource, ids: &[StreamId]) -> Result<Self, ReadFailure> {
        let last = source.head()?.end();
        let agents = agents(source, ids, (1, last))?;
        let mut replays: HashMap<StreamId, AgentReplay> = HashMap::new();
        let mut found: HashMap<(StreamId, Label), SessionRecord> = HashMap::new();
        source.events(&EventsQuestion::all(reports(ids), (1, last)), &mut |event| {
            let EventKind::Agent { report } = &event.kind else { return ControlFlow::Continue(()) };
            if agents.contains_key(&event.stream) {
                let (state, more) = replays.entry(event.stream).or_default().apply(&event, report);
                if let Some(session) = &state.session {
                    let record = found
                        .entry((event.stream, session.id.clone()))
                        .or_insert_with(|| SessionRecord::new(session.id.clone(), state.kind, &event));
                    record.spent.add(more);
                    record.note(&event, &report.event, state);
                }
            }
            ControlFlow::Continue(())
        })?;
        let mut all: Vec<_> = found.into_values().collect();
        all.sort_unstable_by_key(|session| Reverse(session.last_seq));
        Ok(Self { all, agents })
    }
}

impl SessionRecord {
    fn new(id: Label, kind: AgentKind, event: &Event) -> Self {
        let (first_seen, last_seen, last_seq) = (event.stamp, event.stamp, event.seq);
        let (model, spent, end) = (None, Spent::default(), None);
        Self {
            id,
            stream: event.stream,
            kind,
            model,
            first_seen,
            last_seen,
            last_seq,
            runs: 0,
            last_run: None,
            spent,
            end,
        }
    }

    /// Takes over what a report says. The state still has the session of the latest run until a run reports its own, so a
    /// report counts only for a run that has reported the session, or was started to go on with it.
    fn note(&mut self, event: &Event, report: &AgentEvent, state: &AgentState) {
        if !state.is_session_started && !state.goes_on {
            return;
        }
        self.kind = state.kind;
        if let Some(model) = state.session.as_ref().and_then(|session| session.model.as_ref()) {
            self.model = Some(model.clone());
        }
        (self.last_seen, self.last_seq, self.end) = (event.stamp, event.seq, state.end);
        let has_it = matches!(report, AgentEvent::SessionStarted { .. });
        if has_it && self.last_run != Some(event.run) {
            self.runs = self.runs.saturating_add(1);
            self.last_run = Some(event.run);
        }
    }

    /// The command that goes on with the session on a terminal, as words; `None` for an agent whose command is not known. `codex exec
    /// resume` and `opencode run --session` would refuse to start without a prompt.
    pub(crate) fn resume(&self) -> Option<Vec<&str>> {
        let id = self.id.as_str();
        // An identifier comes from the output of a program. One that looks like an option is not put into a command.
        if id.starts_with('-') {
            return None;
        }
        Some(match self.kind {
            AgentKind::ClaudeCode => vec!["claude", "--resume", id],
            AgentKind::Codex => vec!["codex", "resume", id],
            AgentKind::Gemini => vec!["gemini", "--resume", id],
            AgentKind::OpenCode => vec!["opencode", "--session", id],
            AgentKind::QwenCode => vec!["qwen", "--resume", id],
            AgentKind::Custom => return None,
        })
    }
}
