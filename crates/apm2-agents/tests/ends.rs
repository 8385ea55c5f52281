//! How runs end: each status and each exit code, with and without a result.

use apm2_agents::{reader::AgentReader, record::OnRecord};
use apm2_model::{
    event::{
        agent::event::AgentEvent,
        exit::{Evidence, Exit, ExitOutcome},
        kind::OutputSource,
    },
    signal::Signal,
    spec::agent_kind::AgentKind,
};

use crate::support::{exit_code, text, time};

/// The class of the end of a run, in words.
fn verdict(events: &[AgentEvent]) -> String {
    let finished = events.iter().rev().find(|event| event.name() == "finished").map(text).unwrap_or_default();
    let words = finished.strip_prefix("finished ").unwrap_or_default();
    words.split(" in=").next().unwrap_or_default().to_owned()
}

fn failed(events: &[AgentEvent]) -> String {
    events.iter().filter(|event| event.name() == "failed").map(text).collect::<Vec<_>>().join(",")
}

fn read(kind: AgentKind, lines: &[&str]) -> Vec<AgentEvent> {
    let mut reader = AgentReader::new(kind, 0);
    reader.begin_run(OnRecord::default());
    let line = |(number, line): (usize, &&str)| reader.line(OutputSource::Stdout, line.as_bytes(), false, time(number));
    lines.iter().enumerate().flat_map(line).collect()
}

#[test]
fn claude_errors_have_classes() {
    let cases = [
        ("authentication_failed", "401", "", "failed auth http=401", "failure auth permanent"),
        ("oauth_org_not_allowed", "403", "", "failed auth http=403", "failure auth permanent"),
        ("billing_error", "402", "", "failed billing http=402", "failure billing permanent"),
        ("rate_limit", "429", "", "failed rate_limit http=429", "failure rate_limit"),
        ("overloaded", "529", "", "failed overloaded http=529", "failure overloaded"),
        ("server_error", "529", "", "failed overloaded http=529", "failure overloaded"),
        ("server_error", "503", "", "failed overloaded http=503", "failure overloaded"),
        ("server_error", "500", "", "failed server http=500", "failure server"),
        ("server_error", "null", "", "failed server", "failure server"),
        ("server_error", "null", r#","api_error":"connection_failed""#, "failed network", "failure network"),
        ("model_not_found", "404", "", "failed model http=404", "failure model permanent"),
        ("invalid_request", "400", "", "failed unknown http=400", "failure unknown"),
        ("invalid_request", "413", "", "failed context http=413", "failure context"),
        (
            "invalid_request",
            "400",
            r#","terminal_reason":"prompt_too_long""#,
            "failed context http=400",
            "failure context",
        ),
        ("unknown", "null", "", "failed unknown", "failure unknown"),
        ("max_output_tokens", "null", "", "failed unknown", "failure unknown"),
    ];
    for (category, status, more, expected, end) in cases {
        let assistant = format!(
            r#"{{"type":"assistant","message":{{"id":"x","model":"<synthetic>","content":[{{"type":"text","text":"words"}}]}},"error":"{category}","is_api_error_message":true,"api_error_status":{status}{more},"session_id":"s"}}"#
        );
        let result = format!(
            r#"{{"type":"result","subtype":"success","is_error":true,"num_turns":1,"api_error_status":{status}{more},"result":"words","session_id":"s"}}"#
        );
        let events = read(AgentKind::ClaudeCode, &[&assistant, &result]);
        assert_eq!(
            (failed(&events).as_str(), verdict(&events).as_str()),
            (expected, end),
            "{category} {status} {more}"
        );
    }
}

#[test]
fn claude_results_without_a_category_have_classes() {
    let cases = [
        (r#""subtype":"error_max_turns","is_error":true"#, "failure turns"),
        (r#""subtype":"error_max_turns","is_error":false"#, "failure turns"),
        (r#""subtype":"error_max_budget_usd","is_error":true"#, "failure budget"),
        (r#""subtype":"error_max_structured_output_retries","is_error":true"#, "failure unknown"),
        (
            r#""subtype":"error_during_execution","is_error":true,"terminal_reason":"aborted_streaming""#,
            "aborted aborted",
        ),
        (
            r#""subtype":"error_during_execution","is_error":true,"errors":["Error: Session ID x is already in use."]"#,
            "failure resume_invalid permanent",
        ),
        (
            r#""subtype":"success","is_error":true,"terminal_reason":"completed","api_error_status":429"#,
            "failure rate_limit",
        ),
        (r#""subtype":"success","is_error":true,"result":"Credit balance is too low""#, "failure billing permanent"),
        (r#""subtype":"success","is_error":true,"result":"API Error: 500 {\"type\":\"error\"}""#, "failure server"),
        (r#""subtype":"success","is_error":true,"result":"API Error: Connection error.""#, "failure network"),
        (
            r#""subtype":"success","is_error":true,"result":"Claude AI usage limit reached|1795625088""#,
            "failure rate_limit",
        ),
        (
            r#""subtype":"success","is_error":true,"terminal_reason":"hook_stopped","result":"The rate limit is 429.""#,
            "failure unknown",
        ),
        (r#""subtype":"success","is_error":false,"result":"API Error: 500""#, "success"),
        (r#""subtype":"success""#, "success"),
        (r#""subtype":7"#, "failure unknown"),
    ];
    for (members, end) in cases {
        let line = format!(r#"{{{members},"num_turns":1,"session_id":"s","type":"result"}}"#);
        assert_eq!(verdict(&read(AgentKind::ClaudeCode, &[&line])), end, "{members}");
    }
    let line =
        r#"{"type":"result","subtype":"success","is_error":true,"result":"Claude AI usage limit reached|1795625088"}"#;
    let events = read(AgentKind::ClaudeCode, &[line]);
    assert_eq!(text(&events[0]), "rate_limited rejected rate_limit resets=1795625088");
}

#[test]
fn codex_errors_have_classes() {
    let cases = [
        ("unexpected status 500 Internal Server Error: x, url: y", "failure server"),
        ("unexpected status 403 Forbidden: x", "failure auth permanent"),
        ("unexpected status 404 Not Found: x", "failure model permanent"),
        ("unexpected status 402 Payment Required: x", "failure billing permanent"),
        ("unexpected status 400 Bad Request: {\\\"code\\\":\\\"context_length_exceeded\\\"}", "failure context"),
        ("exceeded retry limit, last status: 503 Service Unavailable", "failure overloaded"),
        ("exceeded retry limit, last status: 500 Internal Server Error", "failure server"),
        ("We\u{2019}re currently experiencing high demand, which may cause temporary errors.", "failure overloaded"),
        ("You've hit your usage limit. Try again in 3 days 2 hours.", "failure rate_limit"),
        ("The 'gpt-9' model is not supported when using Codex with a ChatGPT account.", "failure model permanent"),
        ("Your access token could not be refreshed. Please log out and sign in again.", "failure auth permanent"),
        ("Connection failed: error sending request", "failure network"),
        ("Turn interrupted", "aborted aborted"),
        ("something else", "failure unknown"),
    ];
    for (message, end) in cases {
        let line = format!(r#"{{"type":"turn.failed","error":{{"message":"{message}"}}}}"#);
        assert_eq!(verdict(&read(AgentKind::Codex, &[&line])), end, "{message}");
    }
}

#[test]
fn gemini_results_have_classes() {
    let api = |code: u16, message: &str, status: &str| {
        format!(
            r#"[API Error: {{\"error\":{{\"code\":{code},\"message\":\"{message}\",\"status\":\"{status}\",\"details\":[]}}}}]"#
        )
    };
    let cases = [
        (
            api(
                400,
                "The input token count (2000000) exceeds the maximum number of tokens allowed",
                "INVALID_ARGUMENT",
            ),
            "failure context",
        ),
        (api(401, "Request had invalid authentication credentials", "UNAUTHENTICATED"), "failure auth permanent"),
        (api(404, "x", "NOT_FOUND"), "failure model permanent"),
        (
            api(
                429,
                "You exceeded your current quota, please check your plan and billing details.",
                "RESOURCE_EXHAUSTED",
            ),
            "failure rate_limit",
        ),
        (api(429, "No capacity available for model x", "RESOURCE_EXHAUSTED"), "failure overloaded"),
        (api(500, "Internal error", "INTERNAL"), "failure server"),
        (api(503, "The model is overloaded.", "UNAVAILABLE"), "failure overloaded"),
        (api(504, "Deadline expired", "DEADLINE_EXCEEDED"), "failure server"),
        ("[API Error: exception TypeError: fetch failed sending request]".to_owned(), "failure network"),
        ("[API Error: Model stream ended without a finish reason.]".to_owned(), "failure server"),
        ("[API Error: something else]".to_owned(), "failure unknown"),
    ];
    for (message, end) in cases {
        let line = format!(
            r#"{{"type":"result","status":"error","error":{{"type":"unknown","message":"{message}"}},"stats":{{}}}}"#
        );
        assert_eq!(verdict(&read(AgentKind::Gemini, &[&line])), end, "{message}");
    }
    for (name, end) in [
        ("FatalAuthenticationError", "failure auth permanent"),
        ("FatalToolExecutionError", "failure tool"),
        ("FatalInputError", "failure unknown permanent"),
        ("FatalCancellationError", "aborted aborted"),
    ] {
        let line = format!(r#"{{"type":"result","status":"error","error":{{"type":"{name}","message":"x"}}}}"#);
        assert_eq!(verdict(&read(AgentKind::Gemini, &[&line])), end, "{name}");
    }
}

#[test]
fn opencode_errors_have_classes() {
    let cases = [
        (r#""name":"APIError","data":{"statusCode":500}"#, "failure server"),
        (r#""name":"APIError","data":{"statusCode":503}"#, "failure overloaded"),
        (r#""name":"APIError","data":{"statusCode":403}"#, "failure auth permanent"),
        (r#""name":"APIError","data":{"statusCode":404}"#, "failure model permanent"),
        (
            r#""name":"APIError","data":{"statusCode":429,"responseBody":"{\"code\":\"insufficient_quota\"}"}"#,
            "failure billing permanent",
        ),
        (
            r#""name":"APIError","data":{"statusCode":400,"responseBody":"{\"code\":\"context_length_exceeded\"}"}"#,
            "failure context",
        ),
        (
            r#""name":"APIError","data":{"message":"Unable to connect. Is the computer able to access the url?"}"#,
            "failure network",
        ),
        (r#""name":"ProviderAuthError","data":{"message":"x"}"#, "failure auth permanent"),
        (r#""name":"MessageAbortedError","data":{"message":"x"}"#, "aborted aborted"),
        (r#""name":"UnknownError","data":{"message":"Model not found: a/b."}"#, "failure model permanent"),
    ];
    for (members, end) in cases {
        let line = format!(r#"{{"type":"error","sessionID":"ses_1","error":{{{members}}}}}"#);
        assert_eq!(verdict(&read(AgentKind::OpenCode, &[&line])), end, "{members}");
    }
    for (reason, end) in [("stop", "success"), ("length", "failure unknown"), ("tool-calls", "")] {
        let line = format!(r#"{{"type":"step_finish","sessionID":"ses_1","part":{{"reason":"{reason}"}}}}"#);
        assert_eq!(verdict(&read(AgentKind::OpenCode, &[&line])), end, "{reason}");
    }
}

/// The end of a run that printed these lines on standard error and nothing else.
fn end(kind: AgentKind, stderr: &str, exit: Exit, was_stopped: bool) -> String {
    let mut reader = AgentReader::new(kind, 0);
    reader.begin_run(OnRecord::default());
    for line in stderr.lines() {
        assert!(reader.line(OutputSource::Stderr, line.as_bytes(), false, time(0)).is_empty());
    }
    verdict(&reader.end(Some(&exit), was_stopped, time(1)))
}

#[test]
fn a_run_without_a_result_is_judged_by_its_exit() {
    use AgentKind::{ClaudeCode, Codex, Gemini, OpenCode, QwenCode};
    let cases = [
        (Gemini, "", 41, "failure auth permanent unreported"),
        (Gemini, "", 42, "failure unknown permanent unreported"),
        (Gemini, "Error resuming session: x", 42, "failure resume_invalid permanent unreported"),
        (Gemini, "", 44, "failure permission permanent unreported"),
        (Gemini, "", 52, "failure unknown permanent unreported"),
        (Gemini, "", 53, "failure turns unreported"),
        (Gemini, "", 54, "failure tool unreported"),
        (Gemini, "", 55, "failure permission permanent unreported"),
        (Gemini, "", 130, "aborted aborted unreported"),
        (Gemini, "", 145, "failure auth permanent unreported"),
        (Gemini, "", 173, "failure rate_limit unreported"),
        (Gemini, "", 244, "failure server unreported"),
        (Gemini, "", 247, "failure overloaded unreported"),
        (Gemini, "", 0, "failure unknown unreported"),
        (Gemini, "", 1, "failure unknown unreported"),
        (QwenCode, "", 53, "failure turns unreported"),
        (ClaudeCode, "error: unknown option '--nope'", 1, "failure unknown permanent unreported"),
        (ClaudeCode, "", 0, "failure unknown unreported"),
        (ClaudeCode, "", 143, "aborted aborted unreported"),
        (Codex, "error: unexpected argument '--nope' found", 2, "failure unknown permanent unreported"),
        (Codex, "", 2, "failure unknown permanent unreported"),
        (
            Codex,
            "Error: thread/resume failed: no rollout found for thread id x",
            1,
            "failure resume_invalid permanent unreported",
        ),
        (OpenCode, "Error: Session not found", 1, "failure resume_invalid permanent unreported"),
        (OpenCode, "", 1, "failure unknown unreported"),
    ];
    for (kind, stderr, code, expected) in cases {
        assert_eq!(end(kind, stderr, exit_code(code), false), expected, "{kind} {code} {stderr}");
    }
    let signal = |number| Exit {
        outcome: ExitOutcome::Signal { signal: Signal::from_number(number).unwrap(), core_dumped: false },
        evidence: Evidence::Observed,
    };
    assert_eq!(end(Codex, "", signal(15), false), "aborted aborted unreported");
    assert_eq!(end(Codex, "", signal(11), false), "failure unknown unreported");
    for code in [0, 1, 53] {
        assert_eq!(end(Gemini, "", exit_code(code), true), "aborted aborted unreported", "{code}");
    }
    assert_eq!(end(Codex, "", Exit::UNKNOWN, false), "failure unknown unreported");
}

#[test]
fn an_agent_that_works_after_its_result_has_another_result() {
    let lines = [
        r#"{"type":"assistant","session_id":"s","message":{"id":"a","usage":{"input_tokens":5}}}"#,
        r#"{"type":"result","subtype":"success","is_error":false,"num_turns":1,"usage":{"input_tokens":5},"total_cost_usd":1}"#,
        r#"{"type":"system","subtype":"task_notification","task_id":"t","status":"completed"}"#,
        r#"{"type":"assistant","session_id":"s","message":{"id":"b","usage":{"input_tokens":7}}}"#,
    ];
    let mut reader = AgentReader::new(AgentKind::ClaudeCode, 0);
    reader.begin_run(OnRecord::default());
    for line in lines {
        reader.line(OutputSource::Stdout, line.as_bytes(), false, time(0));
    }
    let end = reader.end(Some(&exit_code(0)), false, time(1));
    assert_eq!(
        end.iter().map(text).collect::<Vec<_>>(),
        [
            "finished failure unknown unreported in=12 out=0 read=0 creation=0 reasoning=0 cost=1000000 turns=1 tools=0 denials=0 background=0"
        ]
    );
}
