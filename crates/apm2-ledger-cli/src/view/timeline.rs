//! JSON view of the lanes of a period.

use std::collections::BTreeMap;

use apm2_lanes::{
    actions::{Action, Refusal, UnobservedEnd},
    lanes::Lane,
    mark::{Mark, MarkCounts, MarkKind, StopBy},
    outage::{Outage, OutageEnd},
    span::Span,
    summary::Summary,
    watch::{Gap, GapCause},
};
use apm2_model::{policy::joined::Joined, signal::Signal};
use chrono::{DateTime, TimeZone as _, Utc};
use serde::Serialize;

use crate::{
    end_details::{EndDetail, LastLine},
    period_lanes::Timeline,
    view::{
        cost::SpentView,
        event::{ActorView, RuleView},
        notice::Notice,
        stats::{NANOS_PER_MS, cause_view},
    },
};

/// The lanes of a period: output of `timeline`.
#[derive(Debug, Serialize)]
pub(crate) struct TimelineView<'a> {
    #[serde(serialize_with = "crate::view::time")]
    from: DateTime<Utc>,
    #[serde(serialize_with = "crate::view::time")]
    to: DateTime<Utc>,
    /// The number of equal parts of the period. They are numbered from 0.
    parts: u32,
    processes: Vec<LaneView<'a>>,
    /// The smallest and the greatest number of processes that were alive, for each part.
    alive: Vec<[u32; 2]>,
    /// When no daemon ran, the longest times if there are many.
    unwatched: Vec<GapView<'a>>,
    figures: FiguresView<'a>,
    /// What operators did, the first ones if there are many.
    actions: Vec<ActionView<'a>>,
    /// The restarts that were refused, so that the process stayed down, the first ones if there are many.
    refusals: Vec<RefusalView>,
    /// The ends of runs that no daemon observed as they happened, the first ones if there are many.
    unobserved_ends: Vec<UnobservedEndView>,
    /// The notice about the ledger; null when it is intact.
    notice: Option<&'a Notice>,
}

/// The lane of one process.
#[derive(Debug, Serialize)]
pub(crate) struct LaneView<'a> {
    process_id: String,
    name: &'a str,
    instance: u32,
    display_name: String,
    /// The state at the end of the period, such as `waiting` for a scheduled restart or `absent` for a removed process.
    state: &'static str,
    gave_up: bool,
    restarts: u64,
    marks: BTreeMap<&'static str, u32>,
    outages: OutagesView,
    /// What the agent used; null for a process that is no agent.
    spent: Option<SpentView>,
    spans: Vec<SpanView>,
}

/// Parts of the period with the same content.
#[derive(Debug, Serialize)]
struct SpanView {
    first: u32,
    last: u32,
    /// Milliseconds in each state.
    states: BTreeMap<&'static str, u64>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    marks: BTreeMap<&'static str, u32>,
    /// The most important of the marks.
    #[serde(skip_serializing_if = "Option::is_none")]
    mark: Option<MarkView>,
}

#[derive(Debug, Serialize)]
struct MarkView {
    #[serde(rename = "type")]
    class: &'static str,
    #[serde(serialize_with = "crate::view::time")]
    at: DateTime<Utc>,
    seq: u64,
    run: u64,
    /// `exit`, `signal`, `unknown`, `spawn_failed` or `never_confirmed`; null unless a run ended.
    cause: Option<&'static str>,
    exit_code: Option<i32>,
    signal: Option<Signal>,
    /// `operator`, `health`, `policy` or `supervisor`; null unless the mark is a stop.
    stopped_by: Option<&'static str>,
    /// The rule of a refusal, with its numbers.
    #[serde(flatten)]
    rule: Option<RuleView>,
}

#[derive(Debug, Serialize)]
struct OutagesView {
    count: u64,
    total_ms: u64,
    longest: Option<OutageView>,
    slowest_recovery: Option<OutageView>,
    open: Option<OutageView>,
}

#[derive(Debug, Serialize)]
struct OutageView {
    #[serde(serialize_with = "crate::view::time")]
    from: DateTime<Utc>,
    #[serde(serialize_with = "crate::view::time")]
    to: DateTime<Utc>,
    length_ms: u64,
    /// `recovered`, `withdrawn` or `open`.
    end: &'static str,
    /// How it began; null if that was before the period.
    mark: Option<MarkView>,
}

#[derive(Debug, Serialize)]
struct GapView<'a> {
    #[serde(serialize_with = "crate::view::time")]
    from: DateTime<Utc>,
    #[serde(serialize_with = "crate::view::time")]
    to: DateTime<Utc>,
    length_ms: u64,
    /// `stopped` or `died`.
    cause: &'static str,
    /// Who requested the end of the daemon, as far as it is recorded; null if it died.
    actor: Option<ActorView<'a>>,
    /// The reason of that request. A daemon that was stopped by `daemon --stop` has the person in it.
    reason: Option<&'a str>,
    is_open: bool,
}

#[derive(Debug, Serialize)]
struct FiguresView<'a> {
    /// Whether no daemon ran at the end of the period, so that the states are the last known ones.
    is_last_known: bool,
    alive: u64,
    ended: u64,
    restarts: u64,
    crashes: u64,
    first_death: Option<OfLane<'a, MarkView>>,
    most_restarts: Option<OfLane<'a, u64>>,
    /// The number of further processes with as many restarts.
    others_with_most_restarts: u64,
    longest_outage: Option<OfLane<'a, OutageView>>,
    slowest_recovery: Option<OfLane<'a, OutageView>>,
    down: Vec<OfLane<'a, OutageView>>,
    /// The number of those that were given up.
    gave_up: u64,
    unwatched_ms: u64,
    unwatched_count: u64,
    actions: u64,
    refusals: u64,
    /// What else is recorded of the ends that these figures name.
    ends: Vec<EndView<'a>>,
}

/// The end of a run.
#[derive(Debug, Serialize)]
struct EndView<'a> {
    /// The event of the end.
    seq: u64,
    /// Why no process could be started.
    failure: Option<&'a str>,
    /// Who requested the stop.
    actor: Option<ActorView<'a>>,
    /// The reason of the stop.
    reason: Option<&'a str>,
    /// Whether its last line is `recorded`, `not_recorded` or `nothing`; null if no process ran.
    output: Option<&'static str>,
    last_line: Option<&'a str>,
}

/// A figure of one process.
#[derive(Debug, Serialize)]
struct OfLane<'a, T> {
    process_id: String,
    name: &'a str,
    instance: u32,
    value: T,
}

#[derive(Debug, Serialize)]
struct ActionView<'a> {
    #[serde(serialize_with = "crate::view::time")]
    at: DateTime<Utc>,
    seq: u64,
    process_id: String,
    instance: u32,
    #[serde(rename = "type")]
    kind: &'static str,
    /// What a request joined, in the words of its event.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'static str>,
    actor: ActorView<'a>,
    reason: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct RefusalView {
    #[serde(serialize_with = "crate::view::time")]
    at: DateTime<Utc>,
    seq: u64,
    process_id: String,
    instance: u32,
    /// The rule, with its numbers.
    #[serde(flatten)]
    rule: RuleView,
}

#[derive(Debug, Serialize)]
struct UnobservedEndView {
    process_id: String,
    instance: u32,
    #[serde(serialize_with = "crate::view::time")]
    not_before: DateTime<Utc>,
    #[serde(serialize_with = "crate::view::time")]
    not_after: DateTime<Utc>,
    /// The end; null if it is before the period.
    mark: Option<MarkView>,
}

impl<'a> TimelineView<'a> {
    /// `shown` has the places of the lanes.
    pub(crate) fn new(timeline: &'a Timeline, shown: &[usize], notice: Option<&'a Notice>) -> Self {
        let lanes = &timeline.lanes;
        let shown = shown.iter().filter_map(|place| lanes.lanes.get(*place));
        Self {
            from: lanes.grid.from().wall(),
            to: lanes.grid.to().wall(),
            parts: lanes.grid.buckets(),
            processes: shown.map(|lane| LaneView::new(lane, timeline)).collect(),
            alive: lanes.alive.iter().map(|alive| [alive.min, alive.max]).collect(),
            unwatched: timeline.watch.gaps.iter().map(GapView::new).collect(),
            figures: FiguresView::new(timeline),
            actions: lanes.actions.first.iter().map(ActionView::new).collect(),
            refusals: lanes.refusals.first.iter().map(RefusalView::new).collect(),
            unobserved_ends: lanes.unobserved.first.iter().map(UnobservedEndView::new).collect(),
            notice,
        }
    }
}

impl<'a> LaneView<'a> {
    pub(crate) fn new(lane: &'a Lane, timeline: &Timeline) -> Self {
        Self {
            process_id: lane.id.process_id.to_string(),
            name: &lane.handle.spec.name,
            instance: lane.id.instance,
            display_name: lane.handle.display_name(),
            state: lane.state.name(),
            gave_up: lane.gave_up.is_some(),
            restarts: lane.runs.restarts,
            marks: marks(&lane.counts),
            outages: OutagesView {
                count: lane.outages.count,
                total_ms: lane.outages.total_ns / NANOS_PER_MS,
                longest: lane.outages.longest.as_ref().map(OutageView::new),
                slowest_recovery: lane.outages.slowest_recovery.as_ref().map(OutageView::new),
                open: lane.outages.open.as_ref().map(OutageView::new),
            },
            spent: timeline.spent.get(&lane.id).copied().map(SpentView::from),
            spans: lane.spans.iter().map(SpanView::new).collect(),
        }
    }
}

fn marks(counts: &MarkCounts) -> BTreeMap<&'static str, u32> {
    counts.present().map(|(class, count)| (class.name(), count)).collect()
}

impl SpanView {
    fn new(span: &Span) -> Self {
        Self {
            first: span.first,
            last: span.last,
            states: span.mix.present().map(|(state, nanos)| (state.name(), nanos / NANOS_PER_MS)).collect(),
            marks: marks(&span.counts),
            mark: span.mark.as_ref().map(MarkView::new),
        }
    }
}

impl MarkView {
    fn new(mark: &Mark) -> Self {
        let (cause, exit_code, signal) = match mark.kind.end().map(cause_view) {
            Some((cause, exit_code, signal)) => (Some(cause), exit_code, signal),
            None => (None, None, None),
        };
        let rule = if let MarkKind::Refusal(rule) = &mark.kind { Some(rule.into()) } else { None };
        let (at, class) = (Utc.timestamp_nanos(mark.at_ns), mark.kind.class().name());
        let stopped_by = mark.kind.stopped_by().map(StopBy::name);
        Self { class, at, seq: mark.seq, run: mark.run, cause, exit_code, signal, stopped_by, rule }
    }
}

impl OutageView {
    fn new(outage: &Outage) -> Self {
        let end = match outage.end {
            OutageEnd::Recovered => "recovered",
            OutageEnd::Withdrawn => "withdrawn",
            OutageEnd::Open => "open",
        };
        let (from, to, length_ms) = (outage.from.wall(), outage.to.wall(), outage.nanos() / NANOS_PER_MS);
        Self { from, to, length_ms, end, mark: outage.mark.as_ref().map(MarkView::new) }
    }
}

impl<'a> GapView<'a> {
    fn new(gap: &'a Gap) -> Self {
        let (cause, by) = match &gap.cause {
            GapCause::Stopped(by) => ("stopped", Some(by)),
            GapCause::Died => ("died", None),
        };
        let (from, to, length_ms) = (gap.from.wall(), gap.to.wall(), gap.nanos() / NANOS_PER_MS);
        let actor = by.map(|by| (&by.actor).into());
        let reason = by.and_then(|by| by.reason.as_deref());
        Self { from, to, length_ms, cause, actor, reason, is_open: gap.is_open }
    }
}

impl<'a> FiguresView<'a> {
    fn new(timeline: &'a Timeline) -> Self {
        let summary = Summary::new(&timeline.lanes);
        let outage = |(lane, outage)| OfLane::new(lane, OutageView::new(&outage));
        Self {
            is_last_known: timeline.is_last_known(),
            alive: summary.alive,
            ended: summary.ended,
            restarts: summary.restarts,
            crashes: summary.crashes,
            first_death: summary.first_death.map(|(lane, mark)| OfLane::new(lane, MarkView::new(&mark))),
            most_restarts: summary.most_restarts.first().map(|lane| OfLane::new(lane, lane.runs.restarts)),
            others_with_most_restarts: (summary.most_restarts.len() as u64).saturating_sub(1),
            longest_outage: summary.longest_outage.map(outage),
            slowest_recovery: summary.slowest_recovery.map(outage),
            down: summary.down.into_iter().map(outage).collect(),
            gave_up: summary.given_up,
            ends: timeline.details.0.iter().map(EndView::new).collect(),
            unwatched_ms: timeline.watch.total_ns / NANOS_PER_MS,
            unwatched_count: timeline.watch.count,
            actions: timeline.lanes.actions.count,
            refusals: timeline.lanes.refusals.count,
        }
    }
}

impl<'a> EndView<'a> {
    fn new((seq, detail): (&u64, &'a EndDetail)) -> Self {
        let (actor, reason) =
            detail.stop.as_ref().map_or((None, None), |(actor, reason)| (Some(actor), reason.as_deref()));
        let failure = detail.failure.as_ref().map(|failure| failure.message.as_str());
        let (output, last_line) = match &detail.last_line {
            None => (None, None),
            Some(LastLine::Recorded(line)) => (Some("recorded"), Some(line.as_str())),
            Some(LastLine::Nothing) => (Some("nothing"), None),
            Some(LastLine::NotRecorded) => (Some("not_recorded"), None),
        };
        Self { seq: *seq, failure, actor: actor.map(ActorView::from), reason, output, last_line }
    }
}

impl<'a, T> OfLane<'a, T> {
    fn new(lane: &'a Lane, value: T) -> Self {
        let (process_id, instance) = (lane.id.process_id.to_string(), lane.id.instance);
        Self { process_id, name: &lane.handle.spec.name, instance, value }
    }
}

impl<'a> ActionView<'a> {
    fn new(action: &'a Action) -> Self {
        Self {
            at: Utc.timestamp_nanos(action.at_ns),
            seq: action.seq,
            process_id: action.stream.process_id.to_string(),
            instance: action.stream.instance,
            kind: action.kind,
            detail: action.joined.map(Joined::detail),
            actor: (&action.actor).into(),
            reason: action.reason.as_deref(),
        }
    }
}

impl RefusalView {
    fn new(refusal: &Refusal) -> Self {
        Self {
            at: Utc.timestamp_nanos(refusal.at_ns),
            seq: refusal.seq,
            process_id: refusal.stream.process_id.to_string(),
            instance: refusal.stream.instance,
            rule: (&refusal.rule).into(),
        }
    }
}

impl UnobservedEndView {
    fn new(end: &UnobservedEnd) -> Self {
        Self {
            process_id: end.stream.process_id.to_string(),
            instance: end.stream.instance,
            not_before: end.not_before.wall(),
            not_after: end.not_after.wall(),
            mark: end.mark.as_ref().map(MarkView::new),
        }
    }
}
