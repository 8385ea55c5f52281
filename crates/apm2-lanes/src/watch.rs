//! When no supervisor ran: nothing was supervised then, and the ends of processes were not observed.

use std::{cmp::Reverse, collections::BinaryHeap};

use apm2_model::event::{requester::Requester, timestamp::Timestamp};

use crate::{actions::UnobservedEnd, grid::Grid, outage::elapsed_ns};

/// Largest number of gaps that are kept, the longest ones.
pub const GAPS_MAX: usize = 1000;

/// How the supervision ended before a gap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GapCause {
    /// The supervisor ended in order, and recorded its end. Who requested that, as far as it is recorded.
    Stopped(Requester),
    /// The supervisor ended without recording its end: it was killed, or the machine went down.
    Died,
}

/// A time in which no supervisor ran.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The end of the supervision, or the beginning of the period. If the supervisor died, the time of the last event before that.
    pub from: Timestamp,
    /// When the next supervisor started, or the end of the period.
    pub to: Timestamp,
    /// How the supervision ended.
    pub cause: GapCause,
    /// Whether no supervisor had started until the end of the period.
    pub is_open: bool,
}

impl Gap {
    /// The length of the gap in nanoseconds, within the period.
    #[must_use]
    pub fn nanos(&self) -> u64 {
        elapsed_ns(self.from, self.to)
    }
}

/// When no supervisor ran.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watch {
    /// The gaps in the order of time; of more than [`GAPS_MAX`] the longest ones.
    pub gaps: Vec<Gap>,
    /// The number of all gaps.
    pub count: u64,
    /// The nanoseconds of all gaps.
    pub total_ns: u64,
    /// The wall-clock nanoseconds of all gaps in each bucket.
    pub buckets_ns: Vec<u64>,
}

impl Watch {
    /// The gap in which the period ends, if no supervisor ran then.
    #[must_use]
    pub fn open_gap(&self) -> Option<&Gap> {
        self.gaps.last().filter(|gap| gap.is_open)
    }

    /// The kept gaps, each with those of the ends that happened in it, as far as is known.
    #[must_use]
    pub fn with_ends<'a>(&'a self, ends: &'a [UnobservedEnd]) -> Vec<(&'a Gap, Vec<&'a UnobservedEnd>)> {
        let mut found: Vec<(&Gap, Vec<&UnobservedEnd>)> = self.gaps.iter().map(|gap| (gap, Vec::new())).collect();
        for end in ends {
            // It was found after the gap. The gaps before that ended before it was seen for the last time.
            let place = self.gaps.partition_point(|gap| gap.to.wall_ns <= end.not_after.wall_ns);
            let of_gap = place.checked_sub(1).and_then(|place| found.get_mut(place));
            if let Some((_, of_gap)) = of_gap.filter(|(gap, _)| end.not_before.wall_ns <= gap.to.wall_ns) {
                of_gap.push(end);
            }
        }
        found
    }
}

/// A gap by its length and its number.
#[derive(Debug)]
struct Kept {
    nanos: u64,
    number: u64,
    gap: Gap,
}

/// Finds the gaps of a period from the starts and ends of supervisors.
#[derive(Debug)]
pub struct WatchFold {
    grid: Grid,
    /// The end of the supervision, if its end is recorded, and who requested it.
    stopped: Option<(Timestamp, Requester)>,
    /// The longest gaps; the shortest of them is the greatest element.
    kept: BinaryHeap<Reverse<Kept>>,
    count: u64,
    total_ns: u64,
    buckets_ns: Vec<u64>,
}

impl PartialEq for Kept {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Kept {}

impl PartialOrd for Kept {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Kept {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.nanos, Reverse(self.number)).cmp(&(other.nanos, Reverse(other.number)))
    }
}

impl WatchFold {
    /// The fold at the beginning of the period. `stopped` is the end of the latest supervisor before the period, if it has recorded its
    /// end and no other one has started since.
    #[must_use]
    pub fn new(grid: Grid, stopped: Option<(Timestamp, Requester)>) -> Self {
        let buckets_ns = vec![0; usize::try_from(grid.buckets()).unwrap_or(0)];
        Self { grid, stopped, kept: BinaryHeap::new(), count: 0, total_ns: 0, buckets_ns }
    }

    /// A supervisor recorded its end, which `by` requested.
    pub fn stopped(&mut self, at: Timestamp, by: Requester) {
        self.stopped = Some((at, by));
    }

    /// A supervisor started. `last_before` is the time of the last event before that, if there is one.
    pub fn started(&mut self, at: Timestamp, last_before: Option<Timestamp>) {
        self.add(last_before, at, false);
    }

    fn add(&mut self, last_before: Option<Timestamp>, to: Timestamp, is_open: bool) {
        let (from, cause) = match (self.stopped.take(), last_before) {
            (Some((at, by)), _) => (at, GapCause::Stopped(by)),
            (None, Some(last)) => (last, GapCause::Died),
            // Before the first event there was nothing to supervise.
            (None, None) => return,
        };
        let from = if from.wall_ns < self.grid.from_ns() { self.grid.from() } else { from };
        if to.wall_ns <= from.wall_ns {
            return;
        }
        let gap = Gap { from, to, cause, is_open };
        let (nanos, number) = (gap.nanos(), self.count);
        self.count = self.count.saturating_add(1);
        self.total_ns = self.total_ns.saturating_add(nanos);
        self.kept.push(Reverse(Kept { nanos, number, gap }));
        if self.kept.len() > GAPS_MAX {
            self.kept.pop();
        }
        self.fill(from.wall_ns, to.wall_ns);
    }

    fn fill(&mut self, from_ns: i64, to_ns: i64) {
        let (mut from_ns, to_ns) = (self.grid.clamp(from_ns), self.grid.clamp(to_ns));
        while from_ns < to_ns {
            let bucket = self.grid.bucket(from_ns);
            let end_ns = self.grid.end(bucket).min(to_ns);
            if let Some(nanos) = usize::try_from(bucket).ok().and_then(|bucket| self.buckets_ns.get_mut(bucket)) {
                *nanos = nanos.saturating_add(end_ns.abs_diff(from_ns));
            }
            from_ns = end_ns;
        }
    }

    /// The gaps until the end of the period. `last_before` is the time of the last event before the end, if no supervisor ran at the
    /// end; else `None`.
    #[must_use]
    pub fn finish(mut self, last_before: Option<Timestamp>) -> Watch {
        if self.stopped.is_some() || last_before.is_some() {
            self.add(last_before, self.grid.to(), true);
        }
        let mut kept: Vec<Kept> = self.kept.into_iter().map(|Reverse(kept)| kept).collect();
        kept.sort_unstable_by_key(|kept| kept.number);
        let gaps = kept.into_iter().map(|kept| kept.gap).collect();
        Watch { gaps, count: self.count, total_ns: self.total_ns, buckets_ns: self.buckets_ns }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{at, operator, stream};

    fn by() -> Requester {
        Requester::from(operator())
    }

    fn fold() -> WatchFold {
        WatchFold::new(Grid::new(at(100), at(200), 10), None)
    }

    fn found(watch: &Watch) -> Vec<(i64, i64, GapCause, bool)> {
        let seconds = |stamp: Timestamp| stamp.wall_ns / 1_000_000_000;
        watch.gaps.iter().map(|gap| (seconds(gap.from), seconds(gap.to), gap.cause.clone(), gap.is_open)).collect()
    }

    #[test]
    fn a_gap_begins_with_the_recorded_end_or_else_with_the_last_event() {
        let mut fold = fold();
        fold.stopped(at(110), by());
        fold.started(at(120), Some(at(110)));
        fold.started(at(160), Some(at(145)));
        let watch = fold.finish(None);
        assert_eq!(found(&watch), [(110, 120, GapCause::Stopped(by()), false), (145, 160, GapCause::Died, false)]);
        let seconds: Vec<u64> = watch.buckets_ns.iter().map(|nanos| nanos / 1_000_000_000).collect();
        assert_eq!(seconds, [0, 10, 0, 0, 5, 10, 0, 0, 0, 0]);
        assert_eq!((watch.count, watch.total_ns), (2, 25_000_000_000));
    }

    #[test]
    fn gaps_are_cut_at_the_ends_of_the_period() {
        let mut fold = WatchFold::new(Grid::new(at(100), at(200), 10), Some((at(50), by())));
        fold.started(at(120), Some(at(50)));
        fold.stopped(at(190), Requester::default());
        assert_eq!(
            found(&fold.finish(None)),
            [(100, 120, GapCause::Stopped(by()), false), (190, 200, GapCause::Stopped(Requester::default()), true)]
        );
    }

    #[test]
    fn the_first_supervisor_ends_no_gap_and_a_dead_one_leaves_one() {
        let mut fold = fold();
        fold.started(at(130), None);
        assert_eq!(found(&fold.finish(Some(at(170)))), [(170, 200, GapCause::Died, true)]);
    }

    #[test]
    fn each_unseen_end_belongs_to_one_gap() {
        let mut fold = fold();
        fold.started(at(120), Some(at(110)));
        fold.started(at(160), Some(at(145)));
        let watch = fold.finish(Some(at(190)));
        let end = |not_before, not_after| UnobservedEnd {
            stream: stream(1),
            mark: None,
            not_before: at(not_before),
            not_after: at(not_after),
        };
        let ends = [end(110, 121), end(145, 161), end(145, 165), end(170, 171)];
        let found: Vec<Vec<i64>> = watch
            .with_ends(&ends)
            .into_iter()
            .map(|(_, ends)| ends.iter().map(|end| end.not_after.wall_ns / 1_000_000_000).collect())
            .collect();
        assert_eq!(found, [vec![121], vec![161, 165], vec![]]);
        assert!(watch.open_gap().is_some_and(|gap| gap.from == at(190)));
    }

    #[test]
    fn of_many_gaps_the_longest_are_kept() {
        let mut fold = WatchFold::new(Grid::new(at(0), at(1_000_000), 10), None);
        for number in 0..2000 {
            fold.stopped(at(number * 100), by());
            fold.started(at(number * 100 + 1 + number % 50), None);
        }
        let watch = fold.finish(None);
        assert_eq!((watch.count, watch.gaps.len()), (2000, GAPS_MAX));
        assert!(watch.gaps.iter().all(|gap| gap.nanos() > 25_000_000_000));
        assert!(watch.gaps.is_sorted_by_key(|gap| gap.from.wall_ns));
    }
}
