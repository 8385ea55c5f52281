//! JSON view of the sessions of agents.

use apm2_model::event::agent::label::Label;
use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::{
    agents::sessions::{SessionRecord, Sessions},
    view::cost::SpentView,
};

/// One session of an agent: an element of the output of `sessions`.
#[derive(Debug, Serialize)]
pub(crate) struct SessionView<'a> {
    session_id: &'a str,
    process_id: String,
    name: &'a str,
    instance: u32,
    display_name: String,
    agent: &'static str,
    model: Option<&'a str>,
    #[serde(serialize_with = "crate::view::time")]
    first_seen: DateTime<Utc>,
    #[serde(serialize_with = "crate::view::time")]
    last_seen: DateTime<Utc>,
    runs: u64,
    #[serde(flatten)]
    spent: SpentView,
    /// How its latest run ended by the agent's account; null while it has not.
    outcome: Option<&'static str>,
    class: Option<&'static str>,
    /// The working directory of the process; null for the directory of the supervisor's client.
    cwd: Option<String>,
    /// The command that goes on with the session, as words; null for a custom agent.
    resume: Option<Vec<&'a str>>,
}

impl<'a> SessionView<'a> {
    /// The sessions, the latest one first.
    pub(crate) fn all(sessions: &'a Sessions) -> impl Iterator<Item = Self> {
        sessions.all.iter().filter_map(|session| Self::new(session, sessions))
    }

    fn new(session: &'a SessionRecord, sessions: &'a Sessions) -> Option<Self> {
        let handle = &sessions.agents.get(&session.stream)?.handle;
        Some(Self {
            session_id: session.id.as_str(),
            process_id: session.stream.process_id.to_string(),
            name: &handle.spec.name,
            instance: session.stream.instance,
            display_name: handle.display_name(),
            agent: session.kind.name(),
            model: session.model.as_ref().map(Label::as_str),
            first_seen: session.first_seen.wall(),
            last_seen: session.last_seen.wall(),
            runs: session.runs,
            spent: session.spent.into(),
            outcome: session.end.map(|end| end.outcome.name()),
            class: session.end.and_then(|end| end.class).map(|class| class.name()),
            cwd: handle.spec.cwd.as_ref().map(|path| path.to_string_lossy().into_owned()),
            resume: session.resume(),
        })
    }
}
