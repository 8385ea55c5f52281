//! Lines of `OpenCode`.

use serde_json::Value;

use crate::render::agent_line::{call, dollars, ended, notice, number, reasoning, result, short, text, tokens_of};

pub(super) fn line(value: &Value) -> Option<String> {
    let part = value.get("part");
    match text(value, "type")? {
        "step_start" => Some(String::new()),
        "text" => Some(text(part?, "text")?.trim_end().to_owned()),
        "reasoning" => Some(reasoning(text(part?, "text")?)),
        "tool_use" => Some(tool(part?)),
        "step_finish" => Some(step(part?)),
        "error" => {
            let error = value.get("error");
            let data = error.and_then(|error| error.get("data")).and_then(|data| text(data, "message"));
            let name = error.and_then(|error| text(error, "name"));
            Some(notice(data.or(name).unwrap_or("error")))
        }
        _ => None,
    }
}

/// A call and its result: there is one line for both.
fn tool(part: &Value) -> String {
    let state = part.get("state");
    let begin = call(text(part, "tool").unwrap_or("unknown"), state.and_then(|state| state.get("input")));
    let is_ok = state.and_then(|state| text(state, "status")) != Some("error");
    let exit = state.and_then(|state| state.get("metadata")?.get("exit")?.as_i64()).filter(|code| *code != 0);
    let output = state.and_then(|state| state.get("output"));
    format!("{begin}\n{}", result(is_ok, exit.map(|code| format!("exit code {code}")), output))
}

/// The end of a step; nothing where the agent goes on after its tool calls.
fn step(part: &Value) -> String {
    match text(part, "reason") {
        Some("tool-calls") => String::new(),
        Some("stop") => ended("success", used(part)),
        other => ended("failure", std::iter::once(other.map(short)).chain(used(part))),
    }
}

/// The tokens and the cost of the step. No line has those of the turn.
fn used(part: &Value) -> [Option<String>; 2] {
    let of_tokens = || {
        let tokens = part.get("tokens")?;
        let cache = |name| tokens.get("cache").and_then(|cache| number(cache, name)).unwrap_or(0);
        let input = number(tokens, "input")?.saturating_add(cache("read")).saturating_add(cache("write"));
        let output = number(tokens, "output")?.saturating_add(number(tokens, "reasoning").unwrap_or(0));
        Some(format!("last step {}", tokens_of(input, output)))
    };
    [of_tokens(), dollars(part.get("cost"))]
}
