//! [`Events`]: an iterator that reads and decodes events in order, one frame or commit at a time.

use std::{
    ops::{Range, RangeInclusive},
    sync::Arc,
    vec,
};

use apm2_model::{
    causes::causes,
    event::{Event, stream_id::StreamId},
};

use crate::{
    error::ReadError,
    journal::{
        event_batch::EventBatch,
        reader::JournalReader,
        segments::{Segments, is_archived},
    },
    read::{access::Access, cancel::Cancel, query::EventQuery},
    record::{decode_event, peek_stream},
    shared_state::{Commit, SharedState},
    store::{frames::FrameScan, key, sled_store::Store},
};

/// The bytes of a commit from memory, or of a frame from the store or a batch from the journal.
enum Bytes {
    Committed(Arc<Commit>),
    Read(Vec<u8>),
}

impl Bytes {
    fn all(&self) -> &[u8] {
        match self {
            Self::Committed(commit) => &commit.bytes,
            Self::Read(bytes) => bytes,
        }
    }

    fn get(&self, range: Range<usize>) -> &[u8] {
        self.all().get(range).unwrap_or_default()
    }
}

/// The frame or commit whose events are being returned.
struct Current {
    bytes: Bytes,
    last_seq: u64,
    rest: std::iter::Zip<std::ops::RangeFrom<u64>, vec::IntoIter<Range<usize>>>,
}

impl Current {
    fn of_commit(commit: Arc<Commit>) -> Self {
        let header = commit.frame.header();
        let rest = (header.first_seq..).zip(commit.frame.events().to_vec());
        Self { last_seq: header.last_seq(), rest, bytes: Bytes::Committed(commit) }
    }

    fn of_batch(batch: EventBatch) -> Self {
        let (first_seq, last_seq) = (batch.first_seq(), batch.last_seq());
        let (bytes, events) = batch.into_parts();
        Self { bytes: Bytes::Read(bytes), last_seq, rest: (first_seq..).zip(events) }
    }
}

/// Consecutive events of one frame or commit that are not decoded yet.
pub(crate) struct EncodedEvents {
    frame: Current,
    /// The sequence numbers of the events. The frame may have others.
    seqs: RangeInclusive<u64>,
}

impl EncodedEvents {
    /// Size of the frame or commit in bytes.
    pub(crate) fn frame_len(&self) -> usize {
        self.frame.bytes.all().len()
    }

    /// Calls `visit` with each event in order, until it returns an error. The first event that cannot be decoded is an error.
    pub(crate) fn each(self, mut visit: impl FnMut(&Event) -> Result<(), ReadError>) -> Result<(), ReadError> {
        let Self { frame: Current { bytes, rest, .. }, seqs } = self;
        // The range of an erased event is empty.
        for (seq, range) in rest.filter(|(seq, range)| seqs.contains(seq) && !range.is_empty()) {
            let event = decode_event(seq, bytes.get(range)).map_err(|source| ReadError::Record { seq, source })?;
            visit(&event)?;
        }
        Ok(())
    }
}

/// The source of the frames and commits.
enum Source {
    /// A ledger that this process has open: commits that may be missing from the store are read from memory, the others
    /// from the store.
    SharedState(Arc<SharedState>),
    /// The journal, read from front to back. It is opened when the first event is requested.
    Journal(Option<Box<JournalReader>>),
}

/// An iterator over the events of a ledger. The iterator ends after the first error.
pub struct Events {
    access: Access,
    source: Source,
    query: EventQuery,
    /// The sequence number of the first event that was not considered yet.
    next: u64,
    last: u64,
    /// The last acknowledged event. Later events are not returned.
    visible: u64,
    /// The version that the next event of the stream must have, if it is known. Another version shows that the index of
    /// the store lost an entry.
    next_version: Option<u64>,
    current: Option<Current>,
    /// The position in the store, when all events are read in order.
    scan: Option<FrameScan>,
    /// Ends the iteration with an error once it is set.
    cancel: Option<Cancel>,
    failed: bool,
    /// The segments of the journal, if they were listed already.
    segments: Option<Segments>,
}

impl Events {
    pub(crate) fn new(access: Access, query: EventQuery, first: u64, last: u64) -> Self {
        let source = match &access {
            Access::SharedState { shared, .. } if query.is_indexed_by_store() => {
                Source::SharedState(Arc::clone(shared))
            }
            Access::SharedState { .. } | Access::Journal { .. } => Source::Journal(None),
        };
        let first = first.max(1);
        let next_version = (first == 1).then_some(1);
        let visible = access.visible();
        Self {
            access,
            source,
            query,
            next: first,
            last,
            visible,
            next_version,
            current: None,
            scan: None,
            cancel: None,
            failed: false,
            segments: None,
        }
    }

    /// The events from `seqs.0` to `seqs.1` in these segments of the journal.
    pub(crate) fn of_segments(access: &Access, segments: Segments, query: EventQuery, seqs: (u64, u64)) -> Self {
        Self { segments: Some(segments), ..Self::new(access.of_journal(), query, seqs.0, seqs.1) }
    }

    /// Ends with [`ReadError::Cancelled`] once `cancel` is set.
    pub(crate) fn cancelled_by(self, cancel: Option<Cancel>) -> Self {
        Self { cancel, ..self }
    }

    /// Sets the version that the first event of the stream must have.
    pub(crate) fn expecting(self, version: u64) -> Self {
        Self { next_version: Some(version), ..self }
    }

    fn try_next(&mut self) -> Result<Option<Event>, ReadError> {
        while !self.is_at_end() {
            if let Some(event) = self.next_in_frame()? {
                return Ok(Some(event));
            }
            if self.next <= self.last.min(self.visible) && !self.next_frame()? {
                return Ok(None);
            }
        }
        Ok(None)
    }

    /// The remaining events of the current frame or commit, or else those of the next one. `None` at the end and after the first
    /// error. The query must be one for all events.
    pub(crate) fn next_encoded(&mut self) -> Option<Result<EncodedEvents, ReadError>> {
        debug_assert!(self.query.is_all(), "the events are not decoded, so no other query can be applied");
        if self.failed {
            return None;
        }
        let next = self.try_next_encoded().transpose();
        self.failed = matches!(next, None | Some(Err(_)));
        next
    }

    fn try_next_encoded(&mut self) -> Result<Option<EncodedEvents>, ReadError> {
        if self.is_at_end() || self.current.is_none() && !self.next_frame()? {
            return Ok(None);
        }
        let Some(frame) = self.current.take() else { return Ok(None) };
        let (first, last) = (self.next, self.last.min(self.visible));
        if frame.last_seq > last {
            self.read_again_from(last + 1);
        } else {
            self.next = first.max(frame.last_seq.saturating_add(1));
        }
        Ok(Some(EncodedEvents { frame, seqs: first..=last }))
    }

    /// Whether all requested events that are acknowledged were returned.
    fn is_at_end(&mut self) -> bool {
        if self.next > self.last.min(self.visible) {
            self.visible = self.access.visible();
        }
        self.next > self.last.min(self.visible)
    }

    /// The next event of the current frame that passes the filter; `None` at the end of the frame.
    fn next_in_frame(&mut self) -> Result<Option<Event>, ReadError> {
        let Some(current) = &mut self.current else { return Ok(None) };
        for (seq, range) in current.rest.by_ref() {
            if seq < self.next {
                continue;
            }
            if seq > self.last.min(self.visible) {
                // The frame also holds this event, which is after the requested range or was not yet known to be
                // acknowledged. The frame is read again when the event may be returned.
                self.read_again_from(seq);
                return Ok(None);
            }
            // The event was erased.
            if range.is_empty() {
                continue;
            }
            let bytes = current.bytes.get(range);
            let unreadable = |source| ReadError::Record { seq, source };
            if !self.query.accepts_stream_of(bytes).map_err(unreadable)? {
                continue;
            }
            let event = decode_event(seq, bytes).map_err(unreadable)?;
            if !self.query.accepts(&event) {
                continue;
            }
            let is_of_index = matches!(self.source, Source::SharedState(_)) && self.query.single_stream().is_some();
            if is_of_index && self.next_version.is_some_and(|next| next != event.version) {
                // A version is missing, so the index of the store has lost an entry. The journal holds all events.
                self.switch_to_journal();
                return Ok(None);
            }
            self.next = seq + 1;
            self.next_version = Some(event.version + 1);
            return Ok(Some(event));
        }
        self.next = self.next.max(current.last_seq.saturating_add(1));
        self.current = None;
        Ok(None)
    }

    /// Continues with event `seq`, which is in the current frame.
    fn read_again_from(&mut self, seq: u64) {
        self.next = seq;
        self.current = None;
        // The block of a sealed segment can hold events on both sides; the journal is read from this event on.
        if let Source::Journal(reader) = &mut self.source {
            *reader = None;
        }
    }

    /// Continues with the journal from the next event on, because the store cannot be used.
    fn switch_to_journal(&mut self) {
        self.current = None;
        self.source = Source::Journal(None);
    }

    /// Loads the next frame or commit that may hold events for the filter. Returns false if there is none.
    fn next_frame(&mut self) -> Result<bool, ReadError> {
        if self.cancel.as_ref().is_some_and(Cancel::is_set) {
            return Err(ReadError::Cancelled);
        }
        if let Source::SharedState(shared) = &self.source {
            let shared = Arc::clone(shared);
            self.begin_after_base(&shared)?;
        }
        if let Source::SharedState(shared) = &self.source {
            let shared = Arc::clone(shared);
            match self.next_live_frame(&shared) {
                Ok(found) => return Ok(found),
                Err(error) => {
                    tracing::warn!(error = %causes(&error), "the store cannot be read; reading the journal instead");
                    self.switch_to_journal();
                }
            }
        }
        self.next_journal_frame()
    }

    /// Goes on with the journal where the archives can have accepted events, else with the first event after them: the store
    /// does not have the events in the archives.
    fn begin_after_base(&mut self, shared: &Arc<SharedState>) -> Result<(), ReadError> {
        let Some(base) = shared.base.as_ref().filter(|base| self.next <= base.seq()) else { return Ok(()) };
        let is_archived = match self.query.single_stream() {
            Some(stream) if !stream.is_system() => {
                let in_base = base.state(stream).map_or(true, |state| state.is_some());
                let is_stored = |store: Arc<Store>| matches!(store.last_stream_window(stream), Ok(Some(_)));
                // The memory is read before the store, because an event that has left the memory is in the store.
                let is_later = || shared.is_unindexed(stream) || shared.store().is_some_and(is_stored);
                in_base || (!is_later() && is_archived(&shared.dir, base, stream)?)
            }
            _ => true,
        };
        if is_archived {
            self.switch_to_journal();
        } else {
            self.next = base.seq() + 1;
        }
        Ok(())
    }

    fn next_live_frame(&mut self, shared: &SharedState) -> Result<bool, ReadError> {
        if self.next > shared.head().size {
            return Ok(false);
        }
        // The commits in memory are read before the store, because a commit that has left the memory is in the store.
        let stream = self.query.single_stream();
        let tail = match stream {
            Some(stream) => tail_commit_of(shared, self.next, stream)?,
            None => shared.unindexed_at(self.next),
        };
        let store = shared.store().ok_or(ReadError::Gap { seq: self.next })?;
        let stored = match (stream, &tail) {
            (Some(stream), _) => stored_frame_of(&store, self.next, stream)?,
            (None, Some(_)) => None,
            (None, None) => Some(self.scanned_frame(&store)?),
        };
        self.current = match (stored, tail) {
            (Some(frame), _) => Some(Current::of_batch(frame)),
            (None, Some(commit)) => Some(Current::of_commit(commit)),
            (None, None) => return Ok(false),
        };
        Ok(true)
    }

    /// The frame of the store that holds the next event: the next frame of the scan if it fits, else the frame that is
    /// found by its key.
    fn scanned_frame(&mut self, store: &Arc<Store>) -> Result<EventBatch, ReadError> {
        if let Some(frame) = self.scan.as_mut().map(FrameScan::next).transpose()?.flatten()
            && frame.first_seq() == self.next
        {
            return Ok(frame);
        }
        let frame = stored_frame(store, self.next)?;
        self.scan = Some(store.frames_after(frame.first_seq()));
        Ok(frame)
    }

    fn next_journal_frame(&mut self) -> Result<bool, ReadError> {
        let Source::Journal(reader) = &mut self.source else { return Ok(false) };
        let reader = match reader {
            Some(reader) => reader,
            None => {
                let query = self.query.clone();
                let opened = match self.segments.take() {
                    Some(segments) => self.access.reader_of_segments(segments, self.next, query)?,
                    None => self.access.journal_reader(self.next, query)?,
                };
                reader.insert(Box::new(opened))
            }
        };
        let Some(batch) = reader.next_batch()? else { return Ok(false) };
        self.current = Some(Current::of_batch(batch));
        Ok(true)
    }
}

/// The frame of the store that holds event `seq`.
fn stored_frame(store: &Store, seq: u64) -> Result<EventBatch, ReadError> {
    let frame = store.frame_at(seq)?.ok_or(ReadError::Gap { seq })?;
    if (frame.first_seq()..=frame.last_seq()).contains(&seq) { Ok(frame) } else { Err(ReadError::Gap { seq }) }
}

/// The first frame of the store that holds an event of `stream` with a sequence number of at least `seq`.
fn stored_frame_of(store: &Arc<Store>, mut seq: u64, stream: StreamId) -> Result<Option<EventBatch>, ReadError> {
    while let Some(window) = store.stream_window_from(stream, key::window_of(seq))? {
        seq = seq.max(key::window_start(window)).max(1);
        let end = key::window_start(window.saturating_add(1));
        let Some(mut frame) = store.frame_at(seq)?.filter(|frame| frame.last_seq() >= seq) else { return Ok(None) };
        let mut later = store.frames_after(frame.first_seq());
        while seq < end {
            if holds(&frame, seq, stream)? {
                return Ok(Some(frame));
            }
            seq = frame.last_seq().saturating_add(1);
            let Some(next) = later.next()? else { return Ok(None) };
            if next.first_seq() != seq {
                return Err(ReadError::Gap { seq });
            }
            frame = next;
        }
    }
    Ok(None)
}

/// Whether the frame holds an event of `stream` with a sequence number of at least `seq`.
fn holds(frame: &EventBatch, seq: u64, stream: StreamId) -> Result<bool, ReadError> {
    for (at, bytes) in frame.iter() {
        if at >= seq && peek_stream(bytes).map_err(|source| ReadError::Record { seq: at, source })? == stream {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The first commit in memory that holds an event of `stream` with a sequence number of at least `seq`.
fn tail_commit_of(shared: &SharedState, seq: u64, stream: StreamId) -> Result<Option<Arc<Commit>>, ReadError> {
    for commit in shared.unindexed_from(seq) {
        for (at, bytes) in commit.frame.iter(&commit.bytes) {
            if at >= seq && peek_stream(bytes).map_err(|source| ReadError::Record { seq: at, source })? == stream {
                return Ok(Some(Arc::clone(&commit)));
            }
        }
    }
    Ok(None)
}

impl Iterator for Events {
    type Item = Result<Event, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let next = self.try_next().transpose();
        self.failed = matches!(next, None | Some(Err(_)));
        next
    }
}
