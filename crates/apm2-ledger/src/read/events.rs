//! Events in order, read and decoded as they are asked for.

use std::{ops::Range, sync::Arc, vec};

use apm2_model::{
    causes::causes,
    event::{Event, stream_id::StreamId},
};

use crate::{
    error::ReadError,
    frame::Frame,
    journal::reader::JournalReader,
    read::access::Access,
    record::{decode_event, peek_stream},
    shared_state::{Commit, SharedState},
    store::{
        frames::{FrameBytes, FrameScan},
        sled_store::Store,
    },
};

/// Which events are wanted.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Wanted {
    All,
    Stream(StreamId),
    /// Wall-clock nanoseconds, both ends included.
    Between(i64, i64),
}

impl Wanted {
    fn stream(&self) -> Option<StreamId> {
        match self {
            Self::Stream(stream) => Some(*stream),
            Self::All | Self::Between(..) => None,
        }
    }
}

/// Bytes of a frame, wherever they are kept.
enum Bytes {
    Stored(FrameBytes),
    Committed(Arc<Commit>),
    Read(Vec<u8>),
}

impl Bytes {
    fn get(&self, range: Range<usize>) -> &[u8] {
        let bytes = match self {
            Self::Stored(bytes) => bytes,
            Self::Committed(commit) => commit.bytes.as_slice(),
            Self::Read(bytes) => bytes.as_slice(),
        };
        bytes.get(range).unwrap_or_default()
    }
}

/// The frame that is being read.
struct Current {
    bytes: Bytes,
    last_seq: u64,
    rest: std::iter::Zip<std::ops::RangeFrom<u64>, vec::IntoIter<Range<usize>>>,
}

impl Current {
    fn new(bytes: Bytes, frame: &Frame) -> Self {
        let header = frame.header();
        let rest = (header.first_seq..).zip(frame.events().to_vec());
        Self { bytes, last_seq: header.last_seq(), rest }
    }
}

/// Where frames come from.
enum Source {
    /// An open ledger: what it has not fed yet from memory, the rest from the store.
    SharedState(Arc<SharedState>),
    /// The journal, front to back; opened when the first event is asked for.
    Journal(Option<Box<JournalReader>>),
}

/// An iterator over events. It ends after the first error.
pub struct Events {
    access: Access,
    source: Source,
    wanted: Wanted,
    /// The seq of the next event that may be returned.
    next: u64,
    last: u64,
    /// Nothing later is shown: it may not have been acknowledged.
    visible: u64,
    /// The version that the next event of a stream must have; an index that lost one is noticed by it.
    next_version: Option<u64>,
    current: Option<Current>,
    /// Where the store is read from front to back.
    scan: Option<FrameScan>,
    failed: bool,
}

impl Events {
    pub(crate) fn new(access: Access, wanted: Wanted, first: u64, last: u64) -> Self {
        let source = match &access {
            Access::SharedState(shared) => Source::SharedState(Arc::clone(shared)),
            Access::Journal(_) => Source::Journal(None),
        };
        let first = first.max(1);
        let next_version = (first == 1).then_some(1);
        let visible = access.visible();
        Self {
            access,
            source,
            wanted,
            next: first,
            last,
            visible,
            next_version,
            current: None,
            scan: None,
            failed: false,
        }
    }

    /// The same events of a stream, of which the first has this version.
    pub(crate) fn expecting(self, version: u64) -> Self {
        Self { next_version: Some(version), ..self }
    }

    fn try_next(&mut self) -> Result<Option<Event>, ReadError> {
        loop {
            if self.next > self.last.min(self.visible) {
                self.visible = self.access.visible();
                if self.next > self.last.min(self.visible) {
                    return Ok(None);
                }
            }
            if let Some(event) = self.next_in_frame()? {
                return Ok(Some(event));
            }
            if !self.next_frame()? {
                return Ok(None);
            }
        }
    }

    /// The next wanted event of the current frame.
    fn next_in_frame(&mut self) -> Result<Option<Event>, ReadError> {
        let Some(current) = &mut self.current else { return Ok(None) };
        for (seq, range) in current.rest.by_ref() {
            if seq < self.next {
                continue;
            }
            if seq > self.last.min(self.visible) {
                // The store has put what came later into the same frame. It is read once it may be seen.
                self.next = seq;
                self.current = None;
                return Ok(None);
            }
            let bytes = current.bytes.get(range);
            let unreadable = |source| ReadError::Record { seq, source };
            if let Some(stream) = self.wanted.stream()
                && peek_stream(bytes).map_err(unreadable)? != stream
            {
                continue;
            }
            let event = decode_event(seq, bytes).map_err(unreadable)?;
            if let Wanted::Between(from, to) = self.wanted
                && !(from..=to).contains(&event.stamp.wall_ns)
            {
                continue;
            }
            let is_live = matches!(self.source, Source::SharedState(_));
            if is_live && self.wanted.stream().is_some() && self.next_version.is_some_and(|next| next != event.version)
            {
                // A version was passed over: the store lost part of its index. The journal has everything.
                self.turn_to_journal();
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

    /// Goes on with the journal where the store cannot be used.
    fn turn_to_journal(&mut self) {
        self.current = None;
        self.source = Source::Journal(None);
    }

    /// Loads the next frame that may hold wanted events; false at the end.
    fn next_frame(&mut self) -> Result<bool, ReadError> {
        if let Source::SharedState(shared) = &self.source {
            let shared = Arc::clone(shared);
            match self.next_live_frame(&shared) {
                Ok(found) => return Ok(found),
                Err(error) => {
                    tracing::warn!(error = %causes(&error), "the store cannot be read here; reading the journal");
                    self.turn_to_journal();
                }
            }
        }
        self.next_journal_frame()
    }

    fn next_live_frame(&mut self, shared: &SharedState) -> Result<bool, ReadError> {
        if self.next > shared.head().size {
            return Ok(false);
        }
        // The memory is asked before the store: what has left it by then is in the store.
        let tail = match self.wanted {
            Wanted::Stream(stream) => tail_commit_of(shared, self.next, stream)?,
            Wanted::All | Wanted::Between(..) => shared.unindexed_at(self.next),
        };
        let store = shared.store().ok_or(ReadError::Gap { seq: self.next })?;
        let stored = match (self.wanted, &tail) {
            (Wanted::Stream(stream), _) => stored_frame_of(&store, self.next, stream)?,
            (Wanted::All | Wanted::Between(..), Some(_)) => None,
            (Wanted::All | Wanted::Between(..), None) => Some(self.scanned_frame(&store)?),
        };
        match (stored, tail) {
            (Some((bytes, frame)), _) => self.current = Some(Current::new(Bytes::Stored(bytes), &frame)),
            (None, Some(commit)) => {
                let current = Current::new(Bytes::Committed(Arc::clone(&commit)), &commit.frame);
                self.current = Some(current);
            }
            (None, None) => return Ok(false),
        }
        Ok(true)
    }

    /// The frame of the store with the next event: the next of the scan, or looked up where there is none yet.
    fn scanned_frame(&mut self, store: &Arc<Store>) -> Result<(FrameBytes, Frame), ReadError> {
        if let Some(bytes) = self.scan.as_mut().map(FrameScan::next).transpose()?.flatten() {
            let frame = Frame::parse(&bytes).map_err(|source| ReadError::Frame { seq: self.next, source })?;
            if frame.header().first_seq == self.next {
                return Ok((bytes, frame));
            }
        }
        let (bytes, frame) = stored_frame(store, self.next)?;
        self.scan = Some(store.frames_after(frame.header().first_seq));
        Ok((bytes, frame))
    }

    fn next_journal_frame(&mut self) -> Result<bool, ReadError> {
        let Source::Journal(reader) = &mut self.source else { return Ok(false) };
        let reader = match reader {
            Some(reader) => reader,
            None => reader.insert(Box::new(JournalReader::starting_at(self.access.dir(), self.next)?)),
        };
        let Some(commit) = reader.next_commit()? else { return Ok(false) };
        self.current = Some(Current::new(Bytes::Read(commit.bytes), &commit.frame));
        Ok(true)
    }
}

/// The frame of the store with event `seq`.
fn stored_frame(store: &Store, seq: u64) -> Result<(FrameBytes, Frame), ReadError> {
    let bytes = store.frame_at(seq)?.ok_or(ReadError::Gap { seq })?;
    let frame = Frame::parse(&bytes).map_err(|source| ReadError::Frame { seq, source })?;
    let header = frame.header();
    if (header.first_seq..=header.last_seq()).contains(&seq) { Ok((bytes, frame)) } else { Err(ReadError::Gap { seq }) }
}

/// The first frame of the store with an event of `stream` from `seq` on.
fn stored_frame_of(store: &Store, seq: u64, stream: StreamId) -> Result<Option<(FrameBytes, Frame)>, ReadError> {
    let begun = store.stream_frame_at(stream, seq)?;
    if let Some(first_seq) = begun {
        let (bytes, frame) = stored_frame(store, first_seq)?;
        if frame.header().last_seq() >= seq {
            return Ok(Some((bytes, frame)));
        }
    }
    store.stream_frame_after(stream, seq)?.map(|first_seq| stored_frame(store, first_seq)).transpose()
}

/// The first commit in memory with an event of `stream` from `seq` on.
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
