//! How long an agent may be silent in each phase, and what follows.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::spec::config::reaction::Reaction;

/// The limits of the time without output, by phase. A limit of zero is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AgentSilence {
    /// Before the session starts. Default: 60 s; each agent that was tried began within 10 s.
    #[serde(with = "crate::duration")]
    pub start: Duration,
    /// While it waits for the model. Default: 10 min. Claude Code and Codex CLI are silent for 5 min before they send a request that
    /// hangs again, so a limit below 6 min reports healthy waits.
    #[serde(with = "crate::duration")]
    pub model: Duration,
    /// In a tool. Default: 1 h, for builds and tests are silent for long.
    #[serde(with = "crate::duration")]
    pub tool: Duration,
    /// After the result, unless tasks in the background run. The agent is then ended whatever `reaction` is, for it has nothing left to
    /// do. Default: 30 s; Codex CLI takes 6 s to exit.
    #[serde(with = "crate::duration")]
    pub result: Duration,
    /// What follows a silence before the result. Default: it is recorded, for it may end by itself.
    pub reaction: Reaction,
}

impl Default for AgentSilence {
    fn default() -> Self {
        Self {
            start: Duration::from_secs(60),
            model: Duration::from_secs(600),
            tool: Duration::from_secs(3600),
            result: Duration::from_secs(30),
            reaction: Reaction::Record,
        }
    }
}
