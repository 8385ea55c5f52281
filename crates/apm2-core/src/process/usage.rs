//! What a process uses, as `/proc` tells it.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use rustix::param::{clock_ticks_per_second, page_size};

use crate::process::{ProcessIdentity, identity::Stat};

/// What a process has used so far, and uses now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Processor time of all its threads, in user and kernel mode.
    pub(crate) cpu: Duration,
    /// Resident memory, in bytes.
    pub(crate) memory_bytes: u64,
    /// Time since it was started.
    pub(crate) age: Duration,
}

/// What this very process uses; `None` when it is gone.
pub(crate) fn usage(identity: &ProcessIdentity) -> Option<Usage> {
    let stat = Stat::read(identity.pid).filter(|stat| stat.start_ticks == identity.start_ticks)?;
    let boot = clock_gettime(ClockId::CLOCK_BOOTTIME).ok()?;
    let age = Duration::from(boot).saturating_sub(of_ticks(identity.start_ticks));
    let page_bytes = u64::try_from(page_size()).unwrap_or(u64::MAX);
    Some(Usage { cpu: of_ticks(stat.cpu_ticks), memory_bytes: stat.resident_pages.saturating_mul(page_bytes), age })
}

fn of_ticks(ticks: u64) -> Duration {
    let per_second = clock_ticks_per_second().max(1);
    Duration::from_millis(ticks.saturating_mul(1000) / per_second)
}
