//! Lines of Claude Code and Qwen Code.

use serde_json::Value;

use crate::render::{
    agent_line::{call, dollars, ended, notice, number, prompt, reasoning, result, session, short, text, tokens_of},
    words::counted,
};

pub(super) fn line(value: &Value) -> Option<String> {
    // Every line has the session, by which it differs from other JSON.
    let id = text(value, "session_id")?;
    match text(value, "type")? {
        "system" => Some(system(value, id)),
        "assistant" | "user" => Some(message(value)),
        "result" => Some(end(value)),
        "rate_limit_event" => Some(limit(value)),
        "stream_event" => Some(String::new()),
        _ => None,
    }
}

fn system(value: &Value, id: &str) -> String {
    match text(value, "subtype").unwrap_or_default() {
        "init" => session(id, text(value, "model")),
        "api_retry" | "retry" => {
            let attempt = value.get("attempt").and_then(Value::as_u64).unwrap_or(1);
            notice(&format!("the request failed and is sent again, attempt {attempt}"))
        }
        "compact_boundary" => notice("the conversation was shortened"),
        other => notice(other),
    }
}

fn message(value: &Value) -> String {
    let content = value.get("message").and_then(|message| message.get("content"));
    let is_user = text(value, "type") == Some("user");
    let said = |text: &str| if is_user { prompt(text) } else { text.trim_end().to_owned() };
    match content {
        Some(Value::String(text)) => said(text),
        Some(Value::Array(blocks)) => {
            let parts: Vec<_> = blocks.iter().filter_map(|block| of_block(block, &said)).collect();
            parts.join("\n")
        }
        _ => String::new(),
    }
}

fn of_block(block: &Value, said: &dyn Fn(&str) -> String) -> Option<String> {
    match text(block, "type")? {
        "text" => Some(said(text(block, "text")?)),
        "thinking" => text(block, "thinking").filter(|text| !text.is_empty()).map(reasoning),
        "tool_use" => Some(call(text(block, "name")?, block.get("input"))),
        "tool_result" => {
            let is_error = block.get("is_error").and_then(Value::as_bool).unwrap_or(false);
            Some(result(!is_error, None, block.get("content")))
        }
        _ => None,
    }
}

fn limit(value: &Value) -> String {
    let info = value.get("rate_limit_info");
    let of = |name| info.and_then(|info| text(info, name)).unwrap_or("unknown");
    notice(&format!("usage limit {}: {}", of("rateLimitType"), of("status")))
}

fn end(value: &Value) -> String {
    let is_error = value.get("is_error").and_then(Value::as_bool).unwrap_or(false);
    let outcome = if is_error { "failure" } else { "success" };
    // The result of a success repeats the last message.
    let why = text(value, "result").filter(|_| is_error).map(short);
    let turns = value.get("num_turns").and_then(Value::as_u64).map(|turns| counted(turns, "turn"));
    ended(outcome, [why, turns, value.get("usage").and_then(used), dollars(value.get("total_cost_usd"))])
}

/// The tokens. The input of Claude Code is that beside the caches, that of Qwen Code, which says a total, contains them.
fn used(usage: &Value) -> Option<String> {
    let (input, output) = (number(usage, "input_tokens")?, number(usage, "output_tokens")?);
    let of_caches = |name| number(usage, name).filter(|_| usage.get("total_tokens").is_none()).unwrap_or(0);
    let caches = of_caches("cache_read_input_tokens").saturating_add(of_caches("cache_creation_input_tokens"));
    Some(tokens_of(input.saturating_add(caches), output))
}
