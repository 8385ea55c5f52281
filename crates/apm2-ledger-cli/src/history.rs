//! The history of one stream: the last events with the states before and after each, and the last runs.
//!
//! A [`Stream`] contains only the current state of an instance. An [`InstanceHistory`] also contains the last steps that led
//! to this state. Only what is shown is read. [`Stream::apply`] computes the states, as in all other parts of the program.

use std::{ops::ControlFlow, time::Duration};

use apm2_ledger::{EventQuery, EventsQuestion, KindSet, ReadLedger as _};
use apm2_model::{
    event::{
        Event,
        exit::{Evidence, RunEnd},
        kind::{EventKind, StartTrigger},
        stream_id::StreamId,
        timestamp::Timestamp,
    },
    state::stream::Stream,
};

use crate::{
    filter::ChosenEvents,
    source::{LedgerSource, ReadFailure},
    steps::{Step, steps},
};

/// The kinds of events that say something about a run.
const RUN_KINDS: [&str; 7] =
    ["start_requested", "starting", "stopped", "crashed", "terminated", "end_unobserved", "output_tail"];

/// One run of the process, from start to exit.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) number: u64,
    pub(crate) trigger: StartTrigger,
    /// The pid; `None` when no process was created.
    pub(crate) pid: Option<u32>,
    /// When the process was spawned; `None` when no process was created.
    pub(crate) started: Option<Timestamp>,
    /// When the supervisor observed the exit; `None` while the process runs.
    pub(crate) ended: Option<Timestamp>,
    /// The earliest and latest time of the exit, if no supervisor observed the exit. `ended` is then the time at which
    /// the exit was found.
    pub(crate) unobserved: Option<(Timestamp, Timestamp)>,
    /// How the run ended; `None` while it runs.
    pub(crate) end: Option<RunEnd>,
    /// The last lines of stdout and stderr, if the run failed.
    pub(crate) last_output: Option<(Vec<String>, Vec<String>)>,
}

impl Run {
    /// Time from spawn to exit on the boot clock; `None` when one of the two times is missing, when the exit was not
    /// observed as it happened, or when the machine rebooted in between.
    pub(crate) fn duration(&self) -> Option<Duration> {
        match &self.end {
            Some(RunEnd::Exit(exit)) if exit.evidence == Evidence::Observed => {}
            _ => return None,
        }
        // The exit was found later than it happened, so the duration is unknown.
        if self.unobserved.is_some() {
            return None;
        }
        self.ended?.nanos_since(&self.started?).map(Duration::from_nanos)
    }
}

/// How many of the last events and of the last runs are shown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shown {
    pub(crate) runs: u64,
    pub(crate) events: u64,
}

/// The state of one instance with its last events and its last runs.
#[derive(Debug)]
pub(crate) struct InstanceHistory {
    /// The state of the instance after the last event. It has the numbers of all events and of all runs.
    pub(crate) stream: Stream,
    pub(crate) steps: Vec<Step>,
    pub(crate) runs: Vec<Run>,
    /// The last lines of the latest failed run that has some.
    pub(crate) last_output: Option<LastOutput>,
}

/// The last lines of a failed run.
#[derive(Debug)]
pub(crate) struct LastOutput {
    pub(crate) run: u64,
    pub(crate) stdout: Vec<String>,
    pub(crate) stderr: Vec<String>,
}

impl InstanceHistory {
    /// Reads the history of the stream `id` up to event `chosen.seqs.1`; `None` if the stream has no events by then. Of its
    /// events, the chosen ones are read.
    pub(crate) fn read(
        source: &LedgerSource,
        id: StreamId,
        chosen: &ChosenEvents,
        shown: Shown,
    ) -> Result<Option<Self>, ReadFailure> {
        let (_, upto) = chosen.seqs;
        let Some(stream) = source.state_at(id, upto)? else { return Ok(None) };
        let question = EventsQuestion::last(chosen.query.clone(), chosen.seqs, shown.events);
        let events = source.events_in_order(&question)?;
        let are_all = events.first().is_some_and(|event| event.version == 1) && events.len() as u64 == stream.version;
        // All runs are in all events.
        let runs = if are_all { last(runs_of(&events), shown.runs) } else { read_runs(source, id, upto, shown.runs)? };
        let last_output = match runs.iter().rev().find_map(Run::last_output) {
            None if stream.run > runs.len() as u64 => read_last_output(source, id, upto)?,
            found => found,
        };
        Ok(Some(Self { stream, steps: steps(source, events)?.0, runs, last_output }))
    }
}

impl Run {
    fn begin(number: u64, trigger: StartTrigger) -> Self {
        let (pid, started, ended, unobserved, end, last_output) = (None, None, None, None, None, None);
        Self { number, trigger, pid, started, ended, unobserved, end, last_output }
    }

    fn last_output(&self) -> Option<LastOutput> {
        let (stdout, stderr) = self.last_output.clone()?;
        Some(LastOutput { run: self.number, stdout, stderr })
    }

    fn note(&mut self, event: &Event) {
        match &event.kind {
            EventKind::Starting { identity: Some(identity), .. } => {
                self.pid = Some(identity.pid);
                self.started = Some(event.stamp);
            }
            EventKind::Stopped { exit } | EventKind::Terminated { exit } => {
                self.ended = Some(event.stamp);
                self.end = Some(RunEnd::Exit(*exit));
            }
            EventKind::Crashed { cause } => {
                self.ended = Some(event.stamp);
                self.end = Some(cause.clone());
            }
            EventKind::EndUnobserved { not_before, not_after } => self.unobserved = Some((*not_before, *not_after)),
            EventKind::OutputTail { stdout, stderr } => self.last_output = Some((stdout.clone(), stderr.clone())),
            _ => {}
        }
    }
}

/// The runs that begin in these events of one stream.
pub(crate) fn runs_of(events: &[Event]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for event in events {
        if let EventKind::StartRequested { trigger } = event.kind {
            runs.push(Run::begin(event.run, trigger));
        }
        if let Some(run) = runs.last_mut() {
            run.note(event);
        }
    }
    runs
}

/// The last `max` runs of a stream up to event `upto`.
fn read_runs(source: &LedgerSource, id: StreamId, upto: u64, max: u64) -> Result<Vec<Run>, ReadFailure> {
    let query = EventQuery { kinds: Some(KindSet::named(RUN_KINDS)), ..EventQuery::stream(id) };
    let (mut events, mut runs) = (Vec::new(), 0);
    if max > 0 {
        source.events(&EventsQuestion::last(query, (1, upto), u64::MAX), &mut |event| {
            runs += u64::from(matches!(event.kind, EventKind::StartRequested { .. }));
            events.push(event);
            if runs < max { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
    }
    events.reverse();
    Ok(runs_of(&events))
}

/// The last lines of the latest failed run up to event `upto`.
pub(crate) fn read_last_output(
    source: &LedgerSource,
    id: StreamId,
    upto: u64,
) -> Result<Option<LastOutput>, ReadFailure> {
    let query = EventQuery { kinds: Some(KindSet::named(["output_tail"])), ..EventQuery::stream(id) };
    let found = source.events_in_order(&EventsQuestion::last(query, (1, upto), 1))?.pop();
    Ok(found.and_then(|event| match event.kind {
        EventKind::OutputTail { stdout, stderr } => Some(LastOutput { run: event.run, stdout, stderr }),
        _ => None,
    }))
}

/// The last `max` elements.
fn last<T>(mut all: Vec<T>, max: u64) -> Vec<T> {
    let surplus = (all.len() as u64).saturating_sub(max);
    all.drain(..usize::try_from(surplus).unwrap_or(0));
    all
}

#[cfg(test)]
mod tests {
    use apm2_model::{
        clock::boot_id,
        event::{
            NewEvent,
            actor::Actor,
            exit::{Evidence, Exit, ExitOutcome},
            identity::ProcessIdentity,
            stream_id::StreamId,
        },
        spec::{ProcessSpec, redact::spec::RedactedSpec},
    };

    use super::*;

    const TRIGGER: StartTrigger = StartTrigger::Start;

    fn event(id: StreamId, number: u64, kind: EventKind) -> Event {
        let run = u64::from(!matches!(kind, EventKind::Registered { .. }));
        let stamp = Timestamp { wall_ns: 0, boot_ns: number * 1_000_000, boot_id: boot_id() };
        NewEvent { stream: id, run, actor: Actor::System, reason: None, cause: None, stamp, kind }
            .numbered(number, number)
    }

    fn runs(kinds: impl IntoIterator<Item = EventKind>) -> Vec<Run> {
        let spec = RedactedSpec::new(&ProcessSpec::builder().name("n").command("c").build());
        let id = StreamId { process_id: spec.id, instance: 0 };
        let kinds = std::iter::once(EventKind::Registered { spec }).chain(kinds);
        runs_of(&(1..).zip(kinds).map(|(number, kind)| event(id, number, kind)).collect::<Vec<_>>())
    }

    fn started() -> [EventKind; 3] {
        let identity = ProcessIdentity { boot_id: boot_id(), pid: 7, start_ticks: 1, pid_namespace: None };
        [
            EventKind::StartRequested { trigger: TRIGGER },
            EventKind::Starting { identity: Some(identity), trigger: TRIGGER },
            EventKind::Running,
        ]
    }

    #[test]
    fn a_run_lasts_from_the_spawn_to_the_exit() {
        let exit = Exit { outcome: ExitOutcome::Code(7), evidence: Evidence::Observed };
        let runs = runs(started().into_iter().chain([EventKind::Crashed { cause: RunEnd::Exit(exit) }]));
        let [run] = runs.as_slice() else { panic!("{runs:?}") };
        assert_eq!((run.number, run.pid, run.end.clone()), (1, Some(7), Some(RunEnd::Exit(exit))));
        assert_eq!(run.duration(), Some(Duration::from_millis(2)));
    }

    #[test]
    fn a_run_that_lives_has_no_end() {
        let runs = runs(started());
        assert!(runs.len() == 1 && runs.iter().all(|run| run.end.is_none() && run.duration().is_none()));
    }

    #[test]
    fn the_last_elements_are_the_last_ones() {
        let of = |max| last(vec![1, 2, 3], max);
        assert_eq!((of(2), of(0), of(99)), (vec![2, 3], vec![], vec![1, 2, 3]));
    }
}
