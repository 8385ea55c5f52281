//! The lines that any program can print to be read as an agent; `docs/agents.md` describes them.

use std::borrow::Cow;

use apm2_model::event::agent::{
    class::FailureClass,
    event::{AgentEvent, LimitStatus, MCP_SERVERS_MAX, McpServer, SUMMARY_TOOLS_MAX, ToolCall, ToolCount},
    outcome::AgentOutcome,
    usage::TokenUsage,
};

use super::{Context, Line, Use, small};
use crate::{
    classify::{self, Failure},
    json::{self, Raw, object},
    names, reset,
    tracker::{
        Retry, SessionFacts, Tracker,
        limits::Limit,
        tools::{Call, CallEnd},
        totals::Figures,
    },
};

/// The version of the lines.
const VERSION: u64 = 1;

object! {
    /// The members of all events.
    Members<'a> {
        version: Option<u64> = "apm2",
        event: Option<Cow<'a, str>> = "event",
        session_id: Option<Cow<'a, str>> = "session_id",
        model: Option<Cow<'a, str>> = "model",
        agent_version: Option<Cow<'a, str>> = "agent_version",
        permission_mode: Option<Cow<'a, str>> = "permission_mode",
        mcp_servers: Option<Raw<'a>> = "mcp_servers",
        input_tokens: Option<u64> = "input_tokens",
        output_tokens: Option<u64> = "output_tokens",
        cache_read_tokens: Option<u64> = "cache_read_tokens",
        cache_creation_tokens: Option<u64> = "cache_creation_tokens",
        reasoning_tokens: Option<u64> = "reasoning_tokens",
        cost_micros: Option<u64> = "cost_micros",
        duration_ms: Option<u64> = "duration_ms",
        outcome: Option<Cow<'a, str>> = "outcome",
        class: Option<Cow<'a, str>> = "class",
        permanent: Option<bool> = "permanent",
        http_status: Option<u64> = "http_status",
        call_id: Option<Cow<'a, str>> = "call_id",
        tool: Option<Cow<'a, str>> = "tool",
        mcp_server: Option<Cow<'a, str>> = "mcp_server",
        parent_call_id: Option<Cow<'a, str>> = "parent_call_id",
        ok: Option<bool> = "ok",
        exit_code: Option<i64> = "exit_code",
        input_bytes: Option<u64> = "input_bytes",
        output_bytes: Option<u64> = "output_bytes",
        tools: Option<Raw<'a>> = "tools",
        period_ms: Option<u64> = "period_ms",
        reason: Option<Cow<'a, str>> = "reason",
        attempt: Option<u64> = "attempt",
        attempts_max: Option<u64> = "attempts_max",
        delay_ms: Option<u64> = "delay_ms",
        status: Option<Cow<'a, str>> = "status",
        window: Option<Cow<'a, str>> = "window",
        used_percent: Option<u64> = "used_percent",
        resets_at: Option<Raw<'a>> = "resets_at",
        turns: Option<u64> = "turns",
        tool_calls: Option<u64> = "tool_calls",
        background_tasks: Option<u64> = "background_tasks",
    }
}

object! {
    Server<'a> {
        name: Option<Cow<'a, str>> = "name",
        status: Option<Cow<'a, str>> = "status",
    }
}

object! {
    Count<'a> {
        tool: Option<Cow<'a, str>> = "tool",
        calls: Option<u64> = "calls",
        failed: Option<u64> = "failed",
    }
}

pub(crate) fn line(tracker: &mut Tracker, line: Line<'_>) -> Use {
    let mut members = Members::default();
    if !json::read_object(line.text, &mut members) && !line.is_cut {
        return Use::Invalid;
    }
    if members.version != Some(VERSION) {
        return Use::Unknown;
    }
    let now = line.context.now;
    match members.event.as_deref().unwrap_or_default() {
        "session_started" => session_started(tracker, &members),
        "turn_ended" => turn_ended(tracker, &members),
        "tool_started" => tool_started(tracker, &members, line.context),
        "tool_ended" => tool_ended(tracker, &members, line.context),
        "tools_summarized" => tools_summarized(tracker, &members),
        "permission_denied" => {
            let call = members.call_id.as_deref().and_then(names::call_id);
            tracker.denied(call, names::tool(members.tool.as_deref()), names::word(members.reason.as_deref()));
        }
        "retrying" => tracker.retry(Retry {
            attempt: small(members.attempt),
            attempts_max: small(members.attempts_max),
            delay_ms: members.delay_ms,
            http_status: classify::http_status(members.http_status),
            class: failure(&members).class,
        }),
        "rate_limited" => rate_limited(tracker, &members),
        "failed" => tracker.failed(failure(&members)),
        "finished" => finished(tracker, &members, now),
        "background_changed" => {
            let before = tracker.background.count();
            tracker.background.report(small(members.background_tasks).unwrap_or(0));
            tracker.background_changed(before);
        }
        "compacted" => {
            tracker.progress();
            tracker.push(AgentEvent::Compacted);
        }
        _ => return Use::Unknown,
    }
    Use::Known
}

fn session_started(tracker: &mut Tracker, members: &Members<'_>) {
    tracker.progress();
    let mut mcp_servers = Vec::new();
    if let Some(servers) = members.mcp_servers {
        json::for_each(servers, |server: Server<'_>| {
            if let Some(name) = names::word(server.name.as_deref())
                && mcp_servers.len() < MCP_SERVERS_MAX
            {
                mcp_servers.push(McpServer { name, status: names::word(server.status.as_deref()) });
            }
        });
    }
    let facts = SessionFacts {
        model: names::optional(members.model.as_deref()),
        agent_version: names::optional(members.agent_version.as_deref()),
        permission_mode: names::word(members.permission_mode.as_deref()),
        mcp_servers,
    };
    tracker.session(names::optional(members.session_id.as_deref()), facts);
}

fn turn_ended(tracker: &mut Tracker, members: &Members<'_>) {
    tracker.progress();
    let (usage, cost_micros) = (tokens(members), members.cost_micros);
    let turn = tracker.totals.add_turn(Figures { usage, cost_micros }, 1);
    let duration_ms = members.duration_ms;
    let outcome = outcome(members);
    tracker.push(AgentEvent::TurnEnded { turn, usage, cost_micros, duration_ms, outcome });
}

fn tool_started(tracker: &mut Tracker, members: &Members<'_>, context: Context) {
    tracker.progress();
    let Some(call) = call(members) else { return };
    // The arguments are not in the line, so their size stands for them.
    let input_bytes = members.input_bytes.unwrap_or(0);
    let hash = names::hash_of(&[call.tool.as_str(), &input_bytes.to_string()]);
    tracker.tool_started(Call { call, input_bytes, hash }, context.now);
}

fn tool_ended(tracker: &mut Tracker, members: &Members<'_>, context: Context) {
    tracker.progress();
    let Some(call) = call(members) else { return };
    let end = CallEnd {
        call_id: call.call_id.clone(),
        tool: Some(call),
        is_ok: members.ok != Some(false),
        exit_code: members.exit_code.and_then(|code| i32::try_from(code).ok()),
        duration_ms: members.duration_ms,
        output_bytes: members.output_bytes.unwrap_or(0),
        hash: None,
    };
    tracker.tool_ended(end, context.now);
}

fn tools_summarized(tracker: &mut Tracker, members: &Members<'_>) {
    tracker.progress();
    let mut tools = Vec::new();
    if let Some(counts) = members.tools {
        json::for_each(counts, |count: Count<'_>| {
            let (calls, failed) = (small(count.calls).unwrap_or(0), small(count.failed).unwrap_or(0));
            if calls > 0 && tools.len() < SUMMARY_TOOLS_MAX {
                tools.push(ToolCount { tool: names::tool(count.tool.as_deref()), calls, failed: failed.min(calls) });
            }
        });
    }
    let calls = tools.iter().fold(0_u32, |sum, count| sum.saturating_add(count.calls));
    if calls > 0 {
        tracker.tools.add(calls);
        tracker.push(AgentEvent::ToolsSummarized { tools, period_ms: members.period_ms.unwrap_or(0) });
    }
}

fn rate_limited(tracker: &mut Tracker, members: &Members<'_>) {
    let status = match members.status.as_deref() {
        Some("allowed") => LimitStatus::Allowed,
        Some("warning") => LimitStatus::Warning,
        Some("rejected") => LimitStatus::Rejected,
        _ => return,
    };
    let class = match class(members) {
        Some(class @ (FailureClass::Overloaded | FailureClass::Billing)) => class,
        _ => FailureClass::RateLimit,
    };
    let used_percent = members.used_percent.and_then(|percent| u8::try_from(percent.min(100)).ok());
    let resets_at = members
        .resets_at
        .and_then(|time| reset::from_rfc3339(&json::error_text(Some(time))).or_else(|| json::Lenient::read(time)));
    tracker.limit(Limit { status, class, window: names::word(members.window.as_deref()), used_percent, resets_at });
}

fn finished(tracker: &mut Tracker, members: &Members<'_>, now: apm2_model::event::timestamp::Timestamp) {
    let outcome = outcome(members);
    let failure = match outcome {
        AgentOutcome::Aborted => Failure::new(FailureClass::Aborted, None),
        AgentOutcome::Success | AgentOutcome::Failure => Failure {
            is_permanent: members.permanent.unwrap_or_else(|| failure(members).is_permanent),
            ..tracker.reported().filter(|_| class(members).is_none()).unwrap_or_else(|| failure(members))
        },
    };
    if tracker.totals.usage == TokenUsage::default() {
        tracker.totals.usage = tokens(members);
    }
    tracker.totals.cost_micros = tracker.totals.cost_micros.or(members.cost_micros);
    tracker.totals.agent_turns = tracker.totals.agent_turns.max(small(members.turns).unwrap_or(0));
    tracker.tools.close(small(members.tool_calls).unwrap_or(0));
    if let Some(tasks) = small(members.background_tasks) {
        tracker.background.report(tasks);
    }
    tracker.finish(outcome, failure, true, now);
}

fn call(members: &Members<'_>) -> Option<ToolCall> {
    Some(ToolCall {
        call_id: members.call_id.as_deref().and_then(names::call_id)?,
        tool: names::tool(members.tool.as_deref()),
        mcp_server: names::word(members.mcp_server.as_deref()),
        parent_call_id: members.parent_call_id.as_deref().and_then(names::call_id),
    })
}

fn tokens(members: &Members<'_>) -> TokenUsage {
    TokenUsage {
        input: members.input_tokens.unwrap_or(0),
        output: members.output_tokens.unwrap_or(0),
        cache_read: members.cache_read_tokens.unwrap_or(0),
        cache_creation: members.cache_creation_tokens.unwrap_or(0),
        reasoning: members.reasoning_tokens.unwrap_or(0),
    }
}

/// The outcome; a line without a known one is a failure.
fn outcome(members: &Members<'_>) -> AgentOutcome {
    match members.outcome.as_deref() {
        Some("success") => AgentOutcome::Success,
        Some("aborted") => AgentOutcome::Aborted,
        _ => AgentOutcome::Failure,
    }
}

fn class(members: &Members<'_>) -> Option<FailureClass> {
    let name = members.class.as_deref()?;
    FailureClass::ALL.into_iter().find(|class| class.name() == name)
}

fn failure(members: &Members<'_>) -> Failure {
    let http_status = classify::http_status(members.http_status);
    let class = class(members).or_else(|| http_status.and_then(classify::of_status)).unwrap_or(FailureClass::Unknown);
    Failure::new(class, http_status)
}
