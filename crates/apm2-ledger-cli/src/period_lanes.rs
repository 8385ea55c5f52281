//! The lanes of a period: reads the states and events that they are computed from. Prints nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
};

use apm2_lanes::{
    fold::LanesFold,
    grid::Grid,
    lanes::Lanes,
    segment::LANE_KINDS,
    watch::{Watch, WatchFold},
};
use apm2_ledger::{EventQuery, EventsQuestion, KindSet, ReadError, ReadLedger as _, StatesQuestion, StreamAt};
use apm2_model::{
    event::{Event, kind::EventKind, stream_id::StreamId, timestamp::Timestamp},
    state::{statistics::STATISTICS_KINDS, stream::Stream},
};

use crate::{
    agents::{
        Spent,
        spending::{Grouping, Spending, SpendingKey},
    },
    end_details::EndDetails,
    render::{ends::stopped_for_good, zone::Zone},
    source::{LedgerSource, ReadFailure},
    stats::period::Period,
    status::Supervision,
};

/// The events of supervisors.
const SUPERVISOR_KINDS: [&str; 2] = ["supervisor_started", "supervisor_stopped"];

/// The events that opening a ledger records. They are no sign that a supervisor ran before.
const OPENING_KINDS: [&str; 3] = ["checkpointed", "store_rebuilt", "tail_cut"];

/// Largest number of supervisors that died for which the last event before is asked for. For further ones, the gap begins with the event
/// of a supervisor before it.
const DEATHS_ASKED_MAX: u64 = 1000;

/// The lanes of a period, what the agents among them used, and when no supervisor ran.
#[derive(Debug)]
pub(crate) struct Timeline {
    pub(crate) lanes: Lanes,
    pub(crate) spent: BTreeMap<StreamId, Spent>,
    pub(crate) watch: Watch,
    pub(crate) details: EndDetails,
}

/// The agent that used most.
#[derive(Debug)]
pub(crate) struct MostSpent {
    pub(crate) id: StreamId,
    pub(crate) spent: Spent,
    /// When and why it was stopped for good, in words.
    pub(crate) stopped: Option<(i64, String)>,
}

impl Timeline {
    /// The agent with the greatest cost, or with the most tokens if none has a cost; `None` if none used anything.
    pub(crate) fn most_spent(&self) -> Option<MostSpent> {
        let order = |spent: &Spent| {
            let usage = spent.totals.usage;
            (spent.cost_micros().unwrap_or(0), usage.input.saturating_add(usage.output))
        };
        let (id, spent) = self.spent.iter().max_by_key(|(_, spent)| order(spent))?;
        let of_agent = self.lanes.refusals.first.iter().rev().filter(|refusal| refusal.stream == *id);
        let stopped = of_agent.filter_map(|refusal| Some((refusal.at_ns, stopped_for_good(&refusal.rule)?))).next();
        (order(spent) > (0, 0)).then_some(MostSpent { id: *id, spent: *spent, stopped })
    }
}

/// The lanes of a period, before it is known whether a supervisor runs now.
#[derive(Debug)]
pub(crate) struct PeriodLanes {
    lanes: Lanes,
    spent: BTreeMap<StreamId, Spent>,
    details: EndDetails,
    watch: WatchFold,
    /// The last event before the end of the supervision, if no supervisor recorded anything after it.
    last_event: Option<Timestamp>,
    /// Whether a later event shows whether a supervisor ran at the end of the period.
    is_followed: bool,
}

/// The instances whose lanes are asked for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Asked<'a> {
    /// These; if there are none, all that were alive in the period or had events in it.
    pub(crate) ids: &'a [StreamId],
    /// Of them, only those in this set.
    pub(crate) chosen: Option<&'a BTreeSet<StreamId>>,
    /// These as well.
    pub(crate) also: &'a [StreamId],
}

impl PeriodLanes {
    /// The lanes of the instances that are asked for. `buckets` gives the number of parts for the instances. With `samples`, processor use and memory are
    /// counted, too.
    pub(crate) fn read(
        source: &LedgerSource,
        Asked { ids, chosen, also }: Asked<'_>,
        period: &Period,
        buckets: &dyn Fn(&[Stream]) -> u32,
        samples: bool,
    ) -> Result<Self, ReadFailure> {
        let (first, last) = period.seqs;
        let question = match (ids, chosen) {
            ([], None) => StatesQuestion::Active { since: first, upto: last },
            ([], Some(chosen)) => of(chosen.iter().copied(), last),
            (ids, chosen) => of(ids.iter().copied().filter(|id| chosen.is_none_or(|chosen| chosen.contains(id))), last),
        };
        let mut streams = source.states_of(&question)?;
        let known: BTreeSet<StreamId> = streams.iter().map(|stream| stream.id).collect();
        let missing = also.iter().copied().filter(|id| !known.contains(id));
        streams.extend(source.states_of(&of(missing, last))?);
        let is_restricted = !ids.is_empty() || chosen.is_some();
        let grid = Grid::new(period.from, period.to, buckets(&streams));
        let mut fold = LanesFold::new(grid);
        begin(source, &streams, period.seqs, &mut fold)?;
        let shown: Vec<StreamId> = streams.iter().map(|stream| stream.id).collect();
        if !is_restricted || !shown.is_empty() {
            let streams = if is_restricted { shown } else { Vec::new() };
            let query = EventQuery { streams, kinds: Some(kinds(samples)), ..EventQuery::default() };
            apply(source, &EventsQuestion::all(query, period.seqs), &mut fold)?;
        }
        let spent = spent(source, &streams, period)?;
        let (watch, last_event, is_followed) = watch(source, grid, period)?;
        let lanes = fold.finish();
        let details = EndDetails::read(source, &lanes, period.seqs.1)?;
        Ok(Self { lanes, spent, details, watch, last_event, is_followed })
    }

    /// The timeline of the period. `supervision` is whether a supervisor runs now.
    pub(crate) fn finish(self, supervision: Supervision) -> Timeline {
        let is_silent = self.is_followed || supervision == Supervision::Absent;
        let last_event = self.last_event.filter(|_| is_silent);
        let watch = self.watch.finish(last_event);
        Timeline { lanes: self.lanes, spent: self.spent, watch, details: self.details }
    }
}

fn of(ids: impl Iterator<Item = StreamId>, seq: u64) -> StatesQuestion {
    StatesQuestion::Of(ids.map(|id| StreamAt { id, seq }).collect())
}

fn kinds(samples: bool) -> KindSet {
    let statistics = STATISTICS_KINDS.into_iter().filter(|kind| samples || *kind != "sampled");
    KindSet::named(LANE_KINDS.into_iter().chain(statistics))
}

/// Adds the lanes of the streams that began before the period.
fn begin(
    source: &LedgerSource,
    streams: &[Stream],
    (first, last): (u64, u64),
    fold: &mut LanesFold,
) -> Result<(), ReadFailure> {
    let is_changed = |stream: &&Stream| stream.last_seq >= first;
    // Without events in the period, the state was the same at its beginning.
    streams.iter().filter(|stream| !is_changed(stream)).for_each(|stream| fold.begin(stream));
    let mut changed: BTreeSet<StreamId> = streams.iter().filter(is_changed).map(|stream| stream.id).collect();
    if first > 1 && !changed.is_empty() {
        let query = EventQuery { kinds: Some(KindSet::named(["registered"])), ..EventQuery::default() };
        source.events(&EventsQuestion::all(query, (first, last)), &mut |event| {
            changed.remove(&event.stream);
            ControlFlow::Continue(())
        })?;
        let before = source.states_of(&of(changed.into_iter(), first - 1))?;
        before.iter().for_each(|stream| fold.begin(stream));
    }
    Ok(())
}

/// Applies the events of the period.
fn apply(source: &LedgerSource, question: &EventsQuestion, fold: &mut LanesFold) -> Result<(), ReadFailure> {
    let mut failed = Ok(());
    source.events(question, &mut |event| match fold.apply(&event) {
        Ok(()) => ControlFlow::Continue(()),
        Err(illegal) => {
            failed = Err(ReadError::Illegal { seq: event.seq, source: illegal.into() });
            ControlFlow::Break(())
        }
    })?;
    Ok(failed?)
}

/// What the agents among the streams used in the period.
fn spent(source: &LedgerSource, streams: &[Stream], period: &Period) -> Result<BTreeMap<StreamId, Spent>, ReadFailure> {
    let agents: Vec<StreamId> =
        streams.iter().filter(|stream| stream.agent.is_some()).map(|stream| stream.id).collect();
    if agents.is_empty() {
        return Ok(BTreeMap::new());
    }
    let spending = Spending::read(source, &agents, period, (Grouping::Process, Zone::Utc))?;
    let of_process = |(key, spent)| match key {
        SpendingKey::Process { id, .. } => Some((id, spent)),
        SpendingKey::Day(_) | SpendingKey::Model { .. } => None,
    };
    Ok(spending.rows.into_iter().filter_map(of_process).collect())
}

/// Reads when supervisors started and ended in the period. Also returns the last event of the supervisor that had died at the end of
/// the period if none runs now, and whether a later event shows that it had died.
fn watch(
    source: &LedgerSource,
    grid: Grid,
    period: &Period,
) -> Result<(WatchFold, Option<Timestamp>, bool), ReadFailure> {
    let (first, last) = period.seqs;
    let supervisors = || EventQuery { kinds: Some(KindSet::named(SUPERVISOR_KINDS)), ..EventQuery::default() };
    let before = EventsQuestion::last(supervisors(), (1, first.saturating_sub(1)), 1);
    let mut latest = source.events_in_order(&before)?.pop();
    let mut fold = WatchFold::new(grid, latest.as_ref().filter(|event| is_end(event)).map(|event| event.stamp));
    // Questions are asked after the events were read, since a source answers one at a time.
    let events = source.events_in_order(&EventsQuestion::all(supervisors(), period.seqs))?;
    let mut asked = 0;
    for event in events {
        if is_end(&event) {
            fold.stopped(event.stamp);
        } else {
            let was_ended = latest.as_ref().is_some_and(is_end);
            let before = match &latest {
                _ if was_ended => None,
                Some(latest) if asked >= DEATHS_ASKED_MAX => Some(latest.stamp),
                _ => last_before(source, event.seq)?,
            };
            asked += u64::from(!was_ended);
            fold.started(event.stamp, before);
        }
        latest = Some(event);
    }
    let after = EventsQuestion { max: 1, ..EventsQuestion::all(supervisors(), (last.saturating_add(1), u64::MAX)) };
    let next = if last == u64::MAX { None } else { source.events_in_order(&after)?.pop() };
    let is_ended = latest.as_ref().is_some_and(is_end);
    let last_event = match &next {
        // It ran at the end of the period, and a ledger without events of supervisors says nothing of them.
        Some(next) if is_end(next) => None,
        Some(next) if !is_ended => last_before(source, next.seq)?,
        None if latest.is_some() && !is_ended => last_before(source, u64::MAX)?,
        _ => None,
    };
    let last_event = last_event.filter(|stamp| stamp.wall_ns < period.to.wall_ns);
    Ok((fold, last_event, next.is_some()))
}

const fn is_end(event: &Event) -> bool {
    matches!(event.kind, EventKind::SupervisorStopped)
}

/// The time of the last event before event `seq` that a supervisor recorded.
fn last_before(source: &LedgerSource, seq: u64) -> Result<Option<Timestamp>, ReadFailure> {
    let kinds = EventKind::NAMES.into_iter().filter(|kind| !OPENING_KINDS.contains(kind));
    let query = EventQuery { kinds: Some(KindSet::named(kinds)), ..EventQuery::default() };
    let question = EventsQuestion::last(query, (1, seq.saturating_sub(1)), 1);
    Ok(source.events_in_order(&question)?.pop().map(|event| event.stamp))
}
