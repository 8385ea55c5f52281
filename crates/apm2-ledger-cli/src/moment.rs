//! The point in the ledger that a command displays.

use apm2_model::{clock::SystemClock, event::timestamp::Clock as _};
use chrono::{DateTime, Utc};

/// A point in the history of a ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    /// The last event that is included.
    pub(crate) seq: u64,
    /// The wall-clock time of that point.
    pub(crate) now: DateTime<Utc>,
    /// Whether it is the present.
    pub(crate) is_present: bool,
}

impl Moment {
    /// The present: all recorded events are included.
    pub(crate) fn present() -> Self {
        // Not the number of events: replay would then end before a damaged event without an error.
        Self { seq: u64::MAX, now: SystemClock.now().wall(), is_present: true }
    }

    pub(crate) const fn past(seq: u64, now: DateTime<Utc>) -> Self {
        Self { seq, now, is_present: false }
    }
}
