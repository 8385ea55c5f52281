//! Reads the events of the journal in order. A reader needs no lock and may run while another process appends.

use std::{io, path::PathBuf, sync::Arc, thread};

use uuid::Uuid;

use crate::{
    chain::Chain,
    dir::LedgerDir,
    error::{Damage, ReadError},
    file,
    head::Head,
    journal::{
        JOURNAL_DIR,
        event_batch::EventBatch,
        kept_segment::KeptSegment,
        origin,
        plain_segment::PlainSegment,
        scan::Scanned,
        sealed::error::SealedError,
        sealed_cursor::SealedCursor,
        segment::SegmentError,
        segment_file::{SegmentFile, SegmentStart, file_of, plain_header, sealed_path, start_of},
        segment_walk::{SegmentWalk, segment_containing},
        segments::Segments,
        wanted::Wanted,
    },
    limits::{RETRY_INTERVAL, TAIL_READ_TRIES},
    read::query::{Direction, EventQuery},
};

/// The segment that is being read, and the position in it.
#[derive(Debug)]
enum Cursor {
    Plain(PlainSegment),
    Sealed(Box<SealedCursor>),
}

impl Cursor {
    const fn number(&self) -> u64 {
        match self {
            Self::Plain(segment) => segment.header().number,
            Self::Sealed(segment) => segment.number(),
        }
    }

    fn start(&self) -> SegmentStart {
        match self {
            Self::Plain(segment) => SegmentStart::from(*segment.header()),
            Self::Sealed(segment) => SegmentStart::from(segment.segment()),
        }
    }

    /// The sequence number of the event after the position in a plain segment, or after the end of a sealed one.
    const fn next_seq(&self) -> u64 {
        match self {
            Self::Plain(segment) => segment.next_seq(),
            Self::Sealed(segment) => segment.end_seq(),
        }
    }

    /// The hash chain value before that event, where it is known.
    fn chain(&self) -> Option<Chain> {
        match self {
            Self::Plain(segment) => Some(segment.chain()),
            Self::Sealed(segment) => segment.end_chain(),
        }
    }
}

/// Iterates over the events of the journal in batches, beginning at a given event. Batches without any event that the
/// query accepts may be skipped.
#[derive(Debug)]
pub(crate) struct JournalReader {
    dir: Arc<LedgerDir>,
    journal: PathBuf,
    query: EventQuery,
    first_seq: u64,
    /// The event after those that were returned. Earlier events of a plain segment that is read in the place of a sealed one are
    /// left out.
    next_seq: u64,
    /// The segments when the directory was last listed.
    segments: Segments,
    /// The segments after the current one that can contain accepted events; `None` when they are not known yet.
    walk: Option<SegmentWalk>,
    current: Option<Cursor>,
    /// The last segment as it was read earlier: its file has the same commits, and more if commits were appended since then. Or
    /// where it is kept once it is read.
    kept: Option<KeptSegment>,
    /// Whether the current segment was read earlier.
    is_kept: bool,
}

/// Damage report for segment `number`, whose header cannot be parsed. `first_seq` is the event that should come next.
pub(crate) fn header_damage(number: u64, error: SegmentError, first_seq: u64) -> Damage {
    Damage { first_seq, last_seq: first_seq, segment: number, offset: 0, what: error.to_string() }
}

/// Damage report for segment `number`, which ends before event `end_seq`, and which the next segment with its first event
/// `next_seq` does not continue.
pub(crate) fn break_damage(number: u64, end_seq: u64, next_seq: u64) -> Damage {
    let what = "the next segment does not continue this one".to_owned();
    Damage { first_seq: end_seq, last_seq: next_seq.saturating_sub(1).max(end_seq), segment: number, offset: 0, what }
}

/// Damage report for a segment path that is not a regular file. `None` when `error` is another I/O error, which proves
/// no damage.
pub(crate) fn not_a_file_damage(number: u64, first_seq: u64, error: &io::Error) -> Option<Damage> {
    let damage = Damage { first_seq, last_seq: first_seq, segment: number, offset: 0, what: error.to_string() };
    file::is_not_regular(error).then_some(damage)
}

/// Damage report for a sealed segment. `first_seq` and `last_seq` are the events of the segment. The error is an I/O error.
pub(crate) fn sealed_damage(number: u64, seqs: (u64, u64), error: SealedError) -> Result<Damage, io::Error> {
    let what = error.to_string();
    let (first_seq, last_seq, offset) = match error {
        SealedError::Io(error) => return Err(error),
        SealedError::Block { first_seq, last_seq, offset, .. }
        | SealedError::Missing { first_seq, last_seq, offset } => (first_seq, last_seq, offset),
        SealedError::Chain { seq } => (seq, seq, 0),
        _ => (seqs.0, seqs.1, 0),
    };
    Ok(Damage { first_seq, last_seq, segment: number, offset, what })
}

impl JournalReader {
    /// Creates a reader of all events whose first batch contains event `seq`.
    pub(crate) fn starting_at(dir: &Arc<LedgerDir>, seq: u64) -> Result<Self, ReadError> {
        Self::of_query(dir, None, seq, EventQuery::default())
    }

    /// Creates a reader of the events that `query` accepts. Its first batch contains event `seq`, or the first accepted
    /// event after it. The file of the segment in `kept` is read only for later commits.
    pub(crate) fn of_query(
        dir: &Arc<LedgerDir>,
        kept: Option<KeptSegment>,
        seq: u64,
        query: EventQuery,
    ) -> Result<Self, ReadError> {
        let segments = Segments::list(dir, &Wanted::Query(query.clone()), (seq, u64::MAX))?;
        Self::of_segments(dir, segments, kept, seq, query)
    }

    /// Like [`of_query`](Self::of_query), with the segments as they were listed.
    pub(crate) fn of_segments(
        dir: &Arc<LedgerDir>,
        segments: Segments,
        kept: Option<KeptSegment>,
        seq: u64,
        query: EventQuery,
    ) -> Result<Self, ReadError> {
        let (dir, journal) = (Arc::clone(dir), dir.at().join(JOURNAL_DIR));
        let mut reader = Self {
            dir,
            journal,
            query,
            first_seq: seq,
            next_seq: 0,
            segments,
            walk: None,
            current: None,
            kept,
            is_kept: false,
        };
        let first = reader.segments.files.first().map(|file| file.number).ok_or(ReadError::Gap { seq: 1 })?;
        let found = segment_containing(&reader.segments, seq);
        let found = found.map_err(|(file, error)| reader.segment_error(file)(error))?;
        let number = found.map_or(first, |file| file.number);
        reader.load(number)?;
        match &reader.current {
            // The segments that contained event `seq` are missing. An error is returned, because later events are not
            // what the caller asked for.
            Some(segment) if segment.start().first_seq > seq => {
                reader.segments.check_all(1, number - 1, seq).map(|()| reader)
            }
            Some(Cursor::Sealed(segment)) => match start_of(&reader.segments.files, number.saturating_add(1)) {
                Some(next) if !next.follows(segment.segment()) => {
                    Err(break_damage(number, segment.end_seq(), next.first_seq).into())
                }
                _ => Ok(reader),
            },
            _ => Ok(reader),
        }
    }

    /// The event count and the hash chain value before the next batch. `None` when no segment is loaded.
    pub(crate) fn head(&self) -> Option<Head> {
        let segment = self.current.as_ref()?;
        Some(Head { size: segment.next_seq() - 1, chain: segment.chain()? })
    }

    /// Skips the valid commits of the current segment, if it is a plain one, and remembers them.
    pub(crate) fn remember_commits(mut self) -> Self {
        self.current = self.current.map(|current| match current {
            Cursor::Plain(segment) => Cursor::Plain(segment.remembered()),
            sealed @ Cursor::Sealed(_) => sealed,
        });
        self
    }

    /// The current segment, if it is a plain one.
    pub(crate) fn into_plain(self) -> Option<PlainSegment> {
        match self.current? {
            Cursor::Plain(segment) => Some(segment),
            Cursor::Sealed(_) => None,
        }
    }

    fn list(&mut self) -> Result<(), ReadError> {
        self.segments = Segments::list(&self.dir, &Wanted::Query(self.query.clone()), (self.first_seq, u64::MAX))?;
        self.walk = None;
        Ok(())
    }

    /// Converts an I/O error: damage when the segment path is not a regular file, [`ReadError::Io`] otherwise.
    fn segment_error(&self, file: &SegmentFile) -> impl FnOnce(io::Error) -> ReadError + use<> {
        let (number, path, first_seq) = (file.number, self.dir.shown(&file.path), self.expected_seq());
        move |source| {
            not_a_file_damage(number, first_seq, &source).map_or(ReadError::Io { path, source }, ReadError::Damaged)
        }
    }

    /// The event that should come next.
    fn expected_seq(&self) -> u64 {
        self.current.as_ref().map_or(1, Cursor::next_seq)
    }

    fn load(&mut self, number: u64) -> Result<(), ReadError> {
        let mut is_listed_again = false;
        loop {
            let Some(file) = file_of(&self.segments.files, number).cloned() else {
                self.segments.check_all(number, number, self.expected_seq())?;
                return Err(ReadError::Gap { seq: self.expected_seq() });
            };
            let loaded = if file.is_sealed { self.open_sealed(&file) } else { self.read_plain(&file) };
            match loaded {
                Ok(cursor) if cursor.number() != number => {
                    return Err(header_damage(number, SegmentError::Header, self.expected_seq()).into());
                }
                Ok(cursor) => {
                    self.current = Some(cursor);
                    return Ok(());
                }
                Err(ReadError::Damaged(_)) if self.use_plain(number) => {}
                // The plain file is removed once its segment is sealed.
                Err(ReadError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound && !is_listed_again => {
                    is_listed_again = true;
                    self.list()?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn read_plain(&mut self, file: &SegmentFile) -> Result<Cursor, ReadError> {
        let is_last = self.segments.files.last().is_some_and(|last| last.number == file.number);
        // What is kept is used once: when commits were appended since then, the file is read again.
        let kept = self.kept.take_if(|kept| kept.get().map_or(is_last, |kept| kept.header().number == file.number));
        // The file may be damaged since then, or that of another ledger.
        let is_same = |kept: &&PlainSegment| plain_header(&file.path).is_ok_and(|header| header == Ok(*kept.header()));
        let earlier = kept.as_ref().and_then(KeptSegment::get).filter(is_same).cloned();
        self.is_kept = earlier.is_some();
        if let Some(mut segment) = earlier {
            segment.skip_before(self.first_seq);
            return Ok(Cursor::Plain(segment));
        }
        let bytes = file::read(&file.path).map_err(self.segment_error(file))?;
        let is_copy = is_last && origin::is_copy(&self.journal);
        let mut segment = PlainSegment::parse(bytes, is_last, is_copy)
            .map_err(|error| header_damage(file.number, error, self.expected_seq()))?;
        if let Some(kept) = kept.filter(|kept| kept.get().is_none()) {
            segment = kept.keep(segment);
            segment.skip_before(self.first_seq);
        }
        Ok(Cursor::Plain(segment))
    }

    fn open_sealed(&self, file: &SegmentFile) -> Result<Cursor, ReadError> {
        let next = self.expected_seq();
        let opened = file.open();
        let cursor = opened.and_then(|segment| SealedCursor::new(segment, &self.query, self.first_seq));
        cursor
            .map(|cursor| Cursor::Sealed(Box::new(cursor)))
            .map_err(|error| self.sealed_error(file, (next, next), error))
    }

    /// Lists the plain file of a segment in the place of the sealed one. Returns false when there is no plain file that can be
    /// read.
    fn use_plain(&mut self, number: u64) -> bool {
        let files = &mut self.segments.files;
        let Ok(at) = files.binary_search_by_key(&number, |file| file.number) else { return false };
        let Some(file) = files.get_mut(at).filter(|file| file.is_sealed && file.place.is_none()) else { return false };
        let path = file.plain_path();
        if !plain_header(&path).is_ok_and(|header| header.is_ok_and(|header| header.number == number)) {
            return false;
        }
        *file = SegmentFile { number, path, is_sealed: false, place: None };
        true
    }

    fn sealed_error(&self, file: &SegmentFile, seqs: (u64, u64), error: SealedError) -> ReadError {
        sealed_damage(file.number, seqs, error).map_or_else(self.segment_error(file), ReadError::Damaged)
    }

    /// Converts an error of the current sealed segment.
    fn checked<T>(&self, found: Result<T, SealedError>) -> Result<T, ReadError> {
        found.map_err(|error| match &self.current {
            Some(Cursor::Sealed(segment)) => {
                let (number, seqs) = (segment.number(), (segment.first_seq(), segment.end_seq() - 1));
                let path = sealed_path(&self.journal, number);
                let file = file_of(&self.segments.files, number).cloned();
                let file = file.unwrap_or(SegmentFile { number, path, is_sealed: true, place: None });
                self.sealed_error(&file, seqs, error)
            }
            _ => ReadError::Gap { seq: self.first_seq },
        })
    }

    /// The next batch of events. `None` at the end of the journal.
    pub(crate) fn next_batch(&mut self) -> Result<Option<EventBatch>, ReadError> {
        let mut tries = 0;
        loop {
            let segment = match &mut self.current {
                None => return Ok(None),
                Some(Cursor::Plain(segment)) => segment,
                Some(Cursor::Sealed(segment)) => {
                    let (number, found) = (segment.number(), segment.next_batch());
                    match self.checked(found) {
                        Ok(Some(batch)) => {
                            self.next_seq = batch.last_seq().saturating_add(1);
                            return Ok(Some(batch));
                        }
                        Ok(None) if self.next_segment()? => continue,
                        Ok(None) => return Ok(None),
                        Err(ReadError::Damaged(_)) if self.use_plain(number) => {
                            self.load(number)?;
                            continue;
                        }
                        Err(error) => return Err(error),
                    }
                }
            };
            match segment.scan_next() {
                Some(Scanned::Commit(at, frame)) => {
                    if let Some(batch) = segment.batch(at, frame).starting_at(self.next_seq) {
                        self.next_seq = batch.last_seq().saturating_add(1);
                        return Ok(Some(batch));
                    }
                }
                // Commits may have been appended since the segment was read.
                _ if self.is_kept => self.reload()?,
                // A torn or damaged commit at the end may be a commit that another process is writing at this moment,
                // so the segment is read again.
                Some(Scanned::Torn(_) | Scanned::Damage(_)) if segment.is_last() && tries < TAIL_READ_TRIES => {
                    tries += 1;
                    thread::sleep(RETRY_INTERVAL);
                    self.list()?;
                    self.reload()?;
                }
                Some(Scanned::Damage(damage)) => return Err(damage.into()),
                Some(Scanned::Torn(_)) => return Ok(None),
                None => {
                    if !self.next_segment()? {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Reads the current segment, if it is a plain one, again and continues at the same event.
    fn reload(&mut self) -> Result<(), ReadError> {
        let Some(Cursor::Plain(before)) = &self.current else { return Ok(()) };
        let before = before.clone();
        // A segment that was sealed since then is read from the block of this event on.
        self.first_seq = self.first_seq.max(before.next_seq());
        self.load(before.header().number)?;
        if let Some(Cursor::Plain(segment)) = &mut self.current {
            segment.continue_from(&before);
        }
        Ok(())
    }

    /// Loads the segment after the current one. Returns `false` when no later segment exists.
    fn next_segment(&mut self) -> Result<bool, ReadError> {
        let Some(segment) = &self.current else { return Ok(false) };
        let (number, next_seq, chain) = (segment.number(), segment.next_seq(), segment.chain());
        let ledger = segment.start().ledger;
        let was_last = matches!(segment, Cursor::Plain(segment) if segment.is_last());
        if self.segments.files.last().is_none_or(|last| last.number <= number) {
            self.list()?;
        }
        if self.segments.files.last().is_none_or(|last| last.number <= number) {
            return Ok(false);
        }
        if was_last {
            // This segment was the last one when it was read. The writer may have appended more commits to it before it
            // created the next segment, so the segment is read again.
            self.reload()?;
            return Ok(true);
        }
        let next = self.next_number(number)?;
        let last = next.or_else(|| self.segments.files.last().map(|file| file.number)).unwrap_or(number);
        // The segments that are left out contain no accepted event. But none may be missing.
        self.segments.check_all(number + 1, last.saturating_sub(1), next_seq)?;
        let after = if next == Some(number + 1) {
            self.load(number + 1)?;
            self.current.as_ref().map(Cursor::start)
        } else {
            start_of(&self.segments.files, number + 1)
        };
        if let Some(after) = after
            && (after.first_seq != next_seq || chain.is_some_and(|chain| after.chain_before != chain))
        {
            return Err(break_damage(number, next_seq, after.first_seq).into());
        }
        if let Some(next) = next.filter(|next| *next > number + 1) {
            self.load(next)?;
            self.check_skipped(ledger, next_seq)?;
        }
        Ok(next.is_some())
    }

    /// Checks that the current segment is of the ledger `ledger`, and continues the one before it, which was left out. `next_seq` is
    /// the event after the last segment that was read.
    fn check_skipped(&self, ledger: Uuid, next_seq: u64) -> Result<(), ReadError> {
        let Some(start) = self.current.as_ref().map(Cursor::start) else { return Ok(()) };
        let before = file_of(&self.segments.files, start.number - 1);
        // No event of a segment that was left out is needed, so it may be damaged.
        let before = before.filter(|file| file.is_sealed).and_then(|file| file.open().ok());
        let is_broken = before.is_some_and(|before| !start.follows(&before));
        if start.ledger != ledger || is_broken {
            return Err(break_damage(start.number - 1, next_seq, start.first_seq).into());
        }
        Ok(())
    }

    /// The number of the next segment after segment `number` that can contain accepted events.
    fn next_number(&mut self, number: u64) -> Result<Option<u64>, ReadError> {
        if self.query.is_all() {
            return Ok(Some(number + 1));
        }
        for is_listed_again in [false, true] {
            if is_listed_again {
                self.list()?;
            }
            let last = self.segments.files.last().map_or(number, |file| file.number);
            let (segments, wanted) = (&self.segments, &self.query);
            let walk = self.walk.get_or_insert_with(|| {
                SegmentWalk::new(segments, (number + 1, last), Direction::Forwards, Wanted::Query(wanted.clone()))
            });
            if let Some(next) = walk.next() {
                return Ok(Some(next));
            }
        }
        Ok(None)
    }
}
