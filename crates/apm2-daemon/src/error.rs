//! Why there is no daemon, or no answer from one.

use std::io;

use apm2_ledger::{AppendError, OpenError, ReadError};

/// Why a daemon cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The ledger cannot be opened; in use means that there is another daemon.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The ledger cannot be written.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The ledger cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The operating system refused something.
    #[error("cannot {what}: {source}")]
    Io {
        /// What.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// Processes of the ledger may be alive where they cannot be seen.
    #[error("this ledger has processes in another pid namespace, where it cannot be seen whether they are alive: {}", .0.join(", "))]
    OutOfSight(Vec<String>),
    /// `/proc` is of no use.
    #[error("/proc shows another pid namespace than the one that this process is in")]
    ForeignProc,
    /// Processes could not be stopped.
    #[error("could not stop {}", .0.join("; "))]
    Unstopped(Vec<String>),
}

impl DaemonError {
    pub(crate) fn io(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { what, source }
    }
}

/// Why a client has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The daemon said no.
    #[error("{message}")]
    Refused {
        /// What kind of no.
        kind: crate::protocol::FailureKind,
        /// In words.
        message: String,
        /// What to do next.
        hint: Option<String>,
    },
    /// The daemon is gone, or hangs.
    #[error("the daemon does not answer: {0}")]
    Gone(#[source] io::Error),
    /// The daemon is leaving, and has not begun what was asked for.
    #[error("the daemon is leaving, and has not begun this")]
    Leaving,
    /// No daemon could be started.
    #[error("{message}")]
    NotStarted {
        /// The exit code that it leaves with, if it says so.
        code: Option<i32>,
        /// Why.
        message: String,
        /// What to do next.
        hint: Option<String>,
    },
    /// The daemon takes longer to begin than anybody waits.
    #[error("the daemon, process {pid}, has not begun to listen yet")]
    StillStarting {
        /// Its pid.
        pid: u32,
    },
    /// Another process has the ledger open, and does not listen.
    #[error("process {pid} has the ledger open and does not listen on its socket: {command}")]
    Unreachable {
        /// Its pid.
        pid: u32,
        /// Its command line.
        command: String,
    },
    /// The daemon is not where the client is.
    #[error("the daemon of this ledger runs in another pid namespace, and what it starts would run there")]
    OtherNamespace,
    /// The socket is another user's.
    #[error("the socket of the daemon is user {uid}'s")]
    Foreign {
        /// Whose.
        uid: u32,
    },
    /// The ledger's directory is not as it has to be.
    #[error(transparent)]
    Unsafe(#[from] OpenError),
    /// It says what nobody understands.
    #[error("the daemon speaks another language: {0}")]
    Protocol(String),
}
