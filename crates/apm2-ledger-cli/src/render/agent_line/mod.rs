//! The JSON lines of AI agents as text for people: what the agent says as it is, and one short line for each tool call,
//! result and error. Unlike the events in the ledger, this text has contents.

mod claude;
mod codex;
mod custom;
mod gemini;
mod opencode;

use serde_json::Value;

use crate::render::{escape::escape_bytes, table::cut, words};

/// Largest width of a text that is shortened, in columns.
const SHORT_COLUMNS: usize = 100;

/// Longest time stamp before a line, in bytes.
const STAMP_BYTES_MAX: usize = 40;

/// The members of tool arguments that say what a call is about, in the order in which they are looked for.
const MAIN_ARGUMENTS: [&str; 12] = [
    "command",
    "file_path",
    "filePath",
    "path",
    "notebook_path",
    "pattern",
    "query",
    "url",
    "skill",
    "description",
    "prompt",
    "name",
];

/// The text of a line of output, without a line feed. `None` for a line that no agent is known to print; empty for a line
/// that only marks a step. Control characters are escaped, but for line feeds and tabs.
pub(crate) fn pretty(line: &str) -> Option<String> {
    let (stamp, object) = split_stamp(line.trim_end());
    if !object.starts_with('{') {
        return None;
    }
    let value: Value = serde_json::from_str(object).ok()?;
    let text = of_value(&value)?;
    if text.is_empty() {
        return Some(text);
    }
    Some(escape_bytes(format!("{stamp}{text}").as_bytes()))
}

fn of_value(value: &Value) -> Option<String> {
    if value.get("apm2").is_some() {
        return custom::line(value);
    }
    if value.get("sessionID").is_some() {
        return opencode::line(value);
    }
    codex::line(value).or_else(|| gemini::line(value)).or_else(|| claude::line(value))
}

/// A time stamp with the blank after it, and the rest of the line.
fn split_stamp(line: &str) -> (&str, &str) {
    let end = line
        .find(" {")
        .filter(|end| *end <= STAMP_BYTES_MAX)
        .filter(|_| line.starts_with(|c: char| c.is_ascii_digit()));
    end.map_or(("", line), |end| line.split_at(end.saturating_add(1)))
}

/// A member that is a text.
fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name)?.as_str()
}

fn number(value: &Value, name: &str) -> Option<u64> {
    value.get(name)?.as_u64()
}

/// A text on one line, cut to a width.
fn short(text: &str) -> String {
    let first: String = text.trim().chars().take(SHORT_COLUMNS.saturating_mul(2)).collect();
    cut(&first.split_whitespace().collect::<Vec<_>>().join(" "), SHORT_COLUMNS)
}

/// The beginning of a call: the tool, and its main argument.
fn call(tool: &str, arguments: Option<&Value>) -> String {
    let argument = arguments.and_then(main_argument).unwrap_or_default();
    if argument.is_empty() { format!("→ {}", short(tool)) } else { format!("→ {}: {argument}", short(tool)) }
}

/// The end of a call: whether it succeeded, and the size of its result.
fn result(is_ok: bool, note: Option<String>, output: Option<&Value>) -> String {
    let word = if is_ok { "ok" } else { "failed" };
    let note = note.map(|note| format!(" ({note})")).unwrap_or_default();
    format!("← {word}{note}, {}", words::bytes(size(output)))
}

/// The size of a result in bytes: that of a text, or that of the JSON.
fn size(output: Option<&Value>) -> u64 {
    let bytes = match output {
        None | Some(Value::Null) => 0,
        Some(Value::String(text)) => text.len(),
        Some(other) => other.to_string().len(),
    };
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// The argument that says most about a call: one of the known names, else the first text, else all of them.
fn main_argument(arguments: &Value) -> Option<String> {
    let text_of = |value: &Value| match value {
        Value::String(text) => Some(short(text)),
        Value::Array(words) => {
            let words: Option<Vec<_>> = words.iter().map(Value::as_str).collect();
            words.map(|words| short(&words.join(" ")))
        }
        _ => None,
    };
    match arguments {
        Value::Object(members) if members.is_empty() => None,
        Value::Object(members) => MAIN_ARGUMENTS
            .iter()
            .find_map(|name| members.get(*name).and_then(text_of))
            .or_else(|| members.values().find_map(text_of))
            .or_else(|| Some(short(&arguments.to_string()))),
        other => text_of(other),
    }
}

/// The last line of a turn or of a run.
fn ended(outcome: &str, facts: impl IntoIterator<Item = Option<String>>) -> String {
    let facts: Vec<String> = std::iter::once(Some(format!("= {}", short(outcome)))).chain(facts).flatten().collect();
    facts.join(", ")
}

/// Input and output tokens of an object with members of these names.
fn tokens(usage: Option<&Value>, input: &str, output: &str) -> Option<String> {
    Some(tokens_of(number(usage?, input)?, number(usage?, output)?))
}

/// The tokens of the input, with those of both caches, and of the output.
fn tokens_of(input: u64, output: u64) -> String {
    format!("{} tokens in, {} out", words::count(input), words::count(output))
}

/// An amount in US dollars.
fn dollars(amount: Option<&Value>) -> Option<String> {
    let amount = amount?.as_f64()?;
    Some(if amount >= 0.01 || amount == 0.0 { format!("${amount:.2}") } else { format!("${amount:.6}") })
}

/// A request that is sent again, a limit, or an error that does not end the run.
fn notice(text: &str) -> String {
    format!("! {}", short(text))
}

/// Reasoning, on one line.
fn reasoning(text: &str) -> String {
    format!("~ {}", short(text))
}

/// What a user said to the agent.
fn prompt(text: &str) -> String {
    format!("> {}", short(text))
}

fn session(id: &str, model: Option<&str>) -> String {
    let model = model.map(|model| format!(", model {}", short(model))).unwrap_or_default();
    format!("= session {}{model}", short(id))
}

#[cfg(test)]
mod tests;
