//! The time of an event on two clocks: the wall clock for display, the boot clock for durations.

use chrono::{DateTime, TimeZone as _, Utc};
use uuid::Uuid;

/// One moment, read from two clocks.
///
/// Durations and windows are computed from two boot-clock readings of the same boot, so a change of the wall clock does
/// not affect them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timestamp {
    /// Wall-clock time: nanoseconds since 1970-01-01T00:00:00Z.
    pub wall_ns: i64,
    /// Time since boot in nanoseconds, including suspend (`CLOCK_BOOTTIME`, clock_gettime(2)).
    pub boot_ns: u64,
    /// The id of the boot (random(4), `boot_id`); the nil UUID where `/proc` does not show it.
    pub boot_id: Uuid,
}

impl Timestamp {
    /// Converts the wall-clock reading to a UTC time.
    #[must_use]
    pub fn wall(&self) -> DateTime<Utc> {
        Utc.timestamp_nanos(self.wall_ns)
    }

    /// Nanoseconds from `earlier` to `self` on the boot clock; `None` when the timestamps are of different boots or
    /// `earlier` is later.
    #[must_use]
    pub fn nanos_since(&self, earlier: &Self) -> Option<u64> {
        if self.boot_id == earlier.boot_id { self.boot_ns.checked_sub(earlier.boot_ns) } else { None }
    }
}

/// A source of timestamps. Tests use a source with a fixed time.
pub trait Clock: Send + Sync {
    /// The current time on both clocks.
    fn now(&self) -> Timestamp;
}
