//! Starts, stops and restarts that the live page asks for.

use apm2_daemon::protocol::{CallAnswer, ClientRequest};
use apm2_ledger::ReadLedger as _;
use apm2_model::event::stream_id::StreamId;
use serde::Deserialize;

use crate::{
    context::Context,
    daemon::order,
    error::CliError,
    report::stream_of_key,
    source::{LedgerSource, ReadFailure},
};

/// Largest number of characters of a reason.
const REASON_CHARS_MAX: usize = 500;

/// What a page asks for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Order {
    action: Action,
    /// The key of the process in the document.
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
    pub(crate) fn carry_out(self, context: &Context) -> Result<String, CliError> {
        let reason = self.reason.trim();
        if reason.chars().count() > REASON_CHARS_MAX {
            return Err(CliError::usage(format!("the reason has more than {REASON_CHARS_MAX} characters")));
        }
        let reason = if reason.is_empty() { "web page".to_owned() } else { format!("web page: {reason}") };
        let id = stream_of_key(&self.process).ok_or_else(|| CliError::usage("this is not the key of a process"))?;
        let targets = vec![context.read(|source| target(source, id))?.0];
        let request = match self.action {
            Action::Start => ClientRequest::Start { targets },
            Action::Stop => ClientRequest::Stop { targets, timeout: None },
            Action::Restart => ClientRequest::Restart { targets },
        };
        let dir = context.existing_ledger_dir()?;
        let CallAnswer::Outcomes(outcomes) = order(&dir, request, Some(reason))? else { return Ok("done".to_owned()) };
        let words = outcomes.iter().map(|outcome| match &outcome.error {
            None => format!("{}: {}", outcome.name, outcome.action),
            Some(error) => format!("{}: cannot {}: {error}", outcome.name, outcome.action),
        });
        Ok(words.collect::<Vec<_>>().join("; "))
    }
}

/// The text that names this instance to the daemon. Names can be used again, so a page can list several processes with one name,
/// and a name that the page was given can have gone over to another process.
fn target(source: &LedgerSource, id: StreamId) -> Result<String, ReadFailure> {
    let refused = |why: &str| ReadFailure::from(CliError::usage(why.to_owned()));
    let stream = source.state_at(id, source.head()?.end())?.ok_or_else(|| refused("there is no such process"))?;
    let is_one_of_several = stream.handle.spec.instances > 1;
    // Only a name can mean one instance of several.
    let text = if is_one_of_several { stream.handle.display_name() } else { id.process_id.to_string() };
    let meant = source.named(&text)?;
    let is_it = if is_one_of_several {
        meant == [id]
    } else {
        meant.contains(&id) && meant.iter().all(|one| one.process_id == id.process_id)
    };
    if is_it { Ok(text) } else { Err(refused("its name means another process now")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_has_known_fields() {
        let parse = |json: &str| serde_json::from_str::<Order>(json);
        assert!(parse(r#"{"action":"stop","process":"web","reason":"x"}"#).is_ok());
        for json in
            ["", "{}", r#"{"action":"kill","process":"web"}"#, r#"{"action":"stop","process":"web","all":true}"#]
        {
            assert!(parse(json).is_err(), "{json}");
        }
    }
}
