//! Reads the commits of the journal in order. A reader needs no lock and may run while another process appends.

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

/// A commit that was read: its bytes and the parsed frame.
#[derive(Debug)]
pub(crate) struct ReadCommit {
    pub(crate) bytes: Vec<u8>,
    pub(crate) frame: Frame,
}

/// A segment in memory, with the position of the reader in it.
#[derive(Debug)]
struct LoadedSegment {
    number: u64,
    header: SegmentHeader,
    bytes: Vec<u8>,
    is_last: bool,
    is_copy: bool,
    offset: usize,
    next_seq: u64,
    chain: Chain,
}

/// Iterates over the commits of the journal, beginning at a given event.
#[derive(Debug)]
pub(crate) struct JournalReader {
    dir: Arc<LedgerDir>,
    journal: PathBuf,
    current: Option<LoadedSegment>,
}

fn io_error(dir: &LedgerDir, path: &Path) -> impl FnOnce(std::io::Error) -> ReadError {
    let path = dir.shown(path);
    move |source| ReadError::Io { path, source }
}

/// Damage report for segment `number`, whose header cannot be parsed. `first_seq` is the event that should come next.
pub(crate) fn header_damage(number: u64, error: SegmentError, first_seq: u64) -> Damage {
    Damage { first_seq, last_seq: first_seq, segment: number, offset: 0, what: error.to_string() }
}

/// Damage report for a segment path that is not a regular file. `None` when `error` is another I/O error, which proves
/// no damage.
pub(crate) fn not_a_file_damage(number: u64, first_seq: u64, error: &std::io::Error) -> Option<Damage> {
    let damage = Damage { first_seq, last_seq: first_seq, segment: number, offset: 0, what: error.to_string() };
    file::is_not_regular(error).then_some(damage)
}

/// Reads and parses the header of the segment file at `path`. The outer error is an I/O error.
pub(crate) fn read_header(path: &Path) -> std::io::Result<Result<SegmentHeader, SegmentError>> {
    let mut bytes = Vec::with_capacity(SEGMENT_HEADER_LEN);
    file::open(path)?.take(SEGMENT_HEADER_LEN as u64).read_to_end(&mut bytes)?;
    Ok(SegmentHeader::parse(&bytes))
}

impl JournalReader {
    /// Creates a reader whose first commit is the commit that contains event `seq`.
    pub(crate) fn starting_at(dir: &Arc<LedgerDir>, seq: u64) -> Result<Self, ReadError> {
        let mut reader = Self { dir: Arc::clone(dir), journal: dir.at().join(JOURNAL_DIR), current: None };
        let number = reader.segment_containing(seq)?;
        reader.load(number)?;
        match &reader.current {
            // The segments that contained event `seq` are missing. An error is returned, because later events are not
            // what the caller asked for.
            Some(segment) if segment.header.first_seq > seq => Err(ReadError::Gap { seq }),
            _ => Ok(reader),
        }
    }

    /// The event count and the hash chain value before the next commit. `None` when no segment is loaded.
    pub(crate) fn head(&self) -> Option<Head> {
        let segment = self.current.as_ref()?;
        Some(Head { size: segment.next_seq - 1, chain: segment.chain })
    }

    /// The number of the last segment whose first event is `seq` or an earlier event.
    fn segment_containing(&self, seq: u64) -> Result<u64, ReadError> {
        let all = segments(&self.journal).map_err(io_error(&self.dir, &self.journal))?;
        let Some((first, _)) = all.first() else { return Err(ReadError::Gap { seq: 1 }) };
        for (number, path) in all.iter().rev() {
            // A segment with an invalid header is skipped here. The reader then begins in an earlier segment and
            // reports the damage when it gets to this one.
            match read_header(path).map_err(self.segment_error(*number, path))? {
                Ok(header) if header.first_seq <= seq => return Ok(*number),
                Ok(_) | Err(_) => {}
            }
        }
        Ok(*first)
    }

    /// Converts an I/O error: damage when the segment path is not a regular file, [`ReadError::Io`] otherwise.
    fn segment_error(&self, number: u64, path: &Path) -> impl FnOnce(std::io::Error) -> ReadError {
        let (path, first_seq) = (self.dir.shown(path), self.current.as_ref().map_or(1, |segment| segment.next_seq));
        move |source| {
            not_a_file_damage(number, first_seq, &source).map_or(ReadError::Io { path, source }, ReadError::Damaged)
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
        self.current = Some(LoadedSegment {
            number,
            header,
            bytes,
            is_last,
            is_copy,
            offset: SEGMENT_HEADER_LEN,
            next_seq,
            chain,
        });
        Ok(())
    }

    /// The next commit. `None` at the end of the journal.
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
                // A torn or damaged commit at the end may be a commit that another process is writing at this moment,
                // so the segment is read again.
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

    /// Reads the current segment file again and continues at the same position.
    fn reload(&mut self) -> Result<(), ReadError> {
        let Some(segment) = self.current.take() else { return Ok(()) };
        self.load(segment.number)?;
        if let Some(reloaded) = &mut self.current {
            (reloaded.offset, reloaded.next_seq, reloaded.chain) = (segment.offset, segment.next_seq, segment.chain);
        }
        Ok(())
    }

    /// Loads the segment after the current one. Returns `false` when no later segment exists.
    fn next_segment(&mut self) -> Result<bool, ReadError> {
        let Some(segment) = &self.current else { return Ok(false) };
        let (number, next_seq, chain) = (segment.number, segment.next_seq, segment.chain);
        let all = segments(&self.journal).map_err(io_error(&self.dir, &self.journal))?;
        if all.last().is_none_or(|(last, _)| *last <= number) {
            return Ok(false);
        }
        if segment.is_last {
            // This segment was the last one when it was read. The writer may have appended more commits to it before it
            // created the next segment, so the segment is read again.
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
                what: "the next segment does not continue this one".to_owned(),
            }
            .into()),
            _ => Ok(true),
        }
    }
}

impl LoadedSegment {
    /// Scans the next commit and moves the position behind it.
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
