//! Lines of the form that `docs/agents.md` describes. They have no contents.

use serde_json::Value;

use crate::render::{
    agent::cost,
    agent_line::{ended, notice, number, session, short, text, tokens},
    words::bytes,
};

pub(super) fn line(value: &Value) -> Option<String> {
    match text(value, "event")? {
        "session_started" => Some(session(text(value, "session_id")?, text(value, "model"))),
        "tool_started" => Some(format!("→ {}", short(text(value, "tool")?))),
        "tool_ended" => {
            let is_ok = value.get("ok").and_then(Value::as_bool).unwrap_or(true);
            let word = if is_ok { "ok" } else { "failed" };
            Some(format!("← {word}, {}", bytes(number(value, "output_bytes").unwrap_or(0))))
        }
        "turn_ended" | "finished" => {
            let used = tokens(Some(value), "input_tokens", "output_tokens");
            let class = text(value, "class").map(short);
            let outcome = text(value, "outcome").unwrap_or("failure");
            Some(ended(outcome, [class, used, number(value, "cost_micros").map(cost)]))
        }
        other => {
            let class = text(value, "class").or_else(|| text(value, "status"));
            Some(notice(&class.map_or_else(|| other.to_owned(), |class| format!("{other}: {class}"))))
        }
    }
}
