//! A backup of a ledger in another directory, made while the ledger may be in use, and brought up to date by the next call.
//!
//! The order of the writes, so that a backup that is interrupted at any point leaves the one before, or the new one:
//!
//! 1. In a new directory, the file `backup` says that no backup is complete.
//! 2. The last segment of the ledger is read. Its last commit is the head of the backup. The segment is synced (fdatasync(2)),
//!    so the ledger has all events of the backup even after a power failure.
//! 3. Files of an interrupted backup that are not those of the ledger are removed.
//! 4. Archives that the backup lacks are copied, and the base of the journal under the name `journal/base-<number>`. Then the
//!    full segments that the backup lacks are copied in ascending order, then the last segment up to the head. Each is
//!    written under a temporary name, synced, checked, and renamed. A segment is only ever replaced by one that has its
//!    events and more. The directory is synced.
//! 5. Launch files and logs are copied in the same way.
//! 6. The file `backup` is replaced (written, synced, renamed, directory synced). It names the new head. From now on the
//!    backup is the new one.
//! 7. The file `journal/base` is replaced, so that the backup can be read. Files that the new backup does not need are removed.

pub(crate) mod error;
pub(crate) mod head_file;
pub(crate) mod plan;
pub(crate) mod segment_check;
pub(crate) mod source;

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use uuid::Uuid;

use crate::{
    backup::{
        error::BackupError,
        head_file::BackupHead,
        plan::{FileCopy, Plan, SegmentCopy, base_copy_name, copy_path},
        segment_check::check_full,
        source::{LastSegment, SourceJournal},
    },
    chain::Chain,
    dir::{self, BACKUP_FILE, LedgerDir},
    error::OpenError,
    file::{self, sync_dir},
    free_space::free_bytes,
    head::Head,
    journal::{
        JOURNAL_DIR, base::BASE_FILE, origin, reader::break_damage, segment::segment_path, segment_file::sealed_path,
    },
    limits::DISK_FREE_BYTES_MIN,
    lock::Lock,
};

/// Name of a file while it is copied.
const UNFINISHED: &str = "copying.new";

/// What a backup did, or would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackupReport {
    /// The id of the ledger.
    pub ledger: Uuid,
    /// The events that the backup has.
    pub head: Head,
    /// The events that the backup had before; `None` for a first backup.
    pub previous: Option<Head>,
    /// Number of files that were copied.
    pub copied_files: u64,
    /// Bytes of these files.
    pub copied_bytes: u64,
    /// Number of files that the backup had already.
    pub kept_files: u64,
    /// Bytes of these files.
    pub kept_bytes: u64,
}

/// How far a backup or a restore is. It is reported before each file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyProgress {
    /// Number of files that are copied.
    pub done_files: u64,
    /// Number of files to copy.
    pub total_files: u64,
    /// Bytes of the files that are copied.
    pub done_bytes: u64,
    /// Bytes of all files to copy.
    pub total_bytes: u64,
}

/// Copies the ledger in `dir` to the directory `to`, which is created if it is missing. With `logs`, the logs of the processes
/// are copied, too. A backup of the same ledger that is in `to` is brought up to date: only files that it lacks are copied.
///
/// No lock of the ledger is needed. The backup has all events that were acknowledged before this call, and maybe more.
///
/// # Errors
/// See [`BackupError`]. The backup that was in `to` can still be restored.
pub fn backup(
    dir: &Path,
    to: &Path,
    logs: bool,
    progress: &mut dyn FnMut(CopyProgress),
) -> Result<BackupReport, BackupError> {
    let opened = open_source(dir, to)?;
    backup_opened(&opened, to, logs, progress).map_err(|error| error.naming_paths_of(&opened))
}

fn backup_opened(
    opened: &Arc<LedgerDir>,
    to: &Path,
    logs: bool,
    progress: &mut dyn FnMut(CopyProgress),
) -> Result<BackupReport, BackupError> {
    // A directory that is refused is left as it is: the lock writes a file to it.
    Plan::find(&SourceJournal::find(opened)?, to, logs)?;
    dir::prepare(to, true)?;
    let _lock = Lock::take(to, Duration::ZERO)?;
    // All is read again under the lock: another backup that was under way may have copied later events.
    let source = SourceJournal::find(opened)?;
    let plan = Plan::find(&source, to, logs)?;
    check_disk(&plan, &source, to)?;
    if plan.previous.is_none() {
        BackupHead::begun(source.head).write(to).map_err(BackupError::io(to.join(BACKUP_FILE)))?;
        dir::sync_names(to).map_err(BackupError::io(to))?;
    }
    let report = report_of(&plan, &source);
    let copier = Copier { to, progress, report: &report, done: (0, 0) };
    copier.copy(&source, &plan)?;
    source.head.write(to).map_err(BackupError::io(to.join(BACKUP_FILE)))?;
    if let Some(base) = &source.base {
        let journal = to.join(JOURNAL_DIR);
        file::replace(&journal, BASE_FILE, &base.bytes).map_err(BackupError::io(journal))?;
    }
    plan.obsolete.iter().try_for_each(|path| remove(path))?;
    Ok(report)
}

/// What [`backup`] would do. Takes no lock and writes nothing.
///
/// # Errors
/// See [`BackupError`].
pub fn backup_plan(dir: &Path, to: &Path, logs: bool) -> Result<BackupReport, BackupError> {
    let opened = open_source(dir, to)?;
    match dir::prepare(to, false) {
        Ok(()) | Err(OpenError::Missing { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let planned = || {
        let source = SourceJournal::find(&opened)?;
        let plan = Plan::find(&source, to, logs)?;
        check_disk(&plan, &source, to)?;
        Ok(report_of(&plan, &source))
    };
    planned().map_err(|error: BackupError| error.naming_paths_of(&opened))
}

/// Opens the ledger, and checks that the backup is not made in its directory.
fn open_source(dir: &Path, to: &Path) -> Result<Arc<LedgerDir>, BackupError> {
    dir::prepare(dir, false)?;
    let ledger = fs::canonicalize(dir).map_err(BackupError::io(dir))?;
    let absolute = std::path::absolute(to).map_err(BackupError::io(to))?;
    let existing = absolute.ancestors().find_map(|path| fs::canonicalize(path).ok());
    if existing.is_some_and(|existing| existing.starts_with(&ledger)) {
        return Err(BackupError::SameDirectory { path: to.to_owned() });
    }
    Ok(Arc::new(LedgerDir::open(dir)?))
}

fn report_of(plan: &Plan, source: &SourceJournal) -> BackupReport {
    let (files, bytes) = plan.to_copy();
    let last_bytes = match &source.last {
        LastSegment::Plain(_, bytes) => bytes.len() as u64,
        LastSegment::Sealed(file, _) => fs::metadata(&file.path).map_or(0, |metadata| metadata.len()),
    };
    BackupReport {
        ledger: source.head.ledger,
        head: source.head.head,
        previous: plan.previous.filter(BackupHead::is_complete).map(|previous| previous.head),
        copied_files: files + 1,
        copied_bytes: bytes + last_bytes,
        kept_files: plan.kept_files,
        kept_bytes: plan.kept_bytes,
    }
}

/// Refuses the backup when the file system of `to` has no room for it.
fn check_disk(plan: &Plan, source: &SourceJournal, to: &Path) -> Result<(), BackupError> {
    let needed_bytes = report_of(plan, source).copied_bytes.saturating_add(DISK_FREE_BYTES_MIN);
    let absolute = std::path::absolute(to).map_err(BackupError::io(to))?;
    match absolute.ancestors().find(|path| path.exists()).and_then(free_bytes) {
        Some(free_bytes) if free_bytes < needed_bytes => Err(BackupError::DiskLow { free_bytes, needed_bytes }),
        _ => Ok(()),
    }
}

struct Copier<'a> {
    to: &'a Path,
    progress: &'a mut dyn FnMut(CopyProgress),
    report: &'a BackupReport,
    /// Number and bytes of the files that are copied.
    done: (u64, u64),
}

impl Copier<'_> {
    /// Steps 3 to 5.
    fn copy(mut self, source: &SourceJournal, plan: &Plan) -> Result<(), BackupError> {
        let journal = self.to.join(JOURNAL_DIR);
        dir::make_private(&journal).map_err(BackupError::io(&journal))?;
        origin::save_of_copy(&journal).map_err(BackupError::io(&journal))?;
        plan.stale.iter().try_for_each(|path| remove(path))?;
        self.copy_others(&plan.archives)?;
        if let Some(base) = &source.base {
            let name = base_copy_name(source.head.base);
            file::replace(&journal, &name, &base.bytes).map_err(BackupError::io(&journal))?;
        }
        let mut end = None;
        for segment in &plan.segments {
            check_continued(segment.file.number, end, segment.start.first_seq, segment.start.chain_before)?;
            end = match segment.bytes {
                None => None,
                Some(bytes) => {
                    self.begin_file(bytes);
                    Some(copy_segment(source, &journal, segment)?)
                }
            };
        }
        let start = source.last.start();
        check_continued(start.number, end, start.first_seq, start.chain_before)?;
        self.begin_file(self.report.copied_bytes - self.done.1);
        copy_last(source, &journal)?;
        sync_dir(&journal).map_err(BackupError::io(&journal))?;
        self.copy_others(&plan.others)?;
        sync_dir(self.to).map_err(BackupError::io(self.to))
    }

    fn copy_others(&mut self, others: &[FileCopy]) -> Result<(), BackupError> {
        let mut last_dir: Option<&Path> = None;
        for FileCopy { from, to, bytes } in others {
            self.begin_file(*bytes);
            let dir = to.parent().unwrap_or(self.to);
            if last_dir != Some(dir) {
                dir::make_private(dir).map_err(BackupError::io(dir))?;
                last_dir = Some(dir);
            }
            let unfinished = self.to.join(UNFINISHED);
            match copy_synced(from, &unfinished) {
                // The daemon has removed it meanwhile.
                Err(CopyError::From(error)) if error.kind() == io::ErrorKind::NotFound => continue,
                copied => copied.map_err(|error| error.at(from, to))?,
            }
            fs::rename(&unfinished, to).map_err(BackupError::io(to))?;
        }
        let mut dirs: Vec<&Path> = others.iter().filter_map(|file| file.to.parent()).collect();
        dirs.dedup();
        let below = |dir: &Path| dir.ancestors().take_while(|path| *path != self.to).map(Path::to_owned).collect();
        let all: Vec<PathBuf> = dirs.into_iter().flat_map(|dir| -> Vec<PathBuf> { below(dir) }).collect();
        all.iter().try_for_each(|dir| sync_dir(dir).map_err(BackupError::io(dir)))
    }

    fn begin_file(&mut self, bytes: u64) {
        (self.progress)(CopyProgress {
            done_files: self.done.0,
            total_files: self.report.copied_files,
            done_bytes: self.done.1,
            total_bytes: self.report.copied_bytes,
        });
        self.done = (self.done.0 + 1, self.done.1 + bytes);
    }
}

/// Checks that segment `number` begins where the segment before it ends, if that was read.
fn check_continued(
    number: u64,
    end: Option<(u64, Chain)>,
    first_seq: u64,
    chain_before: Chain,
) -> Result<(), BackupError> {
    match end {
        Some((next_seq, chain)) if (next_seq, chain) != (first_seq, chain_before) => {
            Err(break_damage(number.saturating_sub(1), next_seq, first_seq).into())
        }
        _ => Ok(()),
    }
}

/// Copies a full segment. Returns the number of the event after it and the hash chain value before that event.
fn copy_segment(source: &SourceJournal, journal: &Path, segment: &SegmentCopy) -> Result<(u64, Chain), BackupError> {
    let mut file = segment.file.clone();
    let unfinished = journal.join(UNFINISHED);
    let copied = match copy_synced(&file.path, &unfinished) {
        // The plain file was removed, because the segment is sealed.
        Err(CopyError::From(error)) if error.kind() == io::ErrorKind::NotFound && !file.is_sealed => {
            file.path = sealed_path(&source.journal(), file.number);
            file.is_sealed = true;
            copy_synced(&file.path, &unfinished)
        }
        copied => copied,
    };
    let (number, path) = (file.number, copy_path(journal, &file));
    copied.map_err(|error| error.at(&source.dir.shown(&file.path), &path))?;
    let checked = check_full(&unfinished, number, file.is_sealed).map_err(BackupError::io(&unfinished))?;
    let span = checked?;
    if span.start != segment.start {
        return Err(break_damage(number, segment.start.first_seq, span.start.first_seq).into());
    }
    fs::rename(&unfinished, &path).map_err(BackupError::io(&path))?;
    Ok((span.next_seq, span.chain))
}

/// Copies the last segment up to the head.
fn copy_last(source: &SourceJournal, journal: &Path) -> Result<(), BackupError> {
    match &source.last {
        LastSegment::Plain(start, bytes) => {
            let path = segment_path(journal, start.number);
            let unfinished = journal.join(UNFINISHED);
            let written = file::create(&unfinished).and_then(|mut file| {
                file.write_all(bytes)?;
                file.sync_all()?;
                fs::rename(&unfinished, &path)
            });
            written.map_err(BackupError::io(path))
        }
        LastSegment::Sealed(file, start) => {
            let segment = SegmentCopy { file: file.clone(), start: *start, bytes: Some(0) };
            copy_segment(source, journal, &segment).map(drop)
        }
    }
}

/// Error from copying a file.
pub(crate) enum CopyError {
    /// The original cannot be read.
    From(io::Error),
    /// The copy cannot be written.
    To(io::Error),
}

impl CopyError {
    fn at(self, from: &Path, to: &Path) -> BackupError {
        match self {
            Self::From(error) => BackupError::io(from)(error),
            Self::To(error) => BackupError::io(to)(error),
        }
    }
}

/// Copies the content of a regular file to a new file with mode 0600, and syncs it.
pub(crate) fn copy_synced(from: &Path, to: &Path) -> Result<(), CopyError> {
    let mut original = file::open(from).map_err(CopyError::From)?;
    let mut copy = file::create(to).map_err(CopyError::To)?;
    io::copy(&mut original, &mut copy).and_then(|_| copy.sync_all()).map_err(CopyError::To)
}

/// Removes a file or a directory, if it exists.
fn remove(path: &Path) -> Result<(), BackupError> {
    let is_dir = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir());
    match if is_dir { fs::remove_dir_all(path) } else { fs::remove_file(path) } {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(BackupError::io(path)(error)),
        _ => Ok(()),
    }
}
