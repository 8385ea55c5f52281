//! The figures of a period: what a person asks first after a bad night.

use crate::{
    lane_state::LaneState,
    lanes::{Lane, Lanes},
    mark::{Mark, MarkClass},
    outage::Outage,
};

/// The figures of a period. Each names the lane that it is of.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary<'a> {
    /// The first end of a run that no operator asked for, other than a success.
    pub first_death: Option<(&'a Lane, Mark)>,
    /// The lanes with the most restarts by the policy, several if they have as many; none without any restart.
    pub most_restarts: Vec<&'a Lane>,
    /// The longest outage.
    pub longest_outage: Option<(&'a Lane, Outage)>,
    /// The longest outage after which the process was running again.
    pub slowest_recovery: Option<(&'a Lane, Outage)>,
    /// The lanes that were down at the end of the period, the longest outage first. See [`Lane::is_down`].
    pub down: Vec<(&'a Lane, Outage)>,
    /// The number of lanes that were down and given up: the supervisor does not make the restart that their policy asks for.
    pub given_up: u64,
    /// The number of lanes whose process was alive at the end of the period.
    pub alive: u64,
    /// The number of lanes that finished or were stopped on request, and were not removed.
    pub ended: u64,
    /// The number of restarts by the policy.
    pub restarts: u64,
    /// The number of crashes and of starts that failed.
    pub crashes: u64,
}

impl<'a> Summary<'a> {
    /// The figures of these lanes.
    #[must_use]
    pub fn new(lanes: &'a Lanes) -> Self {
        let all = || lanes.lanes.iter();
        let longest = |outages: &mut dyn Iterator<Item = (&'a Lane, Outage)>| {
            // Of several, the first lane.
            outages.fold(None, |kept: Option<(&'a Lane, Outage)>, (lane, outage)| match kept {
                Some(kept) if kept.1.nanos() >= outage.nanos() => Some(kept),
                _ => Some((lane, outage)),
            })
        };
        let mut down: Vec<_> =
            all().filter(|lane| lane.is_down()).filter_map(|lane| Some((lane, lane.outages.open?))).collect();
        down.sort_by_key(|(_, outage)| std::cmp::Reverse(outage.nanos()));
        let count = |class| move |lane: &Lane| u64::from(lane.counts.of(class));
        let most = all().map(|lane| lane.runs.restarts).max().filter(|restarts| *restarts > 0);
        Self {
            first_death: all()
                .filter_map(|lane| Some((lane, lane.outages.first_death?)))
                .min_by_key(|(_, mark)| mark.seq),
            most_restarts: all().filter(|lane| Some(lane.runs.restarts) == most).collect(),
            longest_outage: longest(&mut all().filter_map(|lane| Some((lane, lane.outages.longest?)))),
            slowest_recovery: longest(&mut all().filter_map(|lane| Some((lane, lane.outages.slowest_recovery?)))),
            alive: counted(all().filter(|lane| lane.state.is_alive())),
            ended: counted(
                all().filter(|lane| !lane.is_down() && !lane.state.is_alive() && lane.state != LaneState::Absent),
            ),
            given_up: counted(down.iter().filter(|(lane, _)| lane.gave_up.is_some())),
            down,
            restarts: all().map(|lane| lane.runs.restarts).sum(),
            crashes: all().map(|lane| count(MarkClass::Crash)(lane) + count(MarkClass::FailedStart)(lane)).sum(),
        }
    }
}

fn counted(lanes: impl Iterator) -> u64 {
    u64::try_from(lanes.count()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use apm2_model::{
        event::{
            actor::Actor,
            exit::ExitOutcome,
            kind::{EventKind, RestartRule, StartTrigger},
            stream_id::StreamId,
        },
        state::stream::FollowUp,
    };

    use super::*;
    use crate::{
        fold::LanesFold,
        grid::Grid,
        lane_state::is_down,
        mark::StopBy,
        outage::OutageEnd,
        testing::{History, STOPPING, at, crashed, exit, operator, registered, start, stream},
    };

    const RESTART: StartTrigger = StartTrigger::Restart { attempt: 1 };

    /// Events of one stream, each with its second.
    fn add(history: &mut History, id: StreamId, actor: &Actor, events: impl IntoIterator<Item = (i64, EventKind)>) {
        for (seconds, kind) in events {
            history.add(id, at(seconds), actor.clone(), kind);
        }
    }

    fn started(seconds: i64, trigger: StartTrigger) -> impl Iterator<Item = (i64, EventKind)> {
        start(trigger).into_iter().map(move |kind| (seconds, kind))
    }

    fn lanes(history: &History) -> Lanes {
        let mut fold = LanesFold::new(Grid::new(at(0), at(100), 10));
        history.events.iter().for_each(|event| fold.apply(event).unwrap());
        fold.finish()
    }

    /// A night: 1 crashes twice and recovers, 2 gives up, 3 is stopped by an operator, 4 succeeds, 5 is stopped as unhealthy.
    fn night() -> History {
        let mut history = History::default();
        for number in 1..=5 {
            add(&mut history, stream(number), &operator(), [(0, registered(stream(number)))]);
            add(&mut history, stream(number), &operator(), started(1, StartTrigger::Start));
        }
        let scheduled = || EventKind::RestartScheduled { attempt: 1, delay_ms: 1 };
        let crash = |seconds| [(seconds, crashed(7)), (seconds, scheduled())];
        add(&mut history, stream(1), &Actor::Policy, crash(20).into_iter().chain(started(25, RESTART)));
        add(&mut history, stream(1), &Actor::Policy, crash(30).into_iter().chain(started(32, RESTART)));
        let rule = RestartRule::BudgetSpent { restarts: 1, max_restarts: 1, window_ms: 1 };
        add(&mut history, stream(2), &Actor::Policy, [(40, crashed(9)), (40, EventKind::RestartRefused { rule })]);
        let stopped = |code| EventKind::Stopped { exit: exit(ExitOutcome::Code(code)) };
        add(&mut history, stream(3), &operator(), [(50, STOPPING), (51, stopped(1))]);
        add(&mut history, stream(4), &Actor::System, [(60, stopped(0))]);
        add(&mut history, stream(5), &Actor::Health, [(70, STOPPING), (71, stopped(0))]);
        add(&mut history, stream(5), &Actor::Policy, [(71, scheduled())].into_iter().chain(started(74, RESTART)));
        history
    }

    #[test]
    fn the_figures_of_a_night_are_found() {
        let lanes = lanes(&night());
        let summary = Summary::new(&lanes);
        let seconds = |nanos: u64| nanos / 1_000_000_000;
        let (lane, mark) = summary.first_death.unwrap();
        assert_eq!((lane.id, mark.at_ns, mark.kind.class()), (stream(1), 20_000_000_000, MarkClass::Crash));
        let most: Vec<_> = summary.most_restarts.iter().map(|lane| (lane.id, lane.runs.restarts)).collect();
        assert_eq!((most, summary.given_up), (vec![(stream(1), 2)], 1));
        let (lane, outage) = summary.longest_outage.unwrap();
        assert_eq!((lane.id, seconds(outage.nanos()), outage.end), (stream(2), 60, OutageEnd::Open));
        let (lane, outage) = summary.slowest_recovery.unwrap();
        assert_eq!((lane.id, seconds(outage.nanos()), outage.end), (stream(1), 5, OutageEnd::Recovered));
        assert_eq!(summary.down.iter().map(|(lane, _)| lane.id).collect::<Vec<_>>(), [stream(2)]);
        assert_eq!((summary.alive, summary.ended, summary.restarts, summary.crashes), (2, 2, 3, 3));
        let actions: Vec<_> = lanes.actions.first.iter().map(|action| (action.stream, action.kind)).collect();
        assert_eq!((actions.len(), actions.last()), (11, Some(&(stream(3), "stopping"))));
        assert_eq!(lanes.refusals.first.iter().map(|refusal| refusal.stream).collect::<Vec<_>>(), [stream(2)]);
        let outages = lanes.lane(stream(5)).unwrap().outages;
        assert_eq!(
            (outages.count, seconds(outages.total_ns)),
            (1, 3),
            "the stop of an unhealthy process begins an outage"
        );
    }

    #[test]
    fn the_state_of_a_stream_says_whether_it_is_down() {
        let history = night();
        for count in 1..=history.events.len() {
            let mut part = History::default();
            let mut fold = LanesFold::new(Grid::new(at(0), at(100), 10));
            for event in &history.events[..count] {
                part.add(event.stream, event.stamp, event.actor.clone(), event.kind.clone());
                fold.apply(event).unwrap();
            }
            let lanes = fold.finish();
            for state in &part.streams {
                let is_undecided = state.intent.is_some() || matches!(state.follow_up, FollowUp::Undecided { .. });
                let lane = lanes.lane(state.id).unwrap();
                assert!(lane.is_down() == is_down(state) || is_undecided, "after event {count}: {state:?}");
            }
        }
    }

    #[test]
    fn several_lanes_can_have_the_most_restarts() {
        let mut history = night();
        let scheduled = EventKind::RestartScheduled { attempt: 1, delay_ms: 1 };
        let crash = [(80, crashed(7)), (80, scheduled)].into_iter().chain(started(82, RESTART));
        add(&mut history, stream(5), &Actor::Policy, crash);
        let lanes = lanes(&history);
        let most: Vec<_> = Summary::new(&lanes).most_restarts.iter().map(|lane| lane.id).collect();
        assert_eq!(most, [stream(1), stream(5)]);
    }

    #[test]
    fn stops_are_counted_by_who_requested_them() {
        let lanes = lanes(&night());
        let stops = |number| {
            lanes.lane(stream(number)).unwrap().stops.iter().map(|((by, _), count)| (*by, *count)).collect::<Vec<_>>()
        };
        assert_eq!((stops(3), stops(4), stops(5)), (vec![(StopBy::Operator, 1)], vec![], vec![(StopBy::Health, 1)]));
    }

    /// A process that an operator has started.
    fn started_by_hand() -> History {
        let mut history = History::default();
        let events = [(0, registered(stream(1)))].into_iter().chain(started(1, StartTrigger::Start));
        add(&mut history, stream(1), &operator(), events);
        history
    }

    #[test]
    fn an_outage_that_an_operator_ends_is_no_recovery() {
        let mut history = started_by_hand();
        add(
            &mut history,
            stream(1),
            &Actor::System,
            [(20, crashed(7)), (20, EventKind::RestartScheduled { attempt: 1, delay_ms: 1 })],
        );
        add(
            &mut history,
            stream(1),
            &operator(),
            [(30, EventKind::RestartRefused { rule: RestartRule::StopRequested })],
        );
        let lanes = lanes(&history);
        let summary = Summary::new(&lanes);
        assert_eq!((summary.slowest_recovery, summary.down.len(), summary.ended), (None, 0, 1));
        assert_eq!(summary.longest_outage.map(|(_, outage)| outage.end), Some(OutageEnd::Withdrawn));
    }

    #[test]
    fn a_period_without_events_has_no_figures() {
        let lanes = lanes(&History::default());
        let summary = Summary::new(&lanes);
        assert!(summary.first_death.is_none() && summary.most_restarts.is_empty() && summary.down.is_empty());
    }

    /// Prints the time for a million events of a thousand processes. `cargo test --release -p apm2-lanes -- --ignored --nocapture`
    #[test]
    #[ignore = "a measurement"]
    fn a_million_events() {
        let mut history = started_by_hand();
        for _ in 0..250 {
            add(&mut history, stream(1), &Actor::Policy, [(1, crashed(7))].into_iter().chain(started(1, RESTART)));
        }
        let mut fold = LanesFold::new(Grid::new(at(0), at(1_000_000), 1000));
        let mut events = history.events.clone();
        let begin = std::time::Instant::now();
        let mut copying = std::time::Duration::ZERO;
        let mut count: i64 = 0;
        for number in 0..1000 {
            let start = std::time::Instant::now();
            for event in &mut events {
                event.stream.instance = number;
                event.stamp = at(count);
                count += 1;
            }
            copying += start.elapsed();
            for event in &events {
                fold.apply(event).unwrap();
            }
        }
        let lanes = fold.finish();
        println!("{count} events, {} lanes: {:?}", lanes.lanes.len(), begin.elapsed() - copying);
    }
}
