//! The errors of a daemon and of its clients.

use std::io;

use apm2_ledger::{AppendError, OpenError, ReadError};

/// An error that ends a daemon.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The ledger cannot be opened. `OpenError::InUse` means that another process has it open.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// An event cannot be written to the ledger.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The ledger cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A system call of the daemon failed.
    #[error("cannot {what}: {source}")]
    Io {
        /// The operation that failed, in words.
        what: &'static str,
        /// The I/O error of the operation.
        source: io::Error,
    },
    /// Processes of the ledger may be alive in another pid namespace, which is not visible here.
    #[error("this ledger has processes in another pid namespace, where it cannot be seen whether they are alive: {}", .0.join(", "))]
    OutOfSight(Vec<String>),
    /// `/proc` belongs to another pid namespace (proc(5)).
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

/// An error that a client of a daemon receives.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The daemon has answered with a failure.
    #[error("{message}")]
    Refused {
        /// The kind of the failure, from which the client derives its exit code.
        kind: crate::protocol::FailureKind,
        /// The error message for the user.
        message: String,
        /// A hint for the user: what to do next.
        hint: Option<String>,
    },
    /// The daemon has closed the connection, or does not answer within the timeout.
    #[error("the daemon does not answer: {0}")]
    Gone(#[source] io::Error),
    /// The daemon is shutting down, and has not started to carry out the call.
    #[error("the daemon is leaving, and has not begun this")]
    Leaving,
    /// No daemon could be started.
    #[error("{message}")]
    NotStarted {
        /// The exit code of the daemon, if it has reported one.
        code: Option<i32>,
        /// Why the daemon could not be started.
        message: String,
        /// A hint for the user: what to do next.
        hint: Option<String>,
    },
    /// The daemon has not begun to listen within the timeout. It continues to start.
    #[error("the daemon, process {pid}, has not begun to listen yet")]
    StillStarting {
        /// The pid of the daemon.
        pid: u32,
    },
    /// Another process has the ledger open and does not listen on the socket.
    #[error("process {pid} has the ledger open and does not listen on its socket: {command}")]
    Unreachable {
        /// The pid of the process that has the ledger open.
        pid: u32,
        /// The command line of the process that has the ledger open.
        command: String,
    },
    /// The daemon is in another pid namespace than the client.
    #[error("the daemon of this ledger runs in another pid namespace, and what it starts would run there")]
    OtherNamespace,
    /// The socket belongs to another user.
    #[error("the socket of the daemon is user {uid}'s")]
    Foreign {
        /// The user id of the owner of the socket.
        uid: u32,
    },
    /// The permissions or the owner of the ledger directory are unsafe.
    #[error(transparent)]
    Unsafe(#[from] OpenError),
    /// The answer is not valid in this version of the protocol.
    #[error("the answer of the daemon cannot be decoded: {0}")]
    Protocol(String),
}
