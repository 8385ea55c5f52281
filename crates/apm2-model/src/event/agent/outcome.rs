//! How an agent ended a turn or a run, by its own account.

/// The outcome of a turn or of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AgentOutcome {
    /// The agent did what it was asked.
    Success,
    /// The agent failed.
    Failure,
    /// The agent was interrupted.
    Aborted,
}

impl AgentOutcome {
    /// The name of the outcome in `snake_case`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Aborted => "aborted",
        }
    }
}
