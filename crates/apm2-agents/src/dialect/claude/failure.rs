//! Why a turn, a request or a start of Claude Code or Qwen Code failed.

use apm2_model::event::agent::{class::FailureClass, label::Label};

use super::{Claude, lines::Members};
use crate::{
    classify::{self, Failure},
    json::{self, Raw},
    tracker::Tracker,
};

impl Claude {
    /// Why a turn failed. The codes decide; `text` only where they say nothing.
    pub(super) fn failure(&self, tracker: &Tracker, members: &Members<'_>, text: Option<Raw<'_>>) -> Failure {
        let http_status = classify::http_status(members.api_error_status);
        match members.subtype.as_deref() {
            Some("error_max_turns") => return Failure::new(FailureClass::Turns, http_status),
            Some("error_max_budget_usd") => return Failure::new(FailureClass::Budget, http_status),
            _ => {}
        }
        match members.terminal_reason.as_deref() {
            Some("prompt_too_long" | "blocking_limit") => return Failure::new(FailureClass::Context, http_status),
            Some("max_turns") => return Failure::new(FailureClass::Turns, http_status),
            Some("budget_exhausted") => return Failure::new(FailureClass::Budget, http_status),
            _ => {}
        }
        let category = self.category.as_ref().map(Label::as_str);
        if let Some(class) = category.and_then(class_of_category) {
            return Failure::new(class, http_status);
        }
        if members.api_error.as_deref() == Some("usage_limit_reached") {
            return Failure::new(FailureClass::RateLimit, http_status);
        }
        if members.api_error.as_deref() == Some("connection_failed") {
            // The connection failed before the first answer, or broke off in one.
            let class = if tracker.messages.is_empty() { FailureClass::Network } else { FailureClass::Server };
            return Failure::new(class, http_status);
        }
        if category == Some("server_error") {
            let class = http_status.and_then(classify::of_status).unwrap_or(FailureClass::Server);
            return Failure::new(class, http_status);
        }
        if category.is_none() && members.terminal_reason.is_some() {
            // A version with codes: the text may be an answer.
            let class = http_status.and_then(classify::of_status).unwrap_or(FailureClass::Unknown);
            return Failure::new(class, http_status);
        }
        let text = json::error_text(text.or(members.error));
        if text.contains("No conversation found") || text.contains("is already in use") {
            return Failure::new(FailureClass::ResumeInvalid, None);
        }
        let http_status = http_status.or_else(|| classify::status_in(&text));
        Failure::new(classify::class_of(http_status, &text), http_status)
    }
}

/// The class of a category of errors; `None` for one that needs the status or the text.
fn class_of_category(category: &str) -> Option<FailureClass> {
    Some(match category {
        "authentication_failed" | "oauth_org_not_allowed" => FailureClass::Auth,
        "billing_error" => FailureClass::Billing,
        "rate_limit" => FailureClass::RateLimit,
        "overloaded" => FailureClass::Overloaded,
        "model_not_found" => FailureClass::Model,
        _ => return None,
    })
}

/// The class of a retry. A failed request without a status did not reach the server.
pub(super) fn retry_class(members: &Members<'_>) -> FailureClass {
    let category = json::error_text(members.error);
    class_of_category(&category)
        .or_else(|| {
            classify::http_status(members.error_status).map_or(Some(FailureClass::Network), classify::of_status)
        })
        .unwrap_or(FailureClass::Unknown)
}

/// Lines on standard error with which the agent refuses to start.
pub(super) fn startup_failure(text: &str) -> Option<Failure> {
    let has = |words: &str| text.contains(words);
    if has("is already in use") || has("No conversation found") || has("No saved session found") {
        Some(Failure::permanent(FailureClass::ResumeInvalid))
    } else if has("Not logged in") || has("Please run /login") || has("Invalid API key") {
        Some(Failure::permanent(FailureClass::Auth))
    } else if has("cannot be used with root") {
        Some(Failure::permanent(FailureClass::Permission))
    } else if text.starts_with("Error: When using")
        || text.starts_with("error: ")
        || has("requires --verbose")
        || has("could not start: ")
        || has("Unknown argument")
    {
        Some(Failure::permanent(FailureClass::Unknown))
    } else {
        None
    }
}
