//! The options with which a daemon is started.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use apm2_core::log::Retention;

/// The options of a daemon.
#[derive(Debug, Clone)]
pub struct DaemonOptions {
    /// The ledger directory.
    pub dir: PathBuf,
    /// How long an idle daemon waits before it exits; `None` for no time limit.
    pub idle_timeout: Option<Duration>,
    /// The time limit for stopping all processes at a shutdown.
    pub stop_deadline: Duration,
    /// The limits on the size and the age of the log files of all processes together.
    pub retention: Retention,
    /// The command that starts a file descriptor store: program and arguments.
    pub fd_store_command: Vec<OsString>,
    /// Whether processes that may be alive in another pid namespace are recorded as ended nevertheless.
    pub forget_other_namespaces: bool,
    /// Whether a client has started the daemon. Such a daemon resets the attributes that it inherited from the client.
    pub is_started_by_client: bool,
}
