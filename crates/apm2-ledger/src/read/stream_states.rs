//! The states of single streams after given events: of the store where it has them, else of the journal.

use std::{ops::ControlFlow, sync::Arc};

use apm2_model::{event::stream_id::StreamId, state::stream::Stream};

use crate::{
    error::ReadError,
    journal::base::Base,
    limits::STATES_TOGETHER_MAX,
    read::{events::Events, query::EventQuery, read_ledger::StreamAt, reader::Reader, state::apply_or_begin},
};

/// Where the state of a stream is read from.
enum Origin {
    /// The snapshot in the store, if there is one, and the events after it.
    Store(Option<Box<Stream>>),
    Journal,
    /// The archives: the store has no events of the stream.
    Archives(Arc<Base>),
}

impl Reader {
    /// The current state of the stream `id`; `None` if the stream has no events.
    ///
    /// # Errors
    /// When an event of the stream cannot be read, or is not allowed in the state of the stream.
    pub fn stream(&self, id: StreamId) -> Result<Option<Stream>, ReadError> {
        self.stream_at(id, u64::MAX)
    }

    /// The state of the stream `id` after event `seq` of the ledger; `None` if the stream has no events by then.
    ///
    /// # Errors
    /// When an event of the stream cannot be read, or is not allowed in the state of the stream.
    pub fn stream_at(&self, id: StreamId, seq: u64) -> Result<Option<Stream>, ReadError> {
        Ok(self.streams_at(&[StreamAt { id, seq }])?.pop().flatten())
    }

    /// Calls `visit` with the states of these streams, in this order, until it returns `Break`. A stream without events by then has
    /// none.
    pub(crate) fn each_stream_at(
        &self,
        asked: &[StreamAt],
        mut visit: impl FnMut(Stream) -> Result<ControlFlow<()>, ReadError>,
    ) -> Result<(), ReadError> {
        for together in asked.chunks(STATES_TOGETHER_MAX) {
            self.check_cancelled()?;
            for state in self.streams_at(together)?.into_iter().flatten() {
                if visit(state)?.is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// The states of these streams, in this order. `None` for a stream that has no events by then.
    fn streams_at(&self, asked: &[StreamAt]) -> Result<Vec<Option<Stream>>, ReadError> {
        // A sealed segment can have events that this reader does not return: those after the end of a store that lags behind.
        let visible = self.visible();
        let asked = asked.iter().map(|at| StreamAt { seq: at.seq.min(visible), ..*at });
        let (mut states, mut places, mut in_journal) = (Vec::new(), Vec::new(), Vec::new());
        for (place, at) in asked.enumerate() {
            states.push(match self.origin_of(at)? {
                Origin::Store(snapshot) => self.state_from_store(at, snapshot)?,
                Origin::Archives(base) => self.archived_state(&base, at.id, at.seq)?,
                Origin::Journal => {
                    places.push(place);
                    in_journal.push(at);
                    None
                }
            });
        }
        let found = match self.journal_states(&in_journal) {
            Err(ReadError::Cancelled) => return Err(ReadError::Cancelled),
            // What cannot be read may concern only some of the streams, and a segment may have moved into an archive meanwhile.
            Err(_) => in_journal.iter().map(|at| self.journal_state(*at)).collect::<Result<_, _>>()?,
            Ok(found) => found,
        };
        for (place, state) in places.into_iter().zip(found) {
            if let Some(found) = states.get_mut(place) {
                *found = state;
            }
        }
        Ok(states)
    }

    fn origin_of(&self, at: StreamAt) -> Result<Origin, ReadError> {
        // The memory is read before the store, because an event that has left the memory is in the store.
        let is_unindexed = self.access().is_unindexed(at.id);
        // A snapshot that cannot be read is none.
        let snapshot = self.store().and_then(|store| store.snapshot(at.id).unwrap_or_default());
        if let Some(snapshot) = snapshot {
            let is_later = snapshot.last_seq > at.seq;
            return Ok(if is_later { Origin::Journal } else { Origin::Store(Some(Box::new(snapshot))) });
        }
        if self.can_be_sealed(at.id) {
            return Ok(Origin::Journal);
        }
        let base = if is_unindexed { None } else { self.base()? };
        Ok(base.map_or(Origin::Store(None), Origin::Archives))
    }

    /// Whether a sealed segment may have a state of the stream: without a store always, else if the store has events of it. A
    /// store that was rebuilt has events without snapshots.
    fn can_be_sealed(&self, id: StreamId) -> bool {
        self.store().is_none_or(|store| store.last_stream_window(id).is_ok_and(|window| window.is_some()))
    }

    /// The state after the snapshot and the events that follow it.
    fn state_from_store(&self, at: StreamAt, snapshot: Option<Box<Stream>>) -> Result<Option<Stream>, ReadError> {
        // A snapshot includes all events in the archives.
        let archived = match &snapshot {
            Some(_) => self.base()?.map_or(0, |base| base.seq()).min(at.seq),
            None => 0,
        };
        let mut state = snapshot.map(|snapshot| *snapshot);
        let (first, version) = state.as_ref().map_or((1, 1), |state| (state.last_seq + 1, state.version + 1));
        let query = EventQuery::stream(at.id);
        let events = Events::new(self.access().clone(), query, first.max(archived + 1), at.seq).expecting(version);
        for event in self.until_cancelled(events) {
            apply_or_begin(&mut state, &event?)?;
        }
        Ok(state)
    }
}
