//! The states of all streams after any event, from the states in the sealed segments and the events after those. The states
//! in memory at the same time take about [`STATES_PAGE_BYTES`]. Most of them are not decoded, because no event follows.

use std::{collections::BTreeMap, ops::ControlFlow};

use apm2_model::{
    event::{Event, stream_id::StreamId},
    state::stream::{IllegalEvent, Stream},
};

use crate::{
    error::ReadError,
    journal::{base::Base, sealed::reader::SealedSegment},
    limits::STATES_PAGE_BYTES,
    read::{
        reader::Reader,
        replay::each_decoded,
        state::{Checked, State},
    },
    record::is_current_stream,
};

/// Calls `visit` with the state after event `upto` of each stream whose id is after `after`, in the order of the stream
/// ids, until `visit` returns `Break`.
pub(crate) fn each_after(
    reader: &Reader,
    upto: u64,
    mut after: Option<StreamId>,
    visit: &mut dyn FnMut(StreamId, State) -> Result<ControlFlow<()>, ReadError>,
) -> Result<(), ReadError> {
    loop {
        let page = Page::read(reader, upto, after, STATES_PAGE_BYTES)?;
        after = page.streams.last_key_value().map(|(id, _)| *id);
        for (id, state) in page.streams {
            if visit(id, state)?.is_break() {
                return Ok(());
            }
        }
        if page.end.is_none() {
            return Ok(());
        }
    }
}

/// The states of the streams whose ids are after `after` and before `end`.
struct Page {
    after: Option<StreamId>,
    /// The first stream that is not on this page, because the page is full; `None` for the last page.
    end: Option<StreamId>,
    max_bytes: usize,
    bytes: usize,
    streams: BTreeMap<StreamId, State>,
}

impl Page {
    /// Reads at least one state, and no more than `max_bytes` of states otherwise.
    fn read(reader: &Reader, upto: u64, after: Option<StreamId>, max_bytes: usize) -> Result<Self, ReadError> {
        let empty = || Self { after, end: None, max_bytes, bytes: 0, streams: BTreeMap::new() };
        let mut page = empty();
        let base = reader.base()?.filter(|base| base.seq() <= upto);
        let mut first = base.as_ref().map_or(1, |base| base.seq() + 1);
        let is_whole = reader.each_leading_sealed(upto, &mut |segment| {
            first = first.max(segment.header().last_seq().saturating_add(1));
            page.add_sealed(segment)
        })?;
        if is_whole.is_none() {
            // A state cannot be read, or a segment has none or is damaged. The events have all states.
            (page, first) = (empty(), base.as_ref().map_or(1, |base| base.seq() + 1));
        }
        if base.is_some_and(|base| page.add_base(&base).is_none()) {
            (page, first) = (empty(), 1);
        }
        each_decoded(reader, first, upto, |event| page.apply(event))?;
        Ok(page)
    }

    /// Whether the state of this stream belongs on the page.
    fn covers(&self, id: StreamId) -> bool {
        self.after.is_none_or(|after| id > after) && self.end.is_none_or(|end| id < end)
    }

    fn insert(&mut self, id: StreamId, state: State) {
        self.bytes += state.weight();
        self.streams.insert(id, state);
        while self.bytes > self.max_bytes && self.streams.len() > 1 {
            let Some((id, state)) = self.streams.pop_last() else { return };
            self.bytes = self.bytes.saturating_sub(state.weight());
            self.end = Some(id);
        }
    }

    /// Adds the states of the streams that no later segment has a state of. `None` when the segment has no states, or has
    /// states that this version of the program cannot decode.
    fn add_sealed(&mut self, segment: &SealedSegment) -> Option<()> {
        if !segment.has_states().ok()? {
            return None;
        }
        for state in segment.states().ok()? {
            let (id, bytes) = state.ok()?;
            if self.covers(id) && !self.streams.contains_key(&id) {
                if !is_current_stream(&bytes) {
                    return None;
                }
                self.insert(id, State::Stored(bytes));
            }
        }
        Some(())
    }

    /// Adds the states of the base for the streams that no segment has a state of. `None` when one cannot be read.
    fn add_base(&mut self, base: &Base) -> Option<()> {
        for state in base.states().ok()? {
            let (id, bytes) = state.ok()?;
            if self.covers(id) && !self.streams.contains_key(&id) {
                if !is_current_stream(&bytes) {
                    return None;
                }
                self.insert(id, State::Stored(bytes));
            }
        }
        Some(())
    }

    fn apply(&mut self, event: &Event) -> Result<(), IllegalEvent> {
        if event.stream.is_system() {
            return if event.kind.is_system() { Ok(()) } else { Err(IllegalEvent::Stream) };
        }
        if !self.covers(event.stream) {
            return Ok(());
        }
        match self.streams.get_mut(&event.stream) {
            None => self.insert(event.stream, State::Decoded(Box::new(Stream::begin(event)?))),
            Some(State::Decoded(stream)) => stream.apply(event)?,
            Some(State::Stored(bytes)) => {
                let stored = State::Stored(std::mem::take(bytes));
                self.bytes = self.bytes.saturating_sub(stored.weight());
                // The record is left without bytes where it cannot be decoded. The state is replayed where it is used.
                if let Ok(Checked { state: mut stream, .. }) = stored.decoded() {
                    stream.apply(event)?;
                    self.insert(event.stream, State::Decoded(stream));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use apm2_model::{event::kind::EventKind, spec::id::ProcessId};

    use super::*;
    use crate::{ledger::Ledger, options::Options};

    /// About the weight of the state of one of these streams.
    const WEIGHT: usize = size_of::<Stream>() + 1;

    fn registered(number: u8) -> apm2_model::event::NewEvent {
        use apm2_model::{
            clock::SystemClock,
            event::{NewEvent, actor::Actor, timestamp::Clock as _},
            spec::{ProcessSpec, redact::spec::RedactedSpec},
        };
        let spec = ProcessSpec::builder()
            .id(ProcessId::from_bytes([number; 16]))
            .name(format!("p{number}"))
            .command("c")
            .build();
        let (actor, stamp) = (Actor::System, SystemClock.now());
        let stream = StreamId { process_id: spec.id, instance: 0 };
        let kind = EventKind::Registered { spec: RedactedSpec::new(&spec) };
        NewEvent { stream, run: 0, actor, reason: None, cause: None, stamp, kind }
    }

    #[test]
    fn pages_of_any_size_have_all_streams_in_order() {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        let dir = tempfile::Builder::new().permissions(mode).tempdir().unwrap();
        let ledger = Ledger::open_with(dir.path(), &Options { seal: false, ..Options::default() }).unwrap();
        // In no order, so that a full page gives up the last of its streams.
        let numbers = [9, 3, 7, 1, 8, 2, 6, 4, 5];
        for number in numbers {
            let event = registered(number);
            ledger.append(event.stream, 0, vec![event]).unwrap();
        }
        ledger.close().unwrap();
        let reader = Reader::open(dir.path()).unwrap();
        for max in 1..=10 {
            let max_bytes = max * WEIGHT;
            let (mut found, mut after) = (Vec::new(), None);
            loop {
                let page = Page::read(&reader, 100, after, max_bytes).unwrap();
                assert!(page.streams.len() <= max);
                after = page.streams.last_key_value().map(|(id, _)| *id);
                found.extend(page.streams.into_keys().map(|id| id.process_id.as_bytes()[0]));
                if page.end.is_none() {
                    break;
                }
            }
            assert_eq!(found, (1..=9).collect::<Vec<_>>(), "{max} on a page");
        }
    }
}
