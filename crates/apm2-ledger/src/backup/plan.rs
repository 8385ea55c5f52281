//! What a backup has to copy: the comparison of a ledger with the directory of its backup.

use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
};

use crate::{
    backup::{
        error::BackupError,
        head_file::{BackupHead, HeadFileError},
        segment_check::is_same,
        source::{LastSegment, SourceJournal},
    },
    dir::{BACKUP_FILE, LAUNCH_DIR, LOGS_DIR},
    journal::{
        JOURNAL_DIR,
        archive::ARCHIVE_DIR,
        base::BASE_FILE,
        sealed::reader::SealedSegment,
        segment::segment_path,
        segment_file::{SegmentFile, SegmentStart, all_segment_files, sealed_path},
        segments::archive_path,
    },
    verify::compare::journal_chain,
};

/// Extension of a temporary launch file, which was not completed.
const UNFINISHED: &str = "new";

/// Entries of a directory that a process creates there before it begins a backup.
const BEFORE_FIRST: [&str; 3] = ["owner", "owner.new", "backup.new"];

/// A full segment that is copied.
pub(crate) struct SegmentCopy {
    pub(crate) file: SegmentFile,
    pub(crate) start: SegmentStart,
    /// `None` when the backup has the segment already.
    pub(crate) bytes: Option<u64>,
}

/// A file other than a segment that is copied.
pub(crate) struct FileCopy {
    pub(crate) from: PathBuf,
    pub(crate) to: PathBuf,
    pub(crate) bytes: u64,
}

/// What a backup has to do.
pub(crate) struct Plan {
    /// What the directory has now; `None` when no backup was begun there.
    pub(crate) previous: Option<BackupHead>,
    /// All full segments, in ascending order.
    pub(crate) segments: Vec<SegmentCopy>,
    /// Archives.
    pub(crate) archives: Vec<FileCopy>,
    /// Launch files, and logs where they are wanted.
    pub(crate) others: Vec<FileCopy>,
    /// Files of an earlier backup that was interrupted, which are not those of the ledger.
    pub(crate) stale: Vec<PathBuf>,
    /// Files that no backup needs once the new head is written.
    pub(crate) obsolete: Vec<PathBuf>,
    pub(crate) kept_files: u64,
    pub(crate) kept_bytes: u64,
}

impl Plan {
    /// Compares the ledger with the directory `to`, which may be missing.
    pub(crate) fn find(source: &SourceJournal, to: &Path, with_logs: bool) -> Result<Self, BackupError> {
        let previous = previous(source, to)?;
        let mut plan = Self {
            previous,
            segments: Vec::new(),
            archives: Vec::new(),
            others: Vec::new(),
            stale: Vec::new(),
            obsolete: Vec::new(),
            kept_files: 0,
            kept_bytes: 0,
        };
        plan.add_segments(source, &to.join(JOURNAL_DIR))?;
        plan.add_archives(source, to)?;
        let ledger = source.dir.at();
        plan.add_files(&ledger.join(LAUNCH_DIR), &to.join(LAUNCH_DIR))?;
        if with_logs {
            plan.add_files(&ledger.join(LOGS_DIR), &to.join(LOGS_DIR))?;
        }
        Ok(plan)
    }

    /// Number and bytes of the files that are copied, without the last segment.
    pub(crate) fn to_copy(&self) -> (u64, u64) {
        let segments = self.segments.iter().filter_map(|segment| segment.bytes);
        segments
            .chain(self.archives.iter().chain(&self.others).map(|file| file.bytes))
            .fold((0, 0), |(files, all), bytes| (files + 1, all + bytes))
    }

    fn add_segments(&mut self, source: &SourceJournal, journal: &Path) -> Result<(), BackupError> {
        let before = self.previous.map_or(0, |previous| previous.segment);
        let found = match all_segment_files(journal) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            found => found.map_err(BackupError::io(journal))?,
        };
        if self.previous.is_some_and(|previous| previous.base > source.head.base) {
            return Err(BackupError::OtherSegments { number: 1 });
        }
        for file in found.iter().filter(|file| file.number <= before && file.number > source.head.base) {
            let start = file.start().ok().and_then(Result::ok);
            if start.is_some_and(|start| source.start_of(file.number) != Some(start)) {
                return Err(BackupError::OtherSegments { number: file.number });
            }
        }
        for (file, start) in &source.full {
            let (path, number) = (&file.path, file.number);
            let copied = copy_path(journal, file);
            let is_kept = match is_same(path, &copied) {
                Ok(is_same) => is_same || (!file.is_sealed && is_sealed_copy(journal, source, number)),
                // The plain file of a segment is removed some time after the segment was sealed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => false,
                Err(error) => return Err(BackupError::io(source.dir.shown(path))(error)),
            };
            let bytes = fs::metadata(path).map_or(0, |metadata| metadata.len());
            if is_kept {
                self.kept_files += 1;
                self.kept_bytes += bytes;
            }
            self.segments.push(SegmentCopy { file: file.clone(), start: *start, bytes: (!is_kept).then_some(bytes) });
        }
        self.add_superfluous(source, journal, &found, before);
        Ok(())
    }

    /// Adds the archives. One that is missing in the ledger is not copied, and stays in the backup.
    fn add_archives(&mut self, source: &SourceJournal, to: &Path) -> Result<(), BackupError> {
        for entry in source.base.iter().flat_map(|base| &base.archives) {
            let (from, copied) = (archive_path(&source.dir, entry), to.join(ARCHIVE_DIR).join(entry.file_name()));
            let bytes = match fs::metadata(&from) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                found => found.map_err(BackupError::io(source.dir.shown(&from)))?.len(),
            };
            if is_same(&from, &copied).map_err(BackupError::io(source.dir.shown(&from)))? {
                self.kept_files += 1;
                self.kept_bytes += bytes;
            } else {
                self.archives.push(FileCopy { from, to: copied, bytes });
            }
        }
        let base = self.previous.map_or(0, |previous| previous.base);
        if base != source.head.base && base > 0 {
            self.obsolete.push(to.join(JOURNAL_DIR).join(base_copy_name(base)));
        }
        Ok(())
    }

    /// Adds the segment files of the backup that the new one does not have.
    fn add_superfluous(&mut self, source: &SourceJournal, journal: &Path, found: &[SegmentFile], before: u64) {
        let mut wanted: HashSet<PathBuf> = HashSet::new();
        for copy in &self.segments {
            let path = copy_path(journal, &copy.file);
            let is_kept_sealed = copy.bytes.is_none() && !path.exists();
            wanted.insert(if is_kept_sealed { sealed_path(journal, copy.file.number) } else { path });
        }
        wanted.insert(match &source.last {
            LastSegment::Plain(start, _) => segment_path(journal, start.number),
            LastSegment::Sealed(_, start) => sealed_path(journal, start.number),
        });
        for file in found.iter().filter(|file| !wanted.contains(&file.path)) {
            let is_readable = file.start().is_ok_and(|start| start.is_ok());
            // The head of the earlier backup needs its files until the new head is written.
            if file.number > before || !is_readable { &mut self.stale } else { &mut self.obsolete }
                .push(file.path.clone());
        }
    }

    /// Adds the regular files below the directory `from`.
    fn add_files(&mut self, from: &Path, to: &Path) -> Result<(), BackupError> {
        let mut names = HashSet::new();
        for entry in entries(from)? {
            let (path, name) = (entry.path(), entry.file_name());
            let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
            let copied = to.join(&name);
            names.insert(name);
            if metadata.is_dir() {
                self.add_files(&path, &copied)?;
            } else if metadata.is_file() && path.extension().is_none_or(|extension| extension != UNFINISHED) {
                if is_same(&path, &copied).unwrap_or(false) {
                    self.kept_files += 1;
                    self.kept_bytes += metadata.len();
                } else {
                    self.others.push(FileCopy { from: path, to: copied, bytes: metadata.len() });
                }
            }
        }
        let removed = entries(to)?.into_iter().filter(|entry| !names.contains(&entry.file_name()));
        self.obsolete.extend(removed.map(|entry| entry.path()));
        Ok(())
    }
}

/// The name of the base in the directory of the journal of a backup.
pub(crate) fn base_copy_name(number: u64) -> String {
    format!("{BASE_FILE}-{number:010}")
}

/// The path of the copy of a segment.
pub(crate) fn copy_path(journal: &Path, file: &SegmentFile) -> PathBuf {
    if file.is_sealed { sealed_path(journal, file.number) } else { segment_path(journal, file.number) }
}

/// Whether the backup has the plain segment `number` as a sealed one.
fn is_sealed_copy(journal: &Path, source: &SourceJournal, number: u64) -> bool {
    let Ok(sealed) = SealedSegment::open(&sealed_path(journal, number)) else {
        return false;
    };
    let is_start = source.start_of(number) == Some(SegmentStart::from(&sealed));
    is_start && sealed.has_trailer() && source.start_of(number + 1).is_some_and(|next| next.follows(&sealed))
}

fn entries(dir: &Path) -> Result<Vec<fs::DirEntry>, BackupError> {
    match fs::read_dir(dir).and_then(Iterator::collect) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound) => Ok(Vec::new()),
        found => found.map_err(BackupError::io(dir)),
    }
}

/// The head of the backup in the directory `to`, which must be one of this ledger that the ledger continues.
fn previous(source: &SourceJournal, to: &Path) -> Result<Option<BackupHead>, BackupError> {
    let found = BackupHead::read(to).map_err(|error| match error {
        HeadFileError::Io(error) => BackupError::io(to.join(BACKUP_FILE))(error),
        other => BackupError::HeadFile { path: to.to_owned(), why: other.to_string() },
    })?;
    let Some(previous) = found else {
        let is_other = |entry: &fs::DirEntry| !BEFORE_FIRST.iter().any(|name| entry.file_name() == *name);
        return if entries(to)?.iter().any(is_other) {
            Err(BackupError::NotABackup { path: to.to_owned() })
        } else {
            Ok(None)
        };
    };
    let (expected, backup, ledger) = (source.head.ledger, previous.head, source.head.head);
    if previous.ledger != expected {
        return Err(BackupError::OtherLedger { path: to.to_owned(), expected, found: previous.ledger });
    }
    if backup.size > ledger.size {
        return Err(BackupError::Older { backup, ledger });
    }
    let chain = match backup.size {
        0 => Some(backup.chain),
        size if size == ledger.size => Some(ledger.chain),
        size => journal_chain(&source.dir, size)?,
    };
    if chain == Some(backup.chain) { Ok(Some(previous)) } else { Err(BackupError::Diverged { backup }) }
}
