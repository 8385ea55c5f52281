//! What a person waits for, in words, as soon as it is on record.

use apm2_model::event::{
    Event,
    actor::Actor,
    exit::RunEnd,
    kind::{EventKind, RestartRule},
};

use crate::render::{escape::escape, event, zone::Zone};

/// Makes remarks of events.
pub(crate) struct Announcer {
    name: String,
    /// Whether every event is remarked on.
    verbose: bool,
    /// How the latest run ended.
    end: Option<String>,
}

impl Announcer {
    pub(crate) fn new(name: &str, verbose: bool) -> Self {
        Self { name: name.to_owned(), verbose, end: None }
    }

    /// What is to be said about the event, escaped; `None` for what goes without saying.
    pub(crate) fn announce(&mut self, event: &Event) -> Option<String> {
        match &event.kind {
            EventKind::Crashed { cause } => self.end = Some(cause.to_string()),
            EventKind::Stopped { exit } | EventKind::Terminated { exit } => self.end = Some(exit.to_string()),
            _ => {}
        }
        let remark = if self.verbose { Some(full(event)) } else { self.remark(event) };
        remark.map(|remark| escape(&format!("{}: {remark}", self.name)).into_owned())
    }

    /// What is said without being asked for: nothing, as long as all goes well.
    fn remark(&self, event: &Event) -> Option<String> {
        let details = event::of_kind(&event.kind, Zone::of_stderr());
        let end = self.end.as_deref().unwrap_or("ended");
        match &event.kind {
            EventKind::Crashed { cause: RunEnd::SpawnFailed(failure) } => Some(format!("cannot be started: {failure}")),
            EventKind::RestartScheduled { .. } => Some(format!("{end}; restart: {details}")),
            EventKind::RestartRefused { rule: RestartRule::StopRequested } => Some(format!("no restart: {details}")),
            EventKind::RestartRefused { .. } => Some(format!("{end}; no restart: {details}")),
            EventKind::GroupSurvived { .. } | EventKind::SignalFailed { .. } | EventKind::OutputLeaked { .. } => {
                Some(details)
            }
            EventKind::Crashed { .. } | EventKind::Stopped { .. } | EventKind::Terminated { .. }
                if event.actor == Actor::Recovery =>
            {
                Some(format!("closed the run that an earlier supervisor left open: {details}"))
            }
            _ => None,
        }
    }
}

/// Everything about an event, on a line.
fn full(event: &Event) -> String {
    let details = event::of_kind(&event.kind, Zone::of_stderr());
    let name = event.kind.name();
    if details.is_empty() { format!("{} {name}", event.seq) } else { format!("{} {name}: {details}", event.seq) }
}
