//! The period of statistics, by wall-clock times and by event numbers.

use apm2_ledger::{EventQuery, EventsQuestion};
use apm2_model::{
    clock::SystemClock,
    event::{
        Event,
        stream_id::StreamId,
        timestamp::{Clock as _, Timestamp},
    },
};
use chrono::TimeDelta;

use crate::{
    context::Context,
    error::CliError,
    moment::Moment,
    options::typed,
    source::{LedgerSource, ReadFailure},
    time::At,
};

/// The length of the default period of those commands that show the latest time.
const RECENT: TimeDelta = TimeDelta::hours(24);

/// A period in the history of a ledger.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Period {
    pub(crate) from: Timestamp,
    pub(crate) to: Timestamp,
    /// The sequence numbers of its first and its last event.
    pub(crate) seqs: (u64, u64),
}

impl Period {
    /// The period that the options `--since` and `--until` ask for. Without the first it begins with the first event of the
    /// streams, and without the second it ends now. `end` is the last event that is read.
    ///
    /// # Errors
    /// The beginning is later than the end, or the ledger ends before one of them.
    pub(crate) fn requested(
        source: &LedgerSource,
        streams: &[StreamId],
        (since, until): (Option<At>, Option<At>),
        end: u64,
        context: &Context,
    ) -> Result<Self, ReadFailure> {
        let to = context.moment(source, until, typed("--until", "--at"))?;
        let from = since.map(|since| context.moment(source, Some(since), "--since")).transpose()?;
        if from.is_some_and(|from| from.is_after(to, end)) {
            return Err(CliError::usage(format!("--since is later than {}", typed("--until", "--at"))).into());
        }
        Self::new(source, streams, from, to, end)
    }

    /// Like [`requested`](Self::requested), but without `--since` the period begins [`RECENT`] before its end, or with the first event
    /// of the streams if that is later.
    ///
    /// # Errors
    /// As those of [`requested`](Self::requested).
    pub(crate) fn requested_or_recent(
        source: &LedgerSource,
        streams: &[StreamId],
        (since, until): (Option<At>, Option<At>),
        end: u64,
        context: &Context,
    ) -> Result<Self, ReadFailure> {
        if since.is_some() {
            return Self::requested(source, streams, (since, until), end, context);
        }
        let to = context.moment(source, until, typed("--until", "--at"))?;
        let from = to.now.checked_sub_signed(RECENT).unwrap_or(to.now);
        let first = source.first_event(streams, to.seq.min(end))?;
        let since = Some(At::Time(from)).filter(|_| first.is_none_or(|first| first.stamp.wall() < from));
        Self::requested(source, streams, (since, until), end, context)
    }

    /// The period from `from` to `to`; `None` for `from` is the first event of the streams. `end` is the last event that
    /// is read.
    pub(crate) fn new(
        source: &LedgerSource,
        streams: &[StreamId],
        from: Option<Moment>,
        to: Moment,
        end: u64,
    ) -> Result<Self, ReadFailure> {
        let last = to.seq.min(end);
        let first = from.map_or(1, |from| from.seq.saturating_add(1));
        let to_stamp = if to.is_present { SystemClock.now() } else { stamp_at(source, to, last)? };
        let from = match from {
            Some(from) => stamp_at(source, from, from.seq)?,
            None => source.first_event(streams, last)?.map_or(to_stamp, |event| event.stamp),
        };
        Ok(Self { from, to: to_stamp, seqs: (first, last) })
    }
}

/// The moment on both clocks, by the last event before it, or else by the first event after it.
fn stamp_at(source: &LedgerSource, moment: Moment, seq: u64) -> Result<Timestamp, ReadFailure> {
    let event_at = |seq| -> Result<Option<Event>, ReadFailure> {
        Ok(source.events_in_order(&EventsQuestion::all(EventQuery::default(), (seq, seq)))?.pop())
    };
    let event = event_at(seq.max(1))?;
    Ok(event.map_or_else(|| SystemClock.now(), |event| translated(event.stamp, moment)))
}

/// The moment on both clocks: the boot clock differs from `known` by as much as the wall clock.
fn translated(known: Timestamp, moment: Moment) -> Timestamp {
    let wall_ns = moment.now.timestamp_nanos_opt().unwrap_or(known.wall_ns);
    let later = wall_ns.saturating_sub(known.wall_ns);
    Timestamp { wall_ns, boot_ns: known.boot_ns.saturating_add_signed(later), ..known }
}
