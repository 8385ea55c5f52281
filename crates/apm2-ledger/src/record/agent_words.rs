//! Serialization format of the words, names and numbers in the reports of agents, added in record version 4.

use apm2_model::{
    event::agent::{
        class::FailureClass,
        event::{AgentPhase, LimitStatus, SessionReason},
        label::Label,
        outcome::AgentOutcome,
        usage::TokenUsage,
    },
    spec::agent_kind::AgentKind,
};
use serde::{Deserialize, Serialize};

use crate::record::{RecordError, mirrored::mirrored};

mirrored!(AgentKindV4, AgentKind, ClaudeCode, Codex, Gemini, OpenCode, QwenCode, Custom);

mirrored!(OutcomeV4, AgentOutcome, Success, Failure, Aborted);

mirrored!(LimitStatusV4, LimitStatus, Allowed, Warning, Rejected);

mirrored!(PhaseV4, AgentPhase, Starting, Model, Tool, Finished);

mirrored!(
    ClassV4,
    FailureClass,
    Auth,
    Billing,
    RateLimit,
    Overloaded,
    Context,
    Model,
    Network,
    Server,
    Turns,
    Budget,
    Tool,
    Aborted,
    ResumeInvalid,
    Permission,
    Unknown
);

/// The reasons of version 4.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) enum ReasonV4 {
    First,
    Resume,
    NotConfigured,
    ContextFull,
    ResumeInvalid,
    QuickFailures,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) struct UsageV4 {
    input: u64,
    output: u64,
    cache_read: u64,
    cache_creation: u64,
    reasoning: u64,
}

pub(crate) fn text(label: &Label) -> String {
    label.as_str().to_owned()
}

pub(crate) fn texts(label: Option<&Label>) -> Option<String> {
    label.map(text)
}

/// The label with this text, which must have the form that a writer gives it.
pub(crate) fn label(text: &str) -> Result<Label, RecordError> {
    Label::new(text).filter(|label| label.as_str() == text).ok_or(RecordError::Range("name of an agent's report"))
}

pub(crate) fn labels(text: Option<String>) -> Result<Option<Label>, RecordError> {
    text.as_deref().map(label).transpose()
}

impl From<TokenUsage> for UsageV4 {
    fn from(usage: TokenUsage) -> Self {
        let TokenUsage { input, output, cache_read, cache_creation, reasoning } = usage;
        Self { input, output, cache_read, cache_creation, reasoning }
    }
}

impl From<UsageV4> for TokenUsage {
    fn from(record: UsageV4) -> Self {
        let UsageV4 { input, output, cache_read, cache_creation, reasoning } = record;
        Self { input, output, cache_read, cache_creation, reasoning }
    }
}

impl ReasonV4 {
    /// The record of a reason; `None` for one that version 5 added.
    pub(crate) const fn of(reason: SessionReason) -> Option<Self> {
        Some(match reason {
            SessionReason::First => Self::First,
            SessionReason::Resume => Self::Resume,
            SessionReason::NotConfigured => Self::NotConfigured,
            SessionReason::ContextFull => Self::ContextFull,
            SessionReason::ResumeInvalid => Self::ResumeInvalid,
            SessionReason::QuickFailures => Self::QuickFailures,
            SessionReason::BudgetSpent => return None,
        })
    }
}

impl From<ReasonV4> for SessionReason {
    fn from(record: ReasonV4) -> Self {
        match record {
            ReasonV4::First => Self::First,
            ReasonV4::Resume => Self::Resume,
            ReasonV4::NotConfigured => Self::NotConfigured,
            ReasonV4::ContextFull => Self::ContextFull,
            ReasonV4::ResumeInvalid => Self::ResumeInvalid,
            ReasonV4::QuickFailures => Self::QuickFailures,
        }
    }
}
