//! Prints the outcomes of a call that concerns several processes.

use std::io;

use apm2_daemon::protocol::{CallAnswer, Outcome};

use crate::{context::Context, error::CliError, options::Format, terminal::say};

/// Prints each outcome on standard output, and each failure on standard error.
///
/// # Errors
/// At least one outcome is a failure.
pub(crate) fn print_outcomes(answer: &CallAnswer, context: &Context) -> Result<i32, CliError> {
    let CallAnswer::Outcomes(outcomes) = answer else { return Ok(0) };
    match context.format {
        Format::Json => context.print_json(outcomes)?,
        Format::Jsonl => context.print_jsonl(outcomes)?,
        Format::Table => context.print(|out| {
            outcomes.iter().filter(|outcome| outcome.error.is_none()).try_for_each(|outcome| print_done(out, outcome))
        })?,
    }
    let failed: Vec<&Outcome> = outcomes.iter().filter(|outcome| outcome.error.is_some()).collect();
    let Some((last, others)) = failed.split_last() else { return Ok(0) };
    let words = |outcome: &Outcome| {
        format!("{}: cannot {}: {}", outcome.name, outcome.action, outcome.error.as_deref().unwrap_or_default())
    };
    others.iter().for_each(|outcome| say(&words(outcome)));
    Err(CliError::failed(words(last)).with_hint(format!("`apm2-ledger show {}` says what happened", last.name)))
}

fn print_done(out: &mut dyn io::Write, outcome: &Outcome) -> io::Result<()> {
    write!(out, "{:<10} {}", outcome.action.to_string(), outcome.name)?;
    if let Some(bytes) = outcome.bytes {
        write!(out, ": {bytes} bytes of logs")?;
    }
    if let Some(note) = &outcome.note {
        write!(out, ": {note}")?;
    }
    writeln!(out)
}
