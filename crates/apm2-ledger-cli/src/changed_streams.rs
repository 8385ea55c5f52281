//! Finds the instances with events in a range, where few events are in it.

use std::{collections::BTreeSet, ops::ControlFlow};

use apm2_ledger::{EventQuery, EventsQuestion, KindSet, ReadLedger as _};
use apm2_model::event::stream_id::StreamId;

use crate::source::{LedgerSource, ReadFailure};

/// Largest number of events that are read to find the instances. With more events, the states of all instances are read
/// instead.
const EVENTS_MAX: u64 = 10_000;

/// The instances with events of these kinds from event `seqs.0` to event `seqs.1`; `None` when there are many events.
pub(crate) fn changed_streams(
    source: &LedgerSource,
    kinds: KindSet,
    seqs: (u64, u64),
) -> Result<Option<BTreeSet<StreamId>>, ReadFailure> {
    let query = EventQuery { kinds: Some(kinds), ..EventQuery::default() };
    let (mut ids, mut count) = (BTreeSet::new(), 0);
    let question = EventsQuestion { max: EVENTS_MAX, ..EventsQuestion::all(query, seqs) };
    source.events(&question, &mut |event| {
        count += 1;
        if !event.stream.is_system() {
            ids.insert(event.stream);
        }
        ControlFlow::Continue(())
    })?;
    Ok((count < EVENTS_MAX).then_some(ids))
}
