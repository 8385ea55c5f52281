//! The states of all streams after any event, from the states in the sealed segments and the events after those. At most
//! [`STATES_PAGE_STREAMS`] states are in memory at the same time.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    ops::ControlFlow,
};

use apm2_model::{
    event::{Event, stream_id::StreamId},
    state::stream::{IllegalEvent, Stream},
};

use crate::{
    error::ReadError,
    journal::sealed::reader::SealedSegment,
    limits::STATES_PAGE_STREAMS,
    read::{reader::Reader, replay::each_decoded},
    record::decode_stream,
};

/// Calls `visit` with the state after event `upto` of each stream whose id is after `after`, in the order of the stream
/// ids, until `visit` returns `Break`.
pub(crate) fn each_after(
    reader: &Reader,
    upto: u64,
    mut after: Option<StreamId>,
    visit: &mut dyn FnMut(Stream) -> ControlFlow<()>,
) -> Result<(), ReadError> {
    loop {
        let page = Page::read(reader, upto, after, STATES_PAGE_STREAMS)?;
        after = page.streams.last_key_value().map(|(id, _)| *id);
        for stream in page.streams.into_values() {
            if visit(*stream).is_break() {
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
    max: usize,
    streams: BTreeMap<StreamId, Box<Stream>>,
}

impl Page {
    fn read(reader: &Reader, upto: u64, after: Option<StreamId>, max: usize) -> Result<Self, ReadError> {
        let empty = || Self { after, end: None, max, streams: BTreeMap::new() };
        let mut page = empty();
        let sealed = reader.leading_sealed(upto)?.unwrap_or_default();
        let mut first = 1;
        for segment in sealed.iter().rev() {
            reader.check_cancelled()?;
            if page.add_sealed(segment).is_none() {
                // A state cannot be read, or the segment has none. The events have all states.
                (page, first) = (empty(), 1);
                break;
            }
            first = first.max(segment.header().last_seq().saturating_add(1));
        }
        each_decoded(reader, first, upto, |event| page.apply(event))?;
        Ok(page)
    }

    /// Whether the state of this stream belongs on the page.
    fn covers(&self, id: StreamId) -> bool {
        self.after.is_none_or(|after| id > after) && self.end.is_none_or(|end| id < end)
    }

    fn insert(&mut self, stream: Stream) {
        self.streams.insert(stream.id, Box::new(stream));
        if self.streams.len() > self.max {
            self.end = self.streams.pop_last().map(|(id, _)| id).or(self.end);
        }
    }

    /// Adds the states of the streams that no later segment has a state of. `None` when the segment has no states or one
    /// cannot be read.
    fn add_sealed(&mut self, segment: &SealedSegment) -> Option<()> {
        if !segment.has_states().ok()? {
            return None;
        }
        for state in segment.states().ok()? {
            let (id, bytes) = state.ok()?;
            if self.covers(id) && !self.streams.contains_key(&id) {
                self.insert(decode_stream(&bytes).ok().filter(|state| state.id == id)?);
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
        match self.streams.entry(event.stream) {
            Entry::Occupied(mut stream) => stream.get_mut().apply(event),
            Entry::Vacant(_) => {
                self.insert(Stream::begin(event)?);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use apm2_model::{event::kind::EventKind, spec::id::ProcessId};

    use super::*;
    use crate::{ledger::Ledger, options::Options};

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
            let (mut found, mut after) = (Vec::new(), None);
            loop {
                let page = Page::read(&reader, 100, after, max).unwrap();
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
