//! Serialization format of the reports of agents, added in record version 4.

use apm2_model::{
    event::agent::{
        event::{AgentEvent, McpServer, SkippedLines, ToolCall, ToolCount},
        report::{AgentReport, OutputPosition},
    },
    spec::config::reaction::Reaction,
};
use serde::{Deserialize, Serialize};

use crate::record::{
    RecordError,
    agent_finding::{AgentEventV5, ReportV5},
    agent_words::{
        AgentKindV4, ClassV4, LimitStatusV4, OutcomeV4, PhaseV4, ReasonV4, UsageV4, label, labels, text, texts,
    },
};

#[derive(Serialize, Deserialize)]
pub(crate) struct ReportV4 {
    agent: AgentKindV4,
    generation: u64,
    offset: u64,
    event: AgentEventV4,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct McpServerV4 {
    name: String,
    status: Option<String>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct ToolCallV4 {
    call_id: String,
    tool: String,
    mcp_server: Option<String>,
    parent_call_id: Option<String>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct ToolCountV4 {
    tool: String,
    calls: u32,
    failed: u32,
}

#[derive(Serialize, Deserialize)]
pub(crate) enum AgentEventV4 {
    SessionChosen {
        session_id: Option<String>,
        is_resumed: bool,
        reason: ReasonV4,
    },
    SessionStarted {
        session_id: String,
        model: Option<String>,
        agent_version: Option<String>,
        permission_mode: Option<String>,
        is_resumed: bool,
        mcp_servers: Vec<McpServerV4>,
    },
    TurnEnded {
        turn: u32,
        usage: UsageV4,
        cost_micros: Option<u64>,
        duration_ms: Option<u64>,
        outcome: OutcomeV4,
    },
    ToolStarted {
        call: ToolCallV4,
        input_bytes: u64,
    },
    ToolEnded {
        call: ToolCallV4,
        is_ok: bool,
        exit_code: Option<i32>,
        duration_ms: Option<u64>,
        output_bytes: u64,
    },
    ToolsSummarized {
        tools: Vec<ToolCountV4>,
        period_ms: u64,
    },
    PermissionDenied {
        tool: String,
        reason: Option<String>,
    },
    Retrying {
        attempt: u32,
        attempts_max: Option<u32>,
        delay_ms: Option<u64>,
        http_status: Option<u16>,
        class: ClassV4,
    },
    RateLimited {
        status: LimitStatusV4,
        class: ClassV4,
        window: Option<String>,
        used_percent: Option<u8>,
        resets_at: Option<i64>,
    },
    Failed {
        class: ClassV4,
        http_status: Option<u16>,
    },
    Finished {
        outcome: OutcomeV4,
        class: Option<ClassV4>,
        is_permanent: bool,
        usage: UsageV4,
        cost_micros: Option<u64>,
        turns: u32,
        tool_calls: u32,
        denials: u32,
        background_tasks: u32,
        is_reported: bool,
    },
    BackgroundChanged {
        tasks: u32,
    },
    Compacted,
    Stalled {
        phase: PhaseV4,
        tool: Option<String>,
        silent_ms: u64,
    },
    LinesSkipped {
        unknown: u64,
        invalid: u64,
        cut: u64,
    },
}

impl From<&ToolCall> for ToolCallV4 {
    fn from(call: &ToolCall) -> Self {
        Self {
            call_id: text(&call.call_id),
            tool: text(&call.tool),
            mcp_server: texts(call.mcp_server.as_ref()),
            parent_call_id: texts(call.parent_call_id.as_ref()),
        }
    }
}

impl ToolCallV4 {
    pub(crate) fn into_call(self) -> Result<ToolCall, RecordError> {
        Ok(ToolCall {
            call_id: label(&self.call_id)?,
            tool: label(&self.tool)?,
            mcp_server: labels(self.mcp_server)?,
            parent_call_id: labels(self.parent_call_id)?,
        })
    }
}

impl ReportV4 {
    /// The record of a report, or that of version 5 for a report that version 4 cannot represent.
    pub(crate) fn or_later(report: &AgentReport) -> Result<Self, ReportV5> {
        let (agent, OutputPosition { generation, offset }) = (report.agent.into(), report.read_to);
        match AgentEventV4::or_later(&report.event) {
            Ok(event) => Ok(Self { agent, generation, offset, event }),
            Err(event) => Err(ReportV5::new(agent, report.read_to, event)),
        }
    }

    pub(crate) fn into_report(self) -> Result<AgentReport, RecordError> {
        let read_to = OutputPosition { generation: self.generation, offset: self.offset };
        Ok(AgentReport { agent: self.agent.into(), event: self.event.into_event()?, read_to })
    }
}

impl AgentEventV4 {
    /// The record of an event, or that of version 5 for an event that version 4 cannot represent.
    pub(crate) fn or_later(event: &AgentEvent) -> Result<Self, AgentEventV5> {
        use AgentEvent as E;
        Ok(match event {
            E::SessionChosen { session_id, is_resumed, reason } => {
                let (session_id, is_resumed) = (texts(session_id.as_ref()), *is_resumed);
                match ReasonV4::of(*reason) {
                    Some(reason) => Self::SessionChosen { session_id, is_resumed, reason },
                    None => return Err(AgentEventV5::SessionAfterBudget { session_id, is_resumed }),
                }
            }
            E::SessionStarted { session_id, model, agent_version, permission_mode, is_resumed, mcp_servers } => {
                let server = |server: &McpServer| McpServerV4 {
                    name: text(&server.name),
                    status: texts(server.status.as_ref()),
                };
                Self::SessionStarted {
                    session_id: text(session_id),
                    model: texts(model.as_ref()),
                    agent_version: texts(agent_version.as_ref()),
                    permission_mode: texts(permission_mode.as_ref()),
                    is_resumed: *is_resumed,
                    mcp_servers: mcp_servers.iter().map(server).collect(),
                }
            }
            E::TurnEnded { turn, usage, cost_micros, duration_ms, outcome } => Self::TurnEnded {
                turn: *turn,
                usage: (*usage).into(),
                cost_micros: *cost_micros,
                duration_ms: *duration_ms,
                outcome: (*outcome).into(),
            },
            E::ToolStarted { call, input_bytes } => Self::ToolStarted { call: call.into(), input_bytes: *input_bytes },
            E::ToolEnded { call, is_ok, exit_code, duration_ms, output_bytes } => Self::ToolEnded {
                call: call.into(),
                is_ok: *is_ok,
                exit_code: *exit_code,
                duration_ms: *duration_ms,
                output_bytes: *output_bytes,
            },
            E::ToolsSummarized { tools, period_ms } => {
                let count = |count: &ToolCount| ToolCountV4 {
                    tool: text(&count.tool),
                    calls: count.calls,
                    failed: count.failed,
                };
                Self::ToolsSummarized { tools: tools.iter().map(count).collect(), period_ms: *period_ms }
            }
            E::PermissionDenied { tool, reason } => {
                Self::PermissionDenied { tool: text(tool), reason: texts(reason.as_ref()) }
            }
            E::Retrying { attempt, attempts_max, delay_ms, http_status, class } => Self::Retrying {
                attempt: *attempt,
                attempts_max: *attempts_max,
                delay_ms: *delay_ms,
                http_status: *http_status,
                class: (*class).into(),
            },
            E::RateLimited { status, class, window, used_percent, resets_at } => Self::RateLimited {
                status: (*status).into(),
                class: (*class).into(),
                window: texts(window.as_ref()),
                used_percent: *used_percent,
                resets_at: *resets_at,
            },
            E::Failed { class, http_status } => Self::Failed { class: (*class).into(), http_status: *http_status },
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
                outcome: (*outcome).into(),
                class: class.map(Into::into),
                is_permanent: *is_permanent,
                usage: (*usage).into(),
                cost_micros: *cost_micros,
                turns: *turns,
                tool_calls: *tool_calls,
                denials: *denials,
                background_tasks: *background_tasks,
                is_reported: *is_reported,
            },
            E::BackgroundChanged { tasks } => Self::BackgroundChanged { tasks: *tasks },
            E::Compacted => Self::Compacted,
            E::Stalled { phase, tool, silent_ms, reaction } => {
                let (phase, tool, silent_ms) = ((*phase).into(), texts(tool.as_ref()), *silent_ms);
                if *reaction != Reaction::Record {
                    return Err(AgentEventV5::Stalled { phase, tool, silent_ms, reaction: (*reaction).into() });
                }
                Self::Stalled { phase, tool, silent_ms }
            }
            E::UsageSoFar { usage } => return Err(AgentEventV5::UsageSoFar { usage: (*usage).into() }),
            E::BudgetSpent(breach) => return Err(AgentEventV5::BudgetSpent((*breach).into())),
            E::LoopDetected { tool, calls, reaction } => {
                let (tool, reaction) = (texts(tool.as_ref()), (*reaction).into());
                return Err(AgentEventV5::LoopDetected { tool, calls: *calls, reaction });
            }
            E::AccountLimited { account, resets_at } => {
                return Err(AgentEventV5::AccountLimited { account: text(account), resets_at: *resets_at });
            }
            E::LinesSkipped(SkippedLines { unknown, invalid, cut }) => {
                Self::LinesSkipped { unknown: *unknown, invalid: *invalid, cut: *cut }
            }
        })
    }

    fn into_event(self) -> Result<AgentEvent, RecordError> {
        use AgentEvent as E;
        Ok(match self {
            Self::SessionChosen { session_id, is_resumed, reason } => {
                E::SessionChosen { session_id: labels(session_id)?, is_resumed, reason: reason.into() }
            }
            Self::SessionStarted { session_id, model, agent_version, permission_mode, is_resumed, mcp_servers } => {
                let server =
                    |server: McpServerV4| Ok(McpServer { name: label(&server.name)?, status: labels(server.status)? });
                E::SessionStarted {
                    session_id: label(&session_id)?,
                    model: labels(model)?,
                    agent_version: labels(agent_version)?,
                    permission_mode: labels(permission_mode)?,
                    is_resumed,
                    mcp_servers: mcp_servers.into_iter().map(server).collect::<Result<_, RecordError>>()?,
                }
            }
            Self::TurnEnded { turn, usage, cost_micros, duration_ms, outcome } => {
                E::TurnEnded { turn, usage: usage.into(), cost_micros, duration_ms, outcome: outcome.into() }
            }
            Self::ToolStarted { call, input_bytes } => E::ToolStarted { call: call.into_call()?, input_bytes },
            Self::ToolEnded { call, is_ok, exit_code, duration_ms, output_bytes } => {
                E::ToolEnded { call: call.into_call()?, is_ok, exit_code, duration_ms, output_bytes }
            }
            Self::ToolsSummarized { tools, period_ms } => {
                let count = |count: ToolCountV4| {
                    Ok(ToolCount { tool: label(&count.tool)?, calls: count.calls, failed: count.failed })
                };
                let tools = tools.into_iter().map(count).collect::<Result<_, RecordError>>()?;
                E::ToolsSummarized { tools, period_ms }
            }
            Self::PermissionDenied { tool, reason } => {
                E::PermissionDenied { tool: label(&tool)?, reason: labels(reason)? }
            }
            Self::Retrying { attempt, attempts_max, delay_ms, http_status, class } => {
                E::Retrying { attempt, attempts_max, delay_ms, http_status, class: class.into() }
            }
            Self::RateLimited { status, class, window, used_percent, resets_at } => E::RateLimited {
                status: status.into(),
                class: class.into(),
                window: labels(window)?,
                used_percent,
                resets_at,
            },
            Self::Failed { class, http_status } => E::Failed { class: class.into(), http_status },
            Self::Finished {
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
            } => E::Finished {
                outcome: outcome.into(),
                class: class.map(Into::into),
                is_permanent,
                usage: usage.into(),
                cost_micros,
                turns,
                tool_calls,
                denials,
                background_tasks,
                is_reported,
            },
            Self::BackgroundChanged { tasks } => E::BackgroundChanged { tasks },
            Self::Compacted => E::Compacted,
            Self::Stalled { phase, tool, silent_ms } => {
                E::Stalled { phase: phase.into(), tool: labels(tool)?, silent_ms, reaction: Reaction::Record }
            }
            Self::LinesSkipped { unknown, invalid, cut } => E::LinesSkipped(SkippedLines { unknown, invalid, cut }),
        })
    }
}
