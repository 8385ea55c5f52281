//! Human-readable output for the reports of agents.

use std::time::Duration;

use apm2_model::{
    event::agent::{
        class::FailureClass,
        event::{AgentEvent, AgentPhase, LimitStatus, SessionReason, ToolCall},
        finding::AgentFinding,
        label::Label,
        report::AgentReport,
        usage::TokenUsage,
    },
    spec::config::reaction::Reaction,
    state::agent::AgentState,
};

use crate::{
    render::{words, zone::Zone},
    view::agent::reset_time,
};

/// Millionths of a US dollar in a cent.
const MICROS_OF_CENT: u64 = 10_000;

/// One line about the report.
pub(crate) fn details(report: &AgentReport, zone: Zone) -> String {
    format!("{}: {}", report.agent, of_event(&report.event, zone))
}

fn of_event(event: &AgentEvent, zone: Zone) -> String {
    use AgentEvent as E;
    match event {
        E::SessionChosen { session_id, is_resumed, reason } => {
            let what = match (session_id, is_resumed) {
                (Some(id), true) => format!("to resume session {id}"),
                (Some(id), false) => format!("new session {id}"),
                (None, _) => "new session".to_owned(),
            };
            format!("{what}{}", session_reason(*reason))
        }
        E::SessionStarted { session_id, model, is_resumed, .. } => {
            let verb = if *is_resumed { "resumed" } else { "started" };
            let model = model.as_ref().map(|model| format!(", model {model}"));
            format!("session {session_id} {verb}{}", model.unwrap_or_default())
        }
        E::TurnEnded { turn, usage, cost_micros, outcome, .. } => {
            format!("turn {turn} ended: {}, {}", outcome.name(), spent(*usage, *cost_micros))
        }
        E::ToolStarted { call, .. } => format!("tool {} started", tool(call)),
        E::ToolEnded { call, is_ok, exit_code, duration_ms, .. } => {
            let result = if *is_ok { "ended" } else { "failed" };
            let code = exit_code.filter(|code| *code != 0).map(|code| format!(" with exit code {code}"));
            let after = duration_ms.map(|ms| format!(" after {}", millis(ms)));
            format!("tool {} {result}{}{}", tool(call), code.unwrap_or_default(), after.unwrap_or_default())
        }
        E::ToolsSummarized { tools, period_ms } => {
            let each = tools.iter().map(|count| match count.failed {
                0 => format!("{} {}", count.calls, count.tool),
                failed => format!("{} {} ({failed} failed)", count.calls, count.tool),
            });
            format!("tool calls in {}: {}", millis(*period_ms), each.collect::<Vec<_>>().join(", "))
        }
        E::PermissionDenied { tool, reason } => {
            format!("tool {tool} was not permitted{}", in_brackets(reason.as_ref()))
        }
        E::Retrying { attempt, attempts_max, delay_ms, http_status, class } => {
            let of = attempts_max.map(|max| format!(" of {max}"));
            let delay = delay_ms.map(|ms| format!(", in {}", millis(ms)));
            format!(
                "request failed ({}), attempt {attempt}{}{}",
                class_words(class.name(), *http_status),
                of.unwrap_or_default(),
                delay.unwrap_or_default()
            )
        }
        E::RateLimited { status, class, window, used_percent, resets_at } => {
            let state = match status {
                LimitStatus::Allowed => "requests are accepted",
                LimitStatus::Warning => "the limit is near",
                LimitStatus::Rejected => "requests are refused",
            };
            let used = used_percent.map(|percent| format!(", {percent}% used"));
            let reset = resets_at.and_then(reset_time).map(|at| format!(", resets at {}", zone.time(at)));
            format!(
                "{}{}: {state}{}{}",
                class.name(),
                in_brackets(window.as_ref()),
                used.unwrap_or_default(),
                reset.unwrap_or_default()
            )
        }
        E::Failed { class, http_status } => format!("failed: {}", class_words(class.name(), *http_status)),
        E::Finished { outcome, class, usage, cost_micros, is_reported, .. } => {
            let class = class.map(|class| format!(" ({})", class.name()));
            let silent = if *is_reported { "" } else { ", without a result from the agent" };
            format!(
                "finished: {}{}{silent}, {}",
                outcome.name(),
                class.unwrap_or_default(),
                spent(*usage, *cost_micros)
            )
        }
        E::BackgroundChanged { tasks } => words::counted(u64::from(*tasks), "task") + " in the background",
        E::Compacted => "conversation shortened".to_owned(),
        E::Stalled { phase, tool, silent_ms, reaction } => {
            let what = AgentFinding::Silence { phase: *phase, silent_ms: *silent_ms };
            let tool = tool.as_ref().filter(|_| *phase == AgentPhase::Tool).map(|tool| format!(" ({tool})"));
            format!("{what}{}{}", tool.unwrap_or_default(), reaction_words(*reaction))
        }
        E::UsageSoFar { usage } => format!("turn in progress: {}", spent(*usage, None)),
        E::BudgetSpent(breach) => format!("stopped: {breach}"),
        E::LoopDetected { tool, calls, reaction } => {
            let what = AgentFinding::Loop { calls: *calls };
            format!("{what}{}{}", in_brackets(tool.as_ref()), reaction_words(*reaction))
        }
        E::AccountLimited { account, resets_at } => {
            let reset = reset_time(*resets_at).map(|at| format!(", resets at {}", zone.time(at)));
            format!("the usage limit of account {account} is reached{}", reset.unwrap_or_default())
        }
        E::LinesSkipped(lines) => {
            let parts = [(lines.unknown, "of unknown type"), (lines.invalid, "not JSON"), (lines.cut, "too long")];
            let parts = parts.into_iter().filter(|(count, _)| *count > 0);
            let words: Vec<_> =
                parts.map(|(count, what)| format!("{} {what}", words::counted(count, "line"))).collect();
            format!("skipped {}", words.join(", "))
        }
    }
}

pub(crate) const fn session_reason(reason: SessionReason) -> &'static str {
    match reason {
        SessionReason::First | SessionReason::Resume => "",
        SessionReason::NotConfigured => ", no arguments to resume are configured",
        SessionReason::ContextFull => ", because the context window of the last one is full",
        SessionReason::ResumeInvalid => ", because the last one cannot be resumed",
        SessionReason::BudgetSpent => ", because the budget of the last one is used up",
        SessionReason::QuickFailures => ", because runs that resumed the last one failed at once",
    }
}

const fn reaction_words(reaction: Reaction) -> &'static str {
    match reaction {
        Reaction::Record => "",
        Reaction::Stop => "; it is stopped",
        Reaction::Restart => "; it is restarted",
    }
}

/// A class of failures in words.
pub(crate) const fn failure(class: FailureClass) -> &'static str {
    match class {
        FailureClass::Auth => "its credentials were refused",
        FailureClass::Billing => "its account has no credit",
        FailureClass::RateLimit => "its usage limit is reached",
        FailureClass::Overloaded => "the server of its model is overloaded",
        FailureClass::Context => "its conversation does not fit into the context window",
        FailureClass::Model => "its model does not exist, or is not available to it",
        FailureClass::Network => "the server of its model cannot be reached",
        FailureClass::Server => "the server of its model failed",
        FailureClass::Turns => "its limit of turns is reached",
        FailureClass::Budget => "its budget is spent",
        FailureClass::Tool => "a tool failed",
        FailureClass::Aborted => "it was interrupted",
        FailureClass::ResumeInvalid => "its session cannot be resumed",
        FailureClass::Permission => "it was not permitted to do what it needed",
        FailureClass::Unknown => "why is not known",
    }
}

/// What an agent does, or how it ended.
pub(crate) fn doing(agent: &AgentState) -> String {
    let class = agent.end.and_then(|end| end.class).map(failure);
    match (agent.phase, agent.tool(), agent.end) {
        (AgentPhase::Starting, ..) => "starts".to_owned(),
        (AgentPhase::Model, ..) => "waits for its model".to_owned(),
        (AgentPhase::Tool, Some(call), _) => format!("in tool {}", call.tool),
        (AgentPhase::Tool, None, _) => "in a tool".to_owned(),
        (AgentPhase::Finished, _, Some(end)) => {
            format!("{}{}", end.outcome.name(), class.map(|class| format!(": {class}")).unwrap_or_default())
        }
        (AgentPhase::Finished, _, None) => "finished".to_owned(),
    }
}

/// Tokens and cost in words.
pub(crate) fn spent(usage: TokenUsage, cost_micros: Option<u64>) -> String {
    let tokens = format!("{} tokens in, {} out", words::count(usage.input), words::count(usage.output));
    cost_micros.map_or_else(|| tokens.clone(), |micros| format!("{tokens}, {}", cost(micros)))
}

/// An amount of money: rounded to a cent, or exact if it is less than one.
pub(crate) fn cost(micros: u64) -> String {
    if micros > 0 && micros < MICROS_OF_CENT {
        return format!("$0.{micros:06}");
    }
    let cents = micros.saturating_add(MICROS_OF_CENT / 2) / MICROS_OF_CENT;
    format!("${}.{:02}", cents / 100, cents % 100)
}

fn tool(call: &ToolCall) -> String {
    call.mcp_server.as_ref().map_or_else(|| call.tool.to_string(), |server| format!("{server}/{}", call.tool))
}

fn class_words(class: &str, http_status: Option<u16>) -> String {
    http_status.map_or_else(|| class.to_owned(), |status| format!("{class}, HTTP {status}"))
}

fn in_brackets(label: Option<&Label>) -> String {
    label.map(|label| format!(" ({label})")).unwrap_or_default()
}

fn millis(millis: u64) -> String {
    words::duration(Duration::from_millis(millis))
}
