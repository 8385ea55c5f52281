//! The states of all streams after any event, from the states in the sealed segments and the events after those. The states
//! in memory at the same time take about [`STATES_PAGE_BYTES`]. Most of them are not decoded, because no event follows.

use std::{collections::BTreeMap, ops::ControlFlow, thread};

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
        sealed_states::SealedRange,
        state::{Checked, State},
    },
    record::is_current_stream,
};

/// Number of segments from which a thread reads them: for fewer it takes longer to create the thread.
const SEGMENTS_OF_THREAD_MIN: usize = 16;

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
        match reader.leading_sealed(upto)?.map(|sealed| page.add_range(sealed)).transpose()?.flatten() {
            Some(last_seq) => first = first.max(last_seq + 1),
            // A state cannot be read, or a segment has none or is damaged. The events have all states.
            None => page = empty(),
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
        self.shorten();
    }

    /// Removes the last states while the page is too large.
    fn shorten(&mut self) {
        while self.bytes > self.max_bytes && self.streams.len() > 1 {
            let Some((id, state)) = self.streams.pop_last() else { return };
            self.bytes = self.bytes.saturating_sub(state.weight());
            self.end = Some(id);
        }
    }

    /// Adds the states in these segments, which are before those that were added. Returns the last event in them; `None` when not all
    /// states can be read.
    fn add_range(&mut self, sealed: SealedRange<'_>) -> Result<Option<u64>, ReadError> {
        if sealed.len() < SEGMENTS_OF_THREAD_MIN * 2 {
            return self.add_in_turn(sealed);
        }
        let Some((earlier, later)) = sealed.halves() else { return Ok(None) };
        let mut of_earlier = Self { streams: BTreeMap::new(), end: self.end, bytes: 0, ..*self };
        let (mut unread, mut read_earlier) = (Some(earlier), Ok(None));
        let read_later = thread::scope(|scope| {
            let (page, unread, read) = (&mut of_earlier, &mut unread, &mut read_earlier);
            let reading = move || {
                if let Some(earlier) = unread.take() {
                    *read = page.add_in_turn(earlier);
                }
            };
            // If no thread can be created (EAGAIN, pthread_create(3)), this thread reads them afterwards.
            let _ = thread::Builder::new().name("apm2-states".to_owned()).spawn_scoped(scope, reading);
            self.add_in_turn(later)
        });
        if let Some(earlier) = unread {
            read_earlier = of_earlier.add_in_turn(earlier);
        }
        let (Some(last_seq), Some(_)) = (read_later?, read_earlier?) else { return Ok(None) };
        self.add_earlier(of_earlier);
        Ok(Some(last_seq))
    }

    /// Adds the states of a page of earlier segments, for the streams without a state.
    fn add_earlier(&mut self, mut earlier: Self) {
        // The states that are appended take the place of those that are there.
        earlier.streams.append(&mut self.streams);
        self.streams = earlier.streams;
        self.end = [self.end, earlier.end].into_iter().flatten().min();
        if let Some(end) = self.end {
            drop(self.streams.split_off(&end));
        }
        self.bytes = self.streams.values().map(State::weight).sum();
        self.shorten();
    }

    fn add_in_turn(&mut self, sealed: SealedRange<'_>) -> Result<Option<u64>, ReadError> {
        let mut last_seq = 0;
        let is_whole = sealed.each(&mut |segment| {
            last_seq = last_seq.max(segment.header().last_seq());
            self.add_sealed(segment)
        })?;
        Ok(is_whole.map(|()| last_seq))
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
    use std::{
        fs,
        os::unix::fs::PermissionsExt as _,
        time::{Duration, Instant},
    };

    use apm2_model::{
        clock::SystemClock,
        event::{NewEvent, actor::Actor, kind::EventKind, timestamp::Clock as _},
        spec::{ProcessSpec, id::ProcessId, redact::spec::RedactedSpec},
    };
    use tempfile::TempDir;

    use super::*;
    use crate::{JOURNAL_DIR, Origin, journal::segment_file::sealed_path, ledger::Ledger, options::Options};

    /// About the weight of the state of one of these streams.
    const WEIGHT: usize = size_of::<Stream>() + 1;

    /// Weight of the stored states of these streams.
    const STORED_WEIGHT: usize = size_of::<State>() + 100;

    const SEALING_WAIT: Duration = Duration::from_secs(60);

    fn private_dir() -> TempDir {
        tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o700)).tempdir().unwrap()
    }

    fn draft(number: u8, kind: EventKind, reason: Option<String>) -> NewEvent {
        let stream = StreamId { process_id: ProcessId::from_bytes([number; 16]), instance: 0 };
        let (actor, stamp) = (Actor::System, SystemClock.now());
        NewEvent { stream, run: 0, actor, reason, cause: None, stamp, kind }
    }

    fn registered(number: u8, reason: Option<String>) -> NewEvent {
        let id = ProcessId::from_bytes([number; 16]);
        let spec = ProcessSpec::builder().id(id).name(format!("p{number}")).command("c").build();
        draft(number, EventKind::Registered { spec: RedactedSpec::new(&spec) }, reason)
    }

    /// The numbers of the streams on each page.
    fn numbers_on_pages(reader: &Reader, upto: u64, max_bytes: usize) -> Vec<Vec<u8>> {
        let (mut pages, mut after) = (Vec::new(), None);
        loop {
            let page = Page::read(reader, upto, after, max_bytes).unwrap();
            after = page.streams.last_key_value().map(|(id, _)| *id);
            pages.push(page.streams.into_keys().map(|id| id.process_id.as_bytes()[0]).collect());
            if page.end.is_none() {
                return pages;
            }
        }
    }

    #[test]
    fn pages_of_any_size_have_all_streams_in_order() {
        let dir = private_dir();
        let ledger = Ledger::open_with(dir.path(), &Options { seal: false, ..Options::default() }).unwrap();
        // In no order, so that a full page gives up the last of its streams.
        for number in [9, 3, 7, 1, 8, 2, 6, 4, 5] {
            let event = registered(number, None);
            ledger.append(event.stream, 0, vec![event]).unwrap();
        }
        ledger.close().unwrap();
        let reader = Reader::open(dir.path()).unwrap();
        for max in 1..=10 {
            let pages = numbers_on_pages(&reader, 100, max * WEIGHT);
            assert!(pages.iter().all(|page| page.len() <= max), "{max} on a page: {pages:?}");
            assert_eq!(pages.concat(), (1..=9).collect::<Vec<_>>(), "{max} on a page");
        }
    }

    /// A ledger of so many sealed segments that two threads read them. The events of a stream are in different segments.
    fn sealed_ledger() -> (TempDir, usize) {
        const PROCESSES: u16 = 60;
        // In no order, each once, since the steps and the number of processes have no common divisor.
        let nth = |at: u16, step: u16| u8::try_from(1 + at * step % PROCESSES).unwrap();
        let dir = private_dir();
        let ledger = Ledger::open_with(dir.path(), &Options { segment_bytes: 2048, ..Options::default() }).unwrap();
        // The reasons fill the segments.
        let reason = || Some("word ".repeat(180));
        for number in (0..PROCESSES).map(|at| nth(at, 7)) {
            let event = registered(number, reason());
            ledger.append(event.stream, 0, vec![event]).unwrap();
        }
        for number in (0..PROCESSES).step_by(3).map(|at| nth(at, 11)) {
            let event = draft(number, EventKind::Unregistered, reason());
            ledger.append(event.stream, 1, vec![event]).unwrap();
        }
        let files = |suffix: &str| {
            let entries = fs::read_dir(dir.path().join(JOURNAL_DIR)).unwrap();
            entries.filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|end| end == suffix)).count()
        };
        let began = Instant::now();
        while files("sealed") + 1 < files("seg") {
            assert!(began.elapsed() < SEALING_WAIT, "the segments are not sealed");
            thread::sleep(Duration::from_millis(20));
        }
        ledger.close().unwrap();
        let sealed = files("sealed");
        assert!(sealed >= SEGMENTS_OF_THREAD_MIN * 2, "{sealed} segments");
        (dir, sealed)
    }

    #[test]
    fn two_threads_read_the_states_of_the_events() {
        let (dir, sealed) = sealed_ledger();
        let reader = Reader::open(dir.path()).unwrap();
        let size = reader.head().unwrap().size;
        let assert_states = |what: &str| {
            for upto in [0, size / 2, size - 1, size] {
                let expected = reader.replay(upto, Origin::Genesis).unwrap().streams;
                let mut found = BTreeMap::new();
                each_after(&reader, upto, None, &mut |id, state| {
                    found.insert(id, *state.decoded().unwrap().state);
                    Ok(ControlFlow::Continue(()))
                })
                .unwrap();
                assert_eq!(found, expected, "{what}, after event {upto}");
                let numbers: Vec<u8> = expected.keys().map(|id| id.process_id.as_bytes()[0]).collect();
                for max_bytes in [11 * STORED_WEIGHT, 23 * STORED_WEIGHT] {
                    assert_eq!(
                        numbers_on_pages(&reader, upto, max_bytes).concat(),
                        numbers,
                        "{what}, {max_bytes} bytes"
                    );
                }
            }
        };
        assert_states("sound");
        // The plain files of the segments are still there.
        for number in [2, sealed as u64 - 1] {
            let path = sealed_path(&dir.path().join(JOURNAL_DIR), number);
            let sound = fs::read(&path).unwrap();
            fs::write(&path, [&sound[..40], &[!sound[40]], &sound[41..]].concat()).unwrap();
            assert_states(&format!("segment {number} is damaged"));
            fs::write(&path, sound).unwrap();
        }
    }
}
