//! How a daemon is started.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use apm2_core::log::Retention;

/// How a daemon serves.
#[derive(Debug, Clone)]
pub struct DaemonOptions {
    /// The ledger's directory.
    pub dir: PathBuf,
    /// How long the daemon stays with nothing to do; for ever without it.
    pub idle_timeout: Option<Duration>,
    /// The time in which everything is stopped when the daemon is told to leave.
    pub stop_deadline: Duration,
    /// The limits on all logs together.
    pub retention: Retention,
    /// The program that becomes the keeper, with its arguments.
    pub fd_store_command: Vec<OsString>,
    /// Whether processes that may be alive in another pid namespace are taken for ended.
    pub forget_other_namespaces: bool,
    /// Whether a client started it for itself and others: then what the client happened to have does not count.
    pub is_started_by_client: bool,
}
