//! Names in events: what is taken as a name, and what is not.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use apm2_model::event::agent::label::Label;

/// The name of a tool whose name is not known, or is not a name.
pub(crate) const UNNAMED: &str = "unnamed";

/// Longest word, in bytes.
const WORD_BYTES_MAX: usize = 64;

/// The prefix of the tools of an MCP server: `mcp__server__tool`.
const MCP_PREFIX: &str = "mcp__";

/// A label of `text`: an identifier, a model or a version. A text with white space is prose, not a name: `None`.
pub(crate) fn identifier(text: &str) -> Option<Label> {
    if text.contains(char::is_whitespace) { None } else { Label::new(text) }
}

/// A label of an optional text.
pub(crate) fn optional(text: Option<&str>) -> Option<Label> {
    text.and_then(identifier)
}

/// A label of a word of an agent, such as a status or a mode: letters, digits, `_`, `-`, `.` and `:`.
pub(crate) fn word(text: Option<&str>) -> Option<Label> {
    let text = text?;
    if text.len() <= WORD_BYTES_MAX && is_name(text) { Label::new(text) } else { None }
}

/// The identifier of a call. A text that is not an identifier is replaced by a hash of it, so that the lines of the call still match.
pub(crate) fn call_id(text: &str) -> Option<Label> {
    if text.is_empty() {
        return None;
    }
    identifier(text).or_else(|| Label::new(&format!("{:016x}", hash_of(&[text]))))
}

/// The name of a tool. Some agents put the command or a title where the name belongs: a text that is not a name is not taken.
pub(crate) fn tool(text: Option<&str>) -> Label {
    let name = text.filter(|text| is_name(text)).unwrap_or(UNNAMED);
    Label::new(name).unwrap_or_else(unnamed)
}

/// The server and the tool in `mcp__server__tool`; no server for the name of another tool.
pub(crate) fn tool_with_server(text: Option<&str>) -> (Option<Label>, Label) {
    let parts = text.and_then(|text| text.strip_prefix(MCP_PREFIX)).and_then(|rest| rest.split_once("__"));
    match parts {
        Some((server, name)) if is_name(server) => (Label::new(server), tool(Some(name))),
        _ => (None, tool(text)),
    }
}

/// A hash of texts, in memory only. It is not stable between versions of the standard library.
pub(crate) fn hash_of(texts: &[&str]) -> u64 {
    let mut hasher = DefaultHasher::new();
    texts.hash(&mut hasher);
    hasher.finish()
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|character| character.is_alphanumeric() || "_-.:".contains(character))
}

#[expect(clippy::expect_used, reason = "the constant is not empty")]
fn unnamed() -> Label {
    Label::new(UNNAMED).expect("the name is not empty")
}
