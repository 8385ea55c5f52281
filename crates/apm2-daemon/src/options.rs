//! How a daemon is started.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use apm2_core::log::Retention;

/// How a daemon serves.
#[derive(Debug, Clone)]
pub struct DaemonOptions {
    /// The ledger's directory.
    pub dir: PathBuf,
    /// How long an idle daemon waits before it exits; `None` for no limit.
    pub idle_timeout: Option<Duration>,
    /// The time limit for stopping all processes at a shutdown.
    pub stop_deadline: Duration,
    /// The limits on the log files of all processes together.
    pub retention: Retention,
    /// The command that starts a file descriptor store: program and arguments.
    pub fd_store_command: Vec<OsString>,
    /// Whether processes that may be alive in another pid namespace are recorded as ended.
    pub forget_other_namespaces: bool,
    /// Whether a client has started the daemon: then it resets what it inherited from that client.
    pub is_started_by_client: bool,
}
