//! Statistics of instances in a period, and how they developed over it. Reads events and states; prints nothing.

pub(crate) mod period;
pub(crate) mod series;

use std::{collections::HashMap, ops::ControlFlow};

use apm2_ledger::{EventQuery, EventsQuestion, KindSet, ReadLedger as _, StatesQuestion, StreamAt};
use apm2_model::{
    event::{stream_id::StreamId, timestamp::Timestamp},
    state::{
        statistics::{RunStatistics, STATISTICS_KINDS, StatisticsFold},
        stream::Stream,
    },
};

use crate::{
    source::{LedgerSource, ReadFailure},
    stats::{period::Period, series::Series},
};

/// The statistics of one instance.
#[derive(Debug)]
pub(crate) struct InstanceStatistics {
    /// The state at the end of the period.
    pub(crate) stream: Stream,
    /// The beginning of the period, or the registration of the instance if that is later.
    pub(crate) from: Timestamp,
    pub(crate) runs: RunStatistics,
    pub(crate) series: Series,
}

/// One instance while its events are read.
struct Counting {
    from: Timestamp,
    fold: StatisticsFold,
    series: Series,
}

impl InstanceStatistics {
    /// The statistics of these instances, or of all that were alive in the period or had events in it.
    pub(crate) fn read(source: &LedgerSource, ids: &[StreamId], period: &Period) -> Result<Vec<Self>, ReadFailure> {
        let (first, last) = period.seqs;
        let question = match ids {
            [] => StatesQuestion::Active { since: first, upto: last },
            ids => StatesQuestion::Of(ids.iter().map(|id| StreamAt { id: *id, seq: last }).collect()),
        };
        let streams = source.states_of(&question)?;
        let mut counting = count(source, ids, &streams, period)?;
        let statistics = streams.into_iter().map(|stream| {
            let counted = counting.remove(&stream.id);
            // Without events its state was the same at the beginning.
            let counted = counted.unwrap_or_else(|| Counting::new(Some(&stream), period.from, period));
            let runs = counted.fold.finish(period.to);
            Self { stream, from: counted.from, runs, series: counted.series }
        });
        let mut statistics: Vec<Self> = statistics.collect();
        statistics.sort_by(|one, other| one.order().cmp(&other.order()));
        Ok(statistics)
    }

    /// The place in a list: by name, then by instance, then by id.
    pub(crate) fn order(&self) -> (&str, u32, StreamId) {
        (&self.stream.handle.spec.name, self.stream.id.instance, self.stream.id)
    }

    /// The part of the period in which the main process was alive, from 0 to 1. `None` for a period without duration.
    pub(crate) fn up_share(&self, to: Timestamp) -> Option<f64> {
        let nanos = u64::try_from(to.wall_ns.saturating_sub(self.from.wall_ns)).ok().filter(|nanos| *nanos > 0)?;
        // The period is a part of the wall clock, which may have been set back meanwhile.
        Some((seconds(self.runs.up_ns) / seconds(nanos)).min(1.0))
    }
}

/// Nanoseconds as seconds.
fn seconds(nanos: u64) -> f64 {
    std::time::Duration::from_nanos(nanos).as_secs_f64()
}

impl Counting {
    /// `stream` is the state at the end of the period.
    fn new(stream: Option<&Stream>, from: Timestamp, period: &Period) -> Self {
        let is_alive = stream.is_some_and(|stream| !stream.handle.state.has_exited());
        Self { from, fold: StatisticsFold::before_end(is_alive, from), series: Series::new(period) }
    }
}

/// The kinds of events that are counted, and the first event of each stream.
fn kinds() -> KindSet {
    KindSet::named(STATISTICS_KINDS.into_iter().chain(["registered"]))
}

/// Folds the events of the period.
fn count(
    source: &LedgerSource,
    ids: &[StreamId],
    streams: &[Stream],
    period: &Period,
) -> Result<HashMap<StreamId, Counting>, ReadFailure> {
    let states: HashMap<StreamId, &Stream> = streams.iter().map(|stream| (stream.id, stream)).collect();
    let mut counting: HashMap<StreamId, Counting> = HashMap::new();
    let query = EventQuery { streams: ids.to_vec(), kinds: Some(kinds()), ..EventQuery::default() };
    source.events(&EventsQuestion::all(query, period.seqs), &mut |event| {
        let counted = counting.entry(event.stream).or_insert_with(|| {
            // The instance was registered in the period, or earlier.
            let from = if event.version == 1 { event.stamp } else { period.from };
            Counting::new(states.get(&event.stream).copied(), from, period)
        });
        counted.fold.add(&event);
        counted.series.add(&event);
        ControlFlow::Continue(())
    })?;
    Ok(counting)
}
