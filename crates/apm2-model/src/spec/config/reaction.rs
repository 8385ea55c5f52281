//! What the supervisor does about a finding of an agent.

use serde::{Deserialize, Serialize};

/// What follows from a finding.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reaction {
    /// It is recorded.
    #[default]
    Record,
    /// The agent is stopped, and not started again.
    Stop,
    /// The agent is stopped, and the restart policy decides as after a failed health check.
    Restart,
}

impl Reaction {
    /// The name of the reaction in `snake_case`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Record => "record",
            Self::Stop => "stop",
            Self::Restart => "restart",
        }
    }
}
