//! Reads what happened lately, for all processes.

use apm2_model::event::stream_id::StreamId;

use apm2_ledger::ReadLedger as _;

use crate::{
    context::Context,
    error::CliError,
    period_lanes::{Asked, PeriodLanes, Timeline},
    stats::period::Period,
    time::At,
};

/// The figures of the time until a time or an event, or until now. `down` are instances that are down, also if that began before.
///
/// # Errors
/// The ledger cannot be read.
pub(crate) fn read(context: &Context, until: Option<At>, down: &[StreamId]) -> Result<Timeline, CliError> {
    let (lanes, supervision) = context.read(|source| {
        let end = source.head()?.end();
        let period = Period::requested_or_recent(source, &[], (None, until), end, context)?;
        let asked = Asked { also: down, ..Asked::default() };
        // Figures have no parts.
        PeriodLanes::read(source, asked, &period, &|_| 1, false)
    })?;
    Ok(lanes.finish(supervision))
}
