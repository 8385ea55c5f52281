//! The journal that is backed up, as it was at one moment.

use std::{io, path::PathBuf, sync::Arc, thread};

use crate::{
    backup::{error::BackupError, head_file::BackupHead},
    dir::{LedgerDir, without_journal},
    error::{Damage, OpenError},
    file,
    head::Head,
    journal::{
        JOURNAL_DIR,
        base::{ArchiveEntry, BASE_FILE, Base},
        origin,
        plain_segment::PlainSegment,
        reader::{header_damage, sealed_damage},
        scan::Scanned,
        sealed::reader::SealedSegment,
        segment::{SEGMENT_HEADER_LEN, SegmentError},
        segment_file::{SegmentFile, SegmentStart, segment_files, some_segments},
        segments::base_error,
        unsynced::{open_error, segment_error},
    },
    limits::{RETRY_INTERVAL, TAIL_READ_TRIES},
    lock::has_owner,
};

/// The segments of a ledger up to a head. The process that has the ledger open may append meanwhile.
pub(crate) struct SourceJournal {
    pub(crate) dir: Arc<LedgerDir>,
    /// The events that the backup will have.
    pub(crate) head: BackupHead,
    /// The segments before the last one, and what their headers say.
    pub(crate) full: Vec<(SegmentFile, SegmentStart)>,
    pub(crate) last: LastSegment,
    /// The file `base` of the journal, where it has archives.
    pub(crate) base: Option<SourceBase>,
}

/// The base of the journal.
pub(crate) struct SourceBase {
    /// The bytes of the file.
    pub(crate) bytes: Vec<u8>,
    pub(crate) archives: Vec<ArchiveEntry>,
}

/// The last segment.
pub(crate) enum LastSegment {
    /// A plain segment: what its header says, and its bytes up to the end of the last commit.
    Plain(SegmentStart, Vec<u8>),
    /// A sealed segment, with which the journal of a copy may end.
    Sealed(SegmentFile, SegmentStart),
}

impl LastSegment {
    pub(crate) const fn start(&self) -> SegmentStart {
        match self {
            Self::Plain(start, _) | Self::Sealed(_, start) => *start,
        }
    }
}

impl SourceJournal {
    /// Reads the last segment, and the headers of the others. Events that were acknowledged before this call are in the head,
    /// and those of the head are durable.
    pub(crate) fn find(dir: &Arc<LedgerDir>) -> Result<Self, BackupError> {
        some_segments(dir)?;
        let (base, number) = read_base(dir)?;
        let (mut files, head, last) = find_last(dir)?;
        let head = BackupHead { base: number, ..head };
        files.pop();
        let mut full = Vec::with_capacity(files.len());
        for (file, number) in files.into_iter().zip(number + 1..) {
            let start = start_of(dir, &file)?;
            if (file.number, start.number, start.ledger) != (number, number, head.ledger) {
                return Err(missing(number).into());
            }
            full.push((file, start));
        }
        let expected = number + full.len() as u64 + 1;
        if expected != head.segment {
            return Err(missing(expected).into());
        }
        Ok(Self { dir: Arc::clone(dir), head, full, last, base })
    }

    /// What the headers say of the events before segment `number`; `None` when there is no such segment.
    pub(crate) fn start_of(&self, number: u64) -> Option<SegmentStart> {
        if number == self.head.segment {
            return Some(self.last.start());
        }
        let at = usize::try_from(number.checked_sub(self.head.base + 1)?).ok()?;
        self.full.get(at).map(|(_, start)| *start)
    }

    /// The path of the directory with the segments.
    pub(crate) fn journal(&self) -> PathBuf {
        self.dir.at().join(JOURNAL_DIR)
    }
}

/// Reads the base of the journal. Returns the number of the last archived segment, too.
fn read_base(dir: &LedgerDir) -> Result<(Option<SourceBase>, u64), BackupError> {
    let journal = dir.at().join(JOURNAL_DIR);
    let Some(base) = Base::read(&journal).map_err(|error| base_error(dir, error))? else { return Ok((None, 0)) };
    let path = journal.join(BASE_FILE);
    let bytes = file::read(&path).map_err(BackupError::io(dir.shown(&path)))?;
    let number = base.number();
    Ok((Some(SourceBase { bytes, archives: base.archives }), number))
}

fn missing(number: u64) -> Damage {
    let what = "the segment is missing, or its header does not match its file name".to_owned();
    Damage { first_seq: 1, last_seq: 1, segment: number, offset: 0, what }
}

fn start_of(dir: &LedgerDir, file: &SegmentFile) -> Result<SegmentStart, OpenError> {
    let start = file.start().map_err(segment_error(file.number, 1, &file.path))?;
    start.map_err(|error| open_error(dir, file.number, error))
}

/// Finds the last segment and the head. Reads again while another process may be writing the last commit, or beginning the
/// next segment.
fn find_last(dir: &Arc<LedgerDir>) -> Result<(Vec<SegmentFile>, BackupHead, LastSegment), BackupError> {
    let journal = dir.at().join(JOURNAL_DIR);
    let mut tries = 0;
    loop {
        let files = segment_files(&journal).map_err(BackupError::io(dir.shown(&journal)))?;
        let found = match files.last() {
            None => return Err(without_journal(dir).into()),
            Some(last) if last.is_sealed => read_sealed(dir, last),
            Some(last) => read_plain(dir, last, tries >= TAIL_READ_TRIES || !has_owner(dir)),
        };
        match found {
            Ok((head, last)) => return Ok((files, head, last)),
            Err(error) if tries >= TAIL_READ_TRIES => return Err(error),
            Err(_) => {
                tries += 1;
                thread::sleep(RETRY_INTERVAL);
            }
        }
    }
}

fn read_plain(
    dir: &LedgerDir,
    last: &SegmentFile,
    is_torn_accepted: bool,
) -> Result<(BackupHead, LastSegment), BackupError> {
    let (number, path) = (last.number, &last.path);
    let file = file::open(path).map_err(segment_error(number, 1, path))?;
    let bytes = read_all(&file).map_err(OpenError::io(dir.shown(path)))?;
    // A copy of a journal may end in a state that is damage in the original, see `origin`.
    let is_copy = origin::is_copy(&dir.at().join(JOURNAL_DIR));
    let mut segment =
        PlainSegment::parse(bytes.clone(), true, is_copy).map_err(|error| open_error(dir, number, error))?;
    let start = SegmentStart::from(*segment.header());
    if start.number != number {
        return Err(header_damage(number, SegmentError::Header, start.first_seq).into());
    }
    let mut used = SEGMENT_HEADER_LEN;
    while let Some(found) = segment.scan_next() {
        match found {
            Scanned::Commit(at, frame) => used = at + frame.header().frame_len(),
            Scanned::Damage(damage) => return Err(damage.into()),
            // A commit that a crash has interrupted was never acknowledged.
            Scanned::Torn(_) if is_torn_accepted => break,
            Scanned::Torn(at) => {
                let (first_seq, what) = (segment.next_seq(), "a commit is being written".to_owned());
                return Err(Damage { first_seq, last_seq: first_seq, segment: number, offset: at as u64, what }.into());
            }
        }
    }
    // The last commit may be in the page cache only. After a power failure the ledger must not lack events of the backup.
    file.sync_data().map_err(BackupError::io(dir.shown(path)))?;
    let head = Head { size: segment.next_seq() - 1, chain: segment.chain() };
    let mut bytes = bytes;
    bytes.truncate(used);
    Ok((BackupHead { ledger: start.ledger, head, segment: number, base: 0 }, LastSegment::Plain(start, bytes)))
}

fn read_all(mut file: &std::fs::File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut file, &mut bytes)?;
    Ok(bytes)
}

fn read_sealed(dir: &LedgerDir, last: &SegmentFile) -> Result<(BackupHead, LastSegment), BackupError> {
    let start = start_of(dir, last)?;
    let opened = SealedSegment::open(&last.path);
    let found = opened.and_then(|segment| Ok((segment.header().last_seq(), segment.chain_after()?)));
    match found {
        Ok((size, chain)) => {
            let head = BackupHead { ledger: start.ledger, head: Head { size, chain }, segment: last.number, base: 0 };
            Ok((head, LastSegment::Sealed(last.clone(), start)))
        }
        Err(error) => {
            let damage = sealed_damage(last.number, (start.first_seq, start.first_seq), error);
            Err(damage.map_err(BackupError::io(dir.shown(&last.path)))?.into())
        }
    }
}
