//! Says what a person waits for, as soon as it is on record.

use std::io;

use apm2_core::process::{Actor, Draft, Event, EventKind, Recorder, RestartRule, RunEnd};
use apm2_ledger::LedgerRecorder;

use super::pump::Remarks;
use crate::render::{escape::escape, event};

/// A recorder that passes everything on to the ledger, and remarks on what came of it.
pub(super) struct Announcer {
    recorder: LedgerRecorder,
    remarks: Remarks,
    name: String,
    /// Whether every event is remarked on.
    verbose: bool,
    /// How the latest run ended.
    end: Option<String>,
}

impl Announcer {
    pub(super) fn new(recorder: LedgerRecorder, remarks: Remarks, name: &str, verbose: bool) -> Self {
        Self { recorder, remarks, name: name.to_owned(), verbose, end: None }
    }

    fn announce(&mut self, event: &Event) {
        match &event.kind {
            EventKind::Crashed { cause } => self.end = Some(cause.to_string()),
            EventKind::Stopped { exit } | EventKind::Terminated { exit } => self.end = Some(exit.to_string()),
            _ => {}
        }
        let remark = if self.verbose { Some(full(event)) } else { self.remark(event) };
        if let Some(remark) = remark {
            self.remarks.say(&escape(&format!("{}: {remark}", self.name)));
        }
    }

    /// What is said without being asked for: nothing, as long as all goes well.
    fn remark(&self, event: &Event) -> Option<String> {
        let details = event::of_kind(&event.kind);
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
    let details = event::of_kind(&event.kind);
    let name = event.kind.name();
    if details.is_empty() { format!("{} {name}", event.seq) } else { format!("{} {name}: {details}", event.seq) }
}

impl Recorder for Announcer {
    fn record(&mut self, version: u64, drafts: Vec<Draft>) -> io::Result<Vec<Event>> {
        let events = self.recorder.record(version, drafts)?;
        events.iter().for_each(|event| self.announce(event));
        Ok(events)
    }
}
