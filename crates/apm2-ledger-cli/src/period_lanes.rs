//! The lanes of a period: reads the states and events that they are computed from. Prints nothing.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
};

use apm2_lanes::{
    actions::{Action, LISTED_MAX},
    fold::LanesFold,
    grid::Grid,
    lanes::Lanes,
    segment::LANE_KINDS,
    watch::Watch,
};
use apm2_ledger::{EventQuery, EventsQuestion, KindSet, ReadError, ReadLedger as _, StatesQuestion, StreamAt};
use apm2_model::{
    event::{actor::ActorFilter, stream_id::StreamId},
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
    supervisors::Supervisors,
};

/// The lanes of a period, what the agents among them used, and when no supervisor ran.
#[derive(Debug)]
pub(crate) struct Timeline {
    pub(crate) lanes: Lanes,
    pub(crate) spent: BTreeMap<StreamId, Spent>,
    pub(crate) watch: Watch,
    pub(crate) details: EndDetails,
}

/// An agent that used most, or that was stopped for good.
#[derive(Debug)]
pub(crate) struct Spender {
    pub(crate) id: StreamId,
    pub(crate) spent: Spent,
    /// When and why it was stopped for good, in words.
    pub(crate) stopped: Option<(i64, String)>,
}

impl Timeline {
    /// The agents with the greatest cost, or with the most tokens if none has a cost: the first of them, and those that were stopped for
    /// good, such as by a budget.
    pub(crate) fn spenders(&self) -> Vec<Spender> {
        let order = |spent: &Spent| {
            let usage = spent.totals.usage;
            (spent.cost_micros().unwrap_or(0), usage.input.saturating_add(usage.output))
        };
        let stops = self.lanes.refusals.first.iter();
        let mut stopped: BTreeMap<StreamId, (i64, String)> = stops
            .filter_map(|refusal| Some((refusal.stream, (refusal.at_ns, stopped_for_good(&refusal.rule)?))))
            .collect();
        let mut agents: Vec<(&StreamId, &Spent)> =
            self.spent.iter().filter(|(_, spent)| order(spent) > (0, 0)).collect();
        agents.sort_by_key(|(_, spent)| Reverse(order(spent)));
        let spender = |(place, (id, spent)): (usize, (&StreamId, &Spent))| {
            let stopped = stopped.remove(id);
            (place == 0 || stopped.is_some()).then_some(Spender { id: *id, spent: *spent, stopped })
        };
        agents.into_iter().enumerate().filter_map(spender).collect()
    }

    /// Whether the period ends in a time without a supervisor, so that the states at its end are the last known ones.
    pub(crate) fn is_last_known(&self) -> bool {
        self.watch.open_gap().is_some()
    }
}

/// The lanes of a period, before it is known whether a supervisor runs now.
#[derive(Debug)]
pub(crate) struct PeriodLanes {
    lanes: Lanes,
    spent: BTreeMap<StreamId, Spent>,
    details: EndDetails,
    supervisors: Supervisors,
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
        let mut joined = Vec::new();
        if !is_restricted || !shown.is_empty() {
            let streams = if is_restricted { shown } else { Vec::new() };
            let query = EventQuery { streams, kinds: Some(kinds(samples)), ..EventQuery::default() };
            apply(source, &EventsQuestion::all(query.clone(), period.seqs), &mut fold)?;
            joined = joined_requests(source, query, period.seqs, grid)?;
        }
        let spent = spent(source, &streams, period)?;
        let mut supervisors = Supervisors::read(source, grid, period)?;
        let mut lanes = fold.finish();
        supervisors.actions.drain(..).chain(joined).for_each(|action| lanes.actions.insert(action));
        let details = EndDetails::read(source, &lanes, period.seqs.1)?;
        Ok(Self { lanes, spent, details, supervisors })
    }

    /// The timeline of the period. `supervision` is whether a supervisor runs now.
    pub(crate) fn finish(self, supervision: Supervision) -> Timeline {
        let watch = self.supervisors.finish(supervision);
        Timeline { lanes: self.lanes, spent: self.spent, watch, details: self.details }
    }
}

/// The requests of persons that joined others, the first ones. They are observations, of which a ledger has many without an operator.
fn joined_requests(
    source: &LedgerSource,
    query: EventQuery,
    seqs: (u64, u64),
    grid: Grid,
) -> Result<Vec<Action>, ReadFailure> {
    let (kinds, actors) = (Some(KindSet::named(["observed"])), vec![ActorFilter::Operator]);
    let mut found = Vec::new();
    source.events(&EventsQuestion::all(EventQuery { kinds, actors, ..query }, seqs), &mut |event| {
        found.extend(Action::of(&event, grid.clamp(event.stamp.wall_ns)));
        if found.len() < LISTED_MAX { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    Ok(found)
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
