//! Which agent a program is, by its first line of JSON.

use std::borrow::Cow;

use apm2_model::spec::agent_kind::AgentKind;

use crate::json::{self, Raw, object};

object! {
    /// The members by which agents differ.
    Members<'a> {
        kind: Option<Cow<'a, str>> = "type",
        session_id: Option<Cow<'a, str>> = "session_id",
        opencode_session: Option<Cow<'a, str>> = "sessionID",
        timestamp: Option<Cow<'a, str>> = "timestamp",
        role: Option<Cow<'a, str>> = "role",
        tool_name: Option<Cow<'a, str>> = "tool_name",
        tool_id: Option<Cow<'a, str>> = "tool_id",
        qwen_version: Option<Cow<'a, str>> = "qwen_code_version",
        custom_version: Option<u64> = "apm2",
        item: Option<Raw<'a>> = "item",
    }
}

/// The agent that prints such a line of JSON.
pub(crate) fn of_line(text: &str) -> Option<AgentKind> {
    let mut members = Members::default();
    json::read_object(text, &mut members);
    if members.custom_version.is_some() {
        return Some(AgentKind::Custom);
    }
    if members.opencode_session.is_some() {
        return Some(AgentKind::OpenCode);
    }
    match members.kind.as_deref()? {
        "thread.started" | "turn.started" | "turn.completed" | "turn.failed" => Some(AgentKind::Codex),
        "item.started" | "item.updated" | "item.completed" if members.item.is_some() => Some(AgentKind::Codex),
        "init" if members.session_id.is_some() => Some(AgentKind::Gemini),
        "message" if members.role.is_some() && members.timestamp.is_some() => Some(AgentKind::Gemini),
        "tool_use" if members.tool_name.is_some() => Some(AgentKind::Gemini),
        "tool_result" if members.tool_id.is_some() => Some(AgentKind::Gemini),
        "system" if members.qwen_version.is_some() => Some(AgentKind::QwenCode),
        "system" | "assistant" | "user" | "result" | "stream_event" | "rate_limit_event"
            if members.session_id.is_some() =>
        {
            Some(AgentKind::ClaudeCode)
        }
        _ => None,
    }
}
