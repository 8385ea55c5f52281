//! The agents whose output can be read.

use std::{fmt, str::FromStr};

/// An agent program, by the form of its output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AgentKind {
    /// Claude Code, `claude -p --output-format stream-json --verbose`.
    ClaudeCode,
    /// Codex CLI, `codex exec --json`.
    Codex,
    /// Gemini CLI, `gemini -p … --output-format stream-json`.
    Gemini,
    /// OpenCode, `opencode run --format json`.
    OpenCode,
    /// Qwen Code, which prints the lines of Claude Code.
    QwenCode,
    /// Another agent, which prints the lines that `docs/agents.md` describes.
    Custom,
}

impl AgentKind {
    /// All kinds.
    pub const ALL: [Self; 6] =
        [Self::ClaudeCode, Self::Codex, Self::Gemini, Self::OpenCode, Self::QwenCode, Self::Custom];

    /// The name of the kind, as in settings and in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ClaudeCode => "claude-code",
            Self::Codex => "codex",
            Self::Gemini => "gemini",
            Self::OpenCode => "opencode",
            Self::QwenCode => "qwen-code",
            Self::Custom => "custom",
        }
    }

    /// The agent that a program is by its name; `program` may be a path. `None` for another name.
    #[must_use]
    pub fn of_program(program: &str) -> Option<Self> {
        match program.rsplit('/').next().unwrap_or(program) {
            "claude" => Some(Self::ClaudeCode),
            "codex" => Some(Self::Codex),
            "gemini" => Some(Self::Gemini),
            "opencode" => Some(Self::OpenCode),
            "qwen" => Some(Self::QwenCode),
            _ => None,
        }
    }
}

impl fmt::Display for AgentKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// No agent has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown agent {0:?}: known are claude-code, codex, gemini, opencode, qwen-code and custom")]
pub struct UnknownAgent(String);

impl FromStr for AgentKind {
    type Err = UnknownAgent;

    fn from_str(text: &str) -> Result<Self, UnknownAgent> {
        Self::ALL.into_iter().find(|kind| kind.name() == text).ok_or_else(|| UnknownAgent(text.to_owned()))
    }
}
