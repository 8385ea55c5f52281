//! States of streams from the sealed segments, so that a replay need not begin with the first event.
//!
//! A sealed segment either has the state of every process stream with events in it, or no states at all.

use std::{
    collections::{HashMap, hash_map::Entry},
    path::PathBuf,
};

use apm2_model::{event::stream_id::StreamId, state::stream::Stream};

use crate::{
    error::ReadError,
    journal::{
        JOURNAL_DIR,
        sealed::reader::SealedSegment,
        segment_file::{SegmentFile, SegmentStart, sealed_path, segment_files, start_of},
        segment_walk::{SegmentWalk, Wanted, segment_containing},
    },
    read::{
        query::{Direction, EventQuery},
        reader::Reader,
    },
    record::decode_stream,
};

/// The states of all streams after an event.
pub(crate) struct SealedStates {
    pub(crate) streams: HashMap<StreamId, Box<Stream>>,
    /// The sequence number of the event.
    pub(crate) seq: u64,
}

impl Reader {
    /// The state of stream `id` from the newest sealed segment that has one, of the segments that end with event `upto` or
    /// earlier. `None` when there is no such state.
    pub(crate) fn sealed_state(&self, id: StreamId, upto: u64) -> Result<Option<Stream>, ReadError> {
        let files = self.segment_files()?;
        let journal = self.journal();
        let last = files.last().map_or(0, |file| file.number);
        // A header that cannot be read is passed over here, as below.
        let last = segment_containing(&journal, &files, upto).ok().flatten().map_or(last, |file| file.number);
        let wanted = Wanted::Query(EventQuery::stream(id));
        for number in SegmentWalk::new(journal.clone(), (1, last), Direction::Backwards, wanted) {
            // A damaged file or index, or a file of another ledger, has no state, and a plain segment has none: the state is
            // replayed from the events.
            let Ok(segment) = SealedSegment::open(&sealed_path(&journal, number)) else { continue };
            let after = start_of(&files, number + 1);
            if segment.header().last_seq() > upto || after.is_some_and(|after| !after.follows(&segment)) {
                continue;
            }
            let state = segment.state(id).ok().flatten().and_then(|bytes| decode_stream(&bytes).ok());
            if let Some(state) = state.filter(|state| state.id == id) {
                return Ok(Some(state));
            }
        }
        Ok(None)
    }

    /// The states of all streams after the last event of the last sealed segment that ends with event `upto` or earlier.
    /// `None` when there is no such segment, when an earlier segment is not sealed, or when a state cannot be read.
    pub(crate) fn sealed_states(&self, upto: u64) -> Result<Option<SealedStates>, ReadError> {
        let mut found: Option<SealedStates> = None;
        let is_whole = self.each_leading_sealed(upto, &mut |segment| {
            let seq = segment.header().last_seq();
            let found = found.get_or_insert_with(|| SealedStates { streams: HashMap::new(), seq });
            add_missing(segment, &mut found.streams)
        })?;
        Ok(found.filter(|_| is_whole.is_some()))
    }

    /// Calls `visit` with the sealed segments before the first segment that is not sealed and that end with event `upto` or
    /// earlier, from the last one to the first, until it returns `None`. One of them is open at a time, since there can be more
    /// than a process may have open files. `None` when a file of one cannot be opened, when one does not follow the one before,
    /// or when `visit` returned it; what was visited is of no use then.
    pub(crate) fn each_leading_sealed(
        &self,
        upto: u64,
        visit: &mut dyn FnMut(&SealedSegment) -> Option<()>,
    ) -> Result<Option<()>, ReadError> {
        let files = self.segment_files()?;
        let leading = files.iter().take_while(|file| file.is_sealed).count();
        let leading = files.get(..leading).unwrap_or_default();
        let ends_in_time = |file: &SegmentFile| Some(SealedSegment::open(&file.path).ok()?.header().last_seq() <= upto);
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
            let Ok(segment) = SealedSegment::open(&file.path) else { return Ok(None) };
            let is_right = segment.header().last_seq() <= upto && after.is_none_or(|after| after.follows(&segment));
            if !is_right || visit(&segment).is_none() {
                return Ok(None);
            }
            after = Some(SegmentStart::from(&segment));
        }
        Ok(after.is_none_or(|first| first.is_first()).then_some(()))
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
fn add_missing(segment: &SealedSegment, streams: &mut HashMap<StreamId, Box<Stream>>) -> Option<()> {
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
