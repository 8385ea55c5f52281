//! The class of a failure, from an HTTP status or from the words of an error.
//!
//! Where an agent has codes, these decide. Words decide only where it has nothing else; of a text only the class and the status are
//! kept.

use apm2_model::event::agent::class::FailureClass;

/// A failure as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Failure {
    /// Its class.
    pub(crate) class: FailureClass,
    /// The HTTP status of the failed request.
    pub(crate) http_status: Option<u16>,
    /// Whether another run with the same arguments would fail in the same way.
    pub(crate) is_permanent: bool,
}

impl Failure {
    /// A failure that is permanent if its class is.
    pub(crate) const fn new(class: FailureClass, http_status: Option<u16>) -> Self {
        Self { class, http_status, is_permanent: is_permanent(class) }
    }

    /// A failure that each run with the same arguments and settings has.
    pub(crate) const fn permanent(class: FailureClass) -> Self {
        Self { class, http_status: None, is_permanent: true }
    }

    /// The failure in the words of an error.
    pub(crate) fn of_text(text: &str) -> Self {
        let http_status = status_in(text);
        Self::new(class_of(http_status, text), http_status)
    }
}

/// Whether each run with the same arguments has a failure of this class.
pub(crate) const fn is_permanent(class: FailureClass) -> bool {
    matches!(
        class,
        FailureClass::Auth
            | FailureClass::Billing
            | FailureClass::Model
            | FailureClass::ResumeInvalid
            | FailureClass::Permission
    )
}

/// The class of an HTTP status; `None` for a status that says too little, such as 400.
pub(crate) const fn of_status(status: u16) -> Option<FailureClass> {
    match status {
        401 | 403 | 407 => Some(FailureClass::Auth),
        402 => Some(FailureClass::Billing),
        404 => Some(FailureClass::Model),
        413 => Some(FailureClass::Context),
        429 => Some(FailureClass::RateLimit),
        503 | 529 => Some(FailureClass::Overloaded),
        408 | 500..=599 => Some(FailureClass::Server),
        _ => None,
    }
}

/// The class of a request that failed with this status and these words. Words that are more exact than the status come first: an
/// account without credit is answered with 400, 403 or 429, a full context window with 400.
pub(crate) fn class_of(status: Option<u16>, text: &str) -> FailureClass {
    let from_status = status.and_then(of_status);
    match of_words(text) {
        Some(
            class @ (FailureClass::Billing | FailureClass::Context | FailureClass::Auth | FailureClass::Overloaded),
        ) => class,
        Some(class) => from_status.unwrap_or(class),
        None => from_status.unwrap_or(FailureClass::Unknown),
    }
}

/// Words of errors and their classes, in lower case; the first that occurs decides.
const WORDS: [(&str, FailureClass); 60] = [
    ("context_length_exceeded", FailureClass::Context),
    ("context window", FailureClass::Context),
    ("context length", FailureClass::Context),
    ("prompt is too long", FailureClass::Context),
    ("input is too long", FailureClass::Context),
    ("exceeds the maximum number of tokens", FailureClass::Context),
    ("exceeds the maximum number of input tokens", FailureClass::Context),
    ("daily quota", FailureClass::RateLimit),
    ("usage limit", FailureClass::RateLimit),
    ("insufficient_quota", FailureClass::Billing),
    ("quota exceeded. check your plan", FailureClass::Billing),
    ("check your plan and billing", FailureClass::Billing),
    ("credit balance", FailureClass::Billing),
    ("insufficient credit", FailureClass::Billing),
    ("insufficient balance", FailureClass::Billing),
    ("billing_error", FailureClass::Billing),
    ("billing_not_active", FailureClass::Billing),
    ("payment required", FailureClass::Billing),
    ("out of credits", FailureClass::Billing),
    ("api_key_invalid", FailureClass::Auth),
    ("invalid_api_key", FailureClass::Auth),
    ("api key not valid", FailureClass::Auth),
    ("invalid api key", FailureClass::Auth),
    ("incorrect api key", FailureClass::Auth),
    ("invalid x-api-key", FailureClass::Auth),
    ("missing api key", FailureClass::Auth),
    ("api key is missing", FailureClass::Auth),
    ("missing environment variable", FailureClass::Auth),
    ("authentication_", FailureClass::Auth),
    ("unauthenticated", FailureClass::Auth),
    ("unauthorized", FailureClass::Auth),
    ("not logged in", FailureClass::Auth),
    ("please run /login", FailureClass::Auth),
    ("log in again", FailureClass::Auth),
    ("sign in again", FailureClass::Auth),
    ("oauth token", FailureClass::Auth),
    ("refresh token", FailureClass::Auth),
    ("at capacity", FailureClass::Overloaded),
    ("overloaded", FailureClass::Overloaded),
    ("high demand", FailureClass::Overloaded),
    ("resource_exhausted", FailureClass::RateLimit),
    ("rate limit", FailureClass::RateLimit),
    ("rate_limit", FailureClass::RateLimit),
    ("too many requests", FailureClass::RateLimit),
    ("exceeded your current quota", FailureClass::RateLimit),
    ("quota", FailureClass::RateLimit),
    ("model_not_found", FailureClass::Model),
    ("model not found", FailureClass::Model),
    ("selected model", FailureClass::Model),
    ("permission_denied", FailureClass::Auth),
    ("error sending request", FailureClass::Network),
    ("stream disconnected", FailureClass::Server),
    ("stream ended", FailureClass::Server),
    ("invalid stream", FailureClass::Server),
    ("incomplete json", FailureClass::Server),
    ("mid-response", FailureClass::Server),
    ("server_error", FailureClass::Server),
    ("internal server error", FailureClass::Server),
    ("bad gateway", FailureClass::Server),
    ("gateway timeout", FailureClass::Server),
];

/// Words of errors of the connection. They are looked for last: an error of the server may name the connection too.
const NETWORK_WORDS: [&str; 11] = [
    "waiting for network",
    "connection failed",
    "connection error",
    "fetch failed",
    "econnrefused",
    "econnreset",
    "etimedout",
    "enotfound",
    "eai_again",
    "unable to connect",
    "network error",
];

fn of_words(text: &str) -> Option<FailureClass> {
    let text = text.to_ascii_lowercase();
    let is_model_missing = text.contains("model")
        && (text.contains("does not exist") || text.contains("is not found") || text.contains("is not supported"));
    WORDS
        .into_iter()
        .find_map(|(words, class)| text.contains(words).then_some(class))
        .or_else(|| is_model_missing.then_some(FailureClass::Model))
        .or_else(|| NETWORK_WORDS.into_iter().any(|words| text.contains(words)).then_some(FailureClass::Network))
}

/// Texts that precede an HTTP status in the words of an error.
const STATUS_MARKS: [&str; 9] = [
    "last status: ",
    "unexpected status ",
    "failed with status ",
    "status code ",
    "api error: ",
    "request rejected (",
    "\"code\":",
    "\"status\":",
    "status: ",
];

/// The HTTP status in the words of an error.
pub(crate) fn status_in(text: &str) -> Option<u16> {
    let text = text.to_ascii_lowercase();
    STATUS_MARKS.into_iter().find_map(|mark| {
        let (_, rest) = text.split_once(mark)?;
        leading_status(rest)
    })
}

/// The HTTP status at the beginning of a text.
pub(crate) fn leading_status(text: &str) -> Option<u16> {
    let digits = text.trim_start();
    let end = digits.find(|character: char| !character.is_ascii_digit()).unwrap_or(digits.len());
    http_status(digits.get(..end)?.parse().ok())
}

/// A status of a failed HTTP request.
pub(crate) fn http_status(status: Option<u64>) -> Option<u16> {
    u16::try_from(status?).ok().filter(|status| (400..600).contains(status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_statuses_have_classes() {
        let cases = [
            ("unexpected status 401 Unauthorized: Incorrect API key provided", FailureClass::Auth, Some(401)),
            ("exceeded retry limit, last status: 429 Too Many Requests", FailureClass::RateLimit, Some(429)),
            ("exceeded retry limit, last status: 503 Service Unavailable", FailureClass::Overloaded, Some(503)),
            ("unexpected status 500 Internal Server Error: x", FailureClass::Server, Some(500)),
            ("unexpected status 403 Forbidden: x", FailureClass::Auth, Some(403)),
            ("unexpected status 404 Not Found: x", FailureClass::Model, Some(404)),
            ("unexpected status 402 Payment Required: x", FailureClass::Billing, Some(402)),
            (
                "You\u{2019}ve hit your usage limit. Upgrade to Pro to purchase more credits",
                FailureClass::RateLimit,
                None,
            ),
            ("Quota exceeded. Check your plan and billing details.", FailureClass::Billing, None),
            ("Codex ran out of room in the model's context window.", FailureClass::Context, None),
            ("Selected model is at capacity.", FailureClass::Overloaded, None),
            ("The model `nope` does not exist", FailureClass::Model, None),
            (
                "Reconnecting... waiting for network (Connection failed: error sending request)",
                FailureClass::Network,
                None,
            ),
            ("stream disconnected before completion: error sending request for url", FailureClass::Network, None),
            ("stream disconnected before completion: idle timeout waiting for SSE", FailureClass::Server, None),
            (
                r#"[API Error: {"error":{"code":400,"message":"Bad request","status":"INVALID_ARGUMENT"}}]"#,
                FailureClass::Unknown,
                Some(400),
            ),
            (
                r#"[API Error: {"error":{"code":503,"message":"The model is overloaded."}}]"#,
                FailureClass::Overloaded,
                Some(503),
            ),
            (r#"[API Error: {"error":{"code":500,"message":"Internal error"}}]"#, FailureClass::Server, Some(500)),
            ("[API Error: 401 Incorrect API key provided: stub]", FailureClass::Auth, Some(401)),
            ("API Error: 529 Overloaded.", FailureClass::Overloaded, Some(529)),
            ("API Error: Request rejected (429) \u{b7} x", FailureClass::RateLimit, Some(429)),
            (r#"{"error": {"message": "Invalid value", "code": "invalid_value"}}"#, FailureClass::Unknown, None),
            ("", FailureClass::Unknown, None),
        ];
        for (text, class, status) in cases {
            assert_eq!((Failure::of_text(text).class, Failure::of_text(text).http_status), (class, status), "{text}");
        }
    }

    #[test]
    fn a_number_that_is_not_a_status_is_not_taken() {
        assert_eq!(status_in("status code 4290000000000000000000000"), None);
        assert_eq!(status_in("status code 200"), None);
    }
}
