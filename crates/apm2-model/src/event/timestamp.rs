//! The time of an event on two clocks: the wall clock for display, the boot clock for durations.

use chrono::{DateTime, TimeZone as _, Utc};
use uuid::Uuid;

/// One moment on two clocks.
///
/// Durations and windows are taken between boot-clock readings of the same boot, so that a change of the wall
/// clock does not change them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timestamp {
    /// Wall-clock time: nanoseconds since 1970-01-01T00:00:00Z.
    pub wall_ns: i64,
    /// Time since boot, suspend included (`CLOCK_BOOTTIME`), in nanoseconds.
    pub boot_ns: u64,
    /// Which boot (random(4), `boot_id`); nil where `/proc` does not have it.
    pub boot_id: Uuid,
}

impl Timestamp {
    /// The wall-clock time.
    #[must_use]
    pub fn wall(&self) -> DateTime<Utc> {
        Utc.timestamp_nanos(self.wall_ns)
    }

    /// Nanoseconds from `earlier` to `self`; `None` when they are of different boots or out of order.
    #[must_use]
    pub fn nanos_since(&self, earlier: &Self) -> Option<u64> {
        if self.boot_id == earlier.boot_id { self.boot_ns.checked_sub(earlier.boot_ns) } else { None }
    }
}

/// A source of timestamps. Tests use one with a fixed time.
pub trait Clock: Send + Sync {
    /// The present moment.
    fn now(&self) -> Timestamp;
}
