//! Polling for a condition, with a time limit.

use std::{
    fs,
    thread::sleep,
    time::{Duration, Instant},
};

/// Time limit of a wait.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Polls until `found` returns a value.
///
/// # Panics
/// When it does not within the time limit.
pub(crate) fn wait_until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "waited in vain: {what}");
        sleep(POLL_INTERVAL);
    }
}

/// Polls whether `condition` becomes true within the time limit.
pub(crate) fn is_so_in_time(mut condition: impl FnMut() -> bool) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        if condition() {
            return true;
        }
        sleep(POLL_INTERVAL);
    }
    false
}

/// Whether the process has ended or is a zombie. A process of which only the main thread is a zombie still has its files
/// open.
pub(crate) fn gone(pid: u32) -> bool {
    let threads = || fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
    match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => stat.rsplit(')').next().unwrap().trim_start().starts_with('Z') && threads() <= 1,
        Err(_) => true,
    }
}
