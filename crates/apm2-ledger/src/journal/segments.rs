//! All segments of a ledger that can contain what a reader looks for: those in the archives, and those in the journal.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use apm2_model::event::stream_id::StreamId;

use crate::{
    dir::LedgerDir,
    error::{Damage, ReadError},
    file,
    journal::{
        JOURNAL_DIR,
        archive::{
            ARCHIVE_DIR,
            reader::{Archive, ArchiveError},
        },
        base::{ArchiveEntry, Base, BaseError},
        catalog::{group::Group, reader::Catalog},
        plain_segment::PlainSegment,
        sealed::error::SealedError,
        segment_file::{ArchivedPlace, SegmentFile, segment_files},
        wanted::Wanted,
    },
    record::peek_stream,
};

/// The catalogs of the groups of segments, in the journal and in archives.
#[derive(Debug, Clone)]
pub(crate) struct Catalogs {
    journal: PathBuf,
    archives: Arc<[Archive]>,
    /// The number of the last archived segment; 0 without archives.
    base: u64,
}

impl Catalogs {
    /// The catalog of the group.
    ///
    /// # Errors
    /// When it does not exist, cannot be read, or is not that of the segments of the group.
    pub(crate) fn open(&self, group: Group) -> Result<Catalog, SealedError> {
        if group.first > self.base {
            return Catalog::of_group(&self.journal, group);
        }
        let contains = |archive: &&Archive| {
            let header = archive.header();
            header.first_number <= group.first && group.last() <= header.last_number
        };
        self.archives.iter().find(contains).ok_or(SealedError::Header)?.catalog(group)
    }
}

/// The segments of a ledger.
#[derive(Debug, Clone)]
pub(crate) struct Segments {
    /// The files, in ascending order of their numbers. Archived segments that were left out, and those of a missing archive, are
    /// not among them.
    pub(crate) files: Vec<SegmentFile>,
    pub(crate) catalogs: Catalogs,
    /// The first and the last number of segments in archives that cannot contain what is wanted.
    pub(crate) left_out: Arc<[(u64, u64)]>,
    /// The archives that can contain what is wanted and do not exist.
    missing: Arc<[(PathBuf, ArchiveEntry)]>,
}

impl Segments {
    /// Lists the segments of the ledger in `dir`. Archives are left out that have no event from `seqs.0` to `seqs.1`, or that
    /// cannot contain what is wanted.
    pub(crate) fn list(dir: &LedgerDir, wanted: &Wanted, seqs: (u64, u64)) -> Result<Self, ReadError> {
        let journal = dir.at().join(JOURNAL_DIR);
        let io_error = |source| ReadError::Io { path: dir.shown(&journal), source };
        let base = Base::read(&journal).map_err(|error| base_error(dir, error))?;
        let files = segment_files(&journal).map_err(io_error)?;
        let number = base.as_ref().map_or(0, Base::number);
        let (mut archived, mut archives, mut left_out, mut missing) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for entry in base.iter().flat_map(|base| &base.archives) {
            let numbers = (entry.first_number, entry.last_number);
            if entry.last_seq < seqs.0 || entry.first_seq > seqs.1 || !wanted.meets(entry) {
                left_out.push(numbers);
                continue;
            }
            let path = archive_path(dir, entry);
            match open_archive(&path, entry) {
                Ok(archive) if wanted.is_in(&archive) => {
                    archived.extend(files_of(&archive, &path).map_err(|error| archive_error(dir, entry, error))?);
                    archives.push(archive);
                }
                Ok(_) => left_out.push(numbers),
                Err(error) if error.is_missing() => {
                    if is_needed(wanted.streams(), base.as_ref(), &files) {
                        missing.push((dir.shown(&path), entry.clone()));
                    } else {
                        left_out.push(numbers);
                    }
                }
                Err(error) => return Err(archive_error(dir, entry, error)),
            }
        }
        archived.extend(files);
        let catalogs = Catalogs { journal, archives: archives.into(), base: number };
        Ok(Self { files: archived, catalogs, left_out: left_out.into(), missing: missing.into() })
    }

    /// Checks that all segments from number `first` to `last` exist, unless they are in an archive that was left out. `seq` is the
    /// event that is missing otherwise.
    ///
    /// # Errors
    /// [`ReadError::ArchiveMissing`] or [`ReadError::Gap`].
    pub(crate) fn check_all(&self, first: u64, last: u64, seq: u64) -> Result<(), ReadError> {
        if first > last {
            return Ok(());
        }
        let before = |number: u64| self.files.partition_point(|file| file.number < number) as u64;
        let found = before(last.saturating_add(1)) - before(first);
        let left_out = self.left_out.iter().map(|(from, to)| (first.max(*from), last.min(*to)));
        let left_out: u64 = left_out.filter(|(from, to)| from <= to).map(|(from, to)| to - from + 1).sum();
        if found + left_out > last - first {
            return Ok(());
        }
        Err(self.missing_error(first, last).unwrap_or(ReadError::Gap { seq }))
    }

    /// The error for the first missing archive with a segment from number `first` to `last`.
    fn missing_error(&self, first: u64, last: u64) -> Option<ReadError> {
        let overlaps = |(_, entry): &&(PathBuf, ArchiveEntry)| entry.first_number <= last && entry.last_number >= first;
        self.missing.iter().find(overlaps).map(|(path, entry)| missing_archive(path.clone(), entry))
    }
}

/// The error for an archive that is needed and does not exist.
pub(crate) fn missing_archive(path: PathBuf, entry: &ArchiveEntry) -> ReadError {
    ReadError::ArchiveMissing { path, first_seq: entry.first_seq, last_seq: entry.last_seq }
}

/// The path of an archive.
pub(crate) fn archive_path(dir: &LedgerDir, entry: &ArchiveEntry) -> PathBuf {
    dir.at().join(ARCHIVE_DIR).join(entry.file_name())
}

/// Opens the archive at `path`, which must be the one of `entry`.
pub(crate) fn open_archive(path: &Path, entry: &ArchiveEntry) -> Result<Archive, ArchiveError> {
    let archive = Archive::open(path)?;
    let header = archive.header();
    let found = (header.first_number, header.last_number, header.first_seq, header.last_seq, header.chain_after);
    let expected = (entry.first_number, entry.last_number, entry.first_seq, entry.last_seq, entry.chain_after);
    if found == expected { Ok(archive) } else { Err(ArchiveError::Other) }
}

/// Whether an archive has events of a stream that has no events in the store and no state in the base.
///
/// # Errors
/// When an archive cannot be read, and no other has events of the stream.
pub(crate) fn is_archived(dir: &LedgerDir, base: &Base, stream: StreamId) -> Result<bool, ReadError> {
    let mut failed = None;
    for entry in base.archives.iter().rev() {
        match open_archive(&archive_path(dir, entry), entry).and_then(|archive| archive.state(stream)) {
            Ok(Some(_)) => return Ok(true),
            Ok(None) => {}
            Err(error) => failed = Some(archive_error(dir, entry, error)),
        }
    }
    failed.map_or(Ok(false), Err)
}

/// Converts an error of an archive.
pub(crate) fn archive_error(dir: &LedgerDir, entry: &ArchiveEntry, error: ArchiveError) -> ReadError {
    let path = dir.shown(&archive_path(dir, entry));
    match error {
        ArchiveError::Io(source) if source.kind() == io::ErrorKind::NotFound => missing_archive(path, entry),
        ArchiveError::Io(source) => ReadError::Io { path, source },
        ArchiveError::Form(_) | ArchiveError::Other => {
            let what = format!("{}: {error}", path.display());
            let (first_seq, last_seq) = (entry.first_seq, entry.last_seq);
            Damage { first_seq, last_seq, segment: entry.first_number, offset: 0, what }.into()
        }
    }
}

/// Converts an error of the base.
pub(crate) fn base_error(dir: &LedgerDir, error: BaseError) -> ReadError {
    match error {
        BaseError::Io(source) => ReadError::Io { path: dir.shown(&dir.at().join(JOURNAL_DIR)), source },
        BaseError::Damaged(_) | BaseError::Newer(_) => base_damage(&error).into(),
    }
}

/// The damage report for a base that cannot be read.
pub(crate) fn base_damage(error: &BaseError) -> Damage {
    Damage { first_seq: 1, last_seq: 1, segment: 1, offset: 0, what: error.to_string() }
}

/// The segments of an archive.
pub(crate) fn files_of(archive: &Archive, path: &Path) -> Result<Vec<SegmentFile>, ArchiveError> {
    let segments = archive.parts()?.iter().filter(|part| part.level == 0);
    let file = |number, place| SegmentFile { number, path: path.to_owned(), is_sealed: true, place: Some(place) };
    Ok(segments.map(|part| file(part.first, ArchivedPlace { offset: part.offset, len: part.len })).collect())
}

/// Whether a missing archive can have events of one of the streams: of one that has a state in the base, or of one without
/// events in the journal. A stream with events in the journal and no state in the base began after the archives. True without
/// streams.
fn is_needed(streams: &[StreamId], base: Option<&Base>, files: &[SegmentFile]) -> bool {
    let is_kept = |stream| base.is_some_and(|base| base.state(stream).map_or(true, |state| state.is_some()));
    let needs = |stream: StreamId| {
        stream.is_system() || is_kept(stream) || !files.iter().any(|file| has_events(file, stream).unwrap_or(false))
    };
    streams.is_empty() || streams.iter().any(|stream| needs(*stream))
}

/// Whether the segment has events of the stream; `None` when it cannot be read.
fn has_events(segment: &SegmentFile, stream: StreamId) -> Option<bool> {
    if segment.is_sealed {
        return Some(segment.open().ok()?.stream(stream).ok()?.is_some());
    }
    let segment = PlainSegment::parse(file::read(&segment.path).ok()?, true, false).ok()?;
    let is_of_stream = |bytes: &[u8]| peek_stream(bytes).is_ok_and(|found| found == stream);
    Some(segment.commits().any(|batch| batch.iter().any(|(_, bytes)| is_of_stream(bytes))))
}
