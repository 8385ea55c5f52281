//! Why there is no daemon, or no answer from one.

use std::{io, path::PathBuf};

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
    #[error("no daemon could be started for {}: {why}", dir.display())]
    NotStarted {
        /// The ledger's directory.
        dir: PathBuf,
        /// Why, as the daemon put it.
        why: String,
    },
    /// It says what nobody understands.
    #[error("the daemon speaks another language: {0}")]
    Protocol(String),
}
