//! The clocks of this machine.

use std::{env, fs};

use apm2_model::{clock::SystemClock, event::timestamp::Clock as _};
use chrono::{DateTime, Utc};

/// The facts about the clocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClockFacts {
    pub(crate) now: DateTime<Utc>,
    /// The time of the last event of the ledger.
    pub(crate) last_event: Option<DateTime<Utc>>,
    /// Whether `CLOCK_BOOTTIME` can be read (clock_gettime(2)).
    pub(crate) has_boot_time: bool,
    /// Whether the boot id can be read (random(4)).
    pub(crate) has_boot_id: bool,
    /// The variable TZ, or the target of `/etc/localtime`; `None` means UTC.
    pub(crate) zone: Option<String>,
    /// The offset of local time from UTC, such as `+01:00`.
    pub(crate) offset: String,
}

impl ClockFacts {
    pub(crate) fn look(last_event: Option<DateTime<Utc>>) -> Self {
        let stamp = SystemClock.now();
        let file = || fs::read_link("/etc/localtime").ok().map(|path| path.display().to_string());
        Self {
            now: stamp.wall(),
            last_event,
            has_boot_time: stamp.boot_ns > 0,
            has_boot_id: !stamp.boot_id.is_nil(),
            zone: env::var("TZ").ok().filter(|zone| !zone.is_empty()).or_else(file),
            offset: chrono::Local::now().offset().to_string(),
        }
    }
}
