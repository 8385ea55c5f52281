//! Formats recorded events as messages for the user of `run`.

use apm2_model::event::{
    Event,
    actor::Actor,
    exit::RunEnd,
    kind::{EventKind, RestartRule},
};

use crate::render::{escape::escape, event, zone::Zone};

/// Formats events as messages for standard error.
pub(crate) struct EventReporter {
    name: String,
    /// Whether every event is reported (`--verbose`).
    verbose: bool,
    /// The end of the latest run.
    end: Option<String>,
}

impl EventReporter {
    pub(crate) fn new(name: &str, verbose: bool) -> Self {
        Self { name: name.to_owned(), verbose, end: None }
    }

    /// The message for an event, with control characters escaped; `None` when the event is not reported.
    pub(crate) fn announce(&mut self, event: &Event) -> Option<String> {
        match &event.kind {
            EventKind::Crashed { cause } => self.end = Some(cause.to_string()),
            EventKind::Stopped { exit } | EventKind::Terminated { exit } => self.end = Some(exit.to_string()),
            _ => {}
        }
        let remark = if self.verbose { Some(full(event)) } else { self.remark(event) };
        remark.map(|remark| escape(&format!("{}: {remark}", self.name)).into_owned())
    }

    /// The message for an event without `--verbose`: only failures and restarts are reported.
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

/// All details of an event on one line.
fn full(event: &Event) -> String {
    let details = event::of_kind(&event.kind, Zone::of_stderr());
    let name = event.kind.name();
    if details.is_empty() { format!("{} {name}", event.seq) } else { format!("{} {name}: {details}", event.seq) }
}
