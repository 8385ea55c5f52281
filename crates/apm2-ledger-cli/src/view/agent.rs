//! JSON view of a report of an agent. Field names follow the OpenTelemetry GenAI conventions where they have a word.

use apm2_model::event::agent::{
    breach::BudgetBreach,
    event::{AgentEvent, AgentPhase, LimitStatus, McpServer, ToolCall, ToolCount},
    finding::AgentFinding,
    label::Label,
    report::AgentReport,
    usage::TokenUsage,
};
use chrono::{DateTime, Utc};
use serde::Serialize;

/// A report of an agent: its kind, the name of the report, and its fields.
#[derive(Debug, Serialize)]
pub(crate) struct AgentView<'a> {
    agent: &'static str,
    event: &'static str,
    #[serde(flatten)]
    detail: AgentDetail<'a>,
}

impl<'a> AgentView<'a> {
    pub(crate) fn new(report: &'a AgentReport) -> Self {
        Self { agent: report.agent.name(), event: report.event.name(), detail: AgentDetail::new(&report.event) }
    }
}

/// Numbers of tokens. The input includes both caches.
#[derive(Debug, Serialize)]
pub(crate) struct UsageView {
    input_tokens: u64,
    output_tokens: u64,
    cache_read_tokens: u64,
    cache_creation_tokens: u64,
    reasoning_tokens: u64,
}

impl From<TokenUsage> for UsageView {
    fn from(usage: TokenUsage) -> Self {
        Self {
            input_tokens: usage.input,
            output_tokens: usage.output,
            cache_read_tokens: usage.cache_read,
            cache_creation_tokens: usage.cache_creation,
            reasoning_tokens: usage.reasoning,
        }
    }
}

#[derive(Debug, Serialize)]
struct McpServerView<'a> {
    name: &'a str,
    status: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct ToolCountView<'a> {
    tool: &'a str,
    calls: u32,
    failed: u32,
}

#[derive(Debug, Serialize)]
struct CallView<'a> {
    call_id: &'a str,
    tool: &'a str,
    mcp_server: Option<&'a str>,
    parent_call_id: Option<&'a str>,
}

impl<'a> From<&'a ToolCall> for CallView<'a> {
    fn from(call: &'a ToolCall) -> Self {
        Self {
            call_id: call.call_id.as_str(),
            tool: call.tool.as_str(),
            mcp_server: text(call.mcp_server.as_ref()),
            parent_call_id: text(call.parent_call_id.as_ref()),
        }
    }
}

/// The fields of each report.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum AgentDetail<'a> {
    Empty {},
    SessionChosen {
        session_id: Option<&'a str>,
        resumed: bool,
        session_reason: &'static str,
    },
    SessionStarted {
        session_id: &'a str,
        model: Option<&'a str>,
        agent_version: Option<&'a str>,
        permission_mode: Option<&'a str>,
        resumed: bool,
        mcp_servers: Vec<McpServerView<'a>>,
    },
    TurnEnded {
        turn: u32,
        #[serde(flatten)]
        usage: UsageView,
        cost_micros: Option<u64>,
        duration_ms: Option<u64>,
        outcome: &'static str,
    },
    ToolStarted {
        #[serde(flatten)]
        call: CallView<'a>,
        input_bytes: u64,
    },
    ToolEnded {
        #[serde(flatten)]
        call: CallView<'a>,
        ok: bool,
        exit_code: Option<i32>,
        duration_ms: Option<u64>,
        output_bytes: u64,
    },
    ToolsSummarized {
        tools: Vec<ToolCountView<'a>>,
        period_ms: u64,
    },
    PermissionDenied {
        tool: &'a str,
        permission_reason: Option<&'a str>,
    },
    Retrying {
        attempt: u32,
        attempts_max: Option<u32>,
        delay_ms: Option<u64>,
        http_status: Option<u16>,
        class: &'static str,
    },
    RateLimited {
        status: &'static str,
        class: &'static str,
        window: Option<&'a str>,
        used_percent: Option<u8>,
        #[serde(serialize_with = "crate::view::time_or_null")]
        resets_at: Option<DateTime<Utc>>,
    },
    Failed {
        class: &'static str,
        http_status: Option<u16>,
    },
    Finished {
        outcome: &'static str,
        class: Option<&'static str>,
        permanent: bool,
        #[serde(flatten)]
        usage: UsageView,
        cost_micros: Option<u64>,
        turns: u32,
        tool_calls: u32,
        denials: u32,
        background_tasks: u32,
        reported: bool,
    },
    BackgroundChanged {
        background_tasks: u32,
    },
    Stalled {
        phase: &'static str,
        tool: Option<&'a str>,
        silent_ms: u64,
        reaction: &'static str,
    },
    UsageSoFar(UsageView),
    BudgetSpent(BreachView),
    LoopDetected {
        tool: Option<&'a str>,
        calls: u32,
        reaction: &'static str,
    },
    AccountLimited {
        account: &'a str,
        #[serde(serialize_with = "crate::view::time_or_null")]
        resets_at: Option<DateTime<Utc>>,
    },
    LinesSkipped {
        unknown: u64,
        invalid: u64,
        cut: u64,
    },
}

/// A budget that is used up. The unit of both numbers is in the name of the budget.
#[derive(Debug, Serialize)]
pub(crate) struct BreachView {
    scope: &'static str,
    budget: &'static str,
    limit: u64,
    used: u64,
}

/// What was found of an agent that was stopped for good.
#[derive(Debug, Serialize)]
#[serde(tag = "finding", rename_all = "snake_case")]
pub(crate) enum FindingView {
    Budget(BreachView),
    Loop { calls: u32 },
    Silence { phase: &'static str, silent_ms: u64 },
}

impl From<BudgetBreach> for BreachView {
    fn from(breach: BudgetBreach) -> Self {
        let BudgetBreach { scope, kind, limit, used } = breach;
        Self { scope: scope.name(), budget: kind.name(), limit, used }
    }
}

impl From<AgentFinding> for FindingView {
    fn from(finding: AgentFinding) -> Self {
        match finding {
            AgentFinding::Budget(breach) => Self::Budget(breach.into()),
            AgentFinding::Loop { calls } => Self::Loop { calls },
            AgentFinding::Silence { phase, silent_ms } => Self::Silence { phase: phase_name(phase), silent_ms },
        }
    }
}

fn text(label: Option<&Label>) -> Option<&str> {
    label.map(Label::as_str)
}

/// The time `seconds` after the epoch; `None` for a number that no calendar date has.
pub(crate) fn reset_time(seconds: i64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(seconds, 0)
}

pub(crate) const fn status_name(status: LimitStatus) -> &'static str {
    match status {
        LimitStatus::Allowed => "allowed",
        LimitStatus::Warning => "warning",
        LimitStatus::Rejected => "rejected",
    }
}

pub(crate) const fn phase_name(phase: AgentPhase) -> &'static str {
    match phase {
        AgentPhase::Starting => "starting",
        AgentPhase::Model => "model",
        AgentPhase::Tool => "tool",
        AgentPhase::Finished => "finished",
    }
}

impl<'a> AgentDetail<'a> {
    fn new(event: &'a AgentEvent) -> Self {
        use AgentEvent as E;
        match event {
            E::Compacted => Self::Empty {},
            E::SessionChosen { session_id, is_resumed, reason } => Self::SessionChosen {
                session_id: text(session_id.as_ref()),
                resumed: *is_resumed,
                session_reason: reason.name(),
            },
            E::SessionStarted { session_id, model, agent_version, permission_mode, is_resumed, mcp_servers } => {
                let server = |server: &'a McpServer| McpServerView {
                    name: server.name.as_str(),
                    status: text(server.status.as_ref()),
                };
                Self::SessionStarted {
                    session_id: session_id.as_str(),
                    model: text(model.as_ref()),
                    agent_version: text(agent_version.as_ref()),
                    permission_mode: text(permission_mode.as_ref()),
                    resumed: *is_resumed,
                    mcp_servers: mcp_servers.iter().map(server).collect(),
                }
            }
            E::TurnEnded { turn, usage, cost_micros, duration_ms, outcome } => Self::TurnEnded {
                turn: *turn,
                usage: (*usage).into(),
                cost_micros: *cost_micros,
                duration_ms: *duration_ms,
                outcome: outcome.name(),
            },
            E::ToolStarted { call, input_bytes } => Self::ToolStarted { call: call.into(), input_bytes: *input_bytes },
            E::ToolEnded { call, is_ok, exit_code, duration_ms, output_bytes } => Self::ToolEnded {
                call: call.into(),
                ok: *is_ok,
                exit_code: *exit_code,
                duration_ms: *duration_ms,
                output_bytes: *output_bytes,
            },
            E::ToolsSummarized { tools, period_ms } => {
                let count = |count: &'a ToolCount| ToolCountView {
                    tool: count.tool.as_str(),
                    calls: count.calls,
                    failed: count.failed,
                };
                Self::ToolsSummarized { tools: tools.iter().map(count).collect(), period_ms: *period_ms }
            }
            E::PermissionDenied { tool, reason } => {
                Self::PermissionDenied { tool: tool.as_str(), permission_reason: text(reason.as_ref()) }
            }
            E::Retrying { attempt, attempts_max, delay_ms, http_status, class } => Self::Retrying {
                attempt: *attempt,
                attempts_max: *attempts_max,
                delay_ms: *delay_ms,
                http_status: *http_status,
                class: class.name(),
            },
            E::RateLimited { status, class, window, used_percent, resets_at } => Self::RateLimited {
                status: status_name(*status),
                class: class.name(),
                window: text(window.as_ref()),
                used_percent: *used_percent,
                resets_at: resets_at.and_then(reset_time),
            },
            E::Failed { class, http_status } => Self::Failed { class: class.name(), http_status: *http_status },
            E::Finished {
                outcome,
                class,
                is_permanent,
                usage,
                cost_micros,
                turns,
                tool_calls,
                denials,
                background_tasks,
                is_reported,
            } => Self::Finished {
                outcome: outcome.name(),
                class: class.map(|class| class.name()),
                permanent: *is_permanent,
                usage: (*usage).into(),
                cost_micros: *cost_micros,
                turns: *turns,
                tool_calls: *tool_calls,
                denials: *denials,
                background_tasks: *background_tasks,
                reported: *is_reported,
            },
            E::BackgroundChanged { tasks } => Self::BackgroundChanged { background_tasks: *tasks },
            E::Stalled { phase, tool, silent_ms, reaction } => Self::Stalled {
                phase: phase_name(*phase),
                tool: text(tool.as_ref()),
                silent_ms: *silent_ms,
                reaction: reaction.name(),
            },
            E::UsageSoFar { usage } => Self::UsageSoFar((*usage).into()),
            E::BudgetSpent(breach) => Self::BudgetSpent((*breach).into()),
            E::LoopDetected { tool, calls, reaction } => {
                Self::LoopDetected { tool: text(tool.as_ref()), calls: *calls, reaction: reaction.name() }
            }
            E::AccountLimited { account, resets_at } => {
                Self::AccountLimited { account: account.as_str(), resets_at: reset_time(*resets_at) }
            }
            E::LinesSkipped(lines) => {
                Self::LinesSkipped { unknown: lines.unknown, invalid: lines.invalid, cut: lines.cut }
            }
        }
    }
}
