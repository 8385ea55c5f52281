//! The migration of a ledger of format 1 to format 2: every full segment is sealed, and the plain files are removed.
//!
//! The steps, each of which can be repeated after a crash:
//!
//! 1. The whole ledger is verified. A damaged one is refused and left as it is.
//! 2. The ledger is recovered as at every opening.
//! 3. A segment of format 2 is begun after a last segment of format 1.
//! 4. Every full segment is sealed beside its plain file.
//! 5. The new journal is verified as a whole, and its head is compared with that of the old one.
//! 6. The plain files of the sealed segments, which are the old journal, are removed.
//!
//! Until step 6 the old journal is complete, and the sealed segments are complete before that.

pub(crate) mod error;
pub(crate) mod plan;

use std::{fs, path::Path, path::PathBuf, sync::Arc};

use crate::{
    append::segment_sealer::{FullSegment, SegmentSealError, SegmentSealer},
    dir::LedgerDir,
    error::OpenError,
    file::sync_dir,
    free_space::free_bytes,
    head::Head,
    journal::{
        JOURNAL_DIR,
        segment::FORMAT_VERSION,
        segment_file::{all_segment_files, some_segments},
        unsynced::UnsyncedJournal,
    },
    ledger::Ledger,
    limits::DISK_FREE_BYTES_MIN,
    lock::Lock,
    migrate::{
        error::MigrateError,
        plan::{header_of, journal_bytes, plan},
    },
    options::Options,
    read::cancel::Cancel,
    verify::{report::VerifyReport, verify_opened},
};

/// The result of a migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Migrated {
    /// The size and the hash chain value of the ledger, which are the same before and after.
    pub head: Head,
    /// Number of segments that were sealed.
    pub sealed: u64,
    /// Number of plain files that were removed.
    pub removed: u64,
    /// Bytes of the journal's segments before the migration.
    pub bytes_before: u64,
    /// Bytes of the journal's segments after the migration.
    pub bytes_after: u64,
}

/// What a migration does at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MigrationProgress {
    /// The old journal is verified.
    Verifying {
        /// Number of events that were checked.
        events: u64,
    },
    /// Segments are sealed.
    Sealing {
        /// Number of segments that are sealed.
        done: u64,
        /// Number of segments that this migration seals.
        total: u64,
    },
    /// The new journal is verified.
    Comparing {
        /// Number of events that were checked.
        events: u64,
    },
}

/// Migrates the ledger in `dir` to the current format. Returns `None` if no segment has an older format. Calls `progress` at
/// intervals.
///
/// The events and the hash chain stay the same. Until the new journal was verified as a whole, the old files stay; so the
/// disk must have room for both. A migration that was interrupted at any point leaves a ledger with all events, and
/// `migrate` finishes it.
///
/// # Errors
/// See [`MigrateError`]. The ledger has all of its events, and can be opened as before.
pub fn migrate(
    dir: &Path,
    options: &Options,
    progress: &mut dyn FnMut(MigrationProgress),
) -> Result<Option<Migrated>, MigrateError> {
    crate::dir::prepare(dir, false)?;
    // A ledger that needs no migration may be in use.
    let opened = LedgerDir::open(dir)?;
    if !is_needed(&opened).map_err(|error| opened.as_named(error))? {
        return Ok(None);
    }
    let lock = Arc::new(Lock::take(dir, options.lock_wait)?);
    let opened = Arc::clone(lock.dir());
    migrate_locked(&lock, options, progress).map_err(|error| error.naming_paths_of(&opened))
}

/// Whether a plain file has an older format.
fn is_needed(dir: &LedgerDir) -> Result<bool, OpenError> {
    for file in some_segments(dir)?.iter().filter(|file| !file.is_sealed) {
        if header_of(dir, file)?.version < FORMAT_VERSION {
            return Ok(true);
        }
    }
    Ok(false)
}

fn migrate_locked(
    lock: &Arc<Lock>,
    options: &Options,
    progress: &mut dyn FnMut(MigrationProgress),
) -> Result<Option<Migrated>, MigrateError> {
    let dir = lock.dir();
    let journal = dir.at().join(JOURNAL_DIR);
    // Another migration may have finished before the lock was granted.
    if !is_needed(dir)? {
        return Ok(None);
    }
    let report = verify_opened(dir, &mut |events| progress(MigrationProgress::Verifying { events }))?;
    if !report.findings.is_empty() {
        return Err(MigrateError::Damaged { findings: report.findings });
    }
    check_disk(dir)?;
    let bytes_before = journal_bytes(&journal)?;
    let head = recover(lock, options)?;
    begin_current_format(dir, options)?;
    let mut new_files = NewFiles(Vec::new());
    seal_all(dir, &mut new_files, progress)?;
    let report = verify_opened(dir, &mut |events| progress(MigrationProgress::Comparing { events }))?;
    check_equal(head, report)?;
    let sealed = new_files.keep();
    let removed = remove_plain(dir)?;
    Ok(Some(Migrated { head, sealed, removed, bytes_before, bytes_after: journal_bytes(&journal)? }))
}

/// Refuses the migration when the disk has no room for the new files beside the old ones.
fn check_disk(dir: &Arc<LedgerDir>) -> Result<(), MigrateError> {
    let needed_bytes = plan(dir)?.bytes_written.saturating_add(DISK_FREE_BYTES_MIN);
    let Some(free_bytes) = free_bytes(dir.at()) else { return Ok(()) };
    if free_bytes < needed_bytes { Err(MigrateError::DiskLow { free_bytes, needed_bytes }) } else { Ok(()) }
}

/// Opens and closes the ledger, which recovers it and records what was found. Returns its head.
fn recover(lock: &Arc<Lock>, options: &Options) -> Result<Head, MigrateError> {
    let ledger = Ledger::open_locked(lock, &Options { seal: false, ..options.clone() })?;
    let head = ledger.reader().head();
    ledger.close()?;
    head.ok_or_else(|| crate::dir::without_journal(lock.dir()).into())
}

/// Begins a segment of the current format, unless the last one has it.
fn begin_current_format(dir: &Arc<LedgerDir>, options: &Options) -> Result<(), OpenError> {
    let journal = dir.at().join(JOURNAL_DIR);
    let last = all_segment_files(&journal).map_err(OpenError::io(&journal))?.pop();
    let Some(last) = last.filter(|last| !last.is_sealed) else { return Ok(()) };
    if header_of(dir, &last)?.version == FORMAT_VERSION {
        return Ok(());
    }
    let found = UnsyncedJournal::find(dir, options.segment_bytes, Arc::clone(&options.backend))?;
    found
        .unshared()
        .and_then(UnsyncedJournal::make_durable)
        .and_then(|mut writer| writer.begin_current_format())
        .map_err(OpenError::io(&journal))
}

/// The sealed files that this migration wrote. Dropping the value removes them, unless they are kept.
struct NewFiles(Vec<PathBuf>);

impl NewFiles {
    /// Keeps the files, and returns their number.
    fn keep(mut self) -> u64 {
        std::mem::take(&mut self.0).len() as u64
    }
}

impl Drop for NewFiles {
    fn drop(&mut self) {
        for path in &self.0 {
            // The plain file is there, too.
            if let Err(error) = fs::remove_file(path) {
                tracing::warn!(%error, path = %path.display(), "a sealed segment could not be removed");
            }
        }
    }
}

fn seal_all(
    dir: &Arc<LedgerDir>,
    new_files: &mut NewFiles,
    progress: &mut dyn FnMut(MigrationProgress),
) -> Result<(), MigrateError> {
    let journal = dir.at().join(JOURNAL_DIR);
    let mut unsealed = FullSegment::all(&journal).map_err(OpenError::io(&journal))?;
    unsealed.retain(|full| !full.is_sealed);
    let total = unsealed.len() as u64;
    let mut sealer = SegmentSealer::new(Arc::clone(dir), Cancel::default());
    for (full, done) in unsealed.iter().zip(0..) {
        progress(MigrationProgress::Sealing { done, total });
        new_files.0.extend(
            seal(&mut sealer, full).map_err(|source| MigrateError::Seal { number: full.plain.number, source })?,
        );
    }
    Ok(())
}

/// Seals a segment. Returns the path of the sealed file; `None` for a segment without events, which stays plain.
fn seal(sealer: &mut SegmentSealer, full: &FullSegment) -> Result<Option<PathBuf>, SegmentSealError> {
    let segment = full.read()?;
    if segment.is_empty() { Ok(None) } else { sealer.seal(segment).map(Some) }
}

/// Checks that the new journal is sound, and has the head of the old one. A hash chain value covers all events before it, so
/// the events are the same.
fn check_equal(old: Head, report: VerifyReport) -> Result<(), MigrateError> {
    if report.findings.is_empty() && report.head == old {
        return Ok(());
    }
    Err(MigrateError::Unequal { old, new: report.head, findings: report.findings })
}

/// Removes the plain files of the sealed segments. Returns their number.
fn remove_plain(dir: &LedgerDir) -> Result<u64, MigrateError> {
    let journal = dir.at().join(JOURNAL_DIR);
    let mut removed = 0;
    for full in FullSegment::all(&journal).map_err(OpenError::io(&journal))?.iter().filter(|full| full.is_sealed) {
        let path = &full.plain.path;
        dir.check_place().and_then(|()| fs::remove_file(path)).map_err(OpenError::io(path))?;
        removed += 1;
    }
    sync_dir(&journal).map_err(OpenError::io(&journal))?;
    Ok(removed)
}
