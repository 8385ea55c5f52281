//! The states of some streams before an event, for the sealing of the segment that begins with it.

use std::collections::{HashMap, HashSet, hash_map::Entry};

use apm2_model::{event::stream_id::StreamId, state::stream::Stream};

use crate::{
    error::ReadError,
    journal::{
        reader::{JournalReader, header_damage},
        segment_file::{SegmentFile, SegmentStart},
    },
    read::reader::Reader,
    record::{decode_event, decode_stream, peek_stream},
};

impl Reader {
    /// The states of `streams` before event `seq`, with which a segment begins. A stream without earlier events is left out.
    ///
    /// The segments are read backwards until each stream has a state, each of them once for all streams. Segments without
    /// states, such as those of format 1, are replayed as a whole.
    pub(crate) fn states_before(
        &self,
        streams: &HashSet<StreamId>,
        seq: u64,
    ) -> Result<HashMap<StreamId, Stream>, ReadError> {
        let mut states = HashMap::new();
        let base = self.base()?;
        let mut replayed = Vec::new();
        let mut next: Option<SegmentStart> = None;
        for file in self.segment_files()?.iter().rev() {
            if states.len() == streams.len() {
                break;
            }
            self.check_cancelled()?;
            let start = self.segment_start(file)?;
            let after = next.replace(start);
            let end = after.map_or(seq, |after| after.first_seq.min(seq));
            if start.first_seq >= end {
                continue;
            }
            let missing: Vec<StreamId> = streams.iter().filter(|id| !states.contains_key(*id)).copied().collect();
            match sealed_states(file, after, &missing) {
                Some(found) => states.extend(found),
                None => replayed.push((start.first_seq, end)),
            }
        }
        for id in base.iter().flat_map(|_| streams.iter()).filter(|id| !states.contains_key(*id)).collect::<Vec<_>>() {
            let bytes = base.as_ref().and_then(|base| base.state(*id).ok().flatten());
            states.extend(bytes.and_then(|bytes| decode_stream(&bytes).ok()).map(|state| (*id, state)));
        }
        for (first, end) in replayed.into_iter().rev() {
            self.replay_into(&mut states, streams, first, end)?;
        }
        Ok(states)
    }

    fn segment_start(&self, file: &SegmentFile) -> Result<SegmentStart, ReadError> {
        let start = file.start().map_err(|source| ReadError::Io { path: self.dir().shown(&file.path), source })?;
        Ok(start.map_err(|error| header_damage(file.number, error, 1))?)
    }

    /// Applies the events of `streams` from event `first` up to before event `end` that their states do not include.
    fn replay_into(
        &self,
        states: &mut HashMap<StreamId, Stream>,
        streams: &HashSet<StreamId>,
        first: u64,
        end: u64,
    ) -> Result<(), ReadError> {
        let mut reader = JournalReader::starting_at(self.dir(), first)?;
        while let Some(batch) = reader.next_batch()?.filter(|batch| batch.first_seq() < end) {
            self.check_cancelled()?;
            for (seq, bytes) in batch.iter().filter(|(seq, _)| (first..end).contains(seq)) {
                let unreadable = |source| ReadError::Record { seq, source };
                if !streams.contains(&peek_stream(bytes).map_err(unreadable)?) {
                    continue;
                }
                let event = decode_event(seq, bytes).map_err(unreadable)?;
                let illegal = |source| ReadError::Illegal { seq, source };
                match states.entry(event.stream) {
                    Entry::Occupied(state) if state.get().last_seq >= seq => {}
                    Entry::Occupied(mut state) => state.get_mut().apply(&event).map_err(illegal)?,
                    Entry::Vacant(place) => drop(place.insert(Stream::begin(&event).map_err(illegal)?)),
                }
            }
        }
        Ok(())
    }
}

/// The states of those of `streams` that have events in the sealed segment. `None` when the segment has no states, when one
/// cannot be read, or when the segment with the start `after` does not follow it: its events must be replayed.
fn sealed_states(
    file: &SegmentFile,
    after: Option<SegmentStart>,
    streams: &[StreamId],
) -> Option<Vec<(StreamId, Stream)>> {
    let segment = file.open().ok().filter(|_| file.is_sealed)?;
    if !segment.has_states().ok()? || after.is_some_and(|after| !after.follows(&segment)) {
        return None;
    }
    let mut found = Vec::new();
    for id in streams {
        if let Some(bytes) = segment.state(*id).ok()? {
            let state = decode_stream(&bytes).ok().filter(|state| state.id == *id)?;
            found.push((*id, state));
        }
    }
    Some(found)
}
