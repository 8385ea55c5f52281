//! Property tests: lanes agree with the state machine, and their buckets with their segments.

use apm2_model::{
    event::{
        Event,
        actor::Actor,
        exit::{ExitOutcome, RunEnd},
        kind::{EventKind, RestartRule, StartTrigger},
        stream_id::StreamId,
    },
    signal::Signal,
    state::stream::Stream,
};
use proptest::{collection::vec, prelude::*};

use crate::{
    fold::LanesFold,
    grid::Grid,
    lane_state::LaneState,
    lanes::{Lane, Lanes},
    mark::{Mark, MarkCounts},
    segment::{Segment, SegmentFold},
    span::Mix,
    testing::{History, STOPPING, applied, at_ns, crashed, exit, operator, registered, start, stream},
};

/// The number of streams of a history.
const STREAMS: u8 = 4;

/// Events of one commit.
fn kinds(id: StreamId) -> impl Strategy<Value = Vec<EventKind>> {
    let restart = StartTrigger::Restart { attempt: 1 };
    let failed = |trigger| {
        vec![
            EventKind::StartRequested { trigger },
            EventKind::Starting { identity: None, trigger },
            EventKind::Crashed { cause: RunEnd::NeverConfirmed },
        ]
    };
    let killed = exit(ExitOutcome::Signal { signal: Signal::KILL, core_dumped: false });
    let sampled = EventKind::Sampled { cpu_centipercent: 1, memory_bytes: 1, processes: None };
    let rule = RestartRule::BudgetSpent { restarts: 1, max_restarts: 1, window_ms: 1 };
    prop_oneof![
        Just(start(StartTrigger::Start).to_vec()),
        Just(start(restart).to_vec()),
        Just(failed(restart)),
        Just(vec![EventKind::RestartScheduled { attempt: 1, delay_ms: 1 }]),
        Just(vec![EventKind::RestartRefused { rule }]),
        Just(vec![EventKind::RestartRefused { rule: RestartRule::StopRequested }]),
        Just(vec![crashed(7)]),
        Just(vec![EventKind::Stopped { exit: exit(ExitOutcome::Code(0)) }]),
        Just(vec![STOPPING]),
        Just(vec![EventKind::SignalSent {
            signal: Signal::KILL,
            target: apm2_model::event::kind::SignalTarget::Group
        }]),
        Just(vec![EventKind::Terminated { exit: killed }]),
        Just(vec![EventKind::Unhealthy { failures: 3 }]),
        Just(vec![EventKind::Unregistered]),
        Just(vec![spec_changed(id)]),
        Just(vec![sampled]),
        Just(vec![registered(id)]),
    ]
}

fn spec_changed(id: StreamId) -> EventKind {
    match registered(id) {
        EventKind::Registered { spec } => EventKind::SpecChanged { spec },
        other => other,
    }
}

fn actor() -> impl Strategy<Value = Actor> {
    prop_oneof![Just(operator()), Just(Actor::Policy), Just(Actor::Health), Just(Actor::System)]
}

/// A history whose wall clock goes forward, and back at times.
fn history() -> impl Strategy<Value = History> {
    history_with(prop_oneof![9 => 0_i64..40, 1 => -60_i64..0].boxed())
}

/// A history with these nanoseconds between its commits.
fn history_with(step: BoxedStrategy<i64>) -> impl Strategy<Value = History> {
    let commit = (0..STREAMS, step, actor())
        .prop_flat_map(|(number, step, actor)| (Just(stream(number + 1)), Just(step), Just(actor)))
        .prop_flat_map(|(id, step, actor)| (Just(id), Just(step), Just(actor), kinds(id)));
    vec(commit, 1..150).prop_map(|commits| {
        let (mut history, mut now) = (History::default(), 0);
        for (id, step, actor, kinds) in commits {
            now += step;
            if !history.streams.iter().any(|stream| stream.id == id) {
                history.add(id, at_ns(now), operator(), registered(id));
            }
            for kind in kinds {
                history.add(id, at_ns(now), actor.clone(), kind);
            }
        }
        history
    })
}

/// A part of a history: the states before it, its events with their times in the period, and the period.
struct Part {
    grid: Grid,
    before: Vec<Stream>,
    events: Vec<(i64, Event)>,
}

impl Part {
    /// The part that begins with event `first`. `length` is that of the period.
    fn new(history: &History, first: usize, length: i64, buckets: u32) -> Self {
        let first = first % history.events.len();
        let mut before: Vec<Option<Stream>> = vec![None; usize::from(STREAMS) + 1];
        let place = |event: &Event| usize::from(event.stream.process_id.as_bytes()[0]);
        for event in &history.events[..first] {
            let state = &mut before[place(event)];
            *state = Some(applied(state.take(), event).unwrap());
        }
        let from = history.events[first].stamp.wall_ns;
        let grid = Grid::new(at_ns(from), at_ns(from + length), buckets);
        let mut now = from;
        let events = history.events[first..].iter().map(|event| {
            now = now.max(grid.clamp(event.stamp.wall_ns));
            (now, event.clone())
        });
        let events = events.collect();
        Self { grid, before: before.into_iter().flatten().collect(), events }
    }

    fn lanes(&self) -> Lanes {
        let mut fold = LanesFold::new(self.grid);
        self.before.iter().for_each(|stream| fold.begin(stream));
        self.events.iter().for_each(|(_, event)| fold.apply(event).unwrap());
        fold.finish()
    }

    fn state_before(&self, id: StreamId) -> Option<Stream> {
        self.before.iter().find(|stream| stream.id == id).cloned()
    }

    fn events_of(&self, id: StreamId) -> impl Iterator<Item = (i64, &Event)> {
        self.events.iter().filter(move |(_, event)| event.stream == id).map(|(at, event)| (*at, event))
    }

    /// The state of a stream at a time, by the state machine alone.
    fn state_at(&self, id: StreamId, time: i64) -> Option<Stream> {
        let events = self.events_of(id).take_while(|(at, _)| *at <= time);
        events.fold(self.state_before(id), |state, (_, event)| Some(applied(state, event).unwrap()))
    }

    /// The segments of a stream, and its marks.
    fn segments(&self, id: StreamId) -> (Vec<Segment>, Vec<Mark>) {
        let mut fold = SegmentFold::new(self.state_before(id).as_ref(), self.grid.from_ns());
        let (mut segments, mut marks) = (Vec::new(), Vec::new());
        for (at, event) in self.events_of(id) {
            segments.extend(fold.cut(at));
            marks.extend(Mark::of(event, at, fold.stop()));
            fold.apply(event).unwrap();
        }
        segments.extend(fold.cut(self.grid.to_ns()));
        (segments, marks)
    }
}

/// The time in each state and the marks of a bucket, by the segments.
fn content(grid: Grid, bucket: u32, segments: &[Segment], marks: &[Mark]) -> (Vec<(LaneState, u64)>, MarkCounts) {
    let (from, to) = (grid.start(bucket), grid.end(bucket));
    let nanos = |state| -> u64 {
        let of_state = segments.iter().filter(|segment| segment.state == state);
        let parts = of_state.map(|segment| segment.to_ns.min(to).saturating_sub(segment.from_ns.max(from)));
        parts.filter_map(|part| u64::try_from(part).ok()).sum()
    };
    let states = LaneState::ALL.into_iter().map(|state| (state, nanos(state))).filter(|(_, nanos)| *nanos > 0);
    let mut counts = MarkCounts::NONE;
    marks.iter().filter(|mark| grid.bucket(mark.at_ns) == bucket).for_each(|mark| counts.add(mark.kind.class()));
    (states.collect(), counts)
}

fn check_spans(lane: &Lane, grid: Grid) -> Result<(), TestCaseError> {
    prop_assert!(lane.spans.len() <= usize::try_from(grid.buckets()).unwrap());
    let mut next = 0;
    for span in &lane.spans {
        prop_assert!(span.first == next && span.first <= span.last);
        prop_assert_eq!(span.mix.total(), grid.end(span.last).abs_diff(grid.start(span.first)));
        prop_assert!(span.first == span.last || (span.mix.only().is_some() && span.counts.is_empty()));
        prop_assert_eq!(span.mark.is_none(), span.counts.is_empty());
        next = span.last + 1;
    }
    prop_assert_eq!(next, grid.buckets());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn segments_cover_the_period_and_agree_with_the_state_machine(
        history in history(), first in any::<usize>(), length in 1_i64..3000, times in vec(0_i64..3000, 1..20),
    ) {
        let part = Part::new(&history, first, length, 7);
        for id in (1..=STREAMS).map(stream) {
            let (segments, _) = part.segments(id);
            let mut end = part.grid.from_ns();
            for segment in &segments {
                prop_assert!(segment.from_ns == end && segment.from_ns < segment.to_ns);
                end = segment.to_ns;
            }
            prop_assert_eq!(end, part.grid.to_ns());
            for time in times.iter().map(|time| part.grid.from_ns() + time % length) {
                let found = segments.iter().find(|segment| (segment.from_ns..segment.to_ns).contains(&time)).unwrap();
                prop_assert_eq!(found.state, LaneState::of(part.state_at(id, time).as_ref()), "{} at {}", id.process_id, time);
            }
        }
    }

    #[test]
    fn buckets_agree_with_segments_and_marks(
        history in history(), first in any::<usize>(), length in 1_i64..3000, buckets in 1_u32..60,
    ) {
        let part = Part::new(&history, first, length, buckets);
        let lanes = part.lanes();
        for lane in &lanes.lanes {
            check_spans(lane, lanes.grid)?;
            let (segments, marks) = part.segments(lane.id);
            let mut counts = MarkCounts::NONE;
            for bucket in 0..lanes.grid.buckets() {
                let span = lane.span(bucket).unwrap();
                let (states, expected) = content(lanes.grid, bucket, &segments, &marks);
                if span.first == span.last {
                    prop_assert_eq!(span.mix.present().collect::<Vec<_>>(), states);
                } else {
                    prop_assert_eq!(states.iter().map(|(state, _)| *state).collect::<Vec<_>>(), vec![span.mix.only().unwrap()]);
                }
                prop_assert_eq!(span.counts, expected);
                counts.merge(&expected);
            }
            prop_assert_eq!(lane.counts, counts);
            let last = part.state_at(lane.id, i64::MAX).unwrap();
            prop_assert_eq!((&lane.handle, lane.gave_up), (&last.handle, last.gave_up));
        }
    }

    #[test]
    fn the_number_of_processes_agrees_with_the_segments(
        history in history(), first in any::<usize>(), length in 1_i64..300, buckets in 1_u32..60,
    ) {
        let part = Part::new(&history, first, length, buckets);
        let lanes = part.lanes();
        let segments: Vec<Segment> = lanes.lanes.iter().flat_map(|lane| part.segments(lane.id).0).collect();
        let alive_at = |time: i64| {
            let alive = segments.iter().filter(|segment| segment.state.is_alive());
            u32::try_from(alive.filter(|segment| (segment.from_ns..segment.to_ns).contains(&time)).count()).unwrap()
        };
        for (bucket, alive) in (0..).zip(&lanes.alive) {
            let counts: Vec<u32> = (lanes.grid.start(bucket)..lanes.grid.end(bucket)).map(alive_at).collect();
            prop_assert_eq!((Some(&alive.min), Some(&alive.max)), (counts.iter().min(), counts.iter().max()));
        }
    }

    #[test]
    fn only_the_listed_kinds_are_needed(history in history_with((0_i64..40).boxed()), first in any::<usize>(), buckets in 1_u32..60) {
        let mut part = Part::new(&history, first, 6001, buckets);
        let all = part.lanes();
        part.events.retain(|(_, event)| crate::segment::LANE_KINDS.contains(&event.kind.name()));
        let mut listed = part.lanes();
        for (lane, complete) in listed.lanes.iter_mut().zip(&all.lanes) {
            // Samples change nothing but these.
            lane.handle = complete.handle.clone();
            lane.runs.cpu_centipercent = complete.runs.cpu_centipercent;
            lane.runs.memory_bytes = complete.runs.memory_bytes;
        }
        prop_assert_eq!(all, listed);
    }
}

#[test]
fn a_mix_names_the_longest_state() {
    let mix = Mix::default();
    assert_eq!((mix.longest(), mix.only(), mix.total()), (None, None, 0));
}
