//! States of streams from the sealed segments, so that a replay need not begin with the first event.
//!
//! A sealed segment either has the state of every process stream with events in it, or no states at all.

use std::{collections::hash_map::Entry, path::PathBuf, sync::Arc};

use apm2_model::{event::stream_id::StreamId, state::stream::Stream};

use crate::{
    error::ReadError,
    journal::{
        JOURNAL_DIR,
        base::Base,
        sealed::reader::SealedSegment,
        segment_file::{SegmentFile, SegmentStart, segment_files},
        segments::Segments,
        wanted::Wanted,
    },
    read::reader::Reader,
    record::decode_boxed_stream,
    stream_map::StreamMap,
};

/// The states of all streams after an event.
pub(crate) struct SealedStates {
    pub(crate) streams: StreamMap<Box<Stream>>,
    /// The sequence number of the event.
    pub(crate) seq: u64,
}

/// Consecutive sealed segments.
pub(crate) struct SealedRange<'a> {
    reader: &'a Reader,
    files: Vec<SegmentFile>,
    /// The event with which they end at the latest.
    upto: u64,
    /// The start of the segment after them.
    after: Option<SegmentStart>,
    /// Whether the first of them must be the first segment of the journal.
    is_first: bool,
    /// The base of the journal, if the first segment of the journal follows one.
    base: Option<Arc<Base>>,
}

impl SealedRange<'_> {
    /// The number of segments.
    pub(crate) fn len(&self) -> usize {
        self.files.len()
    }

    /// Divides them into the earlier and the later half. `None` when the header of the first segment of the later half cannot be
    /// read.
    pub(crate) fn halves(mut self) -> Option<(Self, Self)> {
        let files = self.files.split_off(self.files.len() / 2);
        let between = files.first().map_or(Some(self.after), |file| Some(file.start().ok()?.ok()))?;
        let after = std::mem::replace(&mut self.after, between);
        let later = Self { reader: self.reader, files, upto: self.upto, after, is_first: false, base: None };
        Some((self, later))
    }

    /// Calls `visit` with the segments, from the last one to the first, until it returns `None`. One of them is open at a time, since
    /// there can be more than a process may have open files. `None` when a file of one cannot be opened, when one does not follow
    /// the one before, or when `visit` returned it; what was visited is of no use then.
    pub(crate) fn each(self, visit: &mut dyn FnMut(&SealedSegment) -> Option<()>) -> Result<Option<()>, ReadError> {
        let mut after = self.after;
        for file in self.files.iter().rev() {
            self.reader.check_cancelled()?;
            let Ok(segment) = file.open() else { return Ok(None) };
            let is_right =
                segment.header().last_seq() <= self.upto && after.is_none_or(|after| after.follows(&segment));
            if !is_right || visit(&segment).is_none() {
                return Ok(None);
            }
            after = Some(SegmentStart::from(&segment));
        }
        let is_whole = !self.is_first || after.is_none_or(|first| first.is_after(self.base.as_deref()));
        Ok(is_whole.then_some(()))
    }
}

impl Reader {
    /// The states of all streams after the last event of the last sealed segment that ends with event `upto` or earlier.
    /// `None` when there is no such segment, when an earlier segment is not sealed, or when a state cannot be read.
    pub(crate) fn sealed_states(&self, upto: u64) -> Result<Option<SealedStates>, ReadError> {
        let mut found: Option<SealedStates> = None;
        let Some(leading) = self.leading_sealed(upto)? else { return Ok(None) };
        let is_whole = leading.each(&mut |segment| {
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

    /// The sealed segments before the first segment that is not sealed, those that end with event `upto` or earlier. If the journal
    /// has a base with an event up to `upto`, those before the base are left out: the base has the states. `None` when the header
    /// of the segment after them cannot be read.
    pub(crate) fn leading_sealed(&self, upto: u64) -> Result<Option<SealedRange<'_>>, ReadError> {
        let base = self.base()?.filter(|base| base.seq() <= upto);
        let first_seq = base.as_ref().map_or(1, |base| base.seq() + 1);
        let mut files = Segments::list(self.dir(), &Wanted::From(first_seq), (first_seq, upto))?.files;
        let leading = files.iter().position(|file| !file.is_sealed).unwrap_or(files.len());
        let ends_in_time = |file: &SegmentFile| Some(file.open().ok()?.header().last_seq() <= upto);
        // A file that cannot be opened is found when it is visited, or is not needed.
        let leading = files.get(..leading).unwrap_or_default();
        let end = leading.partition_point(|file| ends_in_time(file).unwrap_or(true));
        let after = match files.get(end).map(|file| file.start().ok()?.ok()) {
            Some(None) => return Ok(None),
            after => after.flatten(),
        };
        files.truncate(end);
        Ok(Some(SealedRange { reader: self, files, upto, after, is_first: true, base }))
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
            place.insert(decode_state(id, &bytes)?);
        }
    }
    Some(())
}

/// The states in the base; `None` when one cannot be read.
pub(crate) fn base_streams(base: &Base) -> Option<Vec<Stream>> {
    base.states()
        .ok()?
        .map(|state| state.ok().and_then(|(id, bytes)| decode_state(id, &bytes)).map(|state| *state))
        .collect()
}

/// The state of stream `id` in its record; `None` where the record is damaged or of another stream.
pub(crate) fn decode_state(id: StreamId, bytes: &[u8]) -> Option<Box<Stream>> {
    decode_boxed_stream(bytes).ok().filter(|state| state.id == id)
}
