//! Appends commits to the journal, and makes them durable.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    sync::Arc,
    thread::{self, JoinHandle},
};

use uuid::Uuid;

use crate::{
    chain::Chain,
    dir::{LedgerDir, WatchedJournal},
    error::{Damage, OpenError},
    file::{self, sync_dir},
    frame::Frame,
    head::Head,
    journal::{
        JOURNAL_DIR,
        medium::Medium,
        origin,
        reader::{header_damage, not_a_segment, read_header},
        scan::{Scan, Scanned},
        segment::{AHEAD, SEGMENT_HEADER_LEN, SegmentError, SegmentHeader, aligned, segment_path},
        segments,
    },
};

const ZEROS_LEN: usize = 1 << 20;

/// The journal, open for appending. The leader of the group commit owns it.
pub(crate) struct JournalWriter {
    dir: Arc<LedgerDir>,
    journal: PathBuf,
    medium: Arc<dyn Medium>,
    segment_bytes: u64,
    ledger: Uuid,
    file: File,
    number: u64,
    len: u64,
    offset: u64,
    next_seq: u64,
    chain: Chain,
    ahead: Option<JoinHandle<io::Result<()>>>,
}

/// A journal as it was found. Before it can be written, what was found has to be on the disk.
pub(crate) struct UnsettledJournal {
    writer: JournalWriter,
    bytes: Vec<u8>,
    last_commit: Option<(usize, Frame)>,
    is_torn: bool,
    /// Whether the last segment is shorter than it was made, as that of a copy may be.
    is_short: bool,
}

impl UnsettledJournal {
    /// A journal that was just made, and is on the disk.
    pub(crate) fn made(writer: JournalWriter) -> Self {
        Self { writer, bytes: Vec::new(), last_commit: None, is_torn: false, is_short: false }
    }

    /// The ledger's id.
    pub(crate) const fn ledger(&self) -> Uuid {
        self.writer.ledger
    }

    /// Its size and chain.
    pub(crate) const fn head(&self) -> Head {
        Head { size: self.last_seq(), chain: self.writer.chain }
    }

    /// The seq of the last event; 0 before the first.
    pub(crate) const fn last_seq(&self) -> u64 {
        self.writer.next_seq - 1
    }

    /// Where a commit was cut short by a crash.
    pub(crate) fn torn(&self) -> Option<CutTail> {
        self.is_torn.then_some(CutTail { segment: self.writer.number, offset: self.writer.offset })
    }

    /// Makes what was found durable, whatever happened before, and takes a torn commit away.
    ///
    /// The page cache may show a last commit that a failed or forgotten sync never brought to the disk. All commits
    /// before it were synced before it was written, so writing this one again and syncing closes the gap. The same goes
    /// for the name of the last segment.
    pub(crate) fn settle(self) -> io::Result<JournalWriter> {
        let Self { writer, bytes, last_commit, is_torn, is_short } = self;
        if is_short {
            write_zeros(&writer.file, bytes.len() as u64, writer.len)?;
        }
        if is_torn {
            let start = usize::try_from(writer.offset).unwrap_or(usize::MAX);
            let residue = bytes.get(start..).unwrap_or_default();
            let residue_len = residue.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            writer.medium.write_all_at(&writer.file, &vec![0; residue_len], writer.offset)?;
        }
        if let Some((at, frame)) = &last_commit {
            let commit = bytes.get(*at..at + frame.header().frame_len()).unwrap_or_default();
            writer.medium.write_all_at(&writer.file, commit, *at as u64)?;
        }
        if is_torn || is_short || last_commit.is_some() {
            writer.medium.sync_data(&writer.file)?;
        }
        sync_dir(&writer.journal)?;
        origin::note(&writer.journal)?;
        Ok(writer)
    }

    /// The same journal in a segment that has no other name: a hard-linked copy of it is not written by this ledger.
    pub(crate) fn unshared(mut self) -> io::Result<Self> {
        if file::is_shared(&self.writer.file)? {
            self.writer.unshare(&self.bytes)?;
        }
        self.writer.watch()?;
        Ok(self)
    }

    /// The same journal, known to be on the disk as it is.
    pub(crate) fn settled(self) -> JournalWriter {
        self.writer
    }
}

/// A commit that was cut short by a crash, and was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CutTail {
    pub(crate) segment: u64,
    pub(crate) offset: u64,
}

impl JournalWriter {
    /// Makes a journal without events below `dir`, in a directory that exists and is empty.
    pub(crate) fn create(
        dir: &Arc<LedgerDir>,
        ledger: Uuid,
        segment_bytes: u64,
        medium: Arc<dyn Medium>,
    ) -> io::Result<Self> {
        let chain = Chain::genesis(ledger);
        let journal = dir.at().join(JOURNAL_DIR);
        // The origin file is written before the first segment, so that every copy of the journal contains it and is recognized as a copy.
        origin::note(&journal)?;
        let file = begin_segment(&journal, ledger, 1, 1, chain, segment_bytes, &*medium)?;
        Ok(Self {
            dir: Arc::clone(dir),
            journal,
            medium,
            segment_bytes,
            ledger,
            file,
            number: 1,
            len: segment_bytes,
            offset: SEGMENT_HEADER_LEN as u64,
            next_seq: 1,
            chain,
            ahead: None,
        })
    }

    /// Reads the journal below `dir` up to its last commit, and changes nothing.
    pub(crate) fn find(
        dir: &Arc<LedgerDir>,
        segment_bytes: u64,
        medium: Arc<dyn Medium>,
    ) -> Result<UnsettledJournal, OpenError> {
        let journal = dir.at().join(JOURNAL_DIR);
        let (number, path) = last_segment(dir, &journal)?;
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
        let writer = Self {
            dir: Arc::clone(dir),
            journal,
            medium,
            segment_bytes,
            ledger: header.ledger,
            file,
            number,
            len: header.len,
            offset,
            next_seq,
            chain,
            ahead: None,
        };
        Ok(UnsettledJournal { writer, bytes, last_commit, is_torn, is_short })
    }

    /// The ledger's id.
    pub(crate) const fn ledger(&self) -> Uuid {
        self.ledger
    }

    /// The seq of the next event.
    pub(crate) const fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// The chain after the last event.
    pub(crate) const fn chain(&self) -> Chain {
        self.chain
    }

    /// Appends one commit, which holds the events up to `last_seq` and ends in `chain`, and makes it durable.
    ///
    /// After an error, which names the file, its state is not known: this writer must not be used again.
    pub(crate) fn append(&mut self, commit: &[u8], last_seq: u64, chain: Chain) -> io::Result<()> {
        let commit_len = aligned(commit.len()) as u64;
        if self.offset + commit_len > self.len {
            self.roll(commit_len)?;
        }
        self.write(commit).map_err(|error| self.dir.naming(&segment_path(&self.journal, self.number), &error))?;
        // Data in a file without a durable name is not durable.
        let nlink = self.file.metadata()?.nlink();
        if nlink == 0 {
            self.dir.check_place()?;
            let lost = io::Error::new(io::ErrorKind::NotFound, "it was removed");
            return Err(self.dir.naming(&segment_path(&self.journal, self.number), &lost));
        }
        self.offset += commit_len;
        (self.next_seq, self.chain) = (last_seq + 1, chain);
        if nlink > 1 {
            self.unshare_now().map_err(|error| self.dir.naming(&segment_path(&self.journal, self.number), &error))?;
        }
        self.prepare_ahead();
        Ok(())
    }

    /// Goes on in a copy of the segment, of which a hard link was made.
    fn unshare_now(&mut self) -> io::Result<()> {
        self.dir.check_place()?;
        let mut bytes = vec![0; usize::try_from(self.file.metadata()?.len()).unwrap_or(usize::MAX)];
        self.file.read_exact_at(&mut bytes, 0)?;
        self.unshare(&bytes)
    }

    /// Has the name of the segment stand for a file of its own with these bytes.
    fn unshare(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let path = segment_path(&self.journal, self.number);
        // In one step for those who look whether the name still stands for the file that is written.
        self.dir.rewatch(|| {
            self.file = file::unshare(&path, &mut bytes, &self.journal)?;
            WatchedJournal::new(&self.journal, path.clone(), &self.file)
        })
    }

    /// Has the directory look whether the journal and this segment are still what their names stand for.
    fn watch(&self) -> io::Result<()> {
        let path = segment_path(&self.journal, self.number);
        self.dir.rewatch(|| WatchedJournal::new(&self.journal, path, &self.file))
    }

    fn write(&self, commit: &[u8]) -> io::Result<()> {
        self.medium.write_all_at(&self.file, commit, self.offset)?;
        self.medium.sync_data(&self.file)
    }

    /// Goes on to the next segment, and gives back what the full one does not need.
    fn roll(&mut self, commit_len: u64) -> io::Result<()> {
        if let Some(Err(error)) = self.ahead.take().map(join) {
            // It is made again below, in the foreground; what fails there counts.
            tracing::warn!(%error, "the next journal segment could not be made ahead");
        }
        // Before anything gets a name in it: the directory of this name may be another ledger's by now.
        self.dir.check_place()?;
        let needed = SEGMENT_HEADER_LEN as u64 + commit_len;
        let len = self.segment_bytes.max(needed);
        let (journal, number) = (&self.journal, self.number + 1);
        let file = begin_segment(journal, self.ledger, number, self.next_seq, self.chain, len, &*self.medium)
            .map_err(|error| self.dir.naming(&segment_path(journal, number), &error))?;
        let full = std::mem::replace(&mut self.file, file);
        // One that has another name by now is left as it is.
        if !file::is_shared(&full)?
            && let Err(error) = full.set_len(self.offset)
        {
            tracing::debug!(%error, "a full journal segment keeps its unused zeros");
        }
        self.number += 1;
        self.len = len;
        self.offset = SEGMENT_HEADER_LEN as u64;
        self.watch()
    }

    /// Begins to make the next segment, in the background, once this one is half full.
    fn prepare_ahead(&mut self) {
        if self.ahead.is_some() || self.offset < self.len / 2 {
            return;
        }
        let (journal, len) = (self.journal.clone(), self.segment_bytes);
        self.ahead = thread::Builder::new()
            .name("apm2-journal-ahead".to_owned())
            .spawn(move || make_ahead(&journal, len))
            .inspect_err(|error| tracing::warn!(%error, "no thread for the next journal segment"))
            .ok();
    }
}

impl Drop for JournalWriter {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.ahead.take().map(join) {
            tracing::debug!(%error, "the next journal segment could not be made ahead");
        }
    }
}

fn join(thread: JoinHandle<io::Result<()>>) -> io::Result<()> {
    thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread panicked")))
}

/// The number and path of the last segment. Segments are numbered from 1 without gaps, and each follows on the one
/// before it by the seq in its header.
fn last_segment(dir: &LedgerDir, journal: &Path) -> Result<(u64, PathBuf), OpenError> {
    let all = segments(journal).map_err(OpenError::io(journal))?;
    let mut first_seq = 1;
    for ((number, path), expected) in all.iter().zip(1..) {
        let missing =
            |what: &str| Damage { first_seq, last_seq: first_seq, segment: expected, offset: 0, what: what.to_owned() };
        if *number != expected {
            return Err(missing("the segment is missing").into());
        }
        let header = read_header(path).map_err(segment_error(expected, first_seq, path))?;
        let header = header.map_err(|error| match error {
            SegmentError::Newer(_) => open_error(dir, *number, error),
            SegmentError::Header => header_damage(*number, error, first_seq).into(),
        })?;
        if header.number != *number || header.first_seq < first_seq {
            return Err(missing("the segment is another one than its name says").into());
        }
        first_seq = header.first_seq;
    }
    all.into_iter().next_back().ok_or_else(|| OpenError::Missing { path: dir.named().to_owned() })
}

/// What has the name of a segment and is no file is damage; the rest is out of reach.
fn segment_error(number: u64, first_seq: u64, path: &Path) -> impl FnOnce(io::Error) -> OpenError {
    move |error| match not_a_segment(number, first_seq, &error) {
        Some(damage) => damage.into(),
        None => OpenError::io(path)(error),
    }
}

fn open_error(dir: &LedgerDir, number: u64, error: SegmentError) -> OpenError {
    match error {
        SegmentError::Newer(found) => {
            OpenError::Newer { path: dir.named().to_owned(), found, known: crate::journal::segment::FORMAT_VERSION }
        }
        SegmentError::Header => header_damage(number, error, 1).into(),
    }
}

/// Makes a segment of zeros under the name [`AHEAD`], allocated and synced.
fn make_ahead(journal: &Path, len: u64) -> io::Result<()> {
    let making = journal.join("ahead.new");
    let file = file::create(&making)?;
    write_zeros(&file, 0, len)?;
    file.sync_all()?;
    fs::rename(&making, journal.join(AHEAD))
}

/// Writes zeros from `start` to `end`.
fn write_zeros(file: &File, start: u64, end: u64) -> io::Result<()> {
    let zeros = vec![0; ZEROS_LEN];
    let mut at = start;
    while at < end {
        let part = usize::try_from(end - at).unwrap_or(usize::MAX).min(ZEROS_LEN);
        file.write_all_at(zeros.get(..part).unwrap_or_default(), at)?;
        at += part as u64;
    }
    Ok(())
}

/// Whether the segment ahead is whole, has no other name, and has the length that is needed now.
fn is_ready(ahead: &Path, len: u64) -> bool {
    fs::symlink_metadata(ahead)
        .is_ok_and(|metadata| metadata.is_file() && metadata.nlink() == 1 && metadata.len() == len)
        && file::read(ahead).is_ok_and(|bytes| bytes.iter().all(|byte| *byte == 0))
}

/// Puts the segment ahead into use. Its header is durable before it has its name, and its name before it has a commit:
/// a segment that has a name is sound.
fn begin_segment(
    journal: &Path,
    ledger: Uuid,
    number: u64,
    first_seq: u64,
    chain_before: Chain,
    len: u64,
    medium: &dyn Medium,
) -> io::Result<File> {
    let ahead = journal.join(AHEAD);
    if !is_ready(&ahead, len) {
        make_ahead(journal, len)?;
    }
    let file = file::open_for_writing(&ahead)?;
    let header = SegmentHeader { ledger, number, first_seq, chain_before, len };
    medium.write_all_at(&file, &header.to_bytes(), 0)?;
    medium.sync_data(&file)?;
    fs::rename(&ahead, segment_path(journal, number))?;
    sync_dir(journal)?;
    Ok(file)
}
