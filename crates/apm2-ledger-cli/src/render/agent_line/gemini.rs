//! Lines of Gemini CLI.

use serde_json::Value;

use crate::render::agent_line::{call, ended, notice, prompt, result, session, short, text, tokens};

pub(super) fn line(value: &Value) -> Option<String> {
    // Every line has the time.
    text(value, "timestamp")?;
    match text(value, "type")? {
        "init" => Some(session(text(value, "session_id")?, text(value, "model"))),
        "message" => {
            let content = text(value, "content")?;
            Some(if text(value, "role") == Some("user") { prompt(content) } else { content.trim_end().to_owned() })
        }
        "tool_use" => Some(call(text(value, "tool_name")?, value.get("parameters"))),
        "tool_result" => {
            text(value, "tool_id")?;
            let is_ok = text(value, "status") != Some("error");
            let kind = value.get("error").and_then(|error| text(error, "type"));
            Some(result(is_ok, kind.map(short), value.get("output")))
        }
        "error" => Some(notice(text(value, "message")?)),
        "result" if value.get("session_id").is_none() => Some(end(value)),
        _ => None,
    }
}

fn end(value: &Value) -> String {
    let outcome = if text(value, "status") == Some("success") { "success" } else { "failure" };
    let why = value.get("error").and_then(|error| text(error, "message")).map(short);
    ended(outcome, [why, tokens(value.get("stats"), "input_tokens", "output_tokens")])
}
