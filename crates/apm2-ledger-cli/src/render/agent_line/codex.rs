//! Lines of Codex CLI.

use serde_json::Value;

use crate::render::agent_line::{call, ended, notice, reasoning, result, session, short, text, tokens};

pub(super) fn line(value: &Value) -> Option<String> {
    match text(value, "type")? {
        "thread.started" => Some(session(text(value, "thread_id")?, None)),
        "turn.started" => Some(String::new()),
        "item.started" => Some(begun(value.get("item")?)),
        "item.updated" => value.get("item").map(|_| String::new()),
        "item.completed" => Some(completed(value.get("item")?)),
        "turn.completed" => Some(ended("success", [tokens(value.get("usage"), "input_tokens", "output_tokens")])),
        "turn.failed" => {
            let why = value.get("error").and_then(|error| text(error, "message"));
            Some(ended("failure", [why.map(short)]))
        }
        "error" if value.get("session_id").is_none() && value.get("severity").is_none() => {
            Some(notice(text(value, "message")?))
        }
        _ => None,
    }
}

fn begun(item: &Value) -> String {
    match text(item, "type").unwrap_or_default() {
        "agent_message" | "reasoning" | "error" | "todo_list" => String::new(),
        "mcp_tool_call" => {
            let name = |name| text(item, name).unwrap_or("unknown");
            call(&format!("{}/{}", name("server"), name("tool")), item.get("arguments"))
        }
        kind => call(kind, Some(item)),
    }
}

fn completed(item: &Value) -> String {
    match text(item, "type").unwrap_or_default() {
        "agent_message" => text(item, "text").unwrap_or_default().trim_end().to_owned(),
        "reasoning" => reasoning(text(item, "text").unwrap_or_default()),
        "error" => notice(text(item, "message").unwrap_or_default()),
        "todo_list" => String::new(),
        "file_change" => files(item),
        _ => {
            let is_ok = text(item, "status").is_none_or(|status| status == "completed");
            let code = item.get("exit_code").and_then(Value::as_i64).filter(|code| *code != 0);
            let output = item.get("aggregated_output").or_else(|| item.get("result"));
            result(is_ok, code.map(|code| format!("exit code {code}")), output)
        }
    }
}

/// The files that were changed. There is no output.
fn files(item: &Value) -> String {
    let changes = item.get("changes").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let paths: Vec<&str> = changes.iter().filter_map(|change| text(change, "path")).collect();
    let is_ok = text(item, "status").is_none_or(|status| status == "completed");
    format!("← {}: {}", if is_ok { "ok" } else { "failed" }, short(&paths.join(" ")))
}
