//! Restores a ledger from a backup: builds it beside its destination, verifies it, and gives it its name.
//!
//! The order of the writes, so that a ledger is either complete or does not exist:
//!
//! 1. The archives of the backup, the base of its journal, and the segments up to the head are copied into a directory with a temporary name, each synced. The last one is
//!    cut at the head.
//! 2. The journal is verified as a whole, and must have the number of events and the hash chain value of the head.
//! 3. The journal becomes that of an original: its last segment gets its full length, and `origin` names its directory.
//! 4. The store is built, and the marks of a clean close are written.
//! 5. Launch files and logs are copied, each synced.
//! 6. All directories are synced, then the directory is renamed, and its parent synced.

pub(crate) mod error;
mod last_segment;

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use uuid::Uuid;

use crate::{
    backup::{
        CopyError, CopyProgress, copy_synced,
        head_file::{BackupHead, HeadFileError},
        plan::base_copy_name,
        segment_check::{SegmentSpan, check_full},
    },
    chain::Chain,
    dir::{self, BACKUP_FILE, LAUNCH_DIR, LOGS_DIR, LedgerDir},
    error::{Damage, OpenError},
    file::{self, sync_dir},
    free_space::free_bytes,
    head::Head,
    journal::{
        JOURNAL_DIR,
        archive::ARCHIVE_DIR,
        base::{ArchiveEntry, BASE_FILE, Base, BaseError},
        origin,
        reader::break_damage,
        segment::segment_path,
        segment_file::{SegmentStart, all_segment_files, sealed_path},
        segments::base_damage,
        unsynced::UnsyncedJournal,
        writer::JournalWriter,
    },
    limits::{DISK_FREE_BYTES_MIN, SEGMENT_BYTES},
    lock::Lock,
    new_ledger,
    options::Options,
    restore::error::RestoreError,
    staged_dir::{StagedDir, check_free},
    verify::verify_opened,
};

/// Size of a store in bytes for each byte of the journal, at most, for the estimate of the free space.
const STORE_SHARE: u64 = 2;

/// What a restore did, or would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestoreReport {
    /// The id of the ledger.
    pub ledger: Uuid,
    /// The events of the backup, and of the restored ledger.
    pub head: Head,
    /// Number of files that are copied.
    pub files: u64,
    /// Bytes of these files.
    pub bytes: u64,
}

/// What a restore does at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestoreProgress {
    /// Files are copied.
    Copying(CopyProgress),
    /// The restored ledger is verified.
    Verifying {
        /// Number of events that were checked.
        events: u64,
    },
    /// The store is built.
    BuildingStore,
}

/// Restores the ledger that [`backup`](crate::backup()) copied to the directory `from`, in the directory `to`, which must not
/// exist or be empty. The directory appears when the ledger is complete and was verified.
///
/// The ledger has exactly the events of the last complete backup. Nothing is recorded by the restore, or when the ledger is
/// opened next.
///
/// # Errors
/// See [`RestoreError`].
pub fn restore(
    from: &Path,
    to: &Path,
    options: &Options,
    progress: &mut dyn FnMut(RestoreProgress),
) -> Result<RestoreReport, RestoreError> {
    let (head, files) = find(from, to)?;
    let staged = StagedDir::create(to)?;
    // Another backup to the same directory waits until the files are copied.
    let lock = Lock::take(from, options.lock_wait)?;
    let mut built = || {
        let dir = staged.lock().dir();
        copy_journal(from, dir.at(), head, &files, progress)?;
        check(dir, head.head, progress)?;
        complete_journal(staged.lock(), options, progress)?;
        copy_others(dir.at(), &files, progress)
    };
    built().map_err(|error: RestoreError| error.naming_paths_of(staged.lock().dir()))?;
    drop(lock);
    staged.complete()?;
    Ok(files.report(head))
}

/// What [`restore`] would do. Reads and verifies the whole backup, and writes nothing.
///
/// # Errors
/// See [`RestoreError`].
pub fn restore_plan(
    from: &Path,
    to: &Path,
    progress: &mut dyn FnMut(RestoreProgress),
) -> Result<RestoreReport, RestoreError> {
    check_free(to)?;
    let (head, files) = find(from, to)?;
    each_segment(from, head, &mut |number, _| {
        progress(RestoreProgress::Copying(files.progress(number - head.base - 1)));
        Ok(())
    })?;
    Ok(files.report(head))
}

/// The files of a backup.
struct BackupFiles {
    journal_bytes: u64,
    segments: u64,
    /// Archives, and the base of the journal, as below.
    archives: Vec<(PathBuf, PathBuf, u64)>,
    /// Launch files and logs: the path in the backup, the path below the directory, and the length.
    others: Vec<(PathBuf, PathBuf, u64)>,
}

impl BackupFiles {
    fn bytes(&self) -> u64 {
        self.journal_bytes + self.archives.iter().chain(&self.others).map(|(_, _, bytes)| bytes).sum::<u64>()
    }

    fn report(&self, head: BackupHead) -> RestoreReport {
        let files = self.segments + (self.archives.len() + self.others.len()) as u64;
        RestoreReport { ledger: head.ledger, head: head.head, files, bytes: self.bytes() }
    }

    /// The progress after `done` segments, which are about equally long.
    fn progress(&self, done: u64) -> CopyProgress {
        CopyProgress {
            done_files: done,
            total_files: self.segments + (self.archives.len() + self.others.len()) as u64,
            done_bytes: self.journal_bytes / self.segments.max(1) * done,
            total_bytes: self.bytes(),
        }
    }
}

/// Reads what the backup has, and checks that there is room for it.
fn find(from: &Path, to: &Path) -> Result<(BackupHead, BackupFiles), RestoreError> {
    let head = head_of(from)?;
    let journal = from.join(JOURNAL_DIR);
    let all = all_segment_files(&journal).map_err(RestoreError::io(&journal))?;
    let len = |path: &Path| fs::symlink_metadata(path).map_or(0, |metadata| metadata.len());
    let is_restored = |number| number > head.base && number <= head.segment;
    let journal_bytes = all.iter().filter(|file| is_restored(file.number)).map(|file| len(&file.path)).sum();
    let mut others = Vec::new();
    for name in [LAUNCH_DIR, LOGS_DIR] {
        add_files(&from.join(name), Path::new(name), &mut others)?;
    }
    let archives = archives_of(from, head)?;
    let files = BackupFiles { journal_bytes, segments: head.segment.saturating_sub(head.base), archives, others };
    let needed_bytes = files.bytes() + journal_bytes * STORE_SHARE + SEGMENT_BYTES + DISK_FREE_BYTES_MIN;
    let absolute = std::path::absolute(to).map_err(RestoreError::io(to))?;
    match absolute.ancestors().find(|path| path.exists()).and_then(free_bytes) {
        Some(free_bytes) if free_bytes < needed_bytes => Err(RestoreError::DiskLow { free_bytes, needed_bytes }),
        _ => Ok((head, files)),
    }
}

fn head_of(from: &Path) -> Result<BackupHead, RestoreError> {
    match dir::prepare(from, false) {
        Err(OpenError::Missing { path }) => return Err(RestoreError::NoBackup { path }),
        prepared => prepared?,
    }
    let path = || from.to_owned();
    match BackupHead::read(from) {
        Ok(Some(head)) if head.is_complete() => Ok(head),
        Ok(Some(_)) => Err(RestoreError::Incomplete { path: path() }),
        Ok(None) => Err(RestoreError::NoBackup { path: path() }),
        Err(HeadFileError::Io(error)) => Err(RestoreError::io(from.join(BACKUP_FILE))(error)),
        Err(error) => Err(RestoreError::HeadFile { path: path(), why: error.to_string() }),
    }
}

fn add_files(from: &Path, below: &Path, found: &mut Vec<(PathBuf, PathBuf, u64)>) -> Result<(), RestoreError> {
    let entries = match fs::read_dir(from) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(RestoreError::io(from))?,
    };
    for entry in entries {
        let entry = entry.map_err(RestoreError::io(from))?;
        let (path, below) = (entry.path(), below.join(entry.file_name()));
        let metadata = fs::symlink_metadata(&path).map_err(RestoreError::io(&path))?;
        if metadata.is_dir() {
            add_files(&path, &below, found)?;
        } else if metadata.is_file() {
            found.push((path, below, metadata.len()));
        }
    }
    Ok(())
}

/// The archives of the backup, and the base of its journal.
fn archives_of(from: &Path, head: BackupHead) -> Result<Vec<(PathBuf, PathBuf, u64)>, RestoreError> {
    let mut found = Vec::new();
    let Some((base, path)) = base_of(from, head)? else { return Ok(found) };
    for name in base.archives.iter().map(ArchiveEntry::file_name) {
        let below = Path::new(ARCHIVE_DIR).join(name);
        match fs::metadata(from.join(&below)) {
            Ok(metadata) => found.push((from.join(&below), below, metadata.len())),
            // It was missing in the ledger, too.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(RestoreError::io(from.join(below))(error)),
        }
    }
    let len = fs::metadata(&path).map_err(RestoreError::io(&path))?.len();
    found.push((path, Path::new(JOURNAL_DIR).join(BASE_FILE), len));
    Ok(found)
}

/// The base of the backup, and its path; `None` for a backup without archives.
fn base_of(from: &Path, head: BackupHead) -> Result<Option<(Base, PathBuf)>, RestoreError> {
    if head.base == 0 {
        return Ok(None);
    }
    let path = from.join(JOURNAL_DIR).join(base_copy_name(head.base));
    let opened = file::open(&path).map_err(RestoreError::io(&path))?;
    match Base::of_file(opened) {
        Ok(base) if (base.number(), base.ledger) == (head.base, head.ledger) => Ok(Some((base, path))),
        Ok(_) => Err(base_damage(&BaseError::Damaged("it is not that of the backup")).into()),
        Err(BaseError::Io(error)) => Err(RestoreError::io(path)(error)),
        Err(error) => Err(base_damage(&error).into()),
    }
}

/// Step 1.
fn copy_journal(
    from: &Path,
    to: &Path,
    head: BackupHead,
    files: &BackupFiles,
    progress: &mut dyn FnMut(RestoreProgress),
) -> Result<(), RestoreError> {
    let journal = to.join(JOURNAL_DIR);
    dir::make_private(&journal).map_err(RestoreError::io(&journal))?;
    origin::save_of_copy(&journal).map_err(RestoreError::io(&journal))?;
    let mut done = files.progress(files.segments);
    for (path, below, bytes) in &files.archives {
        progress(RestoreProgress::Copying(done));
        let dir = to.join(below.parent().unwrap_or(Path::new("")));
        dir::make_private(&dir).map_err(RestoreError::io(&dir))?;
        copy(path, &to.join(below))?;
        sync_dir(&dir).map_err(RestoreError::io(&dir))?;
        (done.done_files, done.done_bytes) = (done.done_files + 1, done.done_bytes + bytes);
    }
    each_segment(from, head, &mut |number, segment| {
        progress(RestoreProgress::Copying(files.progress(number - head.base - 1)));
        match segment {
            Segment::File(path) => copy(&path, &journal.join(path.file_name().unwrap_or_default())),
            Segment::Cut(bytes) => {
                let path = segment_path(&journal, number);
                last_segment::write(&path, &bytes).map_err(RestoreError::io(&path))
            }
        }
    })
}

/// One segment of the restored ledger.
enum Segment {
    /// This file of the backup, as a whole.
    File(PathBuf),
    /// A plain segment with these bytes.
    Cut(Vec<u8>),
}

/// Calls `visit` for each segment of the backup up to the head, after it was checked.
fn each_segment(
    from: &Path,
    head: BackupHead,
    visit: &mut dyn FnMut(u64, Segment) -> Result<(), RestoreError>,
) -> Result<(), RestoreError> {
    let base = base_of(from, head)?;
    let mut end = base.map_or((1, Chain::genesis(head.ledger)), |(base, _)| (base.seq() + 1, base.chain()));
    for number in head.base + 1..=head.segment {
        let (start, next, segment) = if number == head.segment {
            last_segment_of(from, head)?.ok_or_else(|| without_head(head))?
        } else {
            let (path, span) = segment_of(from, number)?;
            (span.start, (span.next_seq, span.chain), Segment::File(path))
        };
        if start.ledger != head.ledger || (start.first_seq, start.chain_before) != end {
            return Err(break_damage(number.saturating_sub(1).max(1), end.0, start.first_seq).into());
        }
        end = next;
        visit(number, segment)?;
    }
    Ok(())
}

/// The file of full segment `number` in the backup: the sealed one, or the plain one where that is missing or damaged.
fn segment_of(from: &Path, number: u64) -> Result<(PathBuf, SegmentSpan), RestoreError> {
    let journal = from.join(JOURNAL_DIR);
    let mut first_error = None;
    for (path, is_sealed) in [(sealed_path(&journal, number), true), (segment_path(&journal, number), false)] {
        match check_full(&path, number, is_sealed) {
            Ok(Ok(span)) => return Ok((path, span)),
            Ok(Err(damage)) => drop(first_error.get_or_insert(damage)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(RestoreError::io(path)(error)),
        }
    }
    let missing = || Damage {
        first_seq: 1,
        last_seq: 1,
        segment: number,
        offset: 0,
        what: "the segment is missing in the backup".to_owned(),
    };
    Err(first_error.unwrap_or_else(missing).into())
}

/// What the header of the last segment says, its end, and the segment up to the head; `None` when no file of the backup has its
/// events.
#[expect(clippy::type_complexity, reason = "the three parts are used in one place")]
fn last_segment_of(
    from: &Path,
    head: BackupHead,
) -> Result<Option<(SegmentStart, (u64, Chain), Segment)>, RestoreError> {
    let journal = from.join(JOURNAL_DIR);
    let (plain, sealed) = (segment_path(&journal, head.segment), sealed_path(&journal, head.segment));
    let Head { size, chain } = head.head;
    let end = (size.saturating_add(1), chain);
    if let Ok(Ok(span)) = check_full(&sealed, head.segment, true)
        && (span.next_seq, span.chain) == end
    {
        return Ok(Some((span.start, end, Segment::File(sealed))));
    }
    let cut = match last_segment::of_plain(&plain, head.head).map_err(RestoreError::io(plain))? {
        None => last_segment::of_sealed(&sealed, head.head).map_err(RestoreError::io(sealed))?,
        found => found,
    };
    Ok(cut.map(|(header, bytes)| (SegmentStart::from(header), end, Segment::Cut(bytes))))
}

fn without_head(head: BackupHead) -> RestoreError {
    let (size, segment) = (head.head.size, head.segment);
    let what = format!("the segment does not have the events of the backup up to event {size}, or is damaged");
    Damage { first_seq: size, last_seq: size, segment, offset: 0, what }.into()
}

fn copy(from: &Path, to: &Path) -> Result<(), RestoreError> {
    copy_synced(from, to).map_err(|error| match error {
        CopyError::From(error) => RestoreError::io(from)(error),
        CopyError::To(error) => RestoreError::io(to)(error),
    })
}

/// Step 2.
fn check(dir: &Arc<LedgerDir>, expected: Head, progress: &mut dyn FnMut(RestoreProgress)) -> Result<(), RestoreError> {
    let report = verify_opened(dir, &mut |events| progress(RestoreProgress::Verifying { events }))?;
    if report.findings.is_empty() && report.head == expected && report.torn.is_none() {
        return Ok(());
    }
    Err(RestoreError::Unequal { expected, found: report.head, findings: report.findings })
}

/// Steps 3 and 4.
fn complete_journal(
    lock: &Arc<Lock>,
    options: &Options,
    progress: &mut dyn FnMut(RestoreProgress),
) -> Result<(), RestoreError> {
    let dir = lock.dir();
    let journal_dir = dir.at().join(JOURNAL_DIR);
    let found = UnsyncedJournal::find(dir, options.segment_bytes, Arc::clone(&options.backend))?;
    let journal: JournalWriter = found.make_durable().map_err(RestoreError::io(&journal_dir))?;
    progress(RestoreProgress::BuildingStore);
    Ok(new_ledger::complete(lock, journal)?)
}

/// Step 5.
fn copy_others(to: &Path, files: &BackupFiles, progress: &mut dyn FnMut(RestoreProgress)) -> Result<(), RestoreError> {
    let CopyProgress { total_files, total_bytes, .. } = files.progress(0);
    let archived: u64 = files.archives.iter().map(|(_, _, bytes)| bytes).sum();
    let (mut done_files, mut done_bytes) =
        (files.segments + files.archives.len() as u64, files.journal_bytes + archived);
    let mut dirs = BTreeSet::new();
    for (from, below, bytes) in &files.others {
        progress(RestoreProgress::Copying(CopyProgress { done_files, total_files, done_bytes, total_bytes }));
        let path = to.join(below);
        let dir = path.parent().unwrap_or(to);
        dir::make_private(dir).map_err(RestoreError::io(dir))?;
        copy(from, &path)?;
        dirs.extend(
            below.ancestors().skip(1).filter(|below| !below.as_os_str().is_empty()).map(|below| to.join(below)),
        );
        (done_files, done_bytes) = (done_files + 1, done_bytes + bytes);
    }
    dirs.iter().try_for_each(|dir| sync_dir(dir).map_err(RestoreError::io(dir)))
}
