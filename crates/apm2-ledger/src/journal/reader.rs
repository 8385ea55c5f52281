//! Reads the journal in order, without a lock, beside a writer or after one.

use std::{
    io::Read as _,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use crate::{
    chain::Chain,
    dir::LedgerDir,
    error::{Damage, ReadError},
    file,
    frame::Frame,
    head::Head,
    journal::{
        JOURNAL_DIR, origin,
        scan::{Scan, Scanned},
        segment::{SEGMENT_HEADER_LEN, SegmentError, SegmentHeader},
        segments,
    },
    limits::{RETRY_INTERVAL, TAIL_READ_TRIES},
};

/// One commit as it was read: its bytes, and what they hold.
#[derive(Debug)]
pub(crate) struct ReadCommit {
    pub(crate) bytes: Vec<u8>,
    pub(crate) frame: Frame,
}

/// What a segment holds.
#[derive(Debug)]
struct Loaded {
    number: u64,
    header: SegmentHeader,
    bytes: Vec<u8>,
    is_last: bool,
    is_copy: bool,
    offset: usize,
    next_seq: u64,
    chain: Chain,
}

/// Commits from a given event on.
#[derive(Debug)]
pub(crate) struct JournalReader {
    dir: Arc<LedgerDir>,
    journal: PathBuf,
    current: Option<Loaded>,
}

fn io_error(dir: &LedgerDir, path: &Path) -> impl FnOnce(std::io::Error) -> ReadError {
    let path = dir.shown(path);
    move |source| ReadError::Io { path, source }
}

/// A segment whose header cannot be read.
pub(crate) fn header_damage(number: u64, error: SegmentError, first_seq: u64) -> Damage {
    Damage { first_seq, last_seq: first_seq, segment: number, offset: 0, what: error.to_string() }
}

/// The damage that it is when what has the name of a segment is no file.
pub(crate) fn not_a_segment(number: u64, first_seq: u64, error: &std::io::Error) -> Option<Damage> {
    let damage = Damage { first_seq, last_seq: first_seq, segment: number, offset: 0, what: error.to_string() };
    file::is_none(error).then_some(damage)
}

/// The header of the segment at `path`.
pub(crate) fn read_header(path: &Path) -> std::io::Result<Result<SegmentHeader, SegmentError>> {
    let mut bytes = Vec::with_capacity(SEGMENT_HEADER_LEN);
    file::open(path)?.take(SEGMENT_HEADER_LEN as u64).read_to_end(&mut bytes)?;
    Ok(SegmentHeader::parse(&bytes))
}

impl JournalReader {
    /// A reader that begins with the commit that holds event `seq`.
    pub(crate) fn starting_at(dir: &Arc<LedgerDir>, seq: u64) -> Result<Self, ReadError> {
        let mut reader = Self { dir: Arc::clone(dir), journal: dir.at().join(JOURNAL_DIR), current: None };
        let number = reader.segment_holding(seq)?;
        reader.load(number)?;
        match &reader.current {
            // The segments before it are gone: what is asked for cannot be read, and what comes later is no answer.
            Some(segment) if segment.header.first_seq > seq => Err(ReadError::Gap { seq }),
            _ => Ok(reader),
        }
    }

    /// The number of events before the next commit, and the hash chain there.
    pub(crate) fn head(&self) -> Option<Head> {
        let segment = self.current.as_ref()?;
        Some(Head { size: segment.next_seq - 1, chain: segment.chain })
    }

    /// The last segment that begins at or before `seq`.
    fn segment_holding(&self, seq: u64) -> Result<u64, ReadError> {
        let all = segments(&self.journal).map_err(io_error(&self.dir, &self.journal))?;
        let Some((first, _)) = all.first() else { return Err(ReadError::Gap { seq: 1 }) };
        for (number, path) in all.iter().rev() {
            // A segment with a broken header is passed over: reading on from the one before it reports the damage.
            match read_header(path).map_err(self.segment_error(*number, path))? {
                Ok(header) if header.first_seq <= seq => return Ok(*number),
                Ok(_) | Err(_) => {}
            }
        }
        Ok(*first)
    }

    /// What has the name of a segment and is no file is damage; the rest is out of reach.
    fn segment_error(&self, number: u64, path: &Path) -> impl FnOnce(std::io::Error) -> ReadError {
        let (path, first_seq) = (self.dir.shown(path), self.current.as_ref().map_or(1, |segment| segment.next_seq));
        move |source| {
            not_a_segment(number, first_seq, &source).map_or(ReadError::Io { path, source }, ReadError::Damaged)
        }
    }

    fn load(&mut self, number: u64) -> Result<(), ReadError> {
        let all = segments(&self.journal).map_err(io_error(&self.dir, &self.journal))?;
        let first_seq = self.current.as_ref().map_or(1, |segment| segment.next_seq);
        let Some((_, path)) = all.iter().find(|(candidate, _)| *candidate == number) else {
            return Err(ReadError::Gap { seq: first_seq });
        };
        let bytes = file::read(path).map_err(self.segment_error(number, path))?;
        let header = SegmentHeader::parse(&bytes).map_err(|error| header_damage(number, error, first_seq))?;
        let is_last = all.last().is_some_and(|(last, _)| *last == number);
        let (next_seq, chain) = (header.first_seq, header.chain_before);
        let is_copy = is_last && origin::is_copy(&self.journal);
        self.current =
            Some(Loaded { number, header, bytes, is_last, is_copy, offset: SEGMENT_HEADER_LEN, next_seq, chain });
        Ok(())
    }

    /// The next commit; `None` at the end.
    pub(crate) fn next_commit(&mut self) -> Result<Option<ReadCommit>, ReadError> {
        let mut tries = 0;
        loop {
            let Some(segment) = &mut self.current else { return Ok(None) };
            match segment.scan_next() {
                Some(Scanned::Commit(at, frame)) => {
                    let end = at + frame.header().frame_len();
                    let bytes = segment.bytes.get(at..end).unwrap_or_default().to_vec();
                    return Ok(Some(ReadCommit { bytes, frame }));
                }
                // What looks torn or damaged at the end may be a commit that is being written at this moment.
                Some(Scanned::Torn(_) | Scanned::Damage(_)) if segment.is_last && tries < TAIL_READ_TRIES => {
                    tries += 1;
                    thread::sleep(RETRY_INTERVAL);
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

    /// Reads the current segment again and goes on where it was.
    fn reload(&mut self) -> Result<(), ReadError> {
        let Some(segment) = self.current.take() else { return Ok(()) };
        self.load(segment.number)?;
        if let Some(fresh) = &mut self.current {
            (fresh.offset, fresh.next_seq, fresh.chain) = (segment.offset, segment.next_seq, segment.chain);
        }
        Ok(())
    }

    /// Goes to the segment after the current one, if there is one by now.
    fn next_segment(&mut self) -> Result<bool, ReadError> {
        let Some(segment) = &self.current else { return Ok(false) };
        let (number, next_seq, chain) = (segment.number, segment.next_seq, segment.chain);
        let all = segments(&self.journal).map_err(io_error(&self.dir, &self.journal))?;
        if all.last().is_none_or(|(last, _)| *last <= number) {
            return Ok(false);
        }
        if segment.is_last {
            // It was the last when it was read: its writer may have added to it before it went on to the next.
            self.reload()?;
            return Ok(true);
        }
        self.load(number + 1)?;
        match &self.current {
            Some(next) if next.header.first_seq != next_seq || next.header.chain_before != chain => Err(Damage {
                first_seq: next_seq,
                last_seq: next.header.first_seq.saturating_sub(1).max(next_seq),
                segment: number,
                offset: 0,
                what: "the next segment does not follow on it".to_owned(),
            }
            .into()),
            _ => Ok(true),
        }
    }
}

impl Loaded {
    /// Scans one step on from where it is.
    fn scan_next(&mut self) -> Option<Scanned> {
        let mut scan = Scan::resumed(&self.bytes, &self.header, self.is_last, self.offset, self.next_seq, self.chain)
            .of_copy(self.is_copy);
        let found = scan.next();
        if let Some(Scanned::Commit(..)) = found {
            (self.offset, self.next_seq, self.chain) = (scan.offset(), scan.next_seq(), scan.next_chain());
        }
        found
    }
}
