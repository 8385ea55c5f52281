//! The events of an instance, grouped by run.

use std::time::Duration;

use apm2_model::{
    event::{
        Event,
        agent::event::AgentEvent,
        exit::{Evidence, RunEnd},
        kind::{EventKind, OutputSource, StartTrigger},
        timestamp::Timestamp,
    },
    signal::Signal,
};

/// The events of one run that say something about its start, its end, and what followed.
#[derive(Debug, Default)]
pub(crate) struct RunEvents<'a> {
    pub(crate) number: u64,
    pub(crate) requested: Option<&'a Event>,
    pub(crate) starting: Option<&'a Event>,
    pub(crate) up: Option<&'a Event>,
    pub(crate) adopted: Vec<&'a Event>,
    /// The latest change of the result of the health check.
    pub(crate) health: Option<&'a Event>,
    pub(crate) unhealthy: Option<&'a Event>,
    pub(crate) stopping: Option<&'a Event>,
    pub(crate) signals: Vec<&'a Event>,
    pub(crate) signal_failed: Vec<&'a Event>,
    pub(crate) ended: Option<&'a Event>,
    pub(crate) unobserved: Option<&'a Event>,
    pub(crate) survived: Option<&'a Event>,
    pub(crate) tail: Option<&'a Event>,
    /// The choice of the session of an agent.
    pub(crate) session: Option<&'a Event>,
    /// The limit of the account for which the next start waits.
    pub(crate) account: Option<&'a Event>,
    /// The latest state of a limit that the agent reported.
    pub(crate) limit: Option<&'a Event>,
    /// The failure and the result that the agent reported.
    pub(crate) failed: Option<&'a Event>,
    pub(crate) finished: Option<&'a Event>,
    pub(crate) scheduled: Option<&'a Event>,
    pub(crate) refused: Option<&'a Event>,
    pub(crate) spec_changes: Vec<&'a Event>,
}

/// The runs in these events of one stream, oldest first. The first one may be incomplete, or be the number 0.
pub(crate) fn runs_of(events: &[Event]) -> Vec<RunEvents<'_>> {
    let mut runs: Vec<RunEvents<'_>> = Vec::new();
    for event in events {
        match runs.last_mut().filter(|run| run.number == event.run) {
            Some(run) => run.note(event),
            None => {
                let mut run = RunEvents { number: event.run, ..RunEvents::default() };
                run.note(event);
                runs.push(run);
            }
        }
    }
    runs
}

impl<'a> RunEvents<'a> {
    fn note(&mut self, event: &'a Event) {
        match &event.kind {
            EventKind::StartRequested { .. } => self.requested = Some(event),
            EventKind::Starting { .. } => self.starting = Some(event),
            EventKind::Running => self.up = Some(event),
            EventKind::Adopted { .. } => self.adopted.push(event),
            EventKind::HealthChanged { .. } => self.health = Some(event),
            EventKind::Unhealthy { .. } => self.unhealthy = Some(event),
            EventKind::Stopping { .. } => self.stopping = Some(event),
            EventKind::SignalSent { .. } => self.signals.push(event),
            EventKind::SignalFailed { .. } => self.signal_failed.push(event),
            EventKind::Stopped { .. } | EventKind::Crashed { .. } | EventKind::Terminated { .. } => {
                self.ended = Some(event);
            }
            EventKind::EndUnobserved { .. } => self.unobserved = Some(event),
            EventKind::GroupSurvived { .. } => self.survived = Some(event),
            EventKind::OutputTail { .. } => self.tail = Some(event),
            EventKind::Agent { report } => match report.event {
                AgentEvent::SessionChosen { .. } => self.session = Some(event),
                AgentEvent::AccountLimited { .. } => self.account = Some(event),
                AgentEvent::RateLimited { .. } => self.limit = Some(event),
                AgentEvent::Failed { .. } => self.failed = Some(event),
                AgentEvent::Finished { .. } => self.finished = Some(event),
                _ => {}
            },
            EventKind::RestartScheduled { .. } => self.scheduled = Some(event),
            EventKind::RestartRefused { .. } => self.refused = Some(event),
            EventKind::SpecChanged { .. } => self.spec_changes.push(event),
            _ => {}
        }
    }

    /// The trigger of the run, if its start was read.
    pub(crate) fn trigger(&self) -> Option<StartTrigger> {
        match self.requested?.kind {
            EventKind::StartRequested { trigger } => Some(trigger),
            _ => None,
        }
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        match &self.starting?.kind {
            EventKind::Starting { identity, .. } => identity.map(|identity| identity.pid),
            _ => None,
        }
    }

    /// How the run ended.
    pub(crate) fn end(&self) -> Option<RunEnd> {
        match &self.ended?.kind {
            EventKind::Stopped { exit } | EventKind::Terminated { exit } => Some(RunEnd::Exit(*exit)),
            EventKind::Crashed { cause } => Some(cause.clone()),
            _ => None,
        }
    }

    /// The interval in which the process ended without a supervisor.
    pub(crate) fn unobserved_times(&self) -> Option<(Timestamp, Timestamp)> {
        match self.unobserved?.kind {
            EventKind::EndUnobserved { not_before, not_after } => Some((not_before, not_after)),
            _ => None,
        }
    }

    /// Time from the start to the end; `None` when the end was not observed, or when the machine rebooted in between.
    pub(crate) fn lasted(&self) -> Option<Duration> {
        match self.end()? {
            RunEnd::Exit(exit) if exit.evidence == Evidence::Observed && self.unobserved.is_none() => {
                since(self.ended?, self.starting?)
            }
            _ => None,
        }
    }

    /// Whether the run ended by itself while a supervisor observed it, or could not be started.
    pub(crate) fn has_plain_end(&self) -> bool {
        self.ended.is_some()
            && self.stopping.is_none()
            && self.unobserved.is_none()
            && self.adopted.is_empty()
            && self.end() != Some(RunEnd::NeverConfirmed)
    }

    /// The last event that sends `signal` to the run.
    pub(crate) fn sent(&self, signal: Signal) -> Option<&'a Event> {
        let is_sent =
            |event: &&&Event| matches!(event.kind, EventKind::SignalSent { signal: sent, .. } if sent == signal);
        self.signals.iter().rev().find(is_sent).copied()
    }

    /// The last line of output of the run, if it failed: of stderr, else of stdout.
    pub(crate) fn last_line(&self) -> Option<(OutputSource, String)> {
        let EventKind::OutputTail { stdout, stderr } = &self.tail?.kind else { return None };
        let of = |source, lines: &[String]| {
            lines.iter().rev().find(|line| !line.trim().is_empty()).map(|line| (source, line.clone()))
        };
        of(OutputSource::Stderr, stderr).or_else(|| of(OutputSource::Stdout, stdout))
    }
}

/// Time from `earlier` to `later` on the boot clock; `None` when the machine rebooted in between.
pub(crate) fn since(later: &Event, earlier: &Event) -> Option<Duration> {
    later.stamp.nanos_since(&earlier.stamp).map(Duration::from_nanos)
}
