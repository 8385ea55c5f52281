//! The restart budget of an instance: the counted restarts, computed from its events.

use std::{collections::VecDeque, time::Duration};

use crate::{event::timestamp::Timestamp, spec::config::restart::RESTARTS_REMEMBERED_MAX};

/// The counted restarts of one kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// The times at which the latest restarts were scheduled, oldest first, at most [`RESTARTS_REMEMBERED_MAX`] times.
    pub recent: VecDeque<Timestamp>,
    /// The number of restarts since the last sustained run (a run of at least `min_uptime`).
    pub consecutive: u32,
}

impl Tally {
    /// Counts a restart that was scheduled at `stamp`.
    pub fn spend(&mut self, stamp: Timestamp) {
        if self.recent.len() == RESTARTS_REMEMBERED_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(stamp);
        self.consecutive = self.consecutive.saturating_add(1);
    }

    /// The number of restarts within `window` before `now`. Restarts of another boot are not counted.
    pub(crate) fn spent(&self, now: &Timestamp, window: Duration) -> u32 {
        let window_ns = u64::try_from(window.as_nanos()).unwrap_or(u64::MAX);
        let within = |stamp: &&Timestamp| now.nanos_since(stamp).is_some_and(|nanos| nanos <= window_ns);
        u32::try_from(self.recent.iter().filter(within).count()).unwrap_or(u32::MAX)
    }
}

/// The restarts that count against the budget of an instance. Failed starts and crashes have different causes, so they
/// are counted separately.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RestartBudget {
    /// The restarts after a run that had started.
    pub crashes: Tally,
    /// The restarts after a failed start, in which no process was spawned.
    pub spawn_failures: Tally,
}
