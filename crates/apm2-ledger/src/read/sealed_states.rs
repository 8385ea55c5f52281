//! States of streams from the sealed segments, so that a replay need not begin with the first event.
//!
//! A sealed segment either has the state of every process stream with events in it, or no states at all.

use std::{collections::hash_map::Entry, path::PathBuf};

use apm2_model::{event::stream_id::StreamId, state::stream::Stream};

use crate::{
    error::ReadError,
    journal::{
        JOURNAL_DIR,
        base::Base,
        sealed::reader::SealedSegment,
        segment_file::{SegmentFile, SegmentStart, file_of, segment_files, start_of},
        segment_walk::{SegmentWalk, segment_containing},
        segments::Segments,
        wanted::Wanted,
    },
    read::{
        query::{Direction, EventQuery},
        reader::Reader,
    },
    record::decode_stream,
    stream_map::StreamMap,
};

/// The states of all streams after an event.
pub(crate) struct SealedStates {
    pub(crate) streams: StreamMap<Box<Stream>>,
    /// The sequence number of the event.
    pub(crate) seq: u64,
}

impl Reader {
    /// The state of stream `id` from the newest sealed segment that has one, of the segments that end with event `upto` or
    /// earlier, or from the base of the journal; and the event up to which it includes all events of the stream. `None` when there
    /// is no such state.
    pub(crate) fn sealed_state(&self, id: StreamId, upto: u64) -> Result<Option<(Stream, u64)>, ReadError> {
        let wanted = Wanted::Query(EventQuery::stream(id));
        let segments = Segments::list(self.dir(), &wanted, (1, upto))?;
        let last = segments.files.last().map_or(0, |file| file.number);
        // A header that cannot be read is passed over here, as below.
        let last = segment_containing(&segments, upto).ok().flatten().map_or(last, |file| file.number);
        let base = self.base()?.filter(|base| base.seq() <= upto);
        let archived = base.as_ref().map_or(0, |base| base.number());
        if let Some(state) = newest_state(&segments, (archived + 1, last), id, upto) {
            return Ok(Some(with_last_seq(state)));
        }
        // A record that cannot be decoded has no state here, either.
        let kept = base.and_then(|base| {
            let state = base.state(id).ok().flatten().and_then(|bytes| decode_state(id, &bytes))?;
            Some((state, base.seq()))
        });
        Ok(kept.or_else(|| newest_state(&segments, (1, archived.min(last)), id, upto).map(with_last_seq)))
    }

    /// The states of all streams after the last event of the last sealed segment that ends with event `upto` or earlier.
    /// `None` when there is no such segment, when an earlier segment is not sealed, or when a state cannot be read.
    pub(crate) fn sealed_states(&self, upto: u64) -> Result<Option<SealedStates>, ReadError> {
        let mut found: Option<SealedStates> = None;
        let is_whole = self.each_leading_sealed(upto, &mut |segment| {
            let seq = segment.header().last_seq();
            let found = found.get_or_insert_with(|| SealedStates { streams: StreamMap::default(), seq });
            add_missing(segment, &mut found.streams)
        })?;
        if is_whole.is_none() {
            return Ok(None);
        }
        let Some(base) = self.base()?.filter(|base| base.seq() <= upto) else { return Ok(found) };
        let Some(kept) = base_streams(&base) else { return Ok(None) };
        let mut found = found.unwrap_or_else(|| SealedStates { streams: StreamMap::default(), seq: base.seq() });
        for state in kept {
            found.streams.entry(state.id).or_insert_with(|| Box::new(state));
        }
        Ok(Some(found))
    }

    /// Calls `visit` with the sealed segments before the first segment that is not sealed and that end with event `upto` or
    /// earlier, from the last one to the first, until it returns `None`. If the journal has a base with an event up to `upto`,
    /// those before the base are left out: the base has the states. One of them is open at a time, since there can be more
    /// than a process may have open files. `None` when a file of one cannot be opened, when one does not follow the one before,
    /// or when `visit` returned it; what was visited is of no use then.
    pub(crate) fn each_leading_sealed(
        &self,
        upto: u64,
        visit: &mut dyn FnMut(&SealedSegment) -> Option<()>,
    ) -> Result<Option<()>, ReadError> {
        let base = self.base()?.filter(|base| base.seq() <= upto);
        let first_seq = base.as_ref().map_or(1, |base| base.seq() + 1);
        let files = Segments::list(self.dir(), &Wanted::From(first_seq), (first_seq, upto))?.files;
        let leading = files.iter().take_while(|file| file.is_sealed).count();
        let leading = files.get(..leading).unwrap_or_default();
        let ends_in_time = |file: &SegmentFile| Some(file.open().ok()?.header().last_seq() <= upto);
        // A file that cannot be opened is found below, or is not needed.
        let end = leading.partition_point(|file| ends_in_time(file).unwrap_or(true));
        let start_of = |file: &SegmentFile| file.start().ok()?.ok();
        let mut after = match files.get(end).map(start_of) {
            Some(None) => return Ok(None),
            Some(start) => start,
            None => None,
        };
        for file in leading.iter().take(end).rev() {
            self.check_cancelled()?;
            let Ok(segment) = file.open() else { return Ok(None) };
            let is_right = segment.header().last_seq() <= upto && after.is_none_or(|after| after.follows(&segment));
            if !is_right || visit(&segment).is_none() {
                return Ok(None);
            }
            after = Some(SegmentStart::from(&segment));
        }
        Ok(after.is_none_or(|first| first.is_after(base.as_deref())).then_some(()))
    }

    /// The segment files of the journal.
    pub(crate) fn segment_files(&self) -> Result<Vec<SegmentFile>, ReadError> {
        let journal = self.journal();
        segment_files(&journal).map_err(|source| ReadError::Io { path: self.dir().shown(&journal), source })
    }

    /// The directory of the journal.
    pub(crate) fn journal(&self) -> PathBuf {
        self.dir().at().join(JOURNAL_DIR)
    }
}

/// Adds the states of the streams that have no state yet. `None` when the segment has no states or one cannot be read.
fn add_missing(segment: &SealedSegment, streams: &mut StreamMap<Box<Stream>>) -> Option<()> {
    if !segment.has_states().ok()? {
        return None;
    }
    for state in segment.states().ok()? {
        let (id, bytes) = state.ok()?;
        if let Entry::Vacant(place) = streams.entry(id) {
            place.insert(Box::new(decode_stream(&bytes).ok().filter(|state| state.id == id)?));
        }
    }
    Some(())
}

/// The state of stream `id` in the newest of the segments from number `numbers.0` to `numbers.1` that has one, and that ends with
/// event `upto` or earlier.
fn newest_state(segments: &Segments, numbers: (u64, u64), id: StreamId, upto: u64) -> Option<Stream> {
    let wanted = Wanted::Query(EventQuery::stream(id));
    for number in SegmentWalk::new(segments, numbers, Direction::Backwards, wanted) {
        // A damaged file or index, or a file of another ledger, has no state, and a plain segment has none: the state is
        // replayed from the events.
        let file = file_of(&segments.files, number).filter(|file| file.is_sealed);
        let Some(Ok(segment)) = file.map(SegmentFile::open) else { continue };
        let after = start_of(&segments.files, number + 1);
        if segment.header().last_seq() > upto || after.is_some_and(|after| !after.follows(&segment)) {
            continue;
        }
        if let Some(state) = segment.state(id).ok().flatten().and_then(|bytes| decode_state(id, &bytes)) {
            return Some(state);
        }
    }
    None
}

fn with_last_seq(state: Stream) -> (Stream, u64) {
    let last_seq = state.last_seq;
    (state, last_seq)
}

fn decode_state(id: StreamId, bytes: &[u8]) -> Option<Stream> {
    decode_stream(bytes).ok().filter(|state| state.id == id)
}

/// The states in the base; `None` when one cannot be read.
pub(crate) fn base_streams(base: &Base) -> Option<Vec<Stream>> {
    base.states().ok()?.map(|state| state.ok().and_then(|(id, bytes)| decode_state(id, &bytes))).collect()
}
