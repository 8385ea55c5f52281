//! The lines of Claude Code (`claude -p --output-format stream-json --verbose`), which Qwen Code prints too.

mod failure;
mod lines;
mod tools;
mod usage;

use apm2_model::event::agent::{
    class::FailureClass,
    event::{AgentEvent, LimitStatus, MCP_SERVERS_MAX, McpServer},
    label::Label,
    outcome::AgentOutcome,
};

use failure::{retry_class, startup_failure};
use lines::{Block, Denial, Members, Message, QwenRetry, RateLimitInfo, Server, StreamEvent, TaskPatch, ToolMeta};
use tools::{tool_result, tool_use};

use super::{Context, Line, Use, small};
use crate::{
    classify::{self, Failure},
    json, money, names,
    tracker::{Retry, SessionFacts, Tracker, TurnEnd, limits::Limit},
};

/// The model in a message that the agent itself made, for an error of the API.
const SYNTHETIC_MODEL: &str = "<synthetic>";

/// Types of lines that are known and give no event.
const OTHER_TYPES: [&str; 10] = [
    "tool_progress",
    "tool_use_summary",
    "auth_status",
    "prompt_suggestion",
    "keep_alive",
    "control_request",
    "control_response",
    "control_cancel_request",
    "streamlined_text",
    "streamlined_tool_use_summary",
];

/// Subtypes of `system` lines that are known and give no event.
const OTHER_SUBTYPES: [&str; 16] = [
    "status",
    "hook_started",
    "hook_progress",
    "hook_response",
    "task_progress",
    "local_command",
    "local_command_output",
    "files_persisted",
    "elicitation_complete",
    "session_state_changed",
    "plugin_install",
    "memory_recall",
    "notification",
    "mirror_error",
    "informational",
    "api_error",
];

/// The state of a run of Claude Code or Qwen Code.
#[derive(Debug)]
pub(crate) struct Claude {
    is_qwen: bool,
    /// The category of the last error of the API; the result does not repeat it.
    category: Option<Label>,
    /// A hash of the message that is streamed.
    streamed: Option<u64>,
    /// The class of the retry that is announced on standard error.
    qwen_retry: Option<Failure>,
}

impl Claude {
    pub(crate) const fn new(is_qwen: bool) -> Self {
        Self { is_qwen, category: None, streamed: None, qwen_retry: None }
    }

    pub(crate) const fn is_qwen(&self) -> bool {
        self.is_qwen
    }

    pub(crate) fn line(&mut self, tracker: &mut Tracker, line: Line<'_>) -> Use {
        let mut members = Members::default();
        if !json::read_object(line.text, &mut members) && !line.is_cut {
            return Use::Invalid;
        }
        let kind = members.kind.as_deref().unwrap_or_else(|| if line.is_cut { kind_of_cut(&members) } else { "" });
        match kind {
            "assistant" => self.assistant(tracker, &members, line),
            "user" => Self::user(tracker, &members, line),
            "stream_event" => self.stream_event(tracker, &members),
            "system" => return self.system(tracker, &members),
            "rate_limit_event" => rate_limit(tracker, &members),
            "result" => self.result(tracker, &members, line.context),
            other if OTHER_TYPES.contains(&other) => {}
            _ => return Use::Unknown,
        }
        Use::Known
    }

    fn system(&mut self, tracker: &mut Tracker, members: &Members<'_>) -> Use {
        match members.subtype.as_deref().unwrap_or_default() {
            "init" => self.init(tracker, members),
            "api_retry" => tracker.retry(Retry {
                attempt: small(members.attempt),
                attempts_max: small(members.max_retries),
                delay_ms: members.retry_delay_ms,
                http_status: classify::http_status(members.error_status),
                class: retry_class(members),
            }),
            "retry" => self.qwen_retry(tracker, members),
            "permission_denied" => tracker.denied(
                members.tool_use_id.as_deref().and_then(names::call_id),
                names::tool(members.tool_name.as_deref()),
                names::word(members.decision_reason_type.as_deref()),
            ),
            "compact_boundary" => {
                tracker.progress();
                tracker.push(AgentEvent::Compacted);
            }
            "task_started" | "task_updated" | "task_notification" | "background_tasks_changed" => {
                background(tracker, members);
            }
            other if OTHER_SUBTYPES.contains(&other) => {}
            _ => return Use::Unknown,
        }
        Use::Known
    }

    fn init(&mut self, tracker: &mut Tracker, members: &Members<'_>) {
        self.is_qwen |= members.qwen_version.is_some();
        tracker.progress();
        let mut mcp_servers = Vec::new();
        if let Some(servers) = members.mcp_servers {
            json::for_each(servers, |server: Server<'_>| {
                if let Some(name) = server.name.as_deref().and_then(Label::new)
                    && mcp_servers.len() < MCP_SERVERS_MAX
                {
                    mcp_servers.push(McpServer { name, status: names::word(server.status.as_deref()) });
                }
            });
        }
        let version = members.claude_version.as_deref().or(members.qwen_version.as_deref());
        let mode = members.permission_mode.as_deref().or(members.qwen_permission_mode.as_deref());
        tracker.session(
            names::optional(members.session_id.as_deref()),
            SessionFacts {
                model: names::optional(members.model.as_deref()),
                agent_version: names::optional(version),
                permission_mode: names::word(mode),
                mcp_servers,
            },
        );
    }

    fn assistant(&mut self, tracker: &mut Tracker, members: &Members<'_>, line: Line<'_>) {
        let none = Message::default();
        let message = members.message.as_ref().unwrap_or(&none);
        let category = members.error.map(|error| json::error_text(Some(error)));
        let is_synthetic = message.model.as_deref() == Some(SYNTHETIC_MODEL);
        if is_synthetic || category.is_some() || members.is_api_error == Some(true) {
            if members.parent.is_none() {
                self.category = names::word(category.as_deref());
                tracker.pending = Some(self.failure(tracker, members, message.content));
            }
            return;
        }
        known_session(tracker, members);
        tracker.progress();
        self.category = None;
        if let Some(id) = &message.id {
            tracker.messages.see(names::hash_of(&[id]), self.tokens(&message.usage));
        }
        if let Some(content) = message.content {
            json::for_each(content, |block: Block<'_>| match block.kind.as_deref() {
                Some("tool_use" | "server_tool_use" | "mcp_tool_use") => {
                    tool_use(tracker, &block, members, line.context)
                }
                Some(kind) if kind.ends_with("tool_result") => tool_result(tracker, &block, members, line.context),
                _ => {}
            });
        }
    }

    fn user(tracker: &mut Tracker, members: &Members<'_>, line: Line<'_>) {
        known_session(tracker, members);
        tracker.progress();
        if let Some(meta) = members.tool_result_meta {
            json::for_each(meta, |meta: ToolMeta<'_>| {
                if let Some(id) = meta.id.as_deref().and_then(names::call_id)
                    && meta.decision.decision.as_deref() == Some("reject")
                {
                    let tool = tracker.tools.tool_of(&id).cloned().unwrap_or_else(|| names::tool(None));
                    tracker.denied_as_repeated(Some(id), tool, names::word(meta.decision.reason_type.as_deref()));
                }
            });
        }
        let Some(message) = &members.message else {
            if line.is_cut {
                let call_id = json::scan_for(line.text, "\"tool_use_id").and_then(names::call_id);
                tracker.cut_tool_ended(call_id, line.text.len(), line.context.now);
            }
            return;
        };
        if let Some(content) = message.content {
            json::for_each(content, |block: Block<'_>| {
                if block.kind.as_deref() == Some("tool_result") {
                    tool_result(tracker, &block, members, line.context);
                }
            });
        }
    }

    fn stream_event(&mut self, tracker: &mut Tracker, members: &Members<'_>) {
        let event: StreamEvent<'_> = members.event.map(json::Lenient::read).unwrap_or_default();
        let id = members.api_message_id.as_deref().map(|id| names::hash_of(&[id]));
        match event.kind.as_deref() {
            Some("message_start") => {
                let message = event.message.unwrap_or_default();
                self.streamed = message.id.as_deref().map(|id| names::hash_of(&[id]));
                if let Some(id) = id.or(self.streamed) {
                    tracker.messages.see(id, self.tokens(&message.usage));
                }
            }
            Some("message_delta") => {
                if let Some(id) = id.or(self.streamed) {
                    tracker.messages.see(id, self.tokens(&event.usage));
                }
            }
            Some("content_block_start" | "content_block_delta" | "content_block_stop" | "message_stop") => {}
            _ => return,
        }
        tracker.progress();
    }

    fn result(&mut self, tracker: &mut Tracker, members: &Members<'_>, context: Context) {
        let subtype = members.subtype.as_deref().unwrap_or_default();
        let is_aborted = members.terminal_reason.as_deref().is_some_and(|reason| reason.starts_with("aborted"));
        let is_success = match members.is_error {
            Some(is_error) => !is_error && !subtype.starts_with("error"),
            None => subtype == "success",
        };
        if let Some(denials) = members.permission_denials {
            json::for_each(denials, |denial: Denial<'_>| {
                let call = denial.tool_use_id.as_deref().and_then(names::call_id);
                tracker.denied_as_repeated(call, names::tool(denial.tool_name.as_deref()), None);
            });
        }
        let (outcome, failure) = if is_success {
            (AgentOutcome::Success, Failure::new(FailureClass::Unknown, None))
        } else if is_aborted {
            (AgentOutcome::Aborted, Failure::new(FailureClass::Aborted, None))
        } else {
            (AgentOutcome::Failure, self.failure(tracker, members, members.result.or(members.errors)))
        };
        if outcome == AgentOutcome::Failure {
            old_usage_limit(tracker, members, failure.class);
        }
        let figures = self.figures(tracker, members);
        self.category = None;
        tracker.turn_ended(
            TurnEnd {
                outcome,
                failure,
                figures,
                duration_ms: members.duration_ms,
                agent_turns: small(members.num_turns).unwrap_or(1),
                tool_calls: 0,
            },
            context.now,
        );
    }

    fn qwen_retry(&mut self, tracker: &mut Tracker, members: &Members<'_>) {
        let retry: QwenRetry<'_> = members.data.map(json::Lenient::read).unwrap_or_default();
        let failure = self.qwen_retry.take();
        tracker.retry(Retry {
            attempt: small(retry.attempt),
            attempts_max: small(retry.max_retries),
            delay_ms: retry.delay_ms,
            http_status: failure.and_then(|failure| failure.http_status),
            class: failure.map_or(FailureClass::Unknown, |failure| failure.class),
        });
    }

    pub(crate) fn error_line(&mut self, tracker: &mut Tracker, text: &str) {
        if let Some(failure) = startup_failure(text) {
            tracker.pending = Some(failure);
        } else if self.is_qwen
            && let Some(rest) = text.strip_prefix("Retrying in ")
        {
            // `Retrying in 60s (attempt 1/10): [API Error: 429 …]`, beside a line on standard output, which has no status.
            let failure = Failure::of_text(rest);
            self.qwen_retry = Some(failure);
            if let Some((attempt, attempts_max)) =
                rest.split_once("(attempt ").and_then(|(_, rest)| super::codex::fraction(rest))
            {
                let delay = rest.split_once('s').and_then(|(secs, _)| secs.parse::<u64>().ok());
                tracker.retry(Retry {
                    attempt: Some(attempt),
                    attempts_max: Some(attempts_max),
                    delay_ms: delay.map(|secs| secs.saturating_mul(1000)),
                    http_status: failure.http_status,
                    class: failure.class,
                });
            }
        }
    }
}

/// The type of a cut line whose `type` is behind the cut: the members of a result come in an order of their own.
const fn kind_of_cut(members: &Members<'_>) -> &'static str {
    if members.is_error.is_some() && members.num_turns.is_some() { "result" } else { "" }
}

/// Takes the session of a line where the line that begins the session was not seen.
fn known_session(tracker: &mut Tracker, members: &Members<'_>) {
    if !tracker.is_session_started() {
        tracker.session(names::optional(members.session_id.as_deref()), SessionFacts::default());
    }
}

fn background(tracker: &mut Tracker, members: &Members<'_>) {
    let before = tracker.background.count();
    let id = members.task_id.as_deref().map(|id| names::hash_of(&[id]));
    match (members.subtype.as_deref(), id) {
        (Some("background_tasks_changed"), _) => {
            let mut tasks = 0_u32;
            if let Some(list) = members.tasks {
                json::for_each(list, |_: Option<json::Raw<'_>>| tasks = tasks.saturating_add(1));
            }
            tracker.background.report(tasks);
        }
        (Some("task_started"), Some(id)) if members.is_backgrounded != Some(false) => {
            let call = members.tool_use_id.as_deref().map(|id| names::hash_of(&[id]));
            tracker.background.started(id, if members.is_backgrounded.is_none() { call } else { None });
        }
        (Some("task_updated"), Some(id)) => {
            let patch: TaskPatch<'_> = members.patch.map(json::Lenient::read).unwrap_or_default();
            if has_task_ended(patch.status.as_deref()) {
                tracker.background.ended(id);
            }
        }
        (Some("task_notification"), Some(id)) if has_task_ended(members.status.as_deref()) => {
            tracker.background.ended(id)
        }
        _ => {}
    }
    tracker.background_changed(before);
}

fn has_task_ended(status: Option<&str>) -> bool {
    matches!(status, Some("completed" | "failed" | "killed" | "stopped" | "cancelled"))
}

fn rate_limit(tracker: &mut Tracker, members: &Members<'_>) {
    let info: RateLimitInfo<'_> = members.rate_limit_info.map(json::Lenient::read).unwrap_or_default();
    let status = match info.status.as_deref() {
        Some("allowed") => LimitStatus::Allowed,
        Some("allowed_warning") => LimitStatus::Warning,
        Some("rejected") => LimitStatus::Rejected,
        _ => return,
    };
    tracker.limit(Limit {
        status,
        class: FailureClass::RateLimit,
        window: names::word(info.window.as_deref()),
        used_percent: money::percent(info.utilization),
        resets_at: info.resets_at,
    });
}

/// Versions before `rate_limit_event` put the reset time behind the text: `… usage limit reached|1754000000`.
fn old_usage_limit(tracker: &mut Tracker, members: &Members<'_>, class: FailureClass) {
    let text = json::error_text(members.result);
    if class == FailureClass::RateLimit
        && let Some((_, time)) = text.split_once("limit reached|")
        && let Ok(time) = time.trim().parse()
    {
        tracker.limit(Limit {
            status: LimitStatus::Rejected,
            class,
            window: None,
            used_percent: None,
            resets_at: Some(time),
        });
    }
}
