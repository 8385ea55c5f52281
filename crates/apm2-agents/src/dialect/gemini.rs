//! The lines of Gemini CLI (`gemini -p … --output-format stream-json`).

use std::borrow::Cow;

use apm2_model::event::agent::{
    class::FailureClass,
    event::{LimitStatus, ToolCall},
    label::Label,
    outcome::AgentOutcome,
    usage::TokenUsage,
};

use super::{Context, Line, Use, small};
use crate::{
    classify::{self, Failure},
    json::{self, Raw, object},
    names,
    tracker::{
        Retry, SessionFacts, Tracker, TurnEnd,
        limits::Limit,
        tools::{Call, CallEnd},
        totals::Figures,
    },
};

/// The window of the quota that ends a run at once. The agent does not say when it is reset.
const DAILY_WINDOW: &str = "daily";

/// The statuses of which the lowest byte is an exit code.
const EXIT_STATUSES: [u16; 10] = [400, 401, 403, 404, 408, 429, 500, 502, 503, 504];

object! {
    /// The members of all types of lines.
    Members<'a> {
        kind: Option<Cow<'a, str>> = "type",
        session_id: Option<Cow<'a, str>> = "session_id",
        model: Option<Cow<'a, str>> = "model",
        tool_name: Option<Cow<'a, str>> = "tool_name",
        tool_id: Option<Cow<'a, str>> = "tool_id",
        parameters: Option<Raw<'a>> = "parameters",
        status: Option<Cow<'a, str>> = "status",
        output: Option<Raw<'a>> = "output",
        error: Option<Raw<'a>> = "error",
        severity: Option<Cow<'a, str>> = "severity",
        message: Option<Raw<'a>> = "message",
        stats: Stats<'a> = "stats",
    }
}

object! {
    ErrorObject<'a> {
        kind: Option<Cow<'a, str>> = "type",
        message: Option<Raw<'a>> = "message",
    }
}

object! {
    Stats<'a> {
        total: Option<u64> = "total_tokens",
        input: Option<u64> = "input_tokens",
        output: Option<u64> = "output_tokens",
        cached: Option<u64> = "cached",
        duration_ms: Option<u64> = "duration_ms",
        tool_calls: Option<u64> = "tool_calls",
    }
}

/// The state of a run of Gemini CLI.
#[derive(Debug, Default)]
pub(crate) struct Gemini {
    /// A retry whose delay is in the next line of standard error.
    announced: Option<Retry>,
    /// The last HTTP status on standard error.
    http_status: Option<u16>,
}

impl Gemini {
    pub(crate) fn line(&mut self, tracker: &mut Tracker, line: Line<'_>) -> Use {
        let mut members = Members::default();
        if !json::read_object(line.text, &mut members) && !line.is_cut {
            return Use::Invalid;
        }
        self.announce(tracker, None);
        match members.kind.as_deref().unwrap_or_default() {
            "init" => {
                tracker.progress();
                let facts =
                    SessionFacts { model: names::optional(members.model.as_deref()), ..SessionFacts::default() };
                tracker.session(names::optional(members.session_id.as_deref()), facts);
            }
            "message" => tracker.progress(),
            "tool_use" => tool_use(tracker, &members, line.context),
            "tool_result" => tool_result(tracker, &members, line),
            "error" => error(tracker, &members),
            "result" => self.result(tracker, &members, line.context),
            _ => return Use::Unknown,
        }
        Use::Known
    }

    fn result(&mut self, tracker: &mut Tracker, members: &Members<'_>, context: Context) {
        let reported = tracker.reported();
        let is_success = members.status.as_deref() == Some("success");
        let (outcome, failure) = match reported {
            None if is_success => (AgentOutcome::Success, Failure::new(FailureClass::Unknown, None)),
            Some(failure) if is_success => (AgentOutcome::Failure, failure),
            _ => self.failure(tracker, members),
        };
        let stats = &members.stats;
        let end = TurnEnd {
            outcome,
            failure,
            figures: Figures { usage: tokens(stats), cost_micros: None },
            duration_ms: stats.duration_ms,
            agent_turns: 1,
            tool_calls: small(stats.tool_calls).unwrap_or(0),
        };
        tracker.turn_ended(end, context.now);
        self.http_status = None;
    }

    fn failure(&self, tracker: &mut Tracker, members: &Members<'_>) -> (AgentOutcome, Failure) {
        let error: ErrorObject<'_> = members.error.map(json::Lenient::read).unwrap_or_default();
        let text = json::error_text(error.message);
        let named = match error.kind.as_deref() {
            Some("FatalTurnLimitedError") => Some(Failure::new(FailureClass::Turns, None)),
            Some("FatalAuthenticationError") => Some(Failure::new(FailureClass::Auth, None)),
            Some("FatalToolExecutionError") => Some(Failure::new(FailureClass::Tool, None)),
            Some("FatalUntrustedWorkspaceError" | "FatalSandboxError") => {
                Some(Failure::permanent(FailureClass::Permission))
            }
            Some("FatalInputError" | "FatalConfigError") => Some(Failure::permanent(FailureClass::Unknown)),
            Some("FatalCancellationError") => {
                return (AgentOutcome::Aborted, Failure::new(FailureClass::Aborted, None));
            }
            _ => None,
        };
        if text.contains("daily quota") {
            tracker.limit(Limit {
                status: LimitStatus::Rejected,
                class: FailureClass::RateLimit,
                window: Label::new(DAILY_WINDOW),
                used_percent: None,
                resets_at: None,
            });
        }
        let failure = named.unwrap_or_else(|| {
            let http_status = classify::status_in(&text).or(self.http_status);
            Failure::new(class_of(http_status, &text), http_status)
        });
        (AgentOutcome::Failure, failure)
    }

    pub(crate) fn error_line(&mut self, tracker: &mut Tracker, text: &str) {
        if let Some(rest) = text.strip_prefix("Attempt ") {
            self.announce(tracker, None);
            self.attempt(tracker, rest);
            return;
        }
        self.announce(tracker, delay_in(text));
        let line = text.trim_start();
        if let Some(status) = line.strip_prefix("status: ").or_else(|| line.strip_prefix("code: ")) {
            self.http_status = classify::leading_status(status).or(self.http_status);
        } else if text.starts_with(' ') {
            // A line of a stack trace.
        } else if text.starts_with("Error when talking to Gemini API") {
            let http_status = classify::status_in(text);
            self.http_status = http_status;
            tracker.pending = Some(Failure::new(class_of(http_status, text), http_status));
        } else if let Some(failure) = startup_failure(text) {
            tracker.pending = Some(failure);
        }
    }

    /// `Attempt 3 failed with status 503. Retrying …`, or `Attempt 1 failed: …` with the delay in the next line.
    fn attempt(&mut self, tracker: &mut Tracker, rest: &str) {
        let Some((attempt, reason)) = rest.split_once(" failed") else { return };
        let Ok(attempt) = attempt.parse() else { return };
        let http_status = classify::status_in(&format!("failed{reason}"));
        let retry = Retry {
            attempt: Some(attempt),
            attempts_max: None,
            delay_ms: delay_in(reason),
            http_status,
            class: class_of(http_status, reason),
        };
        if reason.contains("Retrying") {
            tracker.retry(retry);
        } else {
            self.announced = Some(retry);
        }
    }

    /// Reports the retry that was announced, with the delay in this line.
    fn announce(&mut self, tracker: &mut Tracker, delay_ms: Option<u64>) {
        if let Some(retry) = self.announced.take() {
            tracker.retry(Retry { delay_ms: delay_ms.or(retry.delay_ms), ..retry });
        }
    }

    pub(crate) fn end(&mut self, tracker: &mut Tracker) {
        self.announce(tracker, None);
    }
}

fn error(tracker: &mut Tracker, members: &Members<'_>) {
    let text = json::error_text(members.message);
    let failure = if text.contains("Maximum session turns") {
        Failure::new(FailureClass::Turns, None)
    } else {
        Failure::of_text(&text)
    };
    // After a warning of a loop and after an error the agent does no more, though its result may be a success.
    if text.contains("Loop detected") || members.severity.as_deref() == Some("error") {
        tracker.failed(failure);
    }
}

/// The class of an error. A quota is a limit here, whatever the text says of billing: the same text stands for each quota.
fn class_of(http_status: Option<u16>, text: &str) -> FailureClass {
    if text.contains("CAPACITY_EXHAUSTED") || text.contains("No capacity available") {
        return FailureClass::Overloaded;
    }
    let is_quota = http_status == Some(429) || text.contains("quota") || text.contains("RESOURCE_EXHAUSTED");
    if is_quota { FailureClass::RateLimit } else { classify::class_of(http_status, text) }
}

fn tool_use(tracker: &mut Tracker, members: &Members<'_>, context: Context) {
    tracker.progress();
    let Some(call_id) = members.tool_id.as_deref().and_then(names::call_id) else { return };
    let tool = names::tool(members.tool_name.as_deref());
    let arguments = members.parameters.map(Raw::get).unwrap_or_default();
    let hash = names::hash_of(&[tool.as_str(), arguments]);
    let call = ToolCall { call_id, tool, mcp_server: None, parent_call_id: None };
    tracker.tool_started(Call { call, input_bytes: json::size_of(members.parameters), hash }, context.now);
}

fn tool_result(tracker: &mut Tracker, members: &Members<'_>, line: Line<'_>) {
    tracker.progress();
    let call_id = members.tool_id.as_deref().and_then(names::call_id);
    if line.is_cut {
        tracker.cut_tool_ended(call_id, line.text.len(), line.context.now);
        return;
    }
    let Some(call_id) = call_id else { return };
    let error: ErrorObject<'_> = members.error.map(json::Lenient::read).unwrap_or_default();
    if matches!(error.kind.as_deref(), Some("policy_violation" | "execution_denied")) {
        let tool = tracker.tools.tool_of(&call_id).cloned().unwrap_or_else(|| names::tool(None));
        tracker.denied(Some(call_id.clone()), tool, names::word(error.kind.as_deref()));
    }
    let end = CallEnd {
        call_id,
        tool: None,
        is_ok: members.status.as_deref() != Some("error"),
        exit_code: None,
        duration_ms: None,
        output_bytes: json::size_of(members.output.or(members.error)),
        hash: None,
    };
    tracker.tool_ended(end, line.context.now);
}

/// The tokens of a run. `input_tokens` includes the cached ones; the tokens of the reasoning are only in the total.
fn tokens(stats: &Stats<'_>) -> TokenUsage {
    let input = stats.input.unwrap_or(0);
    let output = stats.output.unwrap_or(0);
    let reasoning = stats.total.unwrap_or(0).saturating_sub(input.saturating_add(output));
    TokenUsage {
        input,
        output: output.saturating_add(reasoning),
        cache_read: stats.cached.unwrap_or(0),
        cache_creation: 0,
        reasoning,
    }
}

/// The milliseconds in `Retrying after 5594ms`.
fn delay_in(text: &str) -> Option<u64> {
    let (_, rest) = text.split_once("Retrying after ")?;
    rest.split_once("ms")?.0.parse().ok()
}

/// Lines on standard error with which the agent refuses to start.
fn startup_failure(text: &str) -> Option<Failure> {
    let has = |words: &str| text.contains(words);
    if has("Error resuming session") {
        Some(Failure::permanent(FailureClass::ResumeInvalid))
    } else if has("you must specify the GEMINI_API_KEY") || has("Please set an Auth method") {
        Some(Failure::permanent(FailureClass::Auth))
    } else if has("not running in a trusted directory") {
        Some(Failure::permanent(FailureClass::Permission))
    } else if text.starts_with("Invalid values:") || text.starts_with("Unknown argument") {
        Some(Failure::permanent(FailureClass::Unknown))
    } else {
        None
    }
}

/// The failure in an exit code: a code of the agent, or the lowest byte of the HTTP status.
pub(crate) fn exit_failure(code: i32) -> Option<Failure> {
    let status = EXIT_STATUSES.into_iter().find(|status| i32::from(status & 0xff) == code);
    Some(match code {
        41 => Failure::permanent(FailureClass::Auth),
        42 | 52 => Failure::permanent(FailureClass::Unknown),
        44 | 55 => Failure::permanent(FailureClass::Permission),
        53 => Failure::new(FailureClass::Turns, None),
        54 => Failure::new(FailureClass::Tool, None),
        _ => Failure::new(classify::class_of(Some(status?), ""), status),
    })
}
