//! The error of process operations.

use apm2_model::causes::causes;

/// An error of a process operation. The error texts are those of the specification.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The process could not be spawned (CTR-0008).
    #[error("failed to spawn process: {0}")]
    SpawnFailed(String),

    /// No process has this name or id.
    #[error("process not found: {0}")]
    NotFound(String),

    /// A process with this name or id exists already.
    #[error("process already exists: {0}")]
    AlreadyExists(String),

    /// The operation is not possible in this state (CTR-0005, CTR-0006).
    #[error("invalid state for operation: {0}")]
    InvalidState(String),

    /// Nothing is left of a budget of an agent, so it is not started.
    #[error("not started: {0}")]
    BudgetSpent(String),

    /// A signal could not be delivered.
    #[error("failed to send signal: {0}")]
    SignalFailed(String),

    /// An I/O error, or an error of the recorder.
    #[error("I/O error: {}", causes(.0))]
    Io(#[from] std::io::Error),
}

impl ProcessError {
    /// A copy of the error for a further receiver. A copied I/O error keeps its kind and its text.
    #[must_use]
    pub fn copied(&self) -> Self {
        match self {
            Self::SpawnFailed(text) => Self::SpawnFailed(text.clone()),
            Self::NotFound(text) => Self::NotFound(text.clone()),
            Self::AlreadyExists(text) => Self::AlreadyExists(text.clone()),
            Self::InvalidState(text) => Self::InvalidState(text.clone()),
            Self::BudgetSpent(text) => Self::BudgetSpent(text.clone()),
            Self::SignalFailed(text) => Self::SignalFailed(text.clone()),
            Self::Io(error) => Self::Io(std::io::Error::new(error.kind(), causes(error))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the journal cannot be written")]
    struct Journal(#[source] std::io::Error);

    #[test]
    fn an_error_says_all_its_causes_and_each_once() {
        let disk = || std::io::Error::from_raw_os_error(nix::libc::ENOSPC);
        let error = ProcessError::from(std::io::Error::other(Journal(disk())));
        let expected = format!("I/O error: the journal cannot be written: {}", disk());
        assert_eq!(error.to_string(), expected);
        assert_eq!(error.copied().to_string(), expected);
    }
}
