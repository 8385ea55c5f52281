//! Moves the oldest segments of a ledger into an archive, with the processes that are gone by then.
//!
//! The order of the writes, so that a crash at any point leaves the ledger as it was, or with the archive:
//!
//! 1. The ledger is opened and closed, which recovers it and finishes what an interrupted call has left.
//! 2. The archive is written under a temporary name, synced, read back and checked as a whole, and renamed. The directory is
//!    synced. Archives of an interrupted call that would begin with the same segment are removed before that: the journal has
//!    their segments.
//! 3. The logs and launch files of the processes that are gone are removed. When that is interrupted, the next call does the rest,
//!    since it finds the same processes gone.
//! 4. The file `base` of the journal is replaced (written, synced, renamed, directory synced). From now on the journal begins
//!    after the archive.
//! 5. The ledger is opened and closed. Every opening removes the segments and catalogs before the base, and replaces a store that
//!    has events before it by a new one.

pub(crate) mod archive_files;
pub(crate) mod error;
pub(crate) mod files;
mod gone;
mod plan;

use std::{
    collections::{BTreeSet, HashSet},
    fs,
    io::Write as _,
    ops::ControlFlow,
    path::Path,
    sync::Arc,
};

use apm2_model::{event::stream_id::StreamId, spec::id::ProcessId, state::stream::Stream};
use chrono::{DateTime, Utc};

use crate::{
    dir::{self, LedgerDir},
    disk_usage::allocated_bytes,
    error::ReadError,
    file::{self, sync_dir},
    free_space::free_bytes,
    journal::{
        JOURNAL_DIR,
        archive::{
            ARCHIVE_DIR,
            check::{check_bytes, check_events},
            reader::Archive,
            writer::{ArchiveTables, ArchiveWriter},
        },
        base::{BASE_FILE, Base, BaseContent, archive_name},
        catalog::{group::Group, reader::Catalog},
        segment_file::some_segments,
    },
    ledger::Ledger,
    limits::{CATALOG_LEVEL_MAX, DISK_FREE_BYTES_MIN, RETAIN_SHARE},
    lock::Lock,
    options::Options,
    read::{
        query::EventQuery,
        reader::{Reader, wall_ns},
    },
    record::encode_stream,
    retain::{
        error::RetainError,
        files::{GoneProcesses, ProcessFile},
        gone::{Living, each_state},
        plan::Plan,
    },
    store::STORE_DIR,
};

/// Name of an archive that is being written.
const UNFINISHED: &str = "retaining.new";

/// Name of a base while it is checked.
const UNCHECKED_BASE: &str = "base.new";

/// What [`retain`] did, or would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retained {
    /// The name of the archive.
    pub archive: String,
    /// The sequence number of its first event.
    pub first_seq: u64,
    /// The sequence number of its last event.
    pub last_seq: u64,
    /// The wall-clock time of its earliest event, in nanoseconds since 1970.
    pub first_wall_ns: i64,
    /// The wall-clock time of its latest event, in nanoseconds since 1970.
    pub last_wall_ns: i64,
    /// Number of its segments.
    pub segments: u64,
    /// Bytes of these segments.
    pub bytes: u64,
    /// The processes that are gone, in the order of their ids: they are in the archive alone.
    pub processes: Vec<ProcessId>,
    /// Number of their instances.
    pub streams: u64,
    /// Number of the other instances, whose states stay in the store.
    pub kept: u64,
    /// The logs and launch files of the processes that are gone, which are removed.
    pub files: Vec<ProcessFile>,
}

/// What is done at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetainProgress {
    /// The ledger is opened, and the states of its processes are read.
    Reading,
    /// Segments are copied into the archive.
    Copying {
        /// Bytes that were copied.
        bytes: u64,
        /// Bytes to copy.
        total: u64,
    },
    /// The archive is read back and checked.
    Checking {
        /// Number of events that were checked.
        events: u64,
        /// Number of its events.
        total: u64,
    },
    /// The archive is complete. The segments are removed, and the store is built without the events in the archive.
    Finishing,
}

/// Moves the leading sealed segments of the ledger in `dir` whose latest event is before the time `before` into an archive.
/// Returns `None` when there are none.
///
/// The history of the processes that are gone by then is read from the archive only: they are not listed any more, and no event of
/// them can be appended. The ledger must not be open in another process.
///
/// # Errors
/// See [`RetainError`].
pub fn retain(
    dir: &Path,
    before: DateTime<Utc>,
    options: &Options,
    progress: &mut dyn FnMut(RetainProgress),
) -> Result<Option<Retained>, RetainError> {
    dir::prepare(dir, false)?;
    some_segments(&LedgerDir::open(dir)?)?;
    let lock = Arc::new(Lock::take(dir, options.lock_wait)?);
    progress(RetainProgress::Reading);
    // The store must have all events before some of them move.
    open_and_close(&lock, options)?;
    let Some(plan) = Plan::find(lock.dir(), wall_ns(before))? else { return Ok(None) };
    check_disk(lock.dir(), &plan)?;
    let retained = write_all(lock.dir(), &plan, wall_ns(before), progress)?;
    progress(RetainProgress::Finishing);
    open_and_close(&lock, options)?;
    Ok(Some(retained))
}

/// What [`retain`] would do. Takes no lock and writes nothing.
///
/// # Errors
/// See [`RetainError`].
pub fn retain_plan(dir: &Path, before: DateTime<Utc>) -> Result<Option<Retained>, RetainError> {
    dir::prepare(dir, false)?;
    let opened = Arc::new(LedgerDir::open(dir)?);
    some_segments(&opened)?;
    let Some(plan) = Plan::find(&opened, wall_ns(before))? else { return Ok(None) };
    check_disk(&opened, &plan)?;
    let (mut retained, mut gone) = (report_of(&plan), GoneProcesses::default());
    each_stream(&opened, &plan, &mut |stream, is_gone| {
        retained.add(&stream, is_gone, &mut gone);
        Ok(())
    })?;
    retained.files = gone.files(&Reader::of_journal(opened)?, wall_ns(before))?;
    Ok(Some(retained))
}

/// Whether the events before the time `before` are enough to be moved without a request: every call builds the store again, so
/// the segments that move are at least one part in `RETAIN_SHARE` of all that could. Takes no lock and writes nothing.
///
/// # Errors
/// See [`RetainError`].
pub fn is_retention_due(dir: &Path, before: DateTime<Utc>) -> Result<bool, RetainError> {
    dir::prepare(dir, false)?;
    let opened = Arc::new(LedgerDir::open(dir)?);
    some_segments(&opened)?;
    let Some(plan) = Plan::find(&opened, wall_ns(before))? else { return Ok(false) };
    let rest = plan.rest.iter().filter(|file| file.is_sealed).filter_map(|file| file.path.metadata().ok());
    let rest = rest.fold(0_u64, |sum, metadata| sum.saturating_add(metadata.len()));
    Ok(plan.bytes.saturating_mul(RETAIN_SHARE - 1) >= rest)
}

impl Retained {
    fn add(&mut self, stream: &Stream, is_gone: bool, gone: &mut GoneProcesses) {
        if !is_gone {
            self.kept += 1;
            return;
        }
        gone.add(stream);
        self.streams += 1;
        if self.processes.last() != Some(&stream.id.process_id) {
            self.processes.push(stream.id.process_id);
        }
    }
}

fn report_of(plan: &Plan) -> Retained {
    let header = plan.header;
    Retained {
        archive: archive_name(header.first_number, header.last_number),
        first_seq: header.first_seq,
        last_seq: header.last_seq,
        first_wall_ns: plan.summary.min_wall_ns,
        last_wall_ns: plan.summary.max_wall_ns,
        segments: plan.moved.len() as u64,
        bytes: plan.bytes,
        processes: Vec::new(),
        streams: 0,
        kept: 0,
        files: Vec::new(),
    }
}

fn open_and_close(lock: &Arc<Lock>, options: &Options) -> Result<(), RetainError> {
    let options = Options { seal: false, ..options.clone() };
    let ledger = Ledger::open_locked(lock, &options)?;
    if let Err(error) = ledger.close() {
        return Err(RetainError::io(lock.dir().named())(std::io::Error::other(error)));
    }
    Ok(())
}

fn check_disk(dir: &LedgerDir, plan: &Plan) -> Result<(), RetainError> {
    let store_bytes = allocated_bytes(&dir.at().join(STORE_DIR)).map_err(RetainError::io(dir.named()))?;
    let needed_bytes = plan.bytes.saturating_add(store_bytes).saturating_add(DISK_FREE_BYTES_MIN);
    match free_bytes(dir.at()) {
        Some(free_bytes) if free_bytes < needed_bytes => Err(RetainError::DiskLow { free_bytes, needed_bytes }),
        _ => Ok(()),
    }
}

/// Calls `visit` with the state of each stream after the events that move, and whether it is gone.
fn each_stream(
    dir: &Arc<LedgerDir>,
    plan: &Plan,
    visit: &mut dyn FnMut(Stream, bool) -> Result<(), RetainError>,
) -> Result<(), RetainError> {
    let living = Living::new(dir, plan.later_processes(dir)?).map_err(RetainError::io(dir.named()))?;
    let reader = Reader::of_journal(Arc::clone(dir))?;
    let mut failed = None;
    each_state(&reader, plan.header.last_seq, &living, &mut |stream, is_gone| match visit(stream, is_gone) {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => {
            failed = Some(error);
            ControlFlow::Break(())
        }
    })?;
    failed.map_or(Ok(()), Err)
}

/// Steps 2 to 4.
fn write_all(
    dir: &Arc<LedgerDir>,
    plan: &Plan,
    before_ns: i64,
    progress: &mut dyn FnMut(RetainProgress),
) -> Result<Retained, RetainError> {
    let (mut retained, mut gone) = (report_of(plan), GoneProcesses::default());
    let (mut states, mut names) = (Vec::new(), BTreeSet::new());
    let tables = ArchiveTables::build(|add| {
        each_stream(dir, plan, &mut |stream, is_gone| {
            let unreadable = |source| ReadError::Record { seq: stream.last_seq, source };
            let record = encode_stream(&stream).map_err(unreadable)?;
            add(stream.id, is_gone, &record)?;
            retained.add(&stream, is_gone, &mut gone);
            if !is_gone {
                names.insert((stream.handle.spec.name.clone(), stream.id.process_id));
                states.push((stream.id, record));
            }
            Ok(())
        })
    })?;
    let system_version = system_version(dir, plan)?;
    let base = BaseContent {
        ledger: plan.header.ledger,
        system_version,
        archives: &plan.entries(tables.gone()),
        states: &states,
        names: &names,
    };
    let base = base.encode()?;
    write_archive(dir, plan, tables, system_version, progress)?;
    let files = gone.files(&Reader::of_journal(Arc::clone(dir))?, before_ns)?;
    retained.files = files::remove(dir, files).map_err(RetainError::io(dir.named()))?;
    replace_base(dir, plan, &base, states.len())?;
    Ok(retained)
}

/// The version of the last event of the supervisor's own stream that moves or moved before.
fn system_version(dir: &Arc<LedgerDir>, plan: &Plan) -> Result<u64, RetainError> {
    let reader = Reader::of_journal(Arc::clone(dir))?;
    let before = plan.base.as_ref().map_or(0, |base| base.system_version);
    let header = plan.header;
    let mut last = before;
    // Only the segments that move are read, so that no earlier archive is needed.
    for event in reader.query(EventQuery::stream(StreamId::SYSTEM), header.first_seq, header.last_seq) {
        last = event?.version;
    }
    Ok(last)
}

/// Step 2.
fn write_archive(
    dir: &LedgerDir,
    plan: &Plan,
    tables: ArchiveTables,
    system_version: u64,
    progress: &mut dyn FnMut(RetainProgress),
) -> Result<(), RetainError> {
    let archives = dir.at().join(ARCHIVE_DIR);
    let shown = dir.shown(&archives);
    let io = |error| RetainError::io(shown.clone())(error);
    dir.check_place().map_err(RetainError::io(dir.named()))?;
    dir::make_private(&archives).map_err(io)?;
    sync_dir(dir.at()).map_err(io)?;
    remove_leftovers(&archives, plan.header.first_number).map_err(io)?;
    let unfinished = archives.join(UNFINISHED);
    let total = plan.bytes;
    let written = (|| {
        let mut writer = ArchiveWriter::create(&unfinished, plan.header).map_err(io)?;
        let mut bytes = 0;
        for file in &plan.moved {
            progress(RetainProgress::Copying { bytes, total });
            writer.push(0, file.number, &file.path).map_err(io)?;
            bytes += file.path.metadata().map_or(0, |metadata| metadata.len());
        }
        for group in catalogs(dir, plan) {
            writer.push(group.level, group.first, &group.path(&dir.at().join(JOURNAL_DIR))).map_err(io)?;
        }
        writer.finish(tables, plan.names(dir)?, system_version)?;
        check_archive(&unfinished, plan, progress)?;
        fs::rename(&unfinished, archives.join(archive_name(plan.header.first_number, plan.header.last_number)))
            .map_err(io)
    })();
    if let Err(error) = written {
        drop(fs::remove_file(&unfinished));
        return Err(error);
    }
    sync_dir(&archives).map_err(io)
}

/// Removes what an interrupted call has left.
fn remove_leftovers(archives: &Path, first_number: u64) -> std::io::Result<()> {
    let beginning = format!("{first_number:010}-");
    for entry in archives.read_dir()? {
        let entry = entry?;
        let is_leftover = entry.file_name().to_str().is_some_and(|name| {
            name == UNFINISHED || name == UNCHECKED_BASE || name.starts_with(&beginning) && name.ends_with(".archive")
        });
        if is_leftover {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// The groups of segments that move and have a catalog.
fn catalogs(dir: &LedgerDir, plan: &Plan) -> Vec<Group> {
    let journal = dir.at().join(JOURNAL_DIR);
    let (first, last) = (plan.header.first_number, plan.header.last_number);
    let mut found = Vec::new();
    for level in 1..=CATALOG_LEVEL_MAX {
        let mut group = Group::containing(level, first);
        while group.last() <= last {
            if group.first >= first && Catalog::of_group(&journal, group).is_ok() {
                found.push(group);
            }
            group = Group { level, first: group.last() + 1 };
        }
    }
    found
}

/// Reads the archive back.
fn check_archive(path: &Path, plan: &Plan, progress: &mut dyn FnMut(RetainProgress)) -> Result<(), RetainError> {
    let total = plan.header.last_seq - plan.header.first_seq + 1;
    let checked = Archive::open(path).and_then(|archive| {
        check_bytes(&archive)?;
        check_events(&archive, &mut |events| progress(RetainProgress::Checking { events, total }))?;
        Ok(*archive.header() == plan.header)
    });
    match checked {
        Ok(true) => Ok(()),
        Ok(false) => Err(RetainError::Written("its header".to_owned())),
        Err(error) => Err(RetainError::Written(error.to_string())),
    }
}

/// Step 4. The base is read back under another name before it is replaced.
fn replace_base(dir: &LedgerDir, plan: &Plan, bytes: &[u8], states: usize) -> Result<(), RetainError> {
    let (journal, archives) = (dir.at().join(JOURNAL_DIR), dir.at().join(ARCHIVE_DIR));
    let unchecked = archives.join(UNCHECKED_BASE);
    let written = file::create(&unchecked).and_then(|mut file| file.write_all(bytes));
    if let Err(error) = written {
        // On a full disk the file would occupy the space that was left.
        drop(fs::remove_file(&unchecked));
        return Err(RetainError::io(dir.shown(&unchecked))(error));
    }
    let checked = file::open(&unchecked).map_err(|error| error.to_string()).and_then(|file| {
        let base = Base::of_file(file).map_err(|error| error.to_string())?;
        let found: HashSet<StreamId> = base
            .states()
            .and_then(|states| states.map(|state| Ok(state?.0)).collect())
            .map_err(|error| error.to_string())?;
        let is_right = found.len() == states
            && (base.number(), base.seq(), base.chain())
                == (plan.header.last_number, plan.header.last_seq, plan.header.chain_after);
        if is_right { Ok(()) } else { Err("its base".to_owned()) }
    });
    drop(fs::remove_file(&unchecked));
    checked.map_err(RetainError::Written)?;
    dir.check_place().map_err(RetainError::io(dir.named()))?;
    file::replace(&journal, BASE_FILE, bytes).map_err(RetainError::io(dir.shown(&journal)))
}
