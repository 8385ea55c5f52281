//! Reads all instances as they are now: what `list` asks for.

use std::ops::ControlFlow;

use apm2_ledger::{ReadLedger as _, StatesQuestion};
use apm2_model::state::stream::Stream;
use chrono::{DateTime, Utc};

use crate::{
    context::{Context, NoAnswer},
    error::CliError,
    moment::Moment,
    source::{LedgerSource, ReadFailure},
    status::Supervision,
    top::snapshot::Snapshot,
};

/// The last event, the states after it, and the time of the last event if no daemon answers.
type Read = (u64, Vec<Stream>, Option<DateTime<Utc>>);

/// The present, as the daemon has it.
///
/// # Errors
/// The ledger cannot be read. The inner error is that of the daemon.
pub(crate) fn from_daemon(context: &Context) -> Result<Result<Snapshot, NoAnswer>, CliError> {
    match context.read_from_daemon(ask)? {
        Ok(read) => Ok(Ok(snapshot(read, Supervision::Answered, context)?)),
        Err(no_answer) => Ok(Err(no_answer)),
    }
}

/// The present, as the journal has it.
///
/// # Errors
/// The ledger cannot be read.
pub(crate) fn from_journal(context: &Context, supervision: Supervision) -> Result<Snapshot, CliError> {
    snapshot(context.read_from_journal(ask)?, supervision, context)
}

fn ask(source: &LedgerSource) -> Result<Read, ReadFailure> {
    let mut streams = Vec::new();
    let seq = source.states(&StatesQuestion::All(u64::MAX), &mut |stream| {
        streams.push(stream);
        ControlFlow::Continue(())
    })?;
    Ok((seq.unwrap_or(0), streams, source.recorded_until()?))
}

fn snapshot(read: Read, supervision: Supervision, context: &Context) -> Result<Snapshot, CliError> {
    let (seq, streams, recorded_until) = read;
    let status_context = context.status_context(Moment::present(), supervision, recorded_until)?;
    Ok(Snapshot::new(seq, streams, status_context))
}
