//! Reads the events that a query accepts from the end of the journal backwards.

use std::{collections::VecDeque, io, ops::Range};

use apm2_model::event::Event;

use crate::{
    error::ReadError,
    journal::{
        event_batch::EventBatch,
        plain_segment::PlainSegment,
        reader::{break_damage, header_damage, not_a_file_damage, sealed_damage},
        sealed::error::SealedError,
        sealed_cursor::SealedCursor,
        segment::SegmentError,
        segment_file::{SegmentFile, SegmentStart, file_of, start_of},
        segment_walk::{SegmentWalk, segment_containing},
        segments::Segments,
        wanted::Wanted,
    },
    read::{
        query::{Direction, EventQuery},
        reader::Reader,
    },
    record::decode_event,
};

/// The batches of one segment that were not read yet. They are read from the last one backwards.
enum Batches {
    /// The segment, with its commits remembered and the position behind the last batch that was not read.
    Plain(PlainSegment),
    /// Those of a plain segment that were read forwards, because not all of its commits are remembered up to the last wanted event,
    /// or its sealed file is damaged.
    Read(Vec<EventBatch>),
    Sealed(Box<SealedCursor>),
}

/// The segment that is being read.
struct Current {
    file: SegmentFile,
    first_seq: u64,
    batches: Batches,
}

/// The events of a batch that were not read yet.
struct Rest {
    bytes: Vec<u8>,
    first_seq: u64,
    events: Vec<Range<usize>>,
}

impl From<EventBatch> for Rest {
    fn from(batch: EventBatch) -> Self {
        let first_seq = batch.first_seq();
        let (bytes, events) = batch.into_parts();
        Self { bytes, first_seq, events }
    }
}

/// The accepted events in descending order. Only the journal is read, since its sealed segments have an index of streams,
/// kinds and times.
pub(crate) struct EventsBack<'a> {
    reader: &'a Reader,
    query: EventQuery,
    /// No event before this one is returned.
    first: u64,
    /// The event after the last one that was not read yet.
    end_seq: u64,
    segments: Segments,
    /// The segments that were not begun and can contain accepted events.
    walk: SegmentWalk,
    /// The number of the segment that was begun last, or the one after those of the walk.
    after: u64,
    current: Option<Current>,
    rest: Option<Rest>,
}

impl<'a> EventsBack<'a> {
    /// The accepted events from event `last` back to event `first`.
    pub(crate) fn new(reader: &'a Reader, query: EventQuery, first: u64, last: u64) -> Result<Self, ReadError> {
        let end_seq = last.min(reader.visible()).saturating_add(1);
        let (first, wanted) = (first.max(1), Wanted::Query(query.clone()));
        let segments = Segments::list(reader.dir(), &wanted, (first, end_seq - 1))?;
        let found = segment_containing(&segments, end_seq - 1);
        let last = found.map_err(|(file, error)| reader.segment_error(file, error))?.map_or(1, |file| file.number);
        let walk = SegmentWalk::new(&segments, (1, last), Direction::Backwards, wanted);
        Ok(Self { reader, query, first, end_seq, segments, walk, after: last + 1, current: None, rest: None })
    }

    /// The next event, with a lower number than the one before; `None` after the last one.
    pub(crate) fn next_event(&mut self) -> Result<Option<Event>, ReadError> {
        loop {
            if let Some(event) = self.next_in_batch()? {
                return Ok(Some(event));
            }
            self.reader.check_cancelled()?;
            if self.end_seq <= self.first || !self.next_batch()? {
                return Ok(None);
            }
        }
    }

    fn next_in_batch(&mut self) -> Result<Option<Event>, ReadError> {
        let Some(rest) = &mut self.rest else { return Ok(None) };
        while let Some(range) = rest.events.pop() {
            let seq = rest.first_seq.saturating_add(rest.events.len() as u64);
            // The range of an erased event is empty.
            if seq >= self.end_seq || range.is_empty() {
                continue;
            }
            self.end_seq = seq;
            if seq < self.first {
                return Ok(None);
            }
            let bytes = rest.bytes.get(range).unwrap_or_default();
            let unreadable = |source| ReadError::Record { seq, source };
            if self.query.accepts_stream_of(bytes).map_err(unreadable)? {
                let event = decode_event(seq, bytes).map_err(unreadable)?;
                if self.query.accepts(&event) {
                    return Ok(Some(event));
                }
            }
        }
        self.rest = None;
        Ok(None)
    }

    /// Loads the batch before the current one, or the segment before the current one. Returns false if there is none.
    fn next_batch(&mut self) -> Result<bool, ReadError> {
        let Some(current) = &mut self.current else { return self.next_segment() };
        match self.reader.previous(current, self.end_seq, &self.query)? {
            Some(batch) => self.rest = Some(Rest::from(batch)),
            None => {
                self.end_seq = self.end_seq.min(current.first_seq);
                self.current = None;
            }
        }
        Ok(true)
    }

    fn next_segment(&mut self) -> Result<bool, ReadError> {
        let number = self.walk.next();
        // The segments that are left out contain no accepted event. But none may be missing.
        self.segments.check_all(number.unwrap_or(1), self.after - 1, self.first)?;
        let Some(file) = number.and_then(|number| file_of(&self.segments.files, number)).cloned() else {
            return Ok(false);
        };
        self.after = file.number;
        let start = file.start().map_err(|error| self.reader.segment_error(&file, error))?;
        let start = start.map_err(|error| header_damage(file.number, error, self.end_seq.saturating_sub(1)))?;
        if start.first_seq < self.end_seq {
            let seqs = self.first..self.end_seq;
            let next = start_of(&self.segments.files, file.number + 1);
            let batches = self.reader.batches(&self.segments, &file, seqs, (start, next), &self.query)?;
            self.current = Some(Current { file, first_seq: start.first_seq, batches });
        }
        Ok(true)
    }
}

impl Reader {
    /// The last `max` events, up to event `last`, that `query` accepts, in the order of the ledger.
    ///
    /// # Errors
    /// When events cannot be read.
    pub fn last_events(&self, query: &EventQuery, last: u64, max: usize) -> Result<Vec<Event>, ReadError> {
        let mut found = VecDeque::new();
        let mut events = EventsBack::new(self, query.clone(), 1, last)?;
        while found.len() < max
            && let Some(event) = events.next_event()?
        {
            found.push_front(event);
        }
        Ok(found.into())
    }

    /// The batches of a segment with events from `seqs.start` up to before `seqs.end`. Those before the range may be left
    /// out. `start` and `next` are the starts of the segment and of the segment after it.
    fn batches(
        &self,
        segments: &Segments,
        file: &SegmentFile,
        seqs: Range<u64>,
        (start, next): (SegmentStart, Option<SegmentStart>),
        query: &EventQuery,
    ) -> Result<Batches, ReadError> {
        let (first_seq, end_seq) = (start.first_seq, seqs.end);
        if start.number != file.number || next.is_some_and(|next| next.ledger != start.ledger) {
            return Err(header_damage(file.number, SegmentError::Header, first_seq).into());
        }
        if file.is_sealed {
            let opened = file
                .open()
                .and_then(|segment| SealedCursor::new(segment, query, seqs.start))
                .and_then(|cursor| cursor.check_complete(end_seq).map(|()| cursor));
            let cursor = match opened {
                Ok(cursor) => cursor,
                Err(error) => {
                    let error = self.sealed_error(file, (first_seq, first_seq), error);
                    return self.plain_batches((first_seq, end_seq), query, error).map(Batches::Read);
                }
            };
            // Without the segments in between, events up to the end of this one can be read.
            let is_missing = |next: &SegmentStart| next.number > file.number + 1 && end_seq <= cursor.end_seq();
            if let Some(next) = next.filter(|next| !next.follows(cursor.segment()) && !is_missing(next)) {
                return Err(break_damage(file.number, cursor.end_seq(), next.first_seq).into());
            }
            return Ok(Batches::Sealed(Box::new(cursor)));
        }
        let reader = self.access().reader_of_segments(segments.clone(), first_seq, query.clone())?;
        let plain = reader.remember_commits().into_plain();
        match plain.and_then(|segment| segment.behind(end_seq - 1)) {
            Some(segment) => Ok(Batches::Plain(segment)),
            None => self.batches_from(first_seq, end_seq, query).map(Batches::Read),
        }
    }

    /// The batches from event `first_seq`, with which a segment begins, up to before event `end_seq`.
    fn batches_from(&self, first_seq: u64, end_seq: u64, query: &EventQuery) -> Result<Vec<EventBatch>, ReadError> {
        let mut reader = self.access().journal_reader(first_seq, query.clone())?;
        let mut batches: Vec<EventBatch> = Vec::new();
        // No batch after the last wanted one is read: another process may be writing it at this moment.
        while batches.last().is_none_or(|batch| batch.last_seq().saturating_add(1) < end_seq)
            && let Some(batch) = reader.next_batch()?.filter(|batch| batch.first_seq() < end_seq)
        {
            batches.push(batch);
        }
        Ok(batches)
    }

    fn previous(
        &self,
        current: &mut Current,
        end_seq: u64,
        query: &EventQuery,
    ) -> Result<Option<EventBatch>, ReadError> {
        let Current { file, first_seq, batches } = current;
        let cursor = match batches {
            Batches::Plain(segment) => return Ok(segment.previous_batch()),
            Batches::Read(batches) => return Ok(batches.pop()),
            Batches::Sealed(cursor) => cursor,
        };
        match cursor.next_batch_back() {
            Ok(batch) => Ok(batch),
            Err(error) => {
                let error = self.sealed_error(file, (cursor.first_seq(), cursor.end_seq() - 1), error);
                let mut plain = self.plain_batches((*first_seq, end_seq), query, error)?;
                let last = plain.pop();
                *batches = Batches::Read(plain);
                Ok(last)
            }
        }
    }

    /// The batches of a segment whose sealed file is damaged, from its plain file. `error` is returned where there is none.
    fn plain_batches(
        &self,
        (first_seq, end_seq): (u64, u64),
        query: &EventQuery,
        error: ReadError,
    ) -> Result<Vec<EventBatch>, ReadError> {
        match error {
            ReadError::Damaged(_) => self.batches_from(first_seq, end_seq, query).map_err(|_| error),
            error => Err(error),
        }
    }

    fn sealed_error(&self, file: &SegmentFile, seqs: (u64, u64), error: SealedError) -> ReadError {
        sealed_damage(file.number, seqs, error).map_or_else(|error| self.segment_error(file, error), ReadError::Damaged)
    }

    fn segment_error(&self, file: &SegmentFile, source: io::Error) -> ReadError {
        let path = self.dir().shown(&file.path);
        not_a_file_damage(file.number, 1, &source).map_or(ReadError::Io { path, source }, ReadError::Damaged)
    }
}
