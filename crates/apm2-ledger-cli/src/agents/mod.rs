//! What AI agents used and which sessions they had, by replaying their recorded reports. Reads events and states; prints
//! nothing.

pub(crate) mod replay;
pub(crate) mod sessions;
pub(crate) mod spending;

use std::collections::BTreeMap;

use apm2_ledger::{EventQuery, KindSet, StatesQuestion, StreamAt};
use apm2_model::{
    event::stream_id::StreamId,
    state::{agent::AgentTotals, stream::Stream},
};

use crate::source::{LedgerSource, ReadFailure};

/// What was used.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Spent {
    pub(crate) totals: AgentTotals,
    /// Whether a report said a cost. Some agents report tokens only.
    pub(crate) has_cost: bool,
}

impl Spent {
    pub(crate) fn add(&mut self, more: Self) {
        self.totals.add(more.totals);
        self.has_cost |= more.has_cost;
    }

    /// The cost in millionths of a US dollar; `None` if no report said one.
    pub(crate) fn cost_micros(&self) -> Option<u64> {
        Some(self.totals.cost_micros).filter(|_| self.has_cost)
    }

    fn is_nothing(&self) -> bool {
        self.totals == AgentTotals::default()
    }
}

/// Largest number of agents whose states before a period are asked for one by one.
const STATES_MAX: usize = 64;

/// The agents among these instances, or among all that were alive or had events from `first` to `last`, as of event `last`.
fn agents(
    source: &LedgerSource,
    ids: &[StreamId],
    (first, last): (u64, u64),
) -> Result<BTreeMap<StreamId, Stream>, ReadFailure> {
    let question = match ids {
        [] => StatesQuestion::Active { since: first, upto: last },
        ids => StatesQuestion::Of(ids.iter().map(|id| StreamAt { id: *id, seq: last }).collect()),
    };
    let streams = source.states_of(&question)?;
    Ok(streams.into_iter().filter(|stream| stream.agent.is_some()).map(|stream| (stream.id, stream)).collect())
}

/// The states before event `first` of those of `agents` that have events since then.
fn states_before(
    source: &LedgerSource,
    agents: &BTreeMap<StreamId, Stream>,
    first: u64,
) -> Result<BTreeMap<StreamId, Stream>, ReadFailure> {
    let changed: Vec<_> = agents.values().filter(|agent| agent.last_seq >= first).map(|agent| agent.id).collect();
    let Some(seq) = first.checked_sub(1).filter(|seq| *seq > 0 && !changed.is_empty()) else {
        return Ok(BTreeMap::new());
    };
    let question = if changed.len() > STATES_MAX {
        StatesQuestion::All(seq)
    } else {
        StatesQuestion::Of(changed.into_iter().map(|id| StreamAt { id, seq }).collect())
    };
    Ok(source.states_of(&question)?.into_iter().map(|stream| (stream.id, stream)).collect())
}

/// The reports of these instances, or of all.
fn reports(ids: &[StreamId]) -> EventQuery {
    EventQuery { streams: ids.to_vec(), kinds: Some(KindSet::named(["agent"])), ..EventQuery::default() }
}
