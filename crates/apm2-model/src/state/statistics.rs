//! Statistics of the runs of one stream in a period: a fold over the events of the period.

use std::collections::BTreeMap;

use crate::{
    event::{
        Event,
        exit::{Exit, ExitOutcome, RunEnd},
        kind::{EventKind, StartTrigger},
        timestamp::Timestamp,
    },
    signal::Signal,
    state::stream::Stream,
};

/// The kinds of events that the statistics are computed from. Other events change nothing.
pub const STATISTICS_KINDS: [&str; 9] = [
    "start_requested",
    "starting",
    "running",
    "stopped",
    "crashed",
    "terminated",
    "end_unobserved",
    "restart_refused",
    "sampled",
];

/// How a run ended, without details.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EndCause {
    /// The process exited with this code.
    Code(i32),
    /// This signal killed the process.
    Signal(Signal),
    /// The exit status is not known.
    Unknown,
    /// The process could not be spawned.
    SpawnFailed,
    /// The start was requested, but its outcome was never recorded.
    NeverConfirmed,
}

/// The state in which a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EndState {
    /// The process succeeded, or was stopped on request.
    Stopped,
    /// The process failed.
    Crashed,
    /// SIGKILL of the supervisor ended the process.
    Terminated,
}

/// Measurements of one quantity.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Measured {
    /// The number of measurements.
    pub count: u64,
    /// Their sum.
    pub total: u64,
    /// The greatest one.
    pub max: u64,
}

impl Measured {
    /// Adds a measurement.
    pub fn add(&mut self, value: u64) {
        self.count += 1;
        self.total = self.total.saturating_add(value);
        self.max = self.max.max(value);
    }

    /// The mean, rounded down; `None` without measurements.
    #[must_use]
    pub const fn mean(&self) -> Option<u64> {
        self.total.checked_div(self.count)
    }
}

/// Statistics of the runs of one stream in a period.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunStatistics {
    /// The number of requested starts, also of those whose spawn failed.
    pub runs: u64,
    /// The number of processes that a restart by the policy brought up. A restart whose spawn failed does not count, as in the
    /// `restart_count` of a handle.
    pub restarts: u64,
    /// The number of ends of runs, by state and cause.
    pub ends: BTreeMap<(EndState, EndCause), u64>,
    /// The number of times that the policy gave up: the restart budget was spent, or the launch specification was unknown.
    pub given_up: u64,
    /// Nanoseconds during which the main process was alive, on the boot clock. Of a run whose end no supervisor observed,
    /// only the time until the last recorded event counts.
    pub up_ns: u64,
    /// Nanoseconds from each crash to the next time that the process was running.
    pub recovery_ns: Measured,
    /// Processor use in hundredths of a percent of one core, by the samples.
    pub cpu_centipercent: Measured,
    /// Resident memory in bytes, by the samples.
    pub memory_bytes: Measured,
}

impl RunStatistics {
    /// The number of runs that ended in this state.
    #[must_use]
    pub fn ended(&self, state: EndState) -> u64 {
        self.ends.iter().filter(|((found, _), _)| *found == state).map(|(_, count)| count).sum()
    }
}

/// Computes [`RunStatistics`] from the events of one stream in a period.
#[derive(Debug)]
pub struct StatisticsFold {
    statistics: RunStatistics,
    /// Since when the main process is alive, or the beginning of the period.
    alive_since: Option<Timestamp>,
    /// The time of the last crash, if the process was not running since then.
    crashed_at: Option<Timestamp>,
    /// The last end: since when the process was alive, and `up_ns` without that run.
    last_end: Option<(Timestamp, u64)>,
    /// The time of the last event, or the beginning of the period.
    last: Timestamp,
    /// The beginning of the period, while it is not known yet whether the process was alive then.
    unknown_at: Option<Timestamp>,
}

impl StatisticsFold {
    /// The fold at the beginning of a period, with the state of the stream at this time; `None` if it had no events.
    #[must_use]
    pub fn new(before: Option<&Stream>, from: Timestamp) -> Self {
        let alive = before.filter(|stream| !stream.handle.state.has_exited());
        Self {
            statistics: RunStatistics::default(),
            alive_since: alive.map(|_| from),
            crashed_at: None,
            last_end: None,
            last: from,
            unknown_at: None,
        }
    }

    /// The fold at the beginning of a period, if only the state at its end is known. Whether the process was alive at the beginning
    /// follows from the first event that depends on it, or else from whether it is alive at the end.
    #[must_use]
    pub fn before_end(is_alive_at_end: bool, from: Timestamp) -> Self {
        let alive_since = is_alive_at_end.then_some(from);
        Self { alive_since, unknown_at: Some(from), ..Self::new(None, from) }
    }

    /// Adds the next event of the stream.
    pub fn add(&mut self, event: &Event) {
        if let (Some(from), Some(was_alive)) = (self.unknown_at, was_alive_before(&event.kind)) {
            (self.alive_since, self.unknown_at) = (was_alive.then_some(from), None);
        }
        self.last = event.stamp;
        match &event.kind {
            EventKind::StartRequested { .. } => self.statistics.runs += 1,
            EventKind::Starting { identity: Some(_), trigger } => {
                self.statistics.restarts += u64::from(matches!(trigger, StartTrigger::Restart { .. }));
                self.alive_since = Some(event.stamp);
            }
            EventKind::Running => {
                if let Some(nanos) = self.crashed_at.take().and_then(|crash| event.stamp.nanos_since(&crash)) {
                    self.statistics.recovery_ns.add(nanos);
                }
            }
            EventKind::Stopped { exit } => self.end(EndState::Stopped, of_exit(exit), event.stamp),
            EventKind::Terminated { exit } => self.end(EndState::Terminated, of_exit(exit), event.stamp),
            EventKind::Crashed { cause } => self.end(EndState::Crashed, EndCause::from(cause), event.stamp),
            EventKind::EndUnobserved { not_before, .. } => {
                if let Some((since, up_ns)) = self.last_end.take() {
                    self.statistics.up_ns = up_ns.saturating_add(not_before.nanos_since(&since).unwrap_or(0));
                }
            }
            EventKind::RestartRefused { rule } => self.statistics.given_up += u64::from(rule.is_giving_up()),
            EventKind::Sampled { cpu_centipercent, memory_bytes, .. } => {
                self.statistics.cpu_centipercent.add(u64::from(*cpu_centipercent));
                self.statistics.memory_bytes.add(*memory_bytes);
            }
            _ => {}
        }
    }

    fn end(&mut self, state: EndState, cause: EndCause, at: Timestamp) {
        *self.statistics.ends.entry((state, cause)).or_default() += 1;
        self.crashed_at = (state == EndState::Crashed).then_some(at);
        let up_ns = self.statistics.up_ns;
        self.last_end = self.alive_since.take().map(|since| (since, up_ns));
        if let Some((since, _)) = self.last_end {
            self.statistics.up_ns = up_ns.saturating_add(at.nanos_since(&since).unwrap_or(0));
        }
    }

    /// The statistics at the end of the period.
    #[must_use]
    pub fn finish(mut self, to: Timestamp) -> RunStatistics {
        if let Some(since) = self.alive_since {
            // A process does not outlive its boot. In a later one, its end is not recorded yet.
            let up_ns = to.nanos_since(&since).or_else(|| self.last.nanos_since(&since)).unwrap_or(0);
            self.statistics.up_ns = self.statistics.up_ns.saturating_add(up_ns);
        }
        self.statistics
    }
}

/// Whether the process was alive before such an event; `None` if the event does not show it.
const fn was_alive_before(kind: &EventKind) -> Option<bool> {
    match kind {
        EventKind::Starting { .. } => Some(false),
        EventKind::Running
        | EventKind::Sampled { .. }
        | EventKind::Stopped { .. }
        | EventKind::Terminated { .. }
        | EventKind::Crashed { .. } => Some(true),
        _ => None,
    }
}

const fn of_exit(exit: &Exit) -> EndCause {
    match exit.outcome {
        ExitOutcome::Code(code) => EndCause::Code(code),
        ExitOutcome::Signal { signal, .. } => EndCause::Signal(signal),
        ExitOutcome::Unknown => EndCause::Unknown,
    }
}

impl From<&RunEnd> for EndCause {
    fn from(end: &RunEnd) -> Self {
        match end {
            RunEnd::Exit(exit) => of_exit(exit),
            RunEnd::SpawnFailed(_) => Self::SpawnFailed,
            RunEnd::NeverConfirmed => Self::NeverConfirmed,
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::{
        event::{
            NewEvent, actor::Actor, exit::Evidence, identity::ProcessIdentity, kind::RestartRule, stream_id::StreamId,
        },
        spec::{ProcessSpec, redact::spec::RedactedSpec},
    };

    const FIRST: Uuid = Uuid::from_u128(1);
    const SECOND: Uuid = Uuid::from_u128(2);

    fn at(boot_id: Uuid, seconds: u64) -> Timestamp {
        let boot_ns = seconds * 1_000_000_000;
        Timestamp { wall_ns: i64::try_from(boot_ns).unwrap(), boot_ns, boot_id }
    }

    fn event(stamp: Timestamp, kind: EventKind) -> Event {
        let draft =
            NewEvent { stream: StreamId::SYSTEM, run: 1, actor: Actor::System, reason: None, cause: None, stamp, kind };
        draft.numbered(1, 1)
    }

    fn started(restart: bool) -> [EventKind; 3] {
        let trigger = if restart { StartTrigger::Restart { attempt: 1 } } else { StartTrigger::Start };
        let identity = ProcessIdentity { boot_id: FIRST, pid: 7, start_ticks: 1, pid_namespace: None };
        [
            EventKind::StartRequested { trigger },
            EventKind::Starting { identity: Some(identity), trigger },
            EventKind::Running,
        ]
    }

    fn exit(code: i32) -> Exit {
        Exit { outcome: ExitOutcome::Code(code), evidence: Evidence::Observed }
    }

    fn crashed(code: i32) -> EventKind {
        EventKind::Crashed { cause: RunEnd::Exit(exit(code)) }
    }

    /// Folds events of which each has its second since the first boot.
    fn folded(events: impl IntoIterator<Item = (u64, EventKind)>, to: u64) -> RunStatistics {
        let mut fold = StatisticsFold::new(None, at(FIRST, 0));
        events.into_iter().for_each(|(seconds, kind)| fold.add(&event(at(FIRST, seconds), kind)));
        fold.finish(at(FIRST, to))
    }

    const SECOND_NS: u64 = 1_000_000_000;

    #[test]
    fn runs_ends_and_times_are_counted() {
        let first = started(false).map(|kind| (10, kind));
        let second = started(true).map(|kind| (15, kind));
        let third = started(true).map(|kind| (31, kind));
        let events = first
            .into_iter()
            .chain([(12, crashed(7))])
            .chain(second)
            .chain([(30, crashed(7))])
            .chain(third)
            .chain([(41, EventKind::Stopped { exit: exit(0) })]);
        let found = folded(events, 100);
        assert_eq!((found.runs, found.restarts, found.ended(EndState::Crashed)), (3, 2, 2));
        assert_eq!(found.ends[&(EndState::Crashed, EndCause::Code(7))], 2);
        assert_eq!(found.ends[&(EndState::Stopped, EndCause::Code(0))], 1);
        assert_eq!(found.up_ns, (2 + 15 + 10) * SECOND_NS);
        assert_eq!(found.recovery_ns, Measured { count: 2, total: 4 * SECOND_NS, max: 3 * SECOND_NS });
    }

    #[test]
    fn a_process_that_is_alive_counts_to_the_end_of_the_period() {
        assert_eq!(folded(started(false).map(|kind| (10, kind)), 70).up_ns, 60 * SECOND_NS);
        let spec = RedactedSpec::new(&ProcessSpec::builder().name("n").command("c").build());
        let id = StreamId { process_id: spec.id, instance: 0 };
        let of_stream = |version: u64, kind: EventKind| {
            let run = u64::from(version > 1);
            let stamp = at(FIRST, version);
            let draft = NewEvent { stream: id, run, actor: Actor::System, reason: None, cause: None, stamp, kind };
            draft.numbered(version, version)
        };
        let mut stream = Stream::begin(&of_stream(1, EventKind::Registered { spec })).unwrap();
        let idle = StatisticsFold::new(Some(&stream), at(FIRST, 20)).finish(at(FIRST, 50));
        assert_eq!(idle, RunStatistics::default());
        (2..).zip(started(false)).for_each(|(version, kind)| stream.apply(&of_stream(version, kind)).unwrap());
        let fold = StatisticsFold::new(Some(&stream), at(FIRST, 20));
        assert_eq!(fold.finish(at(FIRST, 50)), RunStatistics { up_ns: 30 * SECOND_NS, ..RunStatistics::default() });
    }

    #[test]
    fn the_beginning_of_a_period_follows_from_its_events_and_its_end() {
        let events: Vec<(u64, EventKind)> = started(false)
            .map(|kind| (10, kind))
            .into_iter()
            .chain([(12, crashed(7))])
            .chain(started(true).map(|kind| (15, kind)))
            .chain([(30, EventKind::Stopped { exit: exit(0) })])
            .chain(started(false).map(|kind| (40, kind)))
            .collect();
        // Where the process is alive, after so many events.
        let is_alive = |events: usize| matches!(events, 2..4 | 6..8 | 10..);
        for first in 0..=events.len() {
            for end in first..=events.len() {
                let part = events.get(first..end).unwrap();
                let from = at(FIRST, part.first().map_or(50, |(seconds, _)| *seconds));
                let mut known = StatisticsFold::new(None, from);
                known.alive_since = is_alive(first).then_some(from);
                let mut inferred = StatisticsFold::before_end(is_alive(end), from);
                for (seconds, kind) in part {
                    known.add(&event(at(FIRST, *seconds), kind.clone()));
                    inferred.add(&event(at(FIRST, *seconds), kind.clone()));
                }
                assert_eq!(inferred.finish(at(FIRST, 60)), known.finish(at(FIRST, 60)), "{first} to {end}");
            }
        }
    }

    #[test]
    fn an_end_that_was_not_observed_counts_until_the_last_event_before() {
        for (boot, end) in [(FIRST, 500), (SECOND, 3)] {
            let mut fold = StatisticsFold::new(None, at(FIRST, 0));
            started(false).into_iter().for_each(|kind| fold.add(&event(at(FIRST, 10), kind)));
            fold.add(&event(at(boot, end), EventKind::Crashed { cause: RunEnd::Exit(Exit::UNKNOWN) }));
            let (not_before, not_after) = (at(FIRST, 14), at(boot, end));
            fold.add(&event(at(boot, end), EventKind::EndUnobserved { not_before, not_after }));
            assert_eq!(fold.finish(at(boot, end + 1)).up_ns, 4 * SECOND_NS);
        }
    }

    #[test]
    fn a_run_of_an_earlier_boot_without_a_recorded_end_counts_until_its_last_event() {
        let mut fold = StatisticsFold::new(None, at(FIRST, 0));
        started(false).into_iter().for_each(|kind| fold.add(&event(at(FIRST, 10), kind)));
        let sampled = EventKind::Sampled { cpu_centipercent: 0, memory_bytes: 1, processes: None };
        fold.add(&event(at(FIRST, 15), sampled));
        assert_eq!(fold.finish(at(SECOND, 3)).up_ns, 5 * SECOND_NS);
    }

    #[test]
    fn samples_and_refusals_are_counted() {
        let sampled =
            |cpu_centipercent, memory_bytes| EventKind::Sampled { cpu_centipercent, memory_bytes, processes: None };
        let rule = RestartRule::BudgetSpent { restarts: 3, max_restarts: 3, window_ms: 1 };
        let found = folded(
            [
                (1, sampled(100, 10)),
                (2, sampled(300, 30)),
                (3, EventKind::RestartRefused { rule }),
                (3, EventKind::RestartRefused { rule: RestartRule::StopRequested }),
            ],
            9,
        );
        assert_eq!((found.cpu_centipercent.mean(), found.cpu_centipercent.max), (Some(200), 300));
        assert_eq!((found.memory_bytes.mean(), found.memory_bytes.max), (Some(20), 30));
        assert_eq!((found.given_up, Measured::default().mean()), (1, None));
    }

    #[test]
    fn a_spawn_that_failed_is_a_run_without_uptime() {
        let trigger = StartTrigger::Restart { attempt: 1 };
        let events = [
            (1, EventKind::StartRequested { trigger }),
            (2, EventKind::Starting { identity: None, trigger }),
            (2, EventKind::Crashed { cause: RunEnd::NeverConfirmed }),
        ];
        let found = folded(events, 9);
        assert_eq!((found.runs, found.restarts, found.up_ns), (1, 0, 0));
        assert_eq!(found.ends[&(EndState::Crashed, EndCause::NeverConfirmed)], 1);
    }

    #[test]
    fn the_kinds_are_those_that_change_something() {
        for name in STATISTICS_KINDS {
            assert!(EventKind::NAMES.contains(&name), "{name}");
        }
    }
}
