//! The lines of Codex CLI (`codex exec --json`).

use std::borrow::Cow;

use apm2_model::event::agent::{
    class::FailureClass,
    event::{LimitStatus, ToolCall},
    outcome::AgentOutcome,
    usage::TokenUsage,
};

use super::{Context, Line, Use};
use crate::{
    classify::Failure,
    json::{self, Raw, object},
    names, reset,
    tracker::{
        Retry, SessionFacts, Tracker, TurnEnd,
        limits::Limit,
        tools::{Call, CallEnd},
        totals::Figures,
    },
};

/// How an error begins that does not end the turn: the request is sent again.
const RETRY_MARK: &str = "Reconnecting... ";

object! {
    /// The members of all types of lines.
    Members<'a> {
        kind: Option<Cow<'a, str>> = "type",
        thread_id: Option<Cow<'a, str>> = "thread_id",
        item: Option<Raw<'a>> = "item",
        usage: Usage<'a> = "usage",
        error: ErrorObject<'a> = "error",
        message: Option<Raw<'a>> = "message",
    }
}

object! {
    ErrorObject<'a> {
        message: Option<Raw<'a>> = "message",
    }
}

object! {
    Usage<'a> {
        input: Option<u64> = "input_tokens",
        cache_read: Option<u64> = "cached_input_tokens",
        cache_creation: Option<u64> = "cache_write_input_tokens",
        output: Option<u64> = "output_tokens",
        reasoning: Option<u64> = "reasoning_output_tokens",
    }
}

object! {
    Item<'a> {
        id: Option<Cow<'a, str>> = "id",
        kind: Option<Cow<'a, str>> = "type",
        status: Option<Cow<'a, str>> = "status",
        command: Option<Raw<'a>> = "command",
        output: Option<Raw<'a>> = "aggregated_output",
        exit_code: Option<i64> = "exit_code",
        changes: Option<Raw<'a>> = "changes",
        server: Option<Cow<'a, str>> = "server",
        tool: Option<Cow<'a, str>> = "tool",
        arguments: Option<Raw<'a>> = "arguments",
        result: Option<Raw<'a>> = "result",
        error: Option<Raw<'a>> = "error",
        query: Option<Raw<'a>> = "query",
        prompt: Option<Raw<'a>> = "prompt",
    }
}

/// Codex CLI needs no state beside the tracker.
#[derive(Debug)]
pub(crate) struct Codex;

pub(crate) fn line(tracker: &mut Tracker, line: Line<'_>) -> Use {
    let mut members = Members::default();
    if !json::read_object(line.text, &mut members) && !line.is_cut {
        return Use::Invalid;
    }
    let context = line.context;
    match members.kind.as_deref().unwrap_or_default() {
        "thread.started" => {
            tracker.progress();
            tracker.session(names::optional(members.thread_id.as_deref()), SessionFacts::default());
        }
        "turn.started" => tracker.progress(),
        "turn.completed" => turn_completed(tracker, &members.usage, context),
        "turn.failed" => {
            let text = json::error_text(members.error.message);
            turn_failed(tracker, &text, context);
        }
        "error" => error(tracker, &json::error_text(members.message)),
        kind @ ("item.started" | "item.updated" | "item.completed") => match members.item {
            Some(value) => return item(tracker, kind, &json::Lenient::read(value), context),
            None if line.is_cut => cut_item(tracker, kind, line),
            None => {}
        },
        _ => return Use::Unknown,
    }
    Use::Known
}

fn item(tracker: &mut Tracker, kind: &str, item: &Item<'_>, context: Context) -> Use {
    match item.kind.as_deref().unwrap_or_default() {
        // A warning is an item of type `error`; it ends nothing.
        "error" => return Use::Known,
        "agent_message" | "reasoning" | "todo_list" => {
            tracker.progress();
            return Use::Known;
        }
        "command_execution" | "file_change" | "mcp_tool_call" | "collab_tool_call" | "web_search" => {}
        _ => return Use::Unknown,
    }
    tracker.progress();
    let Some(call) = call(item) else { return Use::Known };
    let input = item.command.or(item.changes).or(item.arguments).or(item.query).or(item.prompt);
    let arguments = input.map(Raw::get).unwrap_or_default();
    let hash = names::hash_of(&[call.tool.as_str(), arguments]);
    match kind {
        "item.started" => {
            tracker.tool_started(Call { call, input_bytes: json::size_of(input), hash }, context.now);
        }
        "item.completed" => {
            let status = item.status.as_deref().unwrap_or_default();
            if status == "declined" {
                tracker.denied(Some(call.call_id.clone()), call.tool.clone(), names::word(Some(status)));
            }
            let exit_code = item.exit_code.and_then(|code| i32::try_from(code).ok());
            let end = CallEnd {
                call_id: call.call_id.clone(),
                tool: Some(call),
                is_ok: !matches!(status, "failed" | "declined") && exit_code.unwrap_or(0) == 0,
                exit_code,
                duration_ms: None,
                output_bytes: json::size_of(item.output.or(item.result)).saturating_add(json::size_of(item.error)),
                hash: Some(hash),
            };
            tracker.tool_ended(end, context.now);
        }
        _ => {}
    }
    Use::Known
}

/// The call of an item. Its tool is the type of the item; the tool of an MCP server has a name of its own.
fn call(item: &Item<'_>) -> Option<ToolCall> {
    let call_id = item.id.as_deref().and_then(names::call_id)?;
    let kind = item.kind.as_deref();
    let is_mcp = kind == Some("mcp_tool_call");
    Some(ToolCall {
        call_id,
        tool: names::tool(if is_mcp { item.tool.as_deref() } else { kind }),
        mcp_server: if is_mcp { names::word(item.server.as_deref()) } else { None },
        parent_call_id: None,
    })
}

/// The item of a line that is cut: the end of a call must not be lost.
fn cut_item(tracker: &mut Tracker, kind: &str, line: Line<'_>) {
    let call_id = json::scan_for(line.text, "\"id").and_then(names::call_id);
    let is_call = call_id.as_ref().is_none_or(|id| tracker.tools.tool_of(id).is_some());
    if kind == "item.completed" && is_call {
        tracker.cut_tool_ended(call_id, line.text.len(), line.context.now);
    }
}

fn turn_completed(tracker: &mut Tracker, usage: &Usage<'_>, context: Context) {
    let total = TokenUsage {
        input: usage.input.unwrap_or(0),
        output: usage.output.unwrap_or(0),
        cache_read: usage.cache_read.unwrap_or(0),
        cache_creation: usage.cache_creation.unwrap_or(0),
        reasoning: usage.reasoning.unwrap_or(0),
    };
    // The figures are those of the thread, also those of its earlier runs.
    let figures = tracker.totals.new_in_session(Figures { usage: total, cost_micros: None });
    tracker.progress();
    end_turn(tracker, AgentOutcome::Success, Failure::new(FailureClass::Unknown, None), figures, context);
}

fn turn_failed(tracker: &mut Tracker, text: &str, context: Context) {
    let failure = Failure::of_text(text);
    if is_interrupted(text) {
        let failure = Failure::new(FailureClass::Aborted, None);
        end_turn(tracker, AgentOutcome::Aborted, failure, Figures::default(), context);
        return;
    }
    if matches!(failure.class, FailureClass::RateLimit | FailureClass::Overloaded) {
        let resets_at = reset::from_text(text, &context.now, context.utc_offset_secs);
        if resets_at.is_some() {
            tracker.limit(Limit {
                status: LimitStatus::Rejected,
                class: failure.class,
                window: None,
                used_percent: None,
                resets_at,
            });
        }
    }
    end_turn(tracker, AgentOutcome::Failure, failure, Figures::default(), context);
}

fn is_interrupted(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    text.contains("interrupted") || text.contains("turn aborted")
}

fn end_turn(tracker: &mut Tracker, outcome: AgentOutcome, failure: Failure, figures: Figures, context: Context) {
    let end = TurnEnd { outcome, failure, figures, duration_ms: None, agent_turns: 1, tool_calls: 0 };
    tracker.turn_ended(end, context.now);
}

/// An error does not end a turn; `turn.failed` does.
fn error(tracker: &mut Tracker, text: &str) {
    let failure = Failure::of_text(text);
    let Some(rest) = text.strip_prefix(RETRY_MARK) else {
        tracker.pending = Some(failure);
        return;
    };
    let count = fraction(rest);
    tracker.retry(Retry {
        attempt: count.map(|(attempt, _)| attempt),
        attempts_max: count.map(|(_, attempts_max)| attempts_max),
        delay_ms: None,
        http_status: failure.http_status,
        class: failure.class,
    });
}

/// The two numbers at the beginning of `2/5 (…)`.
pub(super) fn fraction(text: &str) -> Option<(u32, u32)> {
    let (attempt, rest) = text.split_once('/')?;
    let end = rest.find(|character: char| !character.is_ascii_digit()).unwrap_or(rest.len());
    Some((attempt.parse().ok()?, rest.get(..end)?.parse().ok()?))
}

pub(crate) fn error_line(tracker: &mut Tracker, text: &str) {
    let has = |words: &str| text.contains(words);
    let failure = if has("no rollout found") || has("thread not found:") {
        Failure::permanent(FailureClass::ResumeInvalid)
    } else if has("Not inside a trusted directory") {
        Failure::permanent(FailureClass::Permission)
    } else if text.starts_with("error: ") || text.starts_with("Error loading config") {
        Failure::permanent(FailureClass::Unknown)
    } else if text.starts_with("Error: ") && has("thread/resume failed") {
        Failure::permanent(FailureClass::ResumeInvalid)
    } else if text.starts_with("Error: ") || text.starts_with("ERROR: ") {
        let failure = Failure::of_text(text);
        if failure.class == FailureClass::Unknown {
            return;
        }
        failure
    } else {
        return;
    };
    tracker.pending = Some(failure);
}

/// The class of an exit code without a result. The parser of arguments exits with 2.
pub(crate) const fn exit_failure(code: i32) -> Option<Failure> {
    if code == 2 { Some(Failure::permanent(FailureClass::Unknown)) } else { None }
}
