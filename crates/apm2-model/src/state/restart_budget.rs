//! The restart budget of an instance: a fold over its events.

use std::{collections::VecDeque, time::Duration};

use crate::{event::timestamp::Timestamp, spec::config::restart::RESTARTS_REMEMBERED_MAX};

/// Restarts of one kind that count against a process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// When the latest restarts were scheduled, oldest first, at most [`RESTARTS_REMEMBERED_MAX`].
    pub recent: VecDeque<Timestamp>,
    /// Restarts since the last sustained run.
    pub consecutive: u32,
}

impl Tally {
    /// Counts a restart scheduled at `stamp`.
    pub fn spend(&mut self, stamp: Timestamp) {
        if self.recent.len() == RESTARTS_REMEMBERED_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(stamp);
        self.consecutive = self.consecutive.saturating_add(1);
    }

    /// Restarts within `window` before `now`. Restarts of another boot are outside of every window.
    pub(crate) fn spent(&self, now: &Timestamp, window: Duration) -> u32 {
        let window_ns = u64::try_from(window.as_nanos()).unwrap_or(u64::MAX);
        let within = |stamp: &&Timestamp| now.nanos_since(stamp).is_some_and(|nanos| nanos <= window_ns);
        u32::try_from(self.recent.iter().filter(within).count()).unwrap_or(u32::MAX)
    }
}

/// The restarts that count against an instance. Failed starts and crashes have different causes, so they are counted separately.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RestartBudget {
    /// Restarts after a run.
    pub crashes: Tally,
    /// Restarts after a start that spawned no process.
    pub spawn_failures: Tally,
}
