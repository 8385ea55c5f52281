//! The system clocks (clock_gettime(2)). This is the only file of the crate that reads from the system.

use std::sync::OnceLock;

use nix::time::{ClockId, clock_gettime};
use uuid::Uuid;

use crate::event::timestamp::{Clock, Timestamp};

const NANOS_PER_SEC: u64 = 1_000_000_000;

const BOOT_ID_PATH: &str = "/proc/sys/kernel/random/boot_id";

/// A [`Clock`] that reads the clocks of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let wall = read(ClockId::CLOCK_REALTIME);
        Timestamp {
            // 64-bit nanoseconds since 1970 end in the year 2262. A clock that is set past that year reads as the last
            // representable moment.
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

/// The id of this boot (random(4), `boot_id`), read once per process.
#[must_use]
pub fn boot_id() -> Uuid {
    static BOOT_ID: OnceLock<Uuid> = OnceLock::new();
    *BOOT_ID.get_or_init(|| {
        std::fs::read_to_string(BOOT_ID_PATH).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(Uuid::nil())
    })
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    /// 2020-01-01T00:00:00Z. The tests expect that the wall clock of the test machine is later than this time.
    const RECENT_NS: i64 = 1_577_836_800 * 1_000_000_000;

    #[test]
    fn the_clocks_are_those_of_the_system() {
        let wall_ns = || i64::try_from(SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos()).unwrap();
        let (before, stamp, after) = (wall_ns(), SystemClock.now(), wall_ns());
        assert!(before > RECENT_NS && before <= stamp.wall_ns && stamp.wall_ns <= after);
        let later = SystemClock.now();
        assert!(stamp.boot_ns > 1 && later.nanos_since(&stamp).is_some());
    }

    #[test]
    fn the_boot_id_is_that_of_the_kernel() {
        let text = std::fs::read_to_string(BOOT_ID_PATH).unwrap();
        assert_eq!(boot_id().to_string(), text.trim());
        assert_eq!(SystemClock.now().boot_id, boot_id());
    }
}
