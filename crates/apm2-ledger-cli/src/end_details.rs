//! What is recorded of the ends of runs that are named one by one, beside how the runs ended. Reads events; prints nothing.

use std::collections::BTreeMap;

use apm2_lanes::{
    lanes::Lanes,
    mark::{Mark, MarkKind},
    summary::Summary,
};
use apm2_ledger::{EventQuery, EventsQuestion, KindSet};
use apm2_model::event::{
    Event,
    actor::Actor,
    exit::{RunEnd, SpawnFailure},
    kind::EventKind,
    stream_id::StreamId,
};

use crate::source::{LedgerSource, ReadFailure};

/// Largest number of processes that are down, and of ends that no daemon observed, whose details are read.
pub(crate) const NAMED_MAX: usize = 6;

/// What is recorded of the end of a run.
#[derive(Debug, Clone, Default)]
pub(crate) struct EndDetail {
    /// Why no process could be started.
    pub(crate) failure: Option<SpawnFailure>,
    /// Who requested the stop, and the reason on record.
    pub(crate) stop: Option<(Actor, Option<String>)>,
    /// The last line of its output: of stderr, or else of stdout.
    pub(crate) last_line: Option<String>,
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
        let query = |kind| EventQuery { kinds: Some(KindSet::named([kind])), ..EventQuery::stream(id) };
        let of_run = |event: Option<Event>| event.filter(|event| event.run == mark.run);
        let mut detail = Self::default();
        match mark.kind {
            MarkKind::FailedStart(_) => {
                let question = EventsQuestion::all(query("crashed"), (mark.seq, mark.seq));
                if let Some(Event { kind: EventKind::Crashed { cause: RunEnd::SpawnFailed(failure) }, .. }) =
                    source.events_in_order(&question)?.pop()
                {
                    detail.failure = Some(failure);
                }
                return Ok(detail);
            }
            MarkKind::Stop(..) | MarkKind::Kill(..) => {
                let question = EventsQuestion::last(query("stopping"), (1, mark.seq), 1);
                let request = of_run(source.events_in_order(&question)?.pop());
                detail.stop = request.map(|event| (event.actor, event.reason));
            }
            _ => {}
        }
        let question = EventsQuestion { max: 1, ..EventsQuestion::all(query("output_tail"), (mark.seq, upto)) };
        if let Some(Event { kind: EventKind::OutputTail { stdout, stderr }, .. }) =
            of_run(source.events_in_order(&question)?.pop())
        {
            let is_text = |line: &String| !line.trim().is_empty();
            let last = |lines: Vec<String>| lines.into_iter().rfind(is_text);
            detail.last_line = last(stderr).or_else(|| last(stdout));
        }
        Ok(detail)
    }
}
