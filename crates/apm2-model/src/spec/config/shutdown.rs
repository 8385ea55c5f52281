//! The settings of a stop.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::signal::Signal;

/// The settings of a stop, which consists of pre-stop commands, the stop signal, and SIGKILL after a timeout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ShutdownConfig {
    /// The first signal, sent to the whole process group. Default: SIGTERM.
    pub signal: Signal,
    /// Time from the first signal until SIGKILL. Default: 10 s.
    #[serde(with = "crate::duration")]
    pub timeout: Duration,
    /// Commands that run before the first signal, each a program and its arguments. Default: none.
    pub pre_stop: Vec<Vec<String>>,
    /// Whether SIGKILL is sent when the timeout has passed. Default: true.
    pub force_kill: bool,
    /// Whether processes that left the session of a run are killed after each end of the run, before the next start. A
    /// requested stop always kills them. Default: true.
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
