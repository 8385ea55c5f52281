//! The lines of OpenCode (`opencode run --format json`).
//!
//! A tool has one line, at its end. There is no line for the result: the last step of the model ends the turn, unless its reason is a
//! call of tools.

use std::borrow::Cow;

use apm2_model::event::agent::{
    class::FailureClass,
    event::{LimitStatus, ToolCall},
    outcome::AgentOutcome,
    usage::TokenUsage,
};

use super::{Context, Line, Use};
use crate::{
    classify::{self, Failure},
    json::{self, Raw, object},
    money, names, reset,
    tracker::{SessionFacts, Tracker, TurnEnd, limits::Limit, tools::CallEnd, totals::Figures},
};

object! {
    /// The members of all types of lines.
    Members<'a> {
        kind: Option<Cow<'a, str>> = "type",
        session_id: Option<Cow<'a, str>> = "sessionID",
        part: Option<Raw<'a>> = "part",
        error: Option<Raw<'a>> = "error",
    }
}

object! {
    Part<'a> {
        tool: Option<Cow<'a, str>> = "tool",
        call_id: Option<Cow<'a, str>> = "callID",
        state: ToolState<'a> = "state",
        reason: Option<Cow<'a, str>> = "reason",
        tokens: Tokens<'a> = "tokens",
        cost: Option<f64> = "cost",
    }
}

object! {
    ToolState<'a> {
        status: Option<Cow<'a, str>> = "status",
        input: Option<Raw<'a>> = "input",
        output: Option<Raw<'a>> = "output",
        error: Option<Raw<'a>> = "error",
        metadata: ToolMetadata<'a> = "metadata",
        time: Period<'a> = "time",
    }
}

object! {
    ToolMetadata<'a> {
        exit: Option<i64> = "exit",
    }
}

object! {
    /// Milliseconds since the epoch.
    Period<'a> {
        start: Option<u64> = "start",
        end: Option<u64> = "end",
    }
}

object! {
    Tokens<'a> {
        input: Option<u64> = "input",
        output: Option<u64> = "output",
        reasoning: Option<u64> = "reasoning",
        cache: CacheTokens<'a> = "cache",
    }
}

object! {
    CacheTokens<'a> {
        read: Option<u64> = "read",
        write: Option<u64> = "write",
    }
}

object! {
    ErrorObject<'a> {
        name: Option<Cow<'a, str>> = "name",
        data: ErrorData<'a> = "data",
    }
}

object! {
    ErrorData<'a> {
        message: Option<Raw<'a>> = "message",
        status_code: Option<u64> = "statusCode",
        body: Option<Raw<'a>> = "responseBody",
    }
}

/// The state of a run of OpenCode.
#[derive(Debug, Default)]
pub(crate) struct OpenCode {
    /// The cost of the steps of the turn.
    cost_micros: Option<u64>,
    /// The number of steps, to tell them apart.
    steps: u64,
}

impl OpenCode {
    pub(crate) fn line(&mut self, tracker: &mut Tracker, line: Line<'_>) -> Use {
        let mut members = Members::default();
        if !json::read_object(line.text, &mut members) && !line.is_cut {
            return Use::Invalid;
        }
        let kind = members.kind.as_deref().unwrap_or_default();
        if !matches!(kind, "step_start" | "step_finish" | "text" | "reasoning" | "tool_use" | "error") {
            return Use::Unknown;
        }
        tracker.session(names::optional(members.session_id.as_deref()), SessionFacts::default());
        match kind {
            "error" => {
                self.error(tracker, &members, line.context);
                return Use::Known;
            }
            "step_start" | "text" | "reasoning" => tracker.progress(),
            _ => {
                tracker.progress();
                let part: Part<'_> = members.part.map(json::Lenient::read).unwrap_or_default();
                if kind == "tool_use" {
                    tool_use(tracker, &part, line);
                } else {
                    self.step_finish(tracker, &part, line.context);
                }
            }
        }
        Use::Known
    }

    fn step_finish(&mut self, tracker: &mut Tracker, part: &Part<'_>, context: Context) {
        self.steps += 1;
        tracker.messages.see(self.steps, tokens(&part.tokens));
        if let Some(micros) = money::micros(part.cost) {
            self.cost_micros = Some(self.cost_micros.unwrap_or(0).saturating_add(micros));
        }
        match part.reason.as_deref() {
            Some("tool-calls" | "tool_calls" | "unknown") | None => {}
            Some("stop" | "end_turn") => {
                self.end_turn(tracker, AgentOutcome::Success, Failure::new(FailureClass::Unknown, None), context);
            }
            Some("error") => {
                self.end_turn(tracker, AgentOutcome::Failure, Failure::new(FailureClass::Server, None), context);
            }
            // The answer was cut: `length`, `content-filter`.
            Some(_) => {
                self.end_turn(tracker, AgentOutcome::Failure, Failure::new(FailureClass::Unknown, None), context);
            }
        }
    }

    fn error(&mut self, tracker: &mut Tracker, members: &Members<'_>, context: Context) {
        let error: ErrorObject<'_> = members.error.map(json::Lenient::read).unwrap_or_default();
        if error.name.as_deref() == Some("MessageAbortedError") {
            let failure = Failure::new(FailureClass::Aborted, None);
            self.end_turn(tracker, AgentOutcome::Aborted, failure, context);
            return;
        }
        let message = json::error_text(error.data.message);
        let http_status = classify::http_status(error.data.status_code).or_else(|| classify::status_in(&message));
        let class = match error.name.as_deref() {
            Some("ProviderAuthError") => FailureClass::Auth,
            Some("ContextOverflowError") => FailureClass::Context,
            Some("ProviderModelNotFoundError") => FailureClass::Model,
            _ => {
                // The code in the body is more exact than the status.
                let text = format!("{message} {}", json::error_text(error.data.body));
                classify::class_of(http_status, &text)
            }
        };
        if matches!(class, FailureClass::RateLimit | FailureClass::Overloaded) {
            let resets_at = reset::from_text(&message, &context.now, context.utc_offset_secs);
            if resets_at.is_some() {
                let status = LimitStatus::Rejected;
                tracker.limit(Limit { status, class, window: None, used_percent: None, resets_at });
            }
        }
        self.end_turn(tracker, AgentOutcome::Failure, Failure::new(class, http_status), context);
    }

    fn end_turn(&mut self, tracker: &mut Tracker, outcome: AgentOutcome, failure: Failure, context: Context) {
        let figures = Figures { usage: TokenUsage::default(), cost_micros: self.cost_micros.take() };
        let end = TurnEnd { outcome, failure, figures, duration_ms: None, agent_turns: 1, tool_calls: 0 };
        tracker.turn_ended(end, context.now);
    }

    /// The steps of a turn without an end have a cost too.
    pub(crate) fn end(&mut self, tracker: &mut Tracker) {
        if let Some(micros) = self.cost_micros.take() {
            tracker.totals.add_cost(micros);
        }
    }
}

fn tool_use(tracker: &mut Tracker, part: &Part<'_>, line: Line<'_>) {
    let id = part.call_id.as_deref().or_else(|| if line.is_cut { json::scan_for(line.text, "\"callID") } else { None });
    let Some(call_id) = id.and_then(names::call_id) else { return };
    let state = &part.state;
    // The title of the part is the command; only the name of the tool is taken.
    let tool = names::tool(part.tool.as_deref());
    if is_denied(state.error) {
        tracker.denied(Some(call_id.clone()), tool.clone(), None);
    }
    let arguments = state.input.map(Raw::get).unwrap_or_default();
    let hash = names::hash_of(&[tool.as_str(), arguments]);
    let exit_code = state.metadata.exit.and_then(|code| i32::try_from(code).ok());
    let read_bytes = u64::try_from(line.text.len()).unwrap_or(u64::MAX);
    let end = CallEnd {
        call_id: call_id.clone(),
        tool: Some(ToolCall { call_id, tool, mcp_server: None, parent_call_id: None }),
        is_ok: state.status.as_deref() != Some("error") && exit_code.unwrap_or(0) == 0,
        exit_code,
        duration_ms: state.time.end.zip(state.time.start).and_then(|(end, start)| end.checked_sub(start)),
        output_bytes: if line.is_cut { read_bytes } else { json::size_of(state.output.or(state.error)) },
        hash: Some(hash),
    };
    tracker.tool_ended(end, line.context.now);
}

fn is_denied(error: Option<Raw<'_>>) -> bool {
    let text = json::error_text(error);
    text.contains("rejected permission") || text.contains("rule which prevents you from using")
}

/// The tokens of a step. The input is without both caches, the output without the reasoning.
fn tokens(tokens: &Tokens<'_>) -> TokenUsage {
    let cache_read = tokens.cache.read.unwrap_or(0);
    let cache_creation = tokens.cache.write.unwrap_or(0);
    let reasoning = tokens.reasoning.unwrap_or(0);
    TokenUsage {
        input: tokens.input.unwrap_or(0).saturating_add(cache_read).saturating_add(cache_creation),
        output: tokens.output.unwrap_or(0).saturating_add(reasoning),
        cache_read,
        cache_creation,
        reasoning,
    }
}

pub(crate) fn error_line(tracker: &mut Tracker, text: &str) {
    let has = |words: &str| text.contains(words);
    if has("Session not found") {
        tracker.pending = Some(Failure::permanent(FailureClass::ResumeInvalid));
    } else if has("ProviderModelNotFoundError") || has("Model not found:") {
        tracker.pending = Some(Failure::new(FailureClass::Model, None));
    }
}
