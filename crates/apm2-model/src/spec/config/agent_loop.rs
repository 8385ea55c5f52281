//! When the repetition of a tool call counts as a loop, and what follows.

use serde::{Deserialize, Serialize};

use crate::spec::config::reaction::Reaction;

/// The limit of equal tool calls in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AgentLoop {
    /// The number of calls of the same tool with the same arguments, in a row, that counts as a loop; 0 for no limit. Default: 20.
    pub calls: u32,
    /// What follows. Default: it is recorded, for an agent may look again and again whether something has happened.
    pub reaction: Reaction,
}

impl Default for AgentLoop {
    fn default() -> Self {
        Self { calls: 20, reaction: Reaction::Record }
    }
}
