//! The segments and marks of one lane in the buckets of a grid. Their number is bounded by the number of buckets.

use crate::{
    grid::Grid,
    lane_state::{LANE_STATES, LaneState},
    mark::{Mark, MarkCounts},
    segment::Segment,
};

/// The time in each state, in nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mix([u64; LANE_STATES]);

impl Mix {
    fn add(&mut self, state: LaneState, nanos: u64) {
        if let Some(sum) = self.0.get_mut(state as usize) {
            *sum = sum.saturating_add(nanos);
        }
    }

    /// Nanoseconds in this state.
    #[must_use]
    pub fn of(&self, state: LaneState) -> u64 {
        self.0.get(state as usize).copied().unwrap_or(0)
    }

    /// Nanoseconds in all states.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().fold(0, |sum, nanos| sum.saturating_add(*nanos))
    }

    /// Nanoseconds in which a process existed.
    #[must_use]
    pub fn alive(&self) -> u64 {
        self.present().filter(|(state, _)| state.is_alive()).fold(0, |sum, (_, nanos)| sum.saturating_add(nanos))
    }

    /// The states that it has, with their nanoseconds, in the order of their declaration.
    pub fn present(&self) -> impl Iterator<Item = (LaneState, u64)> {
        LaneState::ALL.into_iter().zip(self.0).filter(|(_, nanos)| *nanos > 0)
    }

    /// The state with the most time; of several the last in the order of declaration. `None` without any time.
    #[must_use]
    pub fn longest(&self) -> Option<LaneState> {
        self.present().max_by_key(|(_, nanos)| *nanos).map(|(state, _)| state)
    }

    /// The only state; `None` if there are several.
    #[must_use]
    pub fn only(&self) -> Option<LaneState> {
        let mut present = self.present();
        present.next().map(|(state, _)| state).filter(|_| present.next().is_none())
    }
}

/// Buckets that have the same content: one bucket, or several with the same state throughout and without marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The first bucket.
    pub first: u32,
    /// The last bucket, which is included.
    pub last: u32,
    /// The time in each state.
    pub mix: Mix,
    /// The number of marks.
    pub counts: MarkCounts,
    /// The mark of the most important class; of several the first.
    pub mark: Option<Mark>,
}

impl Span {
    const fn of_bucket(bucket: u32) -> Self {
        Self { first: bucket, last: bucket, mix: Mix([0; LANE_STATES]), counts: MarkCounts::NONE, mark: None }
    }

    /// The state throughout the buckets, if they have only one and no marks.
    fn uniform(&self) -> Option<LaneState> {
        self.mix.only().filter(|_| self.counts.is_empty())
    }
}

/// Puts the segments and marks of one lane into the buckets of a grid.
#[derive(Debug)]
pub struct SpanFold {
    grid: Grid,
    spans: Vec<Span>,
    /// The bucket that is filled.
    open: Span,
}

impl SpanFold {
    /// The fold before the first segment.
    #[must_use]
    pub const fn new(grid: Grid) -> Self {
        Self { grid, spans: Vec::new(), open: Span::of_bucket(0) }
    }

    /// Adds the next segment, which begins where the one before it ended, or where the grid begins.
    pub fn add(&mut self, segment: Segment) {
        let Segment { state, mut from_ns, to_ns } = segment;
        let last = self.grid.bucket(to_ns.saturating_sub(1));
        while from_ns < to_ns {
            let bucket = self.grid.bucket(from_ns);
            self.fill(bucket);
            // The buckets in the middle of a long segment are one span.
            let is_middle = self.open == Span::of_bucket(bucket) && bucket.saturating_add(1) < last;
            let end_ns = if is_middle { self.grid.start(last) } else { self.grid.end(bucket).min(to_ns) };
            self.open.last = self.grid.bucket(end_ns.saturating_sub(1));
            self.open.mix.add(state, end_ns.abs_diff(from_ns));
            from_ns = end_ns;
        }
    }

    /// Adds a mark, after the segments until its time.
    pub fn mark(&mut self, mark: Mark) {
        self.fill(self.grid.bucket(mark.at_ns));
        self.open.counts.add(mark.kind.class());
        if self.open.mark.is_none_or(|before| before.kind.class() < mark.kind.class()) {
            self.open.mark = Some(mark);
        }
    }

    /// Makes `bucket` the one that is filled.
    fn fill(&mut self, bucket: u32) {
        if self.open.last < bucket {
            let full = std::mem::replace(&mut self.open, Span::of_bucket(bucket));
            self.push(full);
        }
    }

    fn push(&mut self, span: Span) {
        match self.spans.last_mut() {
            Some(before) if before.uniform().is_some() && before.uniform() == span.uniform() => {
                before.last = span.last;
                for (state, nanos) in span.mix.present() {
                    before.mix.add(state, nanos);
                }
            }
            _ => self.spans.push(span),
        }
    }

    /// The spans of all buckets, in their order.
    #[must_use]
    pub fn finish(mut self) -> Vec<Span> {
        self.push(self.open);
        self.spans
    }
}
