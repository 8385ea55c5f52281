//! The time of an event: the wall clock for people, the boot clock for durations.

use std::sync::OnceLock;

use chrono::{DateTime, TimeZone as _, Utc};
use nix::time::{ClockId, clock_gettime};
use uuid::Uuid;

const NANOS_PER_SEC: u64 = 1_000_000_000;
const BOOT_ID_PATH: &str = "/proc/sys/kernel/random/boot_id";

/// One moment on two clocks.
///
/// Durations and windows are taken between boot-clock readings of the same boot, so that setting the wall clock
/// cannot bend history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Wall-clock time: nanoseconds since 1970-01-01T00:00:00Z.
    pub wall_ns: i64,
    /// Time since boot, suspend included (`CLOCK_BOOTTIME`), in nanoseconds.
    pub boot_ns: u64,
    /// Which boot (random(4), `boot_id`); nil where the kernel does not tell.
    pub boot_id: Uuid,
}

impl Stamp {
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

/// Where stamps come from. Tests put a fixed one in its place.
pub trait Clock: Send + Sync {
    /// The present moment.
    fn now(&self) -> Stamp;
}

/// The clocks of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Stamp {
        let wall = read(ClockId::CLOCK_REALTIME);
        Stamp {
            // The year 2262 is the end of 64-bit nanoseconds; a clock past it is shown as that moment.
            wall_ns: i64::try_from(wall).unwrap_or(i64::MAX),
            boot_ns: read(ClockId::CLOCK_BOOTTIME),
            boot_id: boot_id(),
        }
    }
}

/// Nanoseconds on `clock`; 0 for a clock that the kernel lacks or that stands before its epoch.
fn read(clock: ClockId) -> u64 {
    let Ok(time) = clock_gettime(clock) else { return 0 };
    let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec()).unwrap_or(0);
    seconds.saturating_mul(NANOS_PER_SEC).saturating_add(nanos)
}

/// The id of this boot, read once.
#[must_use]
pub fn boot_id() -> Uuid {
    static BOOT_ID: OnceLock<Uuid> = OnceLock::new();
    *BOOT_ID.get_or_init(|| {
        std::fs::read_to_string(BOOT_ID_PATH).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(Uuid::nil())
    })
}
