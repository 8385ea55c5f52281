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
    /// No daemon could be started.
    #[error("{}", .why.first().map_or("no daemon could be started, and it did not say why", String::as_str))]
    NotStarted {
        /// The exit code that it left with, if it did.
        code: Option<i32>,
        /// Why, in its own lines.
        why: Vec<String>,
    },
    /// The ledger's directory is not as it has to be.
    #[error(transparent)]
    Unsafe(#[from] OpenError),
    /// It says what nobody understands.
    #[error("the daemon speaks another language: {0}")]
    Protocol(String),
}
