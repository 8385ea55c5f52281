//! A moment of the ledger that is asked about.

use apm2_model::{clock::SystemClock, event::timestamp::Clock as _};
use chrono::{DateTime, Utc};

/// A moment in the history of a ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    /// The last event that counts.
    pub(crate) seq: u64,
    /// What the time was.
    pub(crate) now: DateTime<Utc>,
    /// Whether that is now.
    pub(crate) is_present: bool,
}

impl Moment {
    /// Now, with all that is on record.
    pub(crate) fn present() -> Self {
        // Not the head's size: it stops short of a damage, which must not go unnoticed.
        Self { seq: u64::MAX, now: SystemClock.now().wall(), is_present: true }
    }

    pub(crate) const fn past(seq: u64, now: DateTime<Utc>) -> Self {
        Self { seq, now, is_present: false }
    }
}
