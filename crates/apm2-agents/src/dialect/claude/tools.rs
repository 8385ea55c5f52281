//! The calls of tools in the messages of Claude Code and Qwen Code.

use apm2_model::event::agent::event::ToolCall;

use super::{
    Context,
    lines::{Block, Members, ToolUseResult},
};
use crate::{
    json::{self, Raw},
    names,
    tracker::{
        Tracker,
        tools::{Call, CallEnd},
    },
};

/// The tool whose failed result begins with the exit code of the command.
const SHELL_TOOL: &str = "Bash";

/// How the result of a command that failed begins, as JSON.
const EXIT_CODE_MARK: &str = "\"Exit code ";

pub(super) fn tool_use(tracker: &mut Tracker, block: &Block<'_>, members: &Members<'_>, context: Context) {
    let Some(call_id) = block.id.as_deref().and_then(names::call_id) else { return };
    let (mcp_server, tool) = names::tool_with_server(block.name.as_deref());
    let arguments = block.input.map(Raw::get).unwrap_or_default();
    let hash = names::hash_of(&[block.name.as_deref().unwrap_or_default(), arguments]);
    let parent_call_id = members.parent.as_deref().and_then(names::call_id);
    let call = ToolCall { call_id, tool, mcp_server, parent_call_id };
    tracker.tool_started(Call { call, input_bytes: json::size_of(block.input), hash }, context.now);
}

pub(super) fn tool_result(tracker: &mut Tracker, block: &Block<'_>, members: &Members<'_>, context: Context) {
    let Some(id) = block.tool_use_id.as_deref() else { return };
    let Some(call_id) = names::call_id(id) else { return };
    let is_ok = block.is_error != Some(true);
    let is_shell = tracker.tools.tool_of(&call_id).is_some_and(|tool| tool.as_str() == SHELL_TOOL);
    let exit_code = if is_shell && !is_ok { exit_code(block.content) } else { None };
    let output_bytes = json::size_of(block.content);
    let tool = ToolCall {
        call_id: call_id.clone(),
        tool: names::tool(None),
        mcp_server: None,
        parent_call_id: members.parent.as_deref().and_then(names::call_id),
    };
    tracker.tool_ended(
        CallEnd { call_id, tool: Some(tool), is_ok, exit_code, duration_ms: None, output_bytes, hash: None },
        context.now,
    );
    let call = names::hash_of(&[id]);
    if tracker.background.is_of_call(call) {
        let result: ToolUseResult<'_> = members.tool_use_result.map(json::Lenient::read).unwrap_or_default();
        if result.background_task_id.is_none() {
            let before = tracker.background.count();
            tracker.background.call_ended(call);
            tracker.background_changed(before);
        }
    }
}

fn exit_code(content: Option<Raw<'_>>) -> Option<i32> {
    let rest = content?.get().strip_prefix(EXIT_CODE_MARK)?;
    let end = rest.find(|character: char| !character.is_ascii_digit())?;
    rest.get(..end)?.parse().ok()
}
