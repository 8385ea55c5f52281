//! What is recorded of the ends of runs that are named one by one, beside how the runs ended. Reads events; prints nothing.

use std::collections::BTreeMap;

use apm2_lanes::{
    lanes::Lanes,
    mark::{Mark, MarkKind},
    summary::Summary,
};
use apm2_ledger::{EventQuery, EventsQuestion};
use apm2_model::event::{
    Event,
    actor::Actor,
    exit::{RunEnd, SpawnFailure},
    kind::EventKind,
    stream_id::StreamId,
};

use crate::source::{LedgerSource, ReadFailure};

/// Largest number of processes that are down, and of ends that no daemon observed, whose details are read.
pub(crate) const NAMED_MAX: usize = 40;

/// Events of a process before an end, and from it on, among which are the request of the stop and the last lines.
const NEAR_MAX: u64 = 16;

/// What is recorded of the end of a run.
#[derive(Debug, Clone, Default)]
pub(crate) struct EndDetail {
    /// Why no process could be started.
    pub(crate) failure: Option<SpawnFailure>,
    /// Who requested the stop, and the reason on record.
    pub(crate) stop: Option<(Actor, Option<String>)>,
    /// The last line of its output; `None` if no process ran.
    pub(crate) last_line: Option<LastLine>,
}

/// The last line of the output of a run: of stderr, or else of stdout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LastLine {
    Recorded(String),
    /// The process wrote nothing.
    Nothing,
    /// The last lines are not on record: those of runs that were stopped never are.
    NotRecorded,
}

/// The details of the ends that [`Summary`] and the list of unobserved ends name, by the sequence number of their marks.
#[derive(Debug, Default)]
pub(crate) struct EndDetails(pub(crate) BTreeMap<u64, EndDetail>);

impl EndDetails {
    /// Reads the details up to event `upto`.
    pub(crate) fn read(source: &LedgerSource, lanes: &Lanes, upto: u64) -> Result<Self, ReadFailure> {
        let mut details = BTreeMap::new();
        for (id, mark) in named(lanes) {
            if mark.kind.end().is_some() && !details.contains_key(&mark.seq) {
                details.insert(mark.seq, EndDetail::read(source, id, mark, upto)?);
            }
        }
        Ok(Self(details))
    }

    /// The details of the end at this mark, if they were read.
    pub(crate) fn of(&self, mark: &Mark) -> Option<&EndDetail> {
        self.0.get(&mark.seq)
    }
}

/// The ends that are named.
fn named(lanes: &Lanes) -> Vec<(StreamId, Mark)> {
    let summary = Summary::new(lanes);
    let outages = [summary.longest_outage, summary.slowest_recovery].into_iter().flatten();
    let outages = outages.chain(summary.down.into_iter().take(NAMED_MAX));
    let outages = outages.filter_map(|(lane, outage)| Some((lane.id, outage.mark?)));
    let unobserved = lanes.unobserved.first.iter().take(NAMED_MAX);
    let unobserved = unobserved.filter_map(|end| Some((end.stream, end.mark?)));
    summary.first_death.map(|(lane, mark)| (lane.id, mark)).into_iter().chain(outages).chain(unobserved).collect()
}

impl EndDetail {
    fn read(source: &LedgerSource, id: StreamId, mark: Mark, upto: u64) -> Result<Self, ReadFailure> {
        let query = || EventQuery::stream(id);
        let mut events = Vec::new();
        if mark.kind.stopped_by().is_some() {
            events = source.events_in_order(&EventsQuestion::last(query(), (1, mark.seq), NEAR_MAX))?;
        }
        let after = EventsQuestion { max: NEAR_MAX, ..EventsQuestion::all(query(), (mark.seq, upto)) };
        events.extend(source.events_in_order(&after)?);
        events.retain(|event| event.run == mark.run);
        let mut detail = Self { last_line: without_lines(&mark.kind, &events), ..Self::default() };
        events.into_iter().for_each(|event| detail.note(event));
        Ok(detail)
    }

    fn note(&mut self, event: Event) {
        match event.kind {
            EventKind::Crashed { cause: RunEnd::SpawnFailed(failure) } => self.failure = Some(failure),
            EventKind::Stopping { .. } => self.stop = Some((event.actor, event.reason)),
            EventKind::OutputTail { stdout, stderr } => {
                let last = |lines: Vec<String>| lines.into_iter().rfind(|line| !line.trim().is_empty());
                let line = last(stderr).or_else(|| last(stdout));
                self.last_line = Some(line.map_or(LastLine::Nothing, LastLine::Recorded));
            }
            _ => {}
        }
    }
}

/// What is known of the last line of a run that ended in this way, and of which no lines are recorded. The lines of a failed run are, if
/// it wrote any and its outputs were read to their ends.
fn without_lines(end: &MarkKind, events: &[Event]) -> Option<LastLine> {
    let is_incomplete = |event: &Event| {
        matches!(
            event.kind,
            EventKind::EndUnobserved { .. } | EventKind::OutputLeaked { .. } | EventKind::OutputDropped { .. }
        )
    };
    match end {
        MarkKind::FailedStart(_) => None,
        MarkKind::Crash(_) | MarkKind::Kill(..) if !events.iter().any(is_incomplete) => Some(LastLine::Nothing),
        _ => Some(LastLine::NotRecorded),
    }
}
