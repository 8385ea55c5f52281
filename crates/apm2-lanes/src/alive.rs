//! The number of processes that were alive in each bucket of a grid.

use crate::grid::Grid;

/// The smallest and the greatest number of processes that were alive at the same time in a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alive {
    /// The smallest number.
    pub min: u32,
    /// The greatest number.
    pub max: u32,
}

/// Counts the processes that are alive.
#[derive(Debug)]
pub struct AliveFold {
    grid: Grid,
    buckets: Vec<Option<Alive>>,
    count: u32,
    since_ns: i64,
}

impl AliveFold {
    /// The fold at the beginning of the period, before a process is counted.
    #[must_use]
    pub fn new(grid: Grid) -> Self {
        let buckets = vec![None; usize::try_from(grid.buckets()).unwrap_or(0)];
        Self { grid, buckets, count: 0, since_ns: grid.from_ns() }
    }

    /// Takes note of a process that is alive from this time on, which is not before that of earlier calls.
    pub fn begin(&mut self, at_ns: i64) {
        self.advance(at_ns);
        self.count = self.count.saturating_add(1);
    }

    /// Takes note of a process that is not alive any more from this time on.
    pub fn end(&mut self, at_ns: i64) {
        self.advance(at_ns);
        self.count = self.count.saturating_sub(1);
    }

    fn advance(&mut self, at_ns: i64) {
        if at_ns <= self.since_ns {
            return;
        }
        let place = |ns| usize::try_from(self.grid.bucket(ns)).unwrap_or(usize::MAX);
        let (first, last) = (place(self.since_ns), place(at_ns.saturating_sub(1)));
        for bucket in self.buckets.get_mut(first..=last).into_iter().flatten() {
            let before = bucket.unwrap_or(Alive { min: self.count, max: self.count });
            *bucket = Some(Alive { min: before.min.min(self.count), max: before.max.max(self.count) });
        }
        self.since_ns = at_ns;
    }

    /// The numbers of all buckets, in their order.
    #[must_use]
    pub fn finish(mut self) -> Vec<Alive> {
        self.advance(self.grid.to_ns());
        self.buckets.into_iter().map(|bucket| bucket.unwrap_or(Alive { min: 0, max: 0 })).collect()
    }
}
