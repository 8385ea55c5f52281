//! The point in the history of a ledger that a command displays.

use apm2_model::{clock::SystemClock, event::timestamp::Clock as _};
use chrono::{DateTime, Utc};

/// A point in the history of a ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    /// The sequence number of the last included event.
    pub(crate) seq: u64,
    /// The wall-clock time of this point.
    pub(crate) now: DateTime<Utc>,
    /// Whether this point is the present.
    pub(crate) is_present: bool,
    /// Whether it is in the past and no daemon is known to have run then, so that the states are the last known ones.
    pub(crate) is_unwatched: bool,
}

impl Moment {
    /// The present: all recorded events are included.
    pub(crate) fn present() -> Self {
        // The greatest number is used instead of the number of events. With the number of events, a replay would end
        // before a damaged last event without an error.
        Self { seq: u64::MAX, now: SystemClock.now().wall(), is_present: true, is_unwatched: false }
    }

    /// Whether this moment is after `other` in a ledger whose last event is `end`. The numbers of the events decide, since
    /// the wall clock may have been set back between two events; between the same events, the times decide.
    pub(crate) fn is_after(&self, other: Self, end: u64) -> bool {
        (self.seq.min(end), self.now) > (other.seq.min(end), other.now)
    }

    pub(crate) const fn past(seq: u64, now: DateTime<Utc>) -> Self {
        Self { seq, now, is_present: false, is_unwatched: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_the_events_decide_before_the_wall_clock() {
        let moment = |seq, seconds| Moment::past(seq, DateTime::from_timestamp(seconds, 0).unwrap());
        // The clock was set back between event 3 and event 5.
        assert!(!moment(3, 100).is_after(moment(5, 50), 9) && moment(5, 50).is_after(moment(3, 100), 9));
        assert!(moment(9, 70).is_after(moment(9, 60), 9) && !moment(9, 60).is_after(moment(9, 60), 9));
        assert!(!moment(9, 0).is_after(Moment::present(), 9), "the present is not before the last event");
    }
}
