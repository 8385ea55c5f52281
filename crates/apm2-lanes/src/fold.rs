//! Computes the lanes of a period from the states at its beginning and its events.

use std::collections::{BTreeMap, HashMap};

use apm2_model::{
    event::{
        Event,
        kind::{EventKind, RestartRule},
        requester::Requester,
        stream_id::StreamId,
    },
    state::{
        statistics::{EndCause, StatisticsFold},
        stream::Stream,
        transition::IllegalTransition,
    },
};

use crate::{
    actions::{Action, Listed, Refusal, UnobservedEnd},
    alive::AliveFold,
    grid::Grid,
    lane_state::is_down,
    lanes::{Lane, Lanes},
    mark::{Mark, MarkCounts, MarkKind, StopBy},
    outage::OutageFold,
    segment::SegmentFold,
    span::SpanFold,
};

/// Computes the lanes of a period.
#[derive(Debug)]
pub struct LanesFold {
    grid: Grid,
    lanes: HashMap<StreamId, LaneFold>,
    alive: AliveFold,
    actions: Listed<Action>,
    refusals: Listed<Refusal>,
    unobserved: Listed<UnobservedEnd>,
    /// The time of the last event, within the period. It does not go back if the wall clock was set back.
    now_ns: i64,
}

/// One lane while its events are read.
#[derive(Debug)]
struct LaneFold {
    segments: SegmentFold,
    spans: SpanFold,
    counts: MarkCounts,
    last_end: Option<Mark>,
    stops: BTreeMap<(StopBy, EndCause), u64>,
    outages: OutageFold,
    statistics: StatisticsFold,
    postponed: Option<Requester>,
}

impl LanesFold {
    /// The fold at the beginning of the period, without lanes.
    #[must_use]
    pub fn new(grid: Grid) -> Self {
        Self {
            grid,
            lanes: HashMap::new(),
            alive: AliveFold::new(grid),
            actions: Listed::default(),
            refusals: Listed::default(),
            unobserved: Listed::default(),
            now_ns: grid.from_ns(),
        }
    }

    /// Adds a lane with the state of its stream at the beginning of the period. A stream that begins in the period needs no such call.
    pub fn begin(&mut self, before: &Stream) {
        let lane = LaneFold::new(Some(before), self.grid);
        if lane.segments.state().is_alive() {
            self.alive.begin(self.now_ns);
        }
        self.lanes.insert(before.id, lane);
    }

    /// Applies the next event of the period. Events of the ledger itself change nothing, nor do kinds that are neither in
    /// [`LANE_KINDS`](crate::segment::LANE_KINDS) nor in [`STATISTICS_KINDS`](apm2_model::state::statistics::STATISTICS_KINDS).
    ///
    /// # Errors
    /// The state of its stream does not allow the event, because events before it are missing.
    pub fn apply(&mut self, event: &Event) -> Result<(), IllegalTransition> {
        if event.stream.is_system() {
            return Ok(());
        }
        self.now_ns = self.now_ns.max(self.grid.clamp(event.stamp.wall_ns));
        let at_ns = self.now_ns;
        let lane = self.lanes.entry(event.stream).or_insert_with(|| LaneFold::new(None, self.grid));
        let was_alive = lane.segments.state().is_alive();
        lane.apply(event, at_ns)?;
        match (was_alive, lane.segments.state().is_alive()) {
            (false, true) => self.alive.begin(at_ns),
            (true, false) => self.alive.end(at_ns),
            _ => {}
        }
        if let Some(end) = UnobservedEnd::of(event, lane.last_end) {
            self.unobserved.add(end);
        }
        if let Some(action) = Action::of(event, at_ns) {
            self.actions.add(action);
        }
        if let Some(refusal) = Refusal::of(event, at_ns) {
            self.refusals.add(refusal);
        }
        Ok(())
    }

    /// The lanes until the end of the period.
    #[must_use]
    pub fn finish(self) -> Lanes {
        let Self { grid, lanes, alive, actions, refusals, unobserved, now_ns: _ } = self;
        let mut lanes: Vec<Lane> = lanes.into_iter().filter_map(|(id, lane)| lane.finish(id, grid)).collect();
        lanes.sort_unstable_by(|one, other| order(one).cmp(&order(other)));
        Lanes { grid, lanes, alive: alive.finish(), actions, refusals, unobserved }
    }
}

fn order(lane: &Lane) -> (&str, u32, StreamId) {
    (&lane.handle.spec.name, lane.id.instance, lane.id)
}

impl LaneFold {
    fn new(before: Option<&Stream>, grid: Grid) -> Self {
        let segments = SegmentFold::new(before, grid.from_ns());
        Self {
            segments,
            spans: SpanFold::new(grid),
            counts: MarkCounts::NONE,
            last_end: None,
            stops: BTreeMap::new(),
            outages: OutageFold::new(before.is_some_and(is_down), grid.from()),
            statistics: StatisticsFold::new(before, grid.from()),
            postponed: None,
        }
    }

    fn apply(&mut self, event: &Event, at_ns: i64) -> Result<(), IllegalTransition> {
        if let Some(segment) = self.segments.cut(at_ns) {
            self.spans.add(segment);
        }
        let stop = self.segments.stop();
        self.segments.apply(event)?;
        self.statistics.add(event);
        let mark = Mark::of(event, at_ns, stop);
        self.outages.add(event, mark.as_ref());
        if let Some(mark) = mark {
            self.spans.mark(mark);
            self.counts.add(mark.kind.class());
            self.last_end = mark.kind.end().map_or(self.last_end, |_| Some(mark));
            if let MarkKind::Stop(end, by) | MarkKind::Kill(end, by) = mark.kind {
                *self.stops.entry((by, end)).or_default() += 1;
            }
        }
        match &event.kind {
            EventKind::RestartRefused { rule: RestartRule::StopRequested } => {
                self.postponed = Some(Requester { actor: event.actor.clone(), reason: event.reason.clone() });
            }
            EventKind::StartRequested { .. } | EventKind::RestartScheduled { .. } => self.postponed = None,
            _ => {}
        }
        Ok(())
    }

    /// The lane; `None` if its instance was never registered.
    fn finish(mut self, id: StreamId, grid: Grid) -> Option<Lane> {
        if let Some(segment) = self.segments.cut(grid.to_ns()) {
            self.spans.add(segment);
        }
        Some(Lane {
            id,
            handle: self.segments.handle()?.clone(),
            state: self.segments.state(),
            gave_up: self.segments.gave_up(),
            postponed: self.postponed,
            spans: self.spans.finish(),
            counts: self.counts,
            last_end: self.last_end,
            stops: self.stops,
            outages: self.outages.finish(grid.to()),
            runs: self.statistics.finish(grid.to()),
        })
    }
}
