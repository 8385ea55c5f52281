//! One report of an agent.

use crate::{
    event::agent::{breach::BudgetBreach, class::FailureClass, label::Label, outcome::AgentOutcome, usage::TokenUsage},
    spec::config::reaction::Reaction,
};

/// Largest number of MCP servers in one event.
pub const MCP_SERVERS_MAX: usize = 32;

/// Largest number of tools in one summary. The calls of further tools are counted under the name [`OTHER_TOOLS`].
pub const SUMMARY_TOOLS_MAX: usize = 32;

/// The name under which a summary counts the calls of tools that have no entry of their own.
pub const OTHER_TOOLS: &str = "other";

/// An MCP server that the agent has configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct McpServer {
    /// The name of the server in the settings of the agent.
    pub name: Label,
    /// The status in the agent's words, such as `connected` or `failed`.
    pub status: Option<Label>,
}

/// A call of a tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolCall {
    /// The identifier of the call (`gen_ai.tool.call.id`).
    pub call_id: Label,
    /// The name of the tool (`gen_ai.tool.name`).
    pub tool: Label,
    /// The MCP server that has the tool; `None` for a tool of the agent.
    pub mcp_server: Option<Label>,
    /// The call in which this call was made, for calls of a subagent.
    pub parent_call_id: Option<Label>,
}

/// The calls of one tool in a summary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolCount {
    /// The name of the tool.
    pub tool: Label,
    /// The number of calls that ended.
    pub calls: u32,
    /// The number of them that failed.
    pub failed: u32,
}

/// Whether requests are refused because of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LimitStatus {
    /// Requests are accepted.
    Allowed,
    /// Requests are accepted, and the limit is near.
    Warning,
    /// Requests are refused.
    Rejected,
}

/// What an agent does, as its output shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AgentPhase {
    /// It has not reported a session yet.
    Starting,
    /// It waits for the model.
    Model,
    /// A tool is in progress.
    Tool,
    /// It has reported its result.
    Finished,
}

/// Why a run has the session that it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SessionReason {
    /// No session is on record.
    First,
    /// The run goes on with the latest session.
    Resume,
    /// The settings have no arguments to go on with a session.
    NotConfigured,
    /// The conversation of the latest session does not fit into the context window.
    ContextFull,
    /// The latest session does not exist any more, or is in use.
    ResumeInvalid,
    /// The runs that went on with the latest session failed quickly.
    QuickFailures,
    /// The budget of the latest session is used up.
    BudgetSpent,
}

impl SessionReason {
    /// The name of the reason in `snake_case`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Resume => "resume",
            Self::NotConfigured => "not_configured",
            Self::ContextFull => "context_full",
            Self::ResumeInvalid => "resume_invalid",
            Self::QuickFailures => "quick_failures",
            Self::BudgetSpent => "budget_spent",
        }
    }
}

/// Lines of output that were not used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SkippedLines {
    /// Lines whose type is not known.
    pub unknown: u64,
    /// Lines that are not JSON objects.
    pub invalid: u64,
    /// Lines that were longer than the limit and were cut.
    pub cut: u64,
}

/// One report of an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentEvent {
    /// The supervisor chose the session of the run that it starts.
    SessionChosen {
        /// The identifier that the arguments of the run contain; `None` if they contain none.
        session_id: Option<Label>,
        /// Whether the run goes on with this session.
        is_resumed: bool,
        /// Why.
        reason: SessionReason,
    },
    /// A session has begun, or goes on.
    SessionStarted {
        /// The identifier of the session (`gen_ai.conversation.id`).
        session_id: Label,
        /// The model (`gen_ai.request.model`).
        model: Option<Label>,
        /// The version of the agent program.
        agent_version: Option<Label>,
        /// How the agent asks for permissions, in its words.
        permission_mode: Option<Label>,
        /// Whether the session goes on with one of an earlier run.
        is_resumed: bool,
        /// The MCP servers, [`MCP_SERVERS_MAX`] at most.
        mcp_servers: Vec<McpServer>,
    },
    /// A turn has ended: the agent has answered one prompt.
    TurnEnded {
        /// The number of the turn in the run, from 1.
        turn: u32,
        /// The tokens that the turn used.
        usage: TokenUsage,
        /// The cost of the turn in millionths of a US dollar, where the agent says it.
        cost_micros: Option<u64>,
        /// The length of the turn in milliseconds, where the agent says it.
        duration_ms: Option<u64>,
        /// The outcome of the turn.
        outcome: AgentOutcome,
    },
    /// A tool was called.
    ToolStarted {
        /// The call.
        call: ToolCall,
        /// The size of the arguments in bytes of JSON.
        input_bytes: u64,
    },
    /// A call of a tool has ended.
    ToolEnded {
        /// The call.
        call: ToolCall,
        /// Whether the tool succeeded.
        is_ok: bool,
        /// The exit code of a command, where the agent says it.
        exit_code: Option<i32>,
        /// The time between the two lines of the call, in milliseconds; `None` if the first was not seen.
        duration_ms: Option<u64>,
        /// The size of the result in bytes of JSON.
        output_bytes: u64,
    },
    /// The calls of tools that ended in a period in which there were too many to record each.
    ToolsSummarized {
        /// The calls by tool, [`SUMMARY_TOOLS_MAX`] at most.
        tools: Vec<ToolCount>,
        /// The length of the period in milliseconds.
        period_ms: u64,
    },
    /// The agent was not allowed to use a tool.
    PermissionDenied {
        /// The name of the tool.
        tool: Label,
        /// The kind of the reason, in the agent's words.
        reason: Option<Label>,
    },
    /// A request to the model failed and is sent again. Recorded for the first attempt, and when the class changes.
    Retrying {
        /// The number of the attempt, from 1.
        attempt: u32,
        /// The number of attempts after which the agent gives up, where it says it.
        attempts_max: Option<u32>,
        /// The delay before the attempt in milliseconds, where the agent says it.
        delay_ms: Option<u64>,
        /// The HTTP status of the failed request, where the agent says it.
        http_status: Option<u16>,
        /// The class of the failure.
        class: FailureClass,
    },
    /// The state of a limit has changed.
    RateLimited {
        /// Whether requests are refused.
        status: LimitStatus,
        /// [`FailureClass::RateLimit`], [`FailureClass::Overloaded`] or [`FailureClass::Billing`].
        class: FailureClass,
        /// The name of the limit, in the agent's words, such as `five_hour`.
        window: Option<Label>,
        /// The used part of the limit, in percent.
        used_percent: Option<u8>,
        /// When the limit is reset, in seconds since the epoch.
        resets_at: Option<i64>,
    },
    /// The agent reported an error that ends its run.
    Failed {
        /// The class of the failure.
        class: FailureClass,
        /// The HTTP status of the failed request, where the agent says it.
        http_status: Option<u16>,
    },
    /// The agent reported its result, or the run ended without one.
    Finished {
        /// The outcome.
        outcome: AgentOutcome,
        /// Why it failed; `None` after a success.
        class: Option<FailureClass>,
        /// Whether another run with the same arguments and settings would fail in the same way, for example because an argument is
        /// not valid.
        is_permanent: bool,
        /// The tokens of the run.
        usage: TokenUsage,
        /// The cost of the run in millionths of a US dollar, where the agent says it.
        cost_micros: Option<u64>,
        /// The number of turns of the run, as the agent counts them.
        turns: u32,
        /// The number of tool calls of the run.
        tool_calls: u32,
        /// The number of calls that were not permitted.
        denials: u32,
        /// The number of tasks in the background that still ran.
        background_tasks: u32,
        /// Whether the agent itself reported the result; false if its run ended without one.
        is_reported: bool,
    },
    /// The number of tasks in the background has changed.
    BackgroundChanged {
        /// The number of tasks that run.
        tasks: u32,
    },
    /// The agent shortened its conversation, to make room in the context window.
    Compacted,
    /// The agent has written nothing for longer than its phase allows.
    Stalled {
        /// What it did before.
        phase: AgentPhase,
        /// The name of the tool in progress.
        tool: Option<Label>,
        /// The time without output, in milliseconds.
        silent_ms: u64,
        /// What follows.
        reaction: Reaction,
    },
    /// The tokens of the turn in progress, as far as they are known. The end of the turn has the exact figures.
    UsageSoFar {
        /// The tokens since the last end of a turn.
        usage: TokenUsage,
    },
    /// A budget is used up. The agent is stopped, and not started again.
    BudgetSpent(BudgetBreach),
    /// The agent made the same tool call again and again.
    LoopDetected {
        /// The name of the tool, where a call of it is in progress.
        tool: Option<Label>,
        /// The number of calls in a row.
        calls: u32,
        /// What follows.
        reaction: Reaction,
    },
    /// A usage limit of another agent of the same account delays the start.
    AccountLimited {
        /// The name of the account in the settings.
        account: Label,
        /// When the limit is reset, in seconds since the epoch.
        resets_at: i64,
    },
    /// Lines of the run that were not used. Recorded once, at the end of the run.
    LinesSkipped(SkippedLines),
}

impl McpServer {
    fn labels_mut(&mut self) -> impl Iterator<Item = &mut Label> {
        std::iter::once(&mut self.name).chain(&mut self.status)
    }
}

impl ToolCall {
    fn labels_mut(&mut self) -> impl Iterator<Item = &mut Label> {
        [&mut self.call_id, &mut self.tool].into_iter().chain(&mut self.mcp_server).chain(&mut self.parent_call_id)
    }
}

impl AgentEvent {
    /// All names in the report that the agent printed.
    pub fn labels_mut(&mut self) -> Vec<&mut Label> {
        match self {
            Self::SessionChosen { session_id, .. } => session_id.iter_mut().collect(),
            Self::SessionStarted { session_id, model, agent_version, permission_mode, mcp_servers, .. } => {
                let facts = [model, agent_version, permission_mode].into_iter().flatten();
                let servers = mcp_servers.iter_mut().flat_map(McpServer::labels_mut);
                std::iter::once(session_id).chain(facts).chain(servers).collect()
            }
            Self::ToolStarted { call, .. } | Self::ToolEnded { call, .. } => call.labels_mut().collect(),
            Self::ToolsSummarized { tools, .. } => tools.iter_mut().map(|count| &mut count.tool).collect(),
            Self::PermissionDenied { tool, reason } => std::iter::once(tool).chain(reason).collect(),
            Self::RateLimited { window, .. } => window.iter_mut().collect(),
            Self::Stalled { tool, .. } | Self::LoopDetected { tool, .. } => tool.iter_mut().collect(),
            Self::AccountLimited { account, .. } => vec![account],
            Self::TurnEnded { .. }
            | Self::Retrying { .. }
            | Self::Failed { .. }
            | Self::Finished { .. }
            | Self::BackgroundChanged { .. }
            | Self::Compacted
            | Self::UsageSoFar { .. }
            | Self::BudgetSpent(_)
            | Self::LinesSkipped(_) => Vec::new(),
        }
    }

    /// The name of the report in `snake_case`, as used for `event` in JSON.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::SessionChosen { .. } => "session_chosen",
            Self::SessionStarted { .. } => "session_started",
            Self::TurnEnded { .. } => "turn_ended",
            Self::ToolStarted { .. } => "tool_started",
            Self::ToolEnded { .. } => "tool_ended",
            Self::ToolsSummarized { .. } => "tools_summarized",
            Self::PermissionDenied { .. } => "permission_denied",
            Self::Retrying { .. } => "retrying",
            Self::RateLimited { .. } => "rate_limited",
            Self::Failed { .. } => "failed",
            Self::Finished { .. } => "finished",
            Self::BackgroundChanged { .. } => "background_changed",
            Self::Compacted => "compacted",
            Self::Stalled { .. } => "stalled",
            Self::UsageSoFar { .. } => "usage_so_far",
            Self::BudgetSpent(_) => "budget_spent",
            Self::LoopDetected { .. } => "loop_detected",
            Self::AccountLimited { .. } => "account_limited",
            Self::LinesSkipped(_) => "lines_skipped",
        }
    }
}
