//! What the supervisor found of an agent, for which it stops the agent.

use std::{fmt, time::Duration};

use crate::event::agent::{breach::BudgetBreach, event::AgentPhase};

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgentFinding {
    /// A budget is used up.
    Budget(BudgetBreach),
    /// The agent made the same tool call again and again.
    Loop {
        /// The number of calls in a row.
        calls: u32,
    },
    /// The agent has written nothing for longer than its phase allows.
    Silence {
        /// What it did before.
        phase: AgentPhase,
        /// The time without output, in milliseconds.
        silent_ms: u64,
    },
}

impl AgentFinding {
    /// Whether the agent had nothing left to do: it had reported its result, and its process went on.
    #[must_use]
    pub const fn is_after_result(&self) -> bool {
        matches!(self, Self::Silence { phase: AgentPhase::Finished, .. })
    }
}

impl fmt::Display for AgentFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Budget(breach) => breach.fmt(f),
            Self::Loop { calls } => write!(f, "the same tool call was made {calls} times in a row"),
            Self::Silence { phase, silent_ms } => {
                let silent = humantime::format_duration(Duration::from_secs(silent_ms / 1000));
                let when = match phase {
                    AgentPhase::Starting => "before its session began",
                    AgentPhase::Model => "while it waited for the model",
                    AgentPhase::Tool => "in a tool",
                    AgentPhase::Finished => "after its result",
                };
                write!(f, "silent for {silent} {when}")
            }
        }
    }
}
