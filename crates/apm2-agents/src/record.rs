//! What the ledger already has of an agent when a run begins, or when a supervisor takes over a run.

use apm2_model::event::{
    agent::{class::FailureClass, event::ToolCall, label::Label, usage::TokenUsage},
    timestamp::Timestamp,
};

/// What is on record of an instance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OnRecord {
    /// The last session of the instance, which a new run may resume; `None` if none is on record.
    pub session: Option<SessionOnRecord>,
    /// The run in progress, for a supervisor that takes it over; `None` for a run that begins.
    pub run: Option<RunOnRecord>,
}

/// What is on record of a session, over all of its runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionOnRecord {
    /// The identifier in the last `SessionStarted`.
    pub id: Label,
    /// The sum of the usage of each `TurnEnded` of the session. The usage in a `Finished` that the agent did not report itself does not
    /// count: the totals of a later run do not contain it.
    pub usage: TokenUsage,
    /// The sum of the cost of each `TurnEnded` of the session, in millionths of a US dollar.
    pub cost_micros: u64,
}

/// What is on record of the run in progress.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunOnRecord {
    /// Whether `SessionStarted` is on record for this run; then [`OnRecord::session`] is its session.
    pub is_session_started: bool,
    /// The number of `TurnEnded` of the run.
    pub turns: u32,
    /// The number of turns in the last `Finished` of the run.
    pub agent_turns: u32,
    /// The sum of the usage of each `TurnEnded` of the run.
    pub usage: TokenUsage,
    /// The usage in the last `UsageSoFar` of the run that no `TurnEnded` or `Finished` followed.
    pub in_turn: TokenUsage,
    /// The sum of the cost of each `TurnEnded` of the run; `None` if none has a cost.
    pub cost_micros: Option<u64>,
    /// The number of tool calls of the run: each `ToolStarted`, each `ToolEnded` without a `ToolStarted`, and the calls of each
    /// `ToolsSummarized`.
    pub tool_calls: u32,
    /// The number of `PermissionDenied` of the run.
    pub denials: u32,
    /// The number in the last `BackgroundChanged` of the run.
    pub background_tasks: u32,
    /// Whether the last turn of the run has a `Finished` that the agent reported.
    pub is_finished: bool,
    /// The class and the HTTP status of a `Failed` that no `TurnEnded` or `Finished` followed.
    pub failed: Option<(FailureClass, Option<u16>)>,
    /// The calls with a `ToolStarted` and no `ToolEnded`, oldest first, with the time of the `ToolStarted`.
    pub open_calls: Vec<(ToolCall, Timestamp)>,
}
