//! How a process is asked to stop, and many of them at once.

mod pre_stop;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::process::Signal;

pub(crate) use self::pre_stop::{PreStop, PreStopResult};

/// The signal, the patience and the last resort of a stop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ShutdownConfig {
    /// First signal, sent to the whole group. Default: SIGTERM.
    pub signal: Signal,
    /// Time until SIGKILL. Default: 10 s.
    #[serde(with = "crate::duration")]
    pub timeout: Duration,
    /// Commands run before the signal, each a program and its arguments. Default: none.
    pub pre_stop: Vec<Vec<String>>,
    /// Whether SIGKILL follows when the timeout has passed. Default: true.
    pub force_kill: bool,
    /// Whether processes that left the session of a run are ended after every end of it, before it is started again. A stop
    /// that is asked for ends them in any case. Default: true.
    pub end_orphans: bool,
}

impl Default for ShutdownConfig {
    fn default() -> Self {
        Self {
            signal: Signal::TERM,
            timeout: Duration::from_secs(10),
            pre_stop: Vec::new(),
            force_kill: true,
            end_orphans: true,
        }
    }
}

/// Shares out the time in which everything has to be stopped.
#[derive(Debug, Clone, Copy)]
pub struct ShutdownManager {
    deadline: Duration,
}

impl ShutdownManager {
    /// Everything within `deadline`, all at the same time.
    #[must_use]
    pub const fn new(deadline: Duration) -> Self {
        Self { deadline }
    }

    /// What a process gets that would get `timeout` by itself.
    #[must_use]
    pub fn timeout(&self, timeout: Duration) -> Duration {
        timeout.min(self.deadline)
    }
}
