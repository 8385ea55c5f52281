//! The equal parts of a period. Times are those of the wall clock, in nanoseconds since 1970.

use apm2_model::event::timestamp::Timestamp;

/// Largest number of buckets of a grid.
pub const BUCKETS_MAX: u32 = 4096;

/// A period in equal parts, the buckets. They are numbered from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    from: Timestamp,
    to: Timestamp,
    /// Nanoseconds from the beginning to the end, at least 1.
    length_ns: u64,
    buckets: u32,
}

impl Grid {
    /// The period from `from` to `to` in `buckets` parts: 1 to [`BUCKETS_MAX`], and no more than the period has nanoseconds. A
    /// period that ends before it begins has a length of one nanosecond.
    #[must_use]
    pub fn new(from: Timestamp, to: Timestamp, buckets: u32) -> Self {
        let length_ns = to.wall_ns.checked_sub(from.wall_ns).unwrap_or(i64::MAX);
        let length_ns = u64::try_from(length_ns).unwrap_or(0).max(1);
        let buckets = buckets.clamp(1, BUCKETS_MAX).min(u32::try_from(length_ns).unwrap_or(u32::MAX));
        Self { from, to, length_ns, buckets }
    }

    /// The beginning of the period, on both clocks.
    #[must_use]
    pub const fn from(&self) -> Timestamp {
        self.from
    }

    /// The end of the period, on both clocks.
    #[must_use]
    pub const fn to(&self) -> Timestamp {
        self.to
    }

    /// The beginning of the period.
    #[must_use]
    pub const fn from_ns(&self) -> i64 {
        self.from.wall_ns
    }

    /// The end of the period, which is not part of it.
    #[must_use]
    pub const fn to_ns(&self) -> i64 {
        self.from.wall_ns.saturating_add_unsigned(self.length_ns)
    }

    /// Nanoseconds from the beginning to the end.
    #[must_use]
    pub const fn length_ns(&self) -> u64 {
        self.length_ns
    }

    /// The number of buckets.
    #[must_use]
    pub const fn buckets(&self) -> u32 {
        self.buckets
    }

    /// The time, or the nearest time from the beginning to the end.
    #[must_use]
    pub fn clamp(&self, wall_ns: i64) -> i64 {
        wall_ns.clamp(self.from_ns(), self.to_ns())
    }

    /// The bucket that contains the time. A time before or after the period is in the first or the last one.
    #[must_use]
    pub fn bucket(&self, wall_ns: i64) -> u32 {
        let offset = self.clamp(wall_ns).abs_diff(self.from_ns());
        let bucket = u128::from(offset) * u128::from(self.buckets) / u128::from(self.length_ns);
        u32::try_from(bucket).unwrap_or(u32::MAX).min(self.buckets - 1)
    }

    /// The first time of the bucket; the end of the period for a bucket after the last one.
    #[must_use]
    pub fn start(&self, bucket: u32) -> i64 {
        let offset = (u128::from(bucket) * u128::from(self.length_ns)).div_ceil(u128::from(self.buckets));
        let offset = u64::try_from(offset).unwrap_or(u64::MAX).min(self.length_ns);
        self.from_ns().saturating_add_unsigned(offset)
    }

    /// The first time after the bucket.
    #[must_use]
    pub fn end(&self, bucket: u32) -> i64 {
        self.start(bucket.saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::at_ns;

    proptest! {
        #[test]
        fn each_time_is_in_the_bucket_whose_bounds_contain_it(
            from in -1_000_000_i64..1_000_000, length in 1_i64..10_000, buckets in 1_u32..500, offset in 0_i64..10_000,
        ) {
            let grid = Grid::new(at_ns(from), at_ns(from + length), buckets);
            let time = from + offset % length;
            let bucket = grid.bucket(time);
            prop_assert!((grid.start(bucket)..grid.end(bucket)).contains(&time));
            prop_assert_eq!((grid.start(0), grid.end(grid.buckets() - 1)), (from, from + length));
            prop_assert!((0..grid.buckets()).all(|bucket| grid.start(bucket) < grid.end(bucket)));
        }
    }

    #[test]
    fn extreme_periods_have_buckets_too() {
        for (from, to) in [(5, 5), (9, 5), (i64::MIN, i64::MAX), (i64::MAX, i64::MAX), (i64::MIN, i64::MIN)] {
            let grid = Grid::new(at_ns(from), at_ns(to), u32::MAX);
            for time in [i64::MIN, -1, 0, 1, from, to, i64::MAX] {
                assert!(grid.bucket(time) < grid.buckets());
            }
        }
    }
}
