//! JSON view of statistics.

use apm2_model::{
    duration::millis,
    event::timestamp::Timestamp,
    signal::Signal,
    state::statistics::{EndCause, EndState, Measured},
};
use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::{
    stats::{InstanceStatistics, period::Period, series::PARTS},
    view::notice::Notice,
};

/// Statistics of a period: output of `stats`.
#[derive(Debug, Serialize)]
pub(crate) struct StatsView<'a> {
    #[serde(serialize_with = "crate::view::time")]
    from: DateTime<Utc>,
    #[serde(serialize_with = "crate::view::time")]
    to: DateTime<Utc>,
    processes: Vec<InstanceStatsView<'a>>,
    /// The notice about the ledger; null when it is intact.
    notice: Option<&'a Notice>,
}

/// The statistics of one instance.
#[derive(Debug, Serialize)]
pub(crate) struct InstanceStatsView<'a> {
    process_id: String,
    name: &'a str,
    instance: u32,
    display_name: String,
    /// The state at the end of the period.
    state: &'static str,
    /// The beginning of the period, or the registration of the instance if that is later.
    #[serde(serialize_with = "crate::view::time")]
    from: DateTime<Utc>,
    runs: u64,
    restarts: u64,
    crashes: u64,
    ends: Vec<EndView>,
    /// The number of times that the policy gave up.
    given_up: u64,
    up_ms: u64,
    /// The part of the period in which the process was alive, from 0 to 1.
    up_share: Option<f64>,
    recovery_ms: MeasuredView<u64>,
    cpu_percent: MeasuredView<f64>,
    memory_bytes: MeasuredView<u64>,
    series: SeriesView,
}

#[derive(Debug, Serialize)]
struct EndView {
    /// `stopped`, `crashed` or `terminated`.
    state: &'static str,
    /// `exit`, `signal`, `unknown`, `spawn_failed` or `never_confirmed`.
    cause: &'static str,
    exit_code: Option<i32>,
    signal: Option<Signal>,
    count: u64,
}

/// Measurements; mean and max are null without any.
#[derive(Debug, Serialize)]
struct MeasuredView<T> {
    count: u64,
    mean: Option<T>,
    max: Option<T>,
}

/// Values for equal parts of the period; null where nothing was measured.
#[derive(Debug, Serialize)]
struct SeriesView {
    part_ms: u64,
    starts: [u64; PARTS],
    crashes: [u64; PARTS],
    cpu_percent: [Option<f64>; PARTS],
    memory_bytes: [Option<u64>; PARTS],
}

impl<'a> StatsView<'a> {
    pub(crate) fn new(all: &'a [InstanceStatistics], period: &Period, notice: Option<&'a Notice>) -> Self {
        Self {
            from: period.from.wall(),
            to: period.to.wall(),
            processes: all.iter().map(|one| InstanceStatsView::new(one, period.to)).collect(),
            notice,
        }
    }
}

impl<'a> InstanceStatsView<'a> {
    pub(crate) fn new(one: &'a InstanceStatistics, to: Timestamp) -> Self {
        let (stream, runs, series) = (&one.stream, &one.runs, &one.series);
        Self {
            process_id: stream.id.process_id.to_string(),
            name: &stream.handle.spec.name,
            instance: stream.id.instance,
            display_name: stream.handle.display_name(),
            state: stream.handle.state.name(),
            from: one.from.wall(),
            runs: runs.runs,
            restarts: runs.restarts,
            crashes: runs.ended(EndState::Crashed),
            ends: runs.ends.iter().map(|((state, cause), count)| EndView::new(*state, *cause, *count)).collect(),
            given_up: runs.given_up,
            up_ms: runs.up_ns / NANOS_PER_MS,
            up_share: one.up_share(to),
            recovery_ms: MeasuredView::new(&runs.recovery_ns, |nanos| nanos / NANOS_PER_MS),
            cpu_percent: MeasuredView::new(&runs.cpu_centipercent, percent),
            memory_bytes: MeasuredView::new(&runs.memory_bytes, |bytes| bytes),
            series: SeriesView {
                part_ms: millis(std::time::Duration::from_nanos(series.part_ns())),
                starts: series.starts,
                crashes: series.crashes,
                cpu_percent: series.cpu_centipercent.map(|part| part.mean().map(percent)),
                memory_bytes: series.memory_bytes.map(|part| Some(part.max).filter(|_| part.count > 0)),
            },
        }
    }
}

/// The name of the cause, the exit code and the signal.
pub(crate) const fn cause_view(cause: EndCause) -> (&'static str, Option<i32>, Option<Signal>) {
    match cause {
        EndCause::Code(code) => ("exit", Some(code), None),
        EndCause::Signal(signal) => ("signal", None, Some(signal)),
        EndCause::Unknown => ("unknown", None, None),
        EndCause::SpawnFailed => ("spawn_failed", None, None),
        EndCause::NeverConfirmed => ("never_confirmed", None, None),
    }
}

pub(crate) const NANOS_PER_MS: u64 = 1_000_000;

/// Hundredths of a percent as percent.
fn percent(centipercent: u64) -> f64 {
    f64::from(u32::try_from(centipercent).unwrap_or(u32::MAX)) / 100.0
}

impl EndView {
    const fn new(state: EndState, cause: EndCause, count: u64) -> Self {
        let state = match state {
            EndState::Stopped => "stopped",
            EndState::Crashed => "crashed",
            EndState::Terminated => "terminated",
        };
        let (cause, exit_code, signal) = cause_view(cause);
        Self { state, cause, exit_code, signal, count }
    }
}

impl<T> MeasuredView<T> {
    fn new(measured: &Measured, converted: impl Fn(u64) -> T) -> Self {
        let max = Some(measured.max).filter(|_| measured.count > 0);
        Self { count: measured.count, mean: measured.mean().map(&converted), max: max.map(converted) }
    }
}
