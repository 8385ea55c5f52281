//! Makes a new ledger of every intact event of a damaged one.
//!
//! 1. The journal is verified. All files of the journal and of the stores are searched for intact commits and blocks, by their
//!    checksums: `carve`.
//! 2. One copy of each event is chosen, in the order that the hash chain gives: `weave`. Events that only a store has are proven where a
//!    hash chain value that the journal states follows them.
//! 3. The events are replayed, to find those that a ledger can have: `placement`.
//! 4. The new ledger is written beside its destination, with a new id, and with new numbers, because a ledger has no gaps: `placer`.
//!    The intact events that it cannot have are written to the file [`UNPLACED_FILE`] in it, and the report to [`REPORT_FILE`].
//! 5. All is synced, and the directory is renamed.
//!
//! The files of the damaged ledger are opened for reading only. Its directory is locked with a shared lock, which writes nothing.

mod carve;
pub(crate) mod error;
pub(crate) mod evidence;
mod file_bytes;
mod known_chains;
mod other_files;
mod piece;
mod placement;
mod placer;
pub(crate) mod report;
pub(crate) mod run;
pub(crate) mod source_file;
pub(crate) mod weave;

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use apm2_model::event::Event;
use uuid::Uuid;

use crate::{
    dir::{self, LAUNCH_DIR, LOGS_DIR, LedgerDir},
    error::OpenError,
    file,
    free_space::free_bytes,
    import::{ImportError, Importer},
    journal::sealed::block::Slot,
    limits::{DISK_FREE_BYTES_MIN, SEGMENT_BYTES},
    lock::SharedLock,
    options::Options,
    record::decode_event,
    salvage::{
        error::SalvageError,
        evidence::{Evidence, SearchProgress},
        other_files::copy_below,
        placement::Placement,
        placer::Placer,
        report::{SalvageReport, UnplacedReason},
        weave::Woven,
    },
    staged_dir::check_free,
    verify::verify_journal,
};

/// The file in the new ledger with the intact events that the ledger cannot have.
pub const UNPLACED_FILE: &str = "salvaged-unplaced.jsonl";

/// The file in the new ledger with the report.
pub const REPORT_FILE: &str = "salvaged.json";

/// Number of events after which the progress is reported.
const PROGRESS_EVENTS: u64 = 10_000;

/// Bytes of a new ledger for each byte of its records, at most, for the estimate of the free space.
const JOURNAL_SHARE: u64 = 3;

/// What a salvage does at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SalvageProgress {
    /// The journal is verified.
    Verifying {
        /// Number of events that were checked.
        events: u64,
    },
    /// The files are searched.
    Searching(SearchProgress),
    /// The intact events are replayed.
    Replaying {
        /// Number of events that were replayed.
        events: u64,
    },
    /// The events are written to the new ledger.
    Writing {
        /// Number of events that were written.
        events: u64,
    },
    /// The store of the new ledger is built, and its files are synced.
    Completing,
}

/// An intact event that the new ledger cannot have.
#[derive(Debug)]
pub struct UnplacedEvent<'a> {
    /// Its number in the damaged ledger.
    pub seq: u64,
    /// The event; `None` if this program cannot decode the record.
    pub event: Option<&'a Event>,
    /// Its record.
    pub record: &'a [u8],
    /// Why the new ledger cannot have it.
    pub reason: UnplacedReason,
}

/// Writes the files beside the new ledger, in the form of the caller.
pub trait SalvageForm {
    /// Begins the file of the events that the new ledger cannot have. `source` is the id of the damaged ledger, if it is known, and
    /// `last_seq` its last event.
    ///
    /// # Errors
    /// When `out` cannot be written.
    fn begin_unplaced(&mut self, out: &mut dyn Write, source: Option<Uuid>, last_seq: u64) -> io::Result<()>;

    /// Writes such an event.
    ///
    /// # Errors
    /// When `out` cannot be written.
    fn unplaced(&mut self, out: &mut dyn Write, event: UnplacedEvent<'_>) -> io::Result<()>;

    /// Writes the report.
    ///
    /// # Errors
    /// When `out` cannot be written.
    fn report(&mut self, out: &mut dyn Write, report: &SalvageReport) -> io::Result<()>;
}

/// Makes a new ledger in `to`, which must not exist or be an empty directory, of the intact events of the damaged ledger in `dir`. Launch
/// files are copied, and with `logs` the logs of the processes. Nothing is made of a ledger whose journal is undamaged.
///
/// # Errors
/// See [`SalvageError`].
pub fn salvage(
    dir: &Path,
    to: &Path,
    logs: bool,
    options: &Options,
    form: &mut dyn SalvageForm,
    progress: &mut dyn FnMut(SalvageProgress),
) -> Result<SalvageReport, SalvageError> {
    let lock = open_source(dir, to, options)?;
    let salvaged = Salvage::find(lock.dir(), progress).and_then(|mut salvage| {
        if !salvage.report.is_sound {
            salvage.write(lock.dir(), to, logs, options, form, progress)?;
        }
        Ok(salvage.report)
    });
    salvaged.map_err(|error| naming_paths_of(error, lock.dir()))
}

/// What [`salvage`] would do. Writes nothing.
///
/// # Errors
/// See [`SalvageError`].
pub fn salvage_plan(
    dir: &Path,
    to: &Path,
    options: &Options,
    progress: &mut dyn FnMut(SalvageProgress),
) -> Result<SalvageReport, SalvageError> {
    let lock = open_source(dir, to, options)?;
    let planned = Salvage::find(lock.dir(), progress).and_then(|mut salvage| {
        if !salvage.report.is_sound {
            salvage.place(&mut |_| Ok(()), progress)?;
        }
        Ok(salvage.report)
    });
    planned.map_err(|error| naming_paths_of(error, lock.dir()))
}

/// Checks the destination, and locks the directory of the damaged ledger against other processes that would write to it.
fn open_source(dir: &Path, to: &Path, options: &Options) -> Result<SharedLock, SalvageError> {
    dir::prepare(dir, false)?;
    check_free(to)?;
    let ledger = fs::canonicalize(dir)?;
    let absolute = std::path::absolute(to)?;
    let existing = absolute.ancestors().find_map(|path| fs::canonicalize(path).ok());
    if existing.is_some_and(|existing| existing.starts_with(&ledger)) {
        return Err(SalvageError::SameDirectory { path: to.to_owned() });
    }
    Ok(SharedLock::take(dir, options.lock_wait)?)
}

fn naming_paths_of(error: SalvageError, dir: &LedgerDir) -> SalvageError {
    match error {
        SalvageError::Open(error) => SalvageError::Open(dir.as_named(error)),
        SalvageError::Io(error) => SalvageError::Io(io::Error::new(error.kind(), dir.shown_text(&error.to_string()))),
        other => other,
    }
}

/// An intact event that was given its place.
enum Output<'a> {
    /// An event of the new ledger: its number and its record there.
    Placed(u64, &'a [u8]),
    Unplaced(UnplacedEvent<'a>),
}

/// What was found in a damaged ledger.
struct Salvage {
    evidence: Evidence,
    woven: Woven,
    placement: Placement,
    report: SalvageReport,
}

impl Salvage {
    /// Steps 1 to 3.
    fn find(dir: &Arc<LedgerDir>, progress: &mut dyn FnMut(SalvageProgress)) -> Result<Self, SalvageError> {
        let verified = verify_journal(dir, &mut |events| progress(SalvageProgress::Verifying { events }));
        let (verified, unread) = match verified {
            Ok(report) => (Some(report), None),
            Err(error @ (OpenError::Missing { .. } | OpenError::Newer { .. })) => return Err(error.into()),
            Err(error) => (None, Some(dir.as_named(error))),
        };
        let evidence = Evidence::find(dir, &mut |searched| progress(SalvageProgress::Searching(searched)));
        let woven = Woven::of(&evidence)?;
        let mut report = SalvageReport::begin(&evidence, &woven, verified);
        report.add_gaps(&woven, unread.as_ref());
        report.add_unused(dir, &evidence, &woven.rejected);
        let mut placement = Placement::default();
        if !report.is_sound {
            let show = &mut |events| progress(SalvageProgress::Replaying { events });
            placement = Placement::of(&woven, &evidence.files, show)?;
        }
        Ok(Self { evidence, woven, placement, report })
    }

    /// Calls `write` for each intact event, and completes the report.
    fn place(
        &mut self,
        write: &mut dyn FnMut(Output<'_>) -> Result<(), SalvageError>,
        progress: &mut dyn FnMut(SalvageProgress),
    ) -> Result<(), SalvageError> {
        let Self { evidence, woven, placement, report } = self;
        let (mut placer, mut erased) = (Placer::new(report), Vec::new());
        woven.each(&evidence.files, &mut |_, seq, slot| {
            let record = match slot {
                Slot::Event(record) => record,
                Slot::Erased(_) => {
                    erased.push(seq);
                    return Ok(());
                }
            };
            let decoded = decode_event(seq, record);
            let reason = match &decoded {
                Ok(event) => placement.refusal(event),
                Err(_) => Some(UnplacedReason::Unreadable),
            };
            if let Some(reason) = reason {
                placer.leave_out(seq, reason);
                let event = decoded.as_ref().ok();
                return write(Output::Unplaced(UnplacedEvent { seq, event, record, reason }));
            }
            let placed = decoded.and_then(|event| placer.place(event, record));
            let (new_seq, record) = placed.map_err(|source| ImportError::Record { seq, source })?;
            if new_seq.is_multiple_of(PROGRESS_EVENTS) {
                progress(SalvageProgress::Writing { events: new_seq });
            }
            write(Output::Placed(new_seq, record))
        })?;
        report.add_erased(&erased);
        Ok(())
    }

    /// Steps 4 and 5.
    fn write(
        &mut self,
        dir: &LedgerDir,
        to: &Path,
        logs: bool,
        options: &Options,
        form: &mut dyn SalvageForm,
        progress: &mut dyn FnMut(SalvageProgress),
    ) -> Result<(), SalvageError> {
        if self.woven.stretches.is_empty() {
            return Err(SalvageError::Nothing);
        }
        check_disk(self.placement.record_bytes, to)?;
        let id = Uuid::new_v4();
        let mut importer = Importer::create(to, id, options)?;
        let at = importer.dir().at().to_owned();
        let mut unplaced = UnplacedFile {
            path: at.join(UNPLACED_FILE),
            out: None,
            source: (self.report.source, self.report.last_seq),
        };
        let write = &mut |output: Output<'_>| match output {
            Output::Placed(seq, record) => Ok(importer.push(seq, record)?),
            Output::Unplaced(event) => Ok(unplaced.add(form, event)?),
        };
        self.place(write, progress)?;
        unplaced.finish()?;
        self.report.ledger = Some((id, importer.head()?));
        progress(SalvageProgress::Completing);
        for name in [Some(LAUNCH_DIR), logs.then_some(LOGS_DIR)].into_iter().flatten() {
            copy_below(dir.at(), &at, name, &mut self.report.unused)?;
        }
        self.report.unused.iter_mut().for_each(|unused| unused.path = dir.shown(&unused.path));
        let mut out = BufWriter::new(file::create(&at.join(REPORT_FILE))?);
        form.report(&mut out, &self.report)?;
        sync(out)?;
        Ok(importer.complete()?)
    }
}

/// The file of the events that the new ledger cannot have. It is created with the first of them.
struct UnplacedFile {
    path: PathBuf,
    out: Option<BufWriter<File>>,
    source: (Option<Uuid>, u64),
}

impl UnplacedFile {
    fn add(&mut self, form: &mut dyn SalvageForm, event: UnplacedEvent<'_>) -> io::Result<()> {
        let out = match &mut self.out {
            Some(out) => out,
            None => {
                let out = self.out.insert(BufWriter::new(file::create(&self.path)?));
                form.begin_unplaced(out, self.source.0, self.source.1)?;
                out
            }
        };
        form.unplaced(out, event)
    }

    fn finish(self) -> io::Result<()> {
        self.out.map_or(Ok(()), sync)
    }
}

fn sync(out: BufWriter<File>) -> io::Result<()> {
    out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
}

/// Refuses the salvage when the file system of `to` has no room for the new ledger.
fn check_disk(record_bytes: u64, to: &Path) -> Result<(), SalvageError> {
    let journal_bytes = record_bytes.saturating_mul(JOURNAL_SHARE);
    let needed_bytes = journal_bytes.saturating_add(2 * SEGMENT_BYTES + DISK_FREE_BYTES_MIN);
    let absolute = std::path::absolute(to)?;
    match absolute.ancestors().find(|path| path.exists()).and_then(free_bytes) {
        Some(free_bytes) if free_bytes < needed_bytes => Err(SalvageError::DiskLow { free_bytes, needed_bytes }),
        _ => Ok(()),
    }
}
