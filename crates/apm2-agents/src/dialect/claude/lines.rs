//! The members of the lines of Claude Code that are read.

use std::borrow::Cow;

use crate::json::{Raw, object};

object! {
    /// The members of all types of lines.
    Members<'a> {
        kind: Option<Cow<'a, str>> = "type",
        subtype: Option<Cow<'a, str>> = "subtype",
        session_id: Option<Cow<'a, str>> = "session_id",
        model: Option<Cow<'a, str>> = "model",
        claude_version: Option<Cow<'a, str>> = "claude_code_version",
        qwen_version: Option<Cow<'a, str>> = "qwen_code_version",
        permission_mode: Option<Cow<'a, str>> = "permissionMode",
        qwen_permission_mode: Option<Cow<'a, str>> = "permission_mode",
        mcp_servers: Option<Raw<'a>> = "mcp_servers",
        message: Option<Message<'a>> = "message",
        parent: Option<Cow<'a, str>> = "parent_tool_use_id",
        error: Option<Raw<'a>> = "error",
        is_api_error: Option<bool> = "is_api_error_message",
        api_error: Option<Cow<'a, str>> = "api_error",
        api_error_status: Option<u64> = "api_error_status",
        tool_use_result: Option<Raw<'a>> = "tool_use_result",
        tool_result_meta: Option<Raw<'a>> = "tool_result_meta",
        event: Option<Raw<'a>> = "event",
        api_message_id: Option<Cow<'a, str>> = "api_message_id",
        attempt: Option<u64> = "attempt",
        max_retries: Option<u64> = "max_retries",
        retry_delay_ms: Option<u64> = "retry_delay_ms",
        error_status: Option<u64> = "error_status",
        data: Option<Raw<'a>> = "data",
        rate_limit_info: Option<Raw<'a>> = "rate_limit_info",
        tool_name: Option<Cow<'a, str>> = "tool_name",
        tool_use_id: Option<Cow<'a, str>> = "tool_use_id",
        decision_reason_type: Option<Cow<'a, str>> = "decision_reason_type",
        task_id: Option<Cow<'a, str>> = "task_id",
        is_backgrounded: Option<bool> = "is_backgrounded",
        tasks: Option<Raw<'a>> = "tasks",
        status: Option<Cow<'a, str>> = "status",
        patch: Option<Raw<'a>> = "patch",
        is_error: Option<bool> = "is_error",
        num_turns: Option<u64> = "num_turns",
        duration_ms: Option<u64> = "duration_ms",
        total_cost_usd: Option<f64> = "total_cost_usd",
        usage: Usage<'a> = "usage",
        model_usage: Option<Raw<'a>> = "modelUsage",
        new_model_usage: Option<Raw<'a>> = "model_usage_since_last_result",
        permission_denials: Option<Raw<'a>> = "permission_denials",
        terminal_reason: Option<Cow<'a, str>> = "terminal_reason",
        errors: Option<Raw<'a>> = "errors",
        result: Option<Raw<'a>> = "result",
    }
}

object! {
    Message<'a> {
        id: Option<Cow<'a, str>> = "id",
        model: Option<Cow<'a, str>> = "model",
        content: Option<Raw<'a>> = "content",
        usage: Usage<'a> = "usage",
    }
}

object! {
    /// The usage of a message, or of a result.
    Usage<'a> {
        input: Option<u64> = "input_tokens",
        output: Option<u64> = "output_tokens",
        cache_read: Option<u64> = "cache_read_input_tokens",
        cache_creation: Option<u64> = "cache_creation_input_tokens",
        details: OutputDetails<'a> = "output_tokens_details",
    }
}

object! {
    OutputDetails<'a> {
        thinking: Option<u64> = "thinking_tokens",
    }
}

object! {
    /// The usage of a model, over all of its requests.
    ModelUsage<'a> {
        input: Option<u64> = "inputTokens",
        output: Option<u64> = "outputTokens",
        cache_read: Option<u64> = "cacheReadInputTokens",
        cache_creation: Option<u64> = "cacheCreationInputTokens",
        thinking: Option<u64> = "thinkingTokens",
        cost: Option<f64> = "costUSD",
    }
}

object! {
    /// A part of the content of a message.
    Block<'a> {
        kind: Option<Cow<'a, str>> = "type",
        id: Option<Cow<'a, str>> = "id",
        name: Option<Cow<'a, str>> = "name",
        input: Option<Raw<'a>> = "input",
        tool_use_id: Option<Cow<'a, str>> = "tool_use_id",
        is_error: Option<bool> = "is_error",
        content: Option<Raw<'a>> = "content",
    }
}

object! {
    StreamEvent<'a> {
        kind: Option<Cow<'a, str>> = "type",
        message: Option<Message<'a>> = "message",
        usage: Usage<'a> = "usage",
    }
}

object! {
    RateLimitInfo<'a> {
        status: Option<Cow<'a, str>> = "status",
        resets_at: Option<i64> = "resetsAt",
        window: Option<Cow<'a, str>> = "rateLimitType",
        utilization: Option<f64> = "utilization",
    }
}

object! {
    /// The result of a tool apart from its content, and the permission for the call.
    ToolMeta<'a> {
        id: Option<Cow<'a, str>> = "id",
        decision: Decision<'a> = "permission_decision",
    }
}

object! {
    Decision<'a> {
        decision: Option<Cow<'a, str>> = "decision",
        reason_type: Option<Cow<'a, str>> = "reason_type",
    }
}

object! {
    Denial<'a> {
        tool_name: Option<Cow<'a, str>> = "tool_name",
        tool_use_id: Option<Cow<'a, str>> = "tool_use_id",
    }
}

object! {
    Server<'a> {
        name: Option<Cow<'a, str>> = "name",
        status: Option<Cow<'a, str>> = "status",
    }
}

object! {
    /// `data` of `system/retry` of Qwen Code.
    QwenRetry<'a> {
        attempt: Option<u64> = "attempt",
        max_retries: Option<u64> = "maxRetries",
        delay_ms: Option<u64> = "delayMs",
    }
}

object! {
    TaskPatch<'a> {
        status: Option<Cow<'a, str>> = "status",
    }
}

object! {
    ToolUseResult<'a> {
        background_task_id: Option<Cow<'a, str>> = "backgroundTaskId",
    }
}
