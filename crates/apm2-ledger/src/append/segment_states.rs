//! The states of the streams with events in one segment, as they are after its last event.

use std::collections::{BTreeMap, HashMap, btree_map::Entry};

use apm2_model::{
    event::{Event, stream_id::StreamId},
    state::stream::Stream,
};

use crate::{limits::SEALER_STATES_MAX, record::encode_stream};

/// The states, replayed event by event.
pub(crate) struct SegmentStates {
    /// States of streams before the segment.
    before: HashMap<StreamId, Stream>,
    states: BTreeMap<StreamId, Stream>,
    /// Whether every event could be applied.
    is_whole: bool,
}

impl SegmentStates {
    /// The states before the first event of the segment. `before` has those of the streams that have earlier events, and may
    /// have more.
    pub(crate) const fn new(before: HashMap<StreamId, Stream>) -> Self {
        Self { before, states: BTreeMap::new(), is_whole: true }
    }

    /// Applies the next event.
    pub(crate) fn apply(&mut self, event: &Event) {
        if !event.stream.is_system() && self.is_whole {
            self.is_whole = self.try_apply(event).is_some();
        }
    }

    fn try_apply(&mut self, event: &Event) -> Option<()> {
        match self.states.entry(event.stream) {
            Entry::Occupied(mut state) => state.get_mut().apply(event).ok(),
            Entry::Vacant(place) if event.version == 1 => {
                place.insert(Stream::begin(event).ok()?);
                Some(())
            }
            Entry::Vacant(place) => place.insert(self.before.remove(&event.stream)?).apply(event).ok(),
        }
    }

    /// The encoded state of each stream, in the order of the streams. `None` when a state is unknown or too large: a
    /// segment has the states of all its streams, or none.
    pub(crate) fn encode(&self) -> Option<Vec<(StreamId, Vec<u8>)>> {
        let encoded = self.states.iter().map(|(id, state)| Some((*id, encode_stream(state).ok()?)));
        encoded.collect::<Option<_>>().filter(|_| self.is_whole)
    }

    /// States for the next segment, [`SEALER_STATES_MAX`] at most.
    pub(crate) fn into_cache(self) -> HashMap<StreamId, Stream> {
        if !self.is_whole {
            return HashMap::new();
        }
        let (states, before) = (self.states.into_iter(), self.before.into_iter());
        states.chain(before).take(SEALER_STATES_MAX).collect()
    }
}
