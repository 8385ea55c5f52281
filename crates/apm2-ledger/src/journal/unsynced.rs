//! The journal after it was read at opening, before its last commit is known to be durable.

use std::{io, path::Path, sync::Arc};

use uuid::Uuid;

use crate::{
    dir::{LedgerDir, without_journal},
    error::{Damage, OpenError},
    file::{self, sync_dir},
    frame::Frame,
    head::Head,
    journal::{
        JOURNAL_DIR,
        base::{Base, BaseError},
        next_segment::write_zeros,
        origin,
        reader::{header_damage, not_a_file_damage, sealed_damage},
        scan::{Scan, Scanned},
        sealed::reader::SealedSegment,
        segment::{SegmentError, SegmentHeader},
        segment_file::{SegmentFile, segment_files},
        segments::base_damage,
        storage_backend::StorageBackend,
        writer::JournalWriter,
    },
};

/// A journal that was read at opening. The data that was read must be made durable before the journal is written.
pub(crate) struct UnsyncedJournal {
    writer: JournalWriter,
    bytes: Vec<u8>,
    last_commit: Option<(usize, Frame)>,
    is_torn: bool,
    /// Whether the last segment is shorter than its header says. A copy of a journal may have such a segment.
    is_short: bool,
    /// Whether the last segment is sealed, so that the next one must be begun. A copy of a journal may end so.
    ends_sealed: bool,
}

impl UnsyncedJournal {
    /// Reads the journal in the ledger directory `dir` up to its last commit. Changes nothing on the disk.
    pub(crate) fn find(
        dir: &Arc<LedgerDir>,
        segment_bytes: u64,
        backend: Arc<dyn StorageBackend>,
    ) -> Result<Self, OpenError> {
        let journal = dir.at().join(JOURNAL_DIR);
        let base = Base::read(&journal).map_err(|error| match error {
            BaseError::Io(error) => OpenError::io(&journal)(error),
            damaged => base_damage(&damaged).into(),
        })?;
        let base = base.map(Arc::new);
        let last = last_segment(dir, &journal, base.as_deref())?;
        if last.is_sealed {
            return Self::after_sealed(dir, &last, base, segment_bytes, backend);
        }
        let SegmentFile { number, path, .. } = last;
        let bytes = file::read(&path).map_err(segment_error(number, 1, &path))?;
        let header = SegmentHeader::parse(&bytes).map_err(|error| open_error(dir, number, error))?;
        let file = file::open_for_writing(&path).map_err(OpenError::io(&path))?;
        let is_short = (bytes.len() as u64) < header.len;
        let mut scan = Scan::new(&bytes, &header, true).of_copy(origin::is_copy(&journal));
        let mut last_commit = None;
        let mut is_torn = false;
        for found in scan.by_ref() {
            match found {
                Scanned::Commit(at, frame) => last_commit = Some((at, frame)),
                Scanned::Damage(damage) => return Err(damage.into()),
                Scanned::Torn(_) => is_torn = true,
            }
        }
        let (offset, next_seq, chain) = (scan.offset() as u64, scan.next_seq(), scan.next_chain());
        let writer = JournalWriter {
            dir: Arc::clone(dir),
            journal,
            backend,
            segment_bytes,
            ledger: header.ledger,
            base,
            file,
            number,
            len: header.len,
            offset,
            next_seq,
            chain,
            ahead: None,
            full: None,
        };
        Ok(Self { writer, bytes, last_commit, is_torn, is_short, ends_sealed: false })
    }

    /// The journal of a copy that ends with the sealed segment `last`.
    fn after_sealed(
        dir: &Arc<LedgerDir>,
        last: &SegmentFile,
        base: Option<Arc<Base>>,
        segment_bytes: u64,
        backend: Arc<dyn StorageBackend>,
    ) -> Result<Self, OpenError> {
        let path = &last.path;
        let file = file::open(path).map_err(OpenError::io(path))?;
        let len = file.metadata().map_err(OpenError::io(path))?.len();
        let segment = SealedSegment::open(path).and_then(|segment| Ok((*segment.header(), segment.chain_after()?)));
        let (header, chain) = segment.map_err(|error| match sealed_damage(last.number, (1, 1), error) {
            Ok(damage) => damage.into(),
            Err(error) => OpenError::io(path)(error),
        })?;
        let writer = JournalWriter {
            dir: Arc::clone(dir),
            journal: dir.at().join(JOURNAL_DIR),
            backend,
            segment_bytes,
            ledger: header.ledger,
            base,
            file,
            number: header.number,
            len,
            offset: len,
            next_seq: header.last_seq().saturating_add(1),
            chain,
            ahead: None,
            full: None,
        };
        Ok(Self { ends_sealed: true, ..Self::made(writer) })
    }

    /// Wraps a writer of a newly created journal, which is durable already.
    pub(crate) fn made(writer: JournalWriter) -> Self {
        Self { writer, bytes: Vec::new(), last_commit: None, is_torn: false, is_short: false, ends_sealed: false }
    }

    /// The ID of the ledger.
    pub(crate) const fn ledger(&self) -> Uuid {
        self.writer.ledger
    }

    /// The base of the journal; `None` when it begins with its first segment.
    pub(crate) fn base(&self) -> Option<&Base> {
        self.writer.base.as_deref()
    }

    /// The event count and the hash chain value of the journal.
    pub(crate) const fn head(&self) -> Head {
        Head { size: self.last_seq(), chain: self.writer.chain }
    }

    /// The sequence number of the last event. 0 when the journal has no events.
    pub(crate) const fn last_seq(&self) -> u64 {
        self.writer.next_seq - 1
    }

    /// The position of a torn commit at the end of the journal, if there is one.
    pub(crate) fn torn(&self) -> Option<CutTail> {
        self.is_torn.then_some(CutTail { segment: self.writer.number, offset: self.writer.offset })
    }

    /// Makes the journal durable as it was read, and overwrites a torn commit with zeros.
    ///
    /// The page cache may contain a last commit that was never written to the disk, because its sync failed or was not
    /// called. Each earlier commit was synced before the next one was written. So it is enough to write the last commit
    /// again and to sync it. For the same reason, the directory is synced, which makes the name of the last segment
    /// durable.
    pub(crate) fn make_durable(self) -> io::Result<JournalWriter> {
        let Self { mut writer, bytes, last_commit, is_torn, is_short, ends_sealed } = self;
        if ends_sealed {
            writer.begin_next()?;
        }
        if is_short {
            write_zeros(&writer.file, bytes.len() as u64, writer.len)?;
        }
        if is_torn {
            let start = usize::try_from(writer.offset).unwrap_or(usize::MAX);
            let torn_bytes = bytes.get(start..).unwrap_or_default();
            let torn_len = torn_bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            writer.backend.write_all_at(&writer.file, &vec![0; torn_len], writer.offset)?;
        }
        if let Some((at, frame)) = &last_commit {
            let commit = bytes.get(*at..at + frame.header().frame_len()).unwrap_or_default();
            writer.backend.write_all_at(&writer.file, commit, *at as u64)?;
        }
        if is_torn || is_short || last_commit.is_some() {
            writer.backend.sync_data(&writer.file)?;
        }
        sync_dir(&writer.journal)?;
        origin::save(&writer.journal)?;
        Ok(writer)
    }

    /// Replaces the last segment by a copy when the file has more than one hard link. So a hard-linked copy of the
    /// ledger is not modified.
    pub(crate) fn unshared(mut self) -> io::Result<Self> {
        // A sealed segment is not written.
        if self.ends_sealed {
            return Ok(self);
        }
        if file::is_shared(&self.writer.file)? {
            self.writer.unshare(&self.bytes)?;
        }
        self.writer.watch()?;
        Ok(self)
    }

    /// Whether a segment must be begun before events can be appended.
    pub(crate) const fn ends_sealed(&self) -> bool {
        self.ends_sealed
    }

    /// Returns the writer without a sync, for a journal that is known to be durable.
    pub(crate) fn assume_durable(self) -> JournalWriter {
        self.writer
    }
}

/// Position of a torn commit that was removed: a crash had interrupted its write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CutTail {
    pub(crate) segment: u64,
    pub(crate) offset: u64,
}

/// Finds the last segment. It is sealed only in a copy. Checks that the segments are numbered from 1, or from that after the
/// base, without gaps, and that the first sequence numbers in their headers do not decrease.
fn last_segment(dir: &LedgerDir, journal: &Path, base: Option<&Base>) -> Result<SegmentFile, OpenError> {
    let all = segment_files(journal).map_err(OpenError::io(journal))?;
    let (mut first_seq, mut ledger) = base.map_or((1, None), |base| (base.seq() + 1, Some(base.ledger)));
    let first = base.map_or(1, |base| base.number() + 1);
    for (file, expected) in all.iter().zip(first..) {
        let number = file.number;
        let missing =
            |what: &str| Damage { first_seq, last_seq: first_seq, segment: expected, offset: 0, what: what.to_owned() };
        if number != expected {
            return Err(missing("the segment is missing").into());
        }
        let header = file.start().map_err(segment_error(expected, first_seq, &file.path))?;
        let header = header.map_err(|error| match error {
            SegmentError::Newer(_) => open_error(dir, number, error),
            SegmentError::Header => header_damage(number, error, first_seq).into(),
        })?;
        if header.number != number || header.first_seq < first_seq {
            return Err(missing("the segment header does not match the file name").into());
        }
        if number == first && base.is_some() && !header.is_after(base) {
            return Err(missing("the segment does not continue the archives").into());
        }
        if *ledger.get_or_insert(header.ledger) != header.ledger {
            return Err(missing("the segment belongs to another ledger").into());
        }
        first_seq = header.first_seq;
    }
    match all.into_iter().next_back() {
        None => Err(without_journal(dir)),
        // A segment is sealed only after the next one is durable. A program that makes a copy may have listed the files before, or
        // may have found the next one removed, since that was sealed, too.
        Some(last) if !last.is_sealed || origin::is_copy(journal) => Ok(last),
        Some(SegmentFile { number, .. }) => {
            let what = "the segment after the last sealed one is missing".to_owned();
            Err(Damage { first_seq, last_seq: first_seq, segment: number + 1, offset: 0, what }.into())
        }
    }
}

/// Converts an I/O error: damage when the segment path is not a regular file, [`OpenError::Io`] otherwise.
pub(crate) fn segment_error(number: u64, first_seq: u64, path: &Path) -> impl FnOnce(io::Error) -> OpenError {
    move |error| match not_a_file_damage(number, first_seq, &error) {
        Some(damage) => damage.into(),
        None => OpenError::io(path)(error),
    }
}

/// Converts an error of a segment's header: [`OpenError::Newer`], or damage.
pub(crate) fn open_error(dir: &LedgerDir, number: u64, error: SegmentError) -> OpenError {
    match error {
        SegmentError::Newer(found) => {
            OpenError::Newer { path: dir.named().to_owned(), found, known: crate::journal::segment::FORMAT_VERSION }
        }
        SegmentError::Header => header_damage(number, error, 1).into(),
    }
}
