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
}

impl Moment {
    /// The present: all recorded events are included.
    pub(crate) fn present() -> Self {
        // The greatest number is used instead of the number of events. With the number of events, a replay would end
        // before a damaged last event without an error.
        Self { seq: u64::MAX, now: SystemClock.now().wall(), is_present: true }
    }

    pub(crate) const fn past(seq: u64, now: DateTime<Utc>) -> Self {
        Self { seq, now, is_present: false }
    }
}
