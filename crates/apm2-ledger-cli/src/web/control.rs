//! Starts, stops and restarts that the live page asks for.

use std::path::Path;

use apm2_daemon::protocol::{CallAnswer, ClientRequest};
use serde::Deserialize;

use crate::{daemon::order, error::CliError};

/// Largest number of characters of a reason.
const REASON_CHARS_MAX: usize = 500;

/// The word that stands for all processes. The page asks for one.
const ALL: &str = "all";

/// What a page asks for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Order {
    action: Action,
    process: String,
    #[serde(default)]
    reason: String,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Action {
    Start,
    Stop,
    Restart,
}

impl Order {
    /// Carries it out by the daemon, which records the user of this program. Returns the result in words.
    pub(crate) fn carry_out(self, dir: &Path) -> Result<String, CliError> {
        if self.process == ALL || self.process.is_empty() {
            return Err(CliError::usage("name one process"));
        }
        let reason = self.reason.trim();
        if reason.chars().count() > REASON_CHARS_MAX {
            return Err(CliError::usage(format!("the reason has more than {REASON_CHARS_MAX} characters")));
        }
        let reason = if reason.is_empty() { "web page".to_owned() } else { format!("web page: {reason}") };
        let targets = vec![self.process];
        let request = match self.action {
            Action::Start => ClientRequest::Start { targets },
            Action::Stop => ClientRequest::Stop { targets, timeout: None },
            Action::Restart => ClientRequest::Restart { targets },
        };
        let CallAnswer::Outcomes(outcomes) = order(dir, request, Some(reason))? else { return Ok("done".to_owned()) };
        let words = outcomes.iter().map(|outcome| match &outcome.error {
            None => format!("{}: {}", outcome.name, outcome.action),
            Some(error) => format!("{}: cannot {}: {error}", outcome.name, outcome.action),
        });
        Ok(words.collect::<Vec<_>>().join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_for_one_process_and_has_known_fields() {
        let parse = |json: &str| serde_json::from_str::<Order>(json);
        assert!(parse(r#"{"action":"stop","process":"web","reason":"x"}"#).is_ok());
        for json in
            ["", "{}", r#"{"action":"kill","process":"web"}"#, r#"{"action":"stop","process":"web","all":true}"#]
        {
            assert!(parse(json).is_err(), "{json}");
        }
        let of = |process: &str, reason: &str| Order {
            action: Action::Stop,
            process: process.into(),
            reason: reason.into(),
        };
        let nowhere = Path::new("/nowhere/at/all");
        assert!(of("all", "").carry_out(nowhere).unwrap_err().message().contains("one process"));
        assert!(of("web", &"x".repeat(501)).carry_out(nowhere).unwrap_err().message().contains("500"));
    }
}
