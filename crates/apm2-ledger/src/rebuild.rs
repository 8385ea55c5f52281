//! Builds the store again from the journal, on request. The new store has no free space in it, so it is often smaller.
//!
//! Before that, damaged full segments of the journal are written again, if other files have their events and the hash chain proves
//! them: `segment_repair`.
//!
//! The order of the writes, so that a crash at any point leaves the old store or the new one:
//!
//! 1. The journal is recovered as at every opening. What was found stays in the file `pending`, for the next opening.
//! 2. The new store is built under the name `sled.rebuilt`, and checked as a whole against the head of the journal.
//! 3. It is closed, and its files are synced.
//! 4. Both stores are exchanged by one renameat2(2), and the directory is synced.
//! 5. The marks of a clean close are written, and the old store is removed. An opening removes it after a crash.

use std::{fs, path::Path, sync::Arc};

use crate::{
    dir::{BACKUP_FILE, LedgerDir},
    disk_usage::allocated_bytes,
    error::OpenError,
    file::sync_dir,
    free_space::free_bytes,
    head::Head,
    journal::{JOURNAL_DIR, segment_file::some_segments},
    limits::DISK_FREE_BYTES_MIN,
    lock::{Lock, has_owner},
    migrate::plan::journal_bytes,
    options::Options,
    recovery::{REBUILT, RecoveredJournal, Unusable, exchange, extent, ignore_missing, new_store_in, recover_journal},
    segment_repair::{SegmentRepair, repair_segments},
    store::{STORE_DIR, clean_shutdown, error::StoreError, files::sync_files, sled_store::Store},
    verify::compare::check,
};

/// Error from rebuilding the store. The old store stays.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// The ledger cannot be opened: for example another process has it open, or the journal is damaged.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The existing store belongs to another ledger. It is renamed when the ledger is opened.
    #[error("the store belongs to another ledger")]
    OtherLedger,
    /// The new store cannot be built.
    #[error("the store cannot be rebuilt: {0}")]
    Store(String),
    /// The disk has no room for the new store beside the old one.
    #[error("the new store needs {needed_bytes} bytes of free disk space, and {free_bytes} bytes are free")]
    DiskLow {
        /// Free space for the ledger, in bytes.
        free_bytes: u64,
        /// Estimated size of the new store, with a reserve, in bytes.
        needed_bytes: u64,
    },
}

impl RebuildError {
    /// Whether the error shows damaged or missing data, and not only a ledger that cannot be accessed or written.
    #[must_use]
    pub const fn is_integrity(&self) -> bool {
        matches!(self, Self::Open(error) if error.is_integrity())
    }
}

impl From<StoreError> for RebuildError {
    fn from(error: StoreError) -> Self {
        Self::Store(error.to_string())
    }
}

impl From<Unusable> for RebuildError {
    fn from(error: Unusable) -> Self {
        match error {
            Unusable::Journal(error) => error.into(),
            other => Self::Store(other.to_string()),
        }
    }
}

/// The result of a rebuild.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rebuilt {
    /// The size and the hash chain value of the ledger, which are the same before and after.
    pub head: Head,
    /// Allocated size of the old store in bytes; 0 when there was none.
    pub bytes_before: u64,
    /// Allocated size of the new store in bytes.
    pub bytes_after: u64,
    /// The damaged segments of the journal that were written again.
    pub segments: Vec<SegmentRepair>,
}

/// What [`rebuild`] would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RebuildPlan {
    /// Allocated size of the store in bytes; 0 when there is none.
    pub store_bytes: u64,
    /// Bytes of free disk space that the new store needs at most, estimated from the sizes of the store and of the journal.
    pub needed_bytes: u64,
    /// The damaged full segments of the journal. Empty, too, while another process has the ledger open, as the journal is not read
    /// then.
    pub segments: Vec<SegmentRepair>,
}

/// What a rebuild does at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RebuildProgress {
    /// The full segments of the journal are checked.
    CheckingSegments {
        /// Number of segments that were checked.
        done: u64,
        /// Number of all segments.
        total: u64,
    },
    /// Events are added to the new store.
    Building {
        /// Number of events that were added.
        events: u64,
    },
    /// The new store is checked.
    Checking,
    /// The new store is complete and durable, and takes the place of the old one.
    Exchanging,
    /// The new store is in its place, and the old one is removed.
    Removing,
}

/// Builds the store of the ledger in `dir` again from the journal. No event is recorded for that.
///
/// # Errors
/// See [`RebuildError`]. The old store stays.
pub fn rebuild(
    dir: &Path,
    options: &Options,
    progress: &mut dyn FnMut(RebuildProgress),
) -> Result<Rebuilt, RebuildError> {
    crate::dir::prepare(dir, false)?;
    some_segments(&LedgerDir::open(dir)?)?;
    let lock = Arc::new(Lock::take(dir, options.lock_wait)?);
    rebuild_locked(&lock, options, progress).map_err(|error| match error {
        RebuildError::Open(error) => RebuildError::Open(lock.dir().as_named(error)),
        other => other,
    })
}

/// Computes what [`rebuild`] would do with the ledger in `dir`. Takes no lock and writes nothing. Reads the whole journal, unless
/// another process has the ledger open.
///
/// # Errors
/// When there is no ledger, or it cannot be read.
pub fn rebuild_plan(dir: &Path, progress: &mut dyn FnMut(RebuildProgress)) -> Result<RebuildPlan, RebuildError> {
    crate::dir::prepare(dir, false)?;
    let opened = Arc::new(LedgerDir::open(dir)?);
    plan(&opened, progress).map_err(|error| RebuildError::Open(opened.as_named(error)))
}

fn plan(dir: &Arc<LedgerDir>, progress: &mut dyn FnMut(RebuildProgress)) -> Result<RebuildPlan, OpenError> {
    let (store_bytes, needed_bytes) = sizes(dir)?;
    let segments = if has_owner(dir) { Vec::new() } else { repaired(dir, false, progress)? };
    Ok(RebuildPlan { store_bytes, needed_bytes, segments })
}

/// Allocated size of the store in bytes, and the bytes that a new one needs at most.
fn sizes(dir: &LedgerDir) -> Result<(u64, u64), OpenError> {
    some_segments(dir)?;
    let store_bytes = allocated_bytes(&dir.at().join(STORE_DIR)).map_err(OpenError::io(dir.at()))?;
    Ok((store_bytes, store_bytes.max(journal_bytes(&dir.at().join(JOURNAL_DIR))?)))
}

/// Finds the damaged segments, and with `write` writes those again that can be.
fn repaired(
    dir: &Arc<LedgerDir>,
    write: bool,
    progress: &mut dyn FnMut(RebuildProgress),
) -> Result<Vec<SegmentRepair>, OpenError> {
    let show = &mut |done, total| progress(RebuildProgress::CheckingSegments { done, total });
    repair_segments(dir, write, show).map_err(OpenError::io(dir.at().join(JOURNAL_DIR)))
}

fn rebuild_locked(
    lock: &Arc<Lock>,
    options: &Options,
    progress: &mut dyn FnMut(RebuildProgress),
) -> Result<Rebuilt, RebuildError> {
    let dir = lock.dir().at();
    let (path, rebuilt) = (dir.join(STORE_DIR), dir.join(REBUILT));
    let (store_bytes, needed_bytes) = sizes(lock.dir())?;
    let needed_bytes = needed_bytes.saturating_add(DISK_FREE_BYTES_MIN);
    if let Some(free_bytes) = free_bytes(dir).filter(|free_bytes| *free_bytes < needed_bytes) {
        return Err(RebuildError::DiskLow { free_bytes, needed_bytes });
    }
    if dir.join(BACKUP_FILE).exists() {
        return Err(OpenError::Backup { path: lock.dir().named().to_owned() }.into());
    }
    let segments = repaired(lock.dir(), true, progress)?;
    let RecoveredJournal { journal, opened, .. } = recover_journal(lock, None, options)?;
    if let Ok(store) = opened {
        let head = store.head().ok().flatten();
        // A store that sled cannot close is replaced, too.
        drop(store.close());
        if head.is_some_and(|head| head.ledger != journal.ledger()) {
            return Err(RebuildError::OtherLedger);
        }
    }
    let store = new_store_in(&rebuilt, lock, &journal, &mut |events| progress(RebuildProgress::Building { events }))?;
    progress(RebuildProgress::Checking);
    check_complete(&store, journal.next_seq() - 1)?;
    store.close()?;
    sync_files(&rebuilt).map_err(OpenError::io(&rebuilt))?;
    progress(RebuildProgress::Exchanging);
    exchange(&rebuilt, &path).and_then(|()| sync_dir(dir)).map_err(OpenError::io(&path))?;
    progress(RebuildProgress::Removing);
    let head = Head { size: journal.next_seq() - 1, chain: journal.chain() };
    extent::write(dir, journal.ledger(), head);
    clean_shutdown::write(dir, &path, head);
    if let Err(error) = fs::remove_dir_all(&rebuilt).or_else(ignore_missing) {
        tracing::warn!(%error, "the old store could not be removed; the next opening of the ledger removes it");
    }
    let bytes_after = allocated_bytes(&path).map_err(OpenError::io(&path))?;
    Ok(Rebuilt { head, bytes_before: store_bytes, bytes_after, segments })
}

/// Checks the whole new store: its frames, hash chain and index, and that it has all events.
fn check_complete(store: &Store, size: u64) -> Result<(), RebuildError> {
    match store.head()? {
        Some(head) if head.seq == size => Ok(check(store, head)?),
        _ => Err(RebuildError::Store("the new store lacks events".to_owned())),
    }
}
