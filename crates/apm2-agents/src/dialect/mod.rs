//! The lines of each agent.

pub(crate) mod claude;
pub(crate) mod codex;
pub(crate) mod custom;
pub(crate) mod gemini;
pub(crate) mod opencode;

use apm2_model::{event::timestamp::Timestamp, spec::agent_kind::AgentKind};

use crate::tracker::Tracker;

/// A line of standard output.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line<'a> {
    /// The line, which begins with `{`.
    pub(crate) text: &'a str,
    /// Whether only the beginning of the line is here.
    pub(crate) is_cut: bool,
    pub(crate) context: Context,
}

/// When and where a line was read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Context {
    pub(crate) now: Timestamp,
    /// The zone of the times of day that an agent prints, in seconds east of UTC.
    pub(crate) utc_offset_secs: i32,
}

/// What became of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// Its type is known.
    Known,
    /// Its type is not known.
    Unknown,
    /// It is not a JSON object.
    Invalid,
}

/// The state of a dialect in one run.
#[derive(Debug)]
pub(crate) enum Dialect {
    Claude(claude::Claude),
    Codex(codex::Codex),
    Gemini(gemini::Gemini),
    OpenCode(opencode::OpenCode),
    Custom,
}

impl Dialect {
    pub(crate) fn new(kind: AgentKind) -> Self {
        match kind {
            AgentKind::ClaudeCode => Self::Claude(claude::Claude::new(false)),
            AgentKind::QwenCode => Self::Claude(claude::Claude::new(true)),
            AgentKind::Codex => Self::Codex(codex::Codex),
            AgentKind::Gemini => Self::Gemini(gemini::Gemini::default()),
            AgentKind::OpenCode => Self::OpenCode(opencode::OpenCode::default()),
            AgentKind::Custom => Self::Custom,
        }
    }

    pub(crate) fn kind(&self) -> AgentKind {
        match self {
            Self::Claude(claude) if claude.is_qwen() => AgentKind::QwenCode,
            Self::Claude(_) => AgentKind::ClaudeCode,
            Self::Codex(_) => AgentKind::Codex,
            Self::Gemini(_) => AgentKind::Gemini,
            Self::OpenCode(_) => AgentKind::OpenCode,
            Self::Custom => AgentKind::Custom,
        }
    }

    /// Reads a line of standard output.
    pub(crate) fn line(&mut self, tracker: &mut Tracker, line: Line<'_>) -> Use {
        match self {
            Self::Claude(claude) => claude.line(tracker, line),
            Self::Codex(_) => codex::line(tracker, line),
            Self::Gemini(gemini) => gemini.line(tracker, line),
            Self::OpenCode(opencode) => opencode.line(tracker, line),
            Self::Custom => custom::line(tracker, line),
        }
    }

    /// Reads a line of standard error, which is prose.
    pub(crate) fn error_line(&mut self, tracker: &mut Tracker, text: &str) {
        match self {
            Self::Claude(claude) => claude.error_line(tracker, text),
            Self::Codex(_) => codex::error_line(tracker, text),
            Self::Gemini(gemini) => gemini.error_line(tracker, text),
            Self::OpenCode(_) => opencode::error_line(tracker, text),
            Self::Custom => {}
        }
    }

    /// The last line was read.
    pub(crate) fn end(&mut self, tracker: &mut Tracker) {
        match self {
            Self::Gemini(gemini) => gemini.end(tracker),
            Self::OpenCode(opencode) => opencode.end(tracker),
            Self::Claude(_) | Self::Codex(_) | Self::Custom => {}
        }
    }
}

/// A number as `u32`; a larger one is the largest.
pub(crate) fn small(number: Option<u64>) -> Option<u32> {
    number.map(|number| u32::try_from(number).unwrap_or(u32::MAX))
}
