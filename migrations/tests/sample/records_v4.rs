//! Events that need record version 4, in the order of their golden bytes. The list is frozen like the golden bytes.

use std::time::Duration;

use apm2_core::process::{
    Actor, Event, EventKind, ProcessId, ProcessSpec, RedactedSpec, RestartRule, StreamId, Timestamp,
};
use apm2_model::{
    event::agent::{
        class::FailureClass,
        event::{AgentEvent, AgentPhase, LimitStatus, McpServer, SessionReason, SkippedLines, ToolCall, ToolCount},
        label::Label,
        outcome::AgentOutcome,
        report::{AgentReport, OutputPosition},
        usage::TokenUsage,
    },
    spec::{
        agent_kind::AgentKind,
        config::{
            agent::{AgentChoice, AgentConfig, OnContextFull},
            reaction::Reaction,
        },
    },
};
use uuid::Uuid;

const STAMP: Timestamp =
    Timestamp { wall_ns: 1_767_225_600_000_000_000, boot_ns: 7, boot_id: Uuid::from_u128(0xb007_0000_0004) };

/// One event of each kind, and one report of each kind.
pub(crate) fn events() -> Vec<Event> {
    let stream = StreamId { process_id: ProcessId::from_bytes([0x55; 16]), instance: 0 };
    let event = |(version, kind): (u64, EventKind)| Event {
        seq: version * 100,
        version,
        stream,
        run: 3,
        actor: Actor::Policy,
        reason: None,
        cause: Some(1),
        stamp: STAMP,
        kind,
    };
    (1..).zip(kinds(stream.process_id)).map(event).collect()
}

fn kinds(id: ProcessId) -> Vec<EventKind> {
    let spec =
        |agent| RedactedSpec::new(&ProcessSpec::builder().id(id).name("n").command("claude").agent(agent).build());
    let all = AgentConfig {
        kind: AgentChoice::Kind(AgentKind::OpenCode),
        first_args: vec!["--session-id".to_owned(), "{session}".to_owned()],
        resume_args: vec!["--resume".to_owned(), "{session}".to_owned()],
        on_context_full: OnContextFull::Stop,
        limit_wait_max: Duration::from_secs(3600),
        ..AgentConfig::default()
    };
    let refused = |class| EventKind::RestartRefused { rule: RestartRule::AgentFailed { class } };
    let mut kinds =
        vec![EventKind::Registered { spec: spec(AgentConfig::default()) }, EventKind::SpecChanged { spec: spec(all) }];
    kinds.extend(FailureClass::ALL.map(refused));
    let agents = AgentKind::ALL.into_iter().cycle();
    kinds.extend(agents.zip(reports()).map(|(agent, event)| {
        let read_to = OutputPosition { generation: 2, offset: 70_000 };
        EventKind::Agent { report: Box::new(AgentReport { agent, event, read_to }) }
    }));
    kinds
}

fn label(text: &str) -> Label {
    Label::new(text).unwrap()
}

fn reports() -> Vec<AgentEvent> {
    let usage = TokenUsage { input: 3000, output: 84, cache_read: 2000, cache_creation: 500, reasoning: 7 };
    let call = ToolCall {
        call_id: label("toolu_1"),
        tool: label("edit"),
        mcp_server: Some(label("files")),
        parent_call_id: Some(label("toolu_0")),
    };
    let own = ToolCall { mcp_server: None, parent_call_id: None, ..call.clone() };
    let chosen = |(reason, id): (SessionReason, Option<&str>)| AgentEvent::SessionChosen {
        session_id: id.map(label),
        is_resumed: reason == SessionReason::Resume,
        reason,
    };
    let mut reports: Vec<AgentEvent> = [
        (SessionReason::First, None),
        (SessionReason::Resume, Some("s-1")),
        (SessionReason::NotConfigured, None),
        (SessionReason::ContextFull, Some("s-2")),
        (SessionReason::ResumeInvalid, Some("s-3")),
        (SessionReason::QuickFailures, Some("s-4")),
    ]
    .map(chosen)
    .into();
    reports.extend([
        AgentEvent::SessionStarted {
            session_id: label("s-1"),
            model: Some(label("model-5")),
            agent_version: Some(label("2.1.332")),
            permission_mode: Some(label("default")),
            is_resumed: true,
            mcp_servers: vec![
                McpServer { name: label("files"), status: Some(label("connected")) },
                McpServer { name: label("web"), status: None },
            ],
        },
        AgentEvent::TurnEnded {
            turn: 1,
            usage,
            cost_micros: Some(11_800),
            duration_ms: Some(950),
            outcome: AgentOutcome::Success,
        },
        AgentEvent::ToolStarted { call: call.clone(), input_bytes: 120 },
        AgentEvent::ToolEnded { call, is_ok: false, exit_code: Some(2), duration_ms: Some(40), output_bytes: 9 },
        AgentEvent::ToolEnded { call: own, is_ok: true, exit_code: None, duration_ms: None, output_bytes: 0 },
        AgentEvent::ToolsSummarized {
            tools: vec![ToolCount { tool: label("read"), calls: 70, failed: 1 }],
            period_ms: 60_000,
        },
        AgentEvent::PermissionDenied { tool: label("bash"), reason: Some(label("mode")) },
        AgentEvent::Retrying {
            attempt: 2,
            attempts_max: Some(10),
            delay_ms: Some(1200),
            http_status: Some(529),
            class: FailureClass::Overloaded,
        },
    ]);
    reports.extend([LimitStatus::Allowed, LimitStatus::Warning, LimitStatus::Rejected].map(|status| {
        AgentEvent::RateLimited {
            status,
            class: FailureClass::RateLimit,
            window: Some(label("five_hour")),
            used_percent: Some(91),
            resets_at: Some(1_767_243_600),
        }
    }));
    reports.extend([
        AgentEvent::Failed { class: FailureClass::RateLimit, http_status: Some(429) },
        AgentEvent::Finished {
            outcome: AgentOutcome::Failure,
            class: Some(FailureClass::RateLimit),
            is_permanent: false,
            usage,
            cost_micros: Some(11_800),
            turns: 3,
            tool_calls: 2,
            denials: 1,
            background_tasks: 1,
            is_reported: true,
        },
        AgentEvent::Finished {
            outcome: AgentOutcome::Aborted,
            class: None,
            is_permanent: true,
            usage: TokenUsage::default(),
            cost_micros: None,
            turns: 0,
            tool_calls: 0,
            denials: 0,
            background_tasks: 0,
            is_reported: false,
        },
        AgentEvent::BackgroundChanged { tasks: 1 },
        AgentEvent::Compacted,
    ]);
    reports.extend([AgentPhase::Starting, AgentPhase::Model, AgentPhase::Tool, AgentPhase::Finished].map(|phase| {
        let tool = (phase == AgentPhase::Tool).then(|| label("bash"));
        AgentEvent::Stalled { phase, tool, silent_ms: 600_000, reaction: Reaction::Record }
    }));
    reports.push(AgentEvent::LinesSkipped(SkippedLines { unknown: 3, invalid: 2, cut: 1 }));
    reports
}
