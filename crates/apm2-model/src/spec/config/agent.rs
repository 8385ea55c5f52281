//! The settings of a process that is an AI coding agent.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

use crate::spec::{
    agent_kind::{AgentKind, UnknownAgent},
    config::{agent_budget::AgentBudgets, agent_loop::AgentLoop, agent_silence::AgentSilence},
};

/// The argument that the arguments for the session replace. Where no argument is this text, they are added at the end.
pub const SESSION_ARGS: &str = "{session-args}";

/// The text in [`AgentConfig::first_args`] and [`AgentConfig::resume_args`] that the identifier of the session replaces.
pub const SESSION: &str = "{session}";

/// The smallest allowed [`AgentConfig::limit_wait_max`]. Waits for limits use nothing of the restart budget, so that shorter ones could
/// start the agent again and again.
pub const LIMIT_WAIT_MAX_MIN: Duration = Duration::from_secs(10);

/// The name of the choice by the name of the program.
const AUTO: &str = "auto";

/// Which form of output is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum AgentChoice {
    /// The kind that the name of the program says, or else the first line of output.
    #[default]
    Auto,
    /// This kind.
    Kind(AgentKind),
}

impl FromStr for AgentChoice {
    type Err = UnknownAgent;

    fn from_str(text: &str) -> Result<Self, UnknownAgent> {
        if text == AUTO { Ok(Self::Auto) } else { text.parse().map(Self::Kind) }
    }
}

impl TryFrom<String> for AgentChoice {
    type Error = UnknownAgent;

    fn try_from(text: String) -> Result<Self, UnknownAgent> {
        text.parse()
    }
}

impl fmt::Display for AgentChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.pad(AUTO),
            Self::Kind(kind) => f.pad(kind.name()),
        }
    }
}

impl From<AgentChoice> for String {
    fn from(choice: AgentChoice) -> Self {
        choice.to_string()
    }
}

/// What follows when the conversation does not fit into the context window of the model any more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnContextFull {
    /// The next run begins a new session.
    #[default]
    Fresh,
    /// The process is not started again.
    Stop,
}

/// The settings of an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AgentConfig {
    /// Which form of output is read. Default: by the name of the program, else by the first line.
    pub kind: AgentChoice,
    /// Arguments of a run with a new session, in which [`SESSION`] stands for a new UUID. Default: none.
    pub first_args: Vec<String>,
    /// Arguments of a run that goes on with the latest session, in which [`SESSION`] stands for its identifier. Default: none,
    /// and then each run begins a new session.
    pub resume_args: Vec<String>,
    /// What follows when the context window is full. Default: a new session.
    pub on_context_full: OnContextFull,
    /// The longest wait for the reset of a usage limit, [`LIMIT_WAIT_MAX_MIN`] at least. Default: 8 h.
    #[serde(with = "crate::duration")]
    pub limit_wait_max: Duration,
    /// The name of the account whose usage limits the agent shares with all others that name it. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// What a run, a session and a day may use. Default: no limits.
    pub budget: AgentBudgets,
    /// How long the agent may be silent in each phase.
    pub silence: AgentSilence,
    /// When the repetition of a tool call counts as a loop.
    #[serde(rename = "loop")]
    pub repetition: AgentLoop,
}

impl Default for AgentConfig {
    fn default() -> Self {
        Self {
            kind: AgentChoice::default(),
            first_args: Vec::new(),
            resume_args: Vec::new(),
            on_context_full: OnContextFull::default(),
            limit_wait_max: Duration::from_secs(8 * 3600),
            account: None,
            budget: AgentBudgets::default(),
            silence: AgentSilence::default(),
            repetition: AgentLoop::default(),
        }
    }
}

impl AgentConfig {
    /// The arguments of a run: `args` with those for the session in their place.
    #[must_use]
    pub fn args_of_run(&self, args: &[String], session: &str, is_resumed: bool) -> Vec<String> {
        let template = if is_resumed { &self.resume_args } else { &self.first_args };
        let own: Vec<String> = template.iter().map(|arg| arg.replace(SESSION, session)).collect();
        match args.iter().position(|arg| arg == SESSION_ARGS) {
            Some(at) => {
                let (before, after) = args.split_at(at);
                [before, &own, after.get(1..).unwrap_or_default()].concat()
            }
            None => [args, &own].concat(),
        }
    }
}
