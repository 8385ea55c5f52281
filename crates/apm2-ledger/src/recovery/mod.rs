//! Recovery: checks and repairs a ledger when it is opened. `docs/recovery.md` has a table of the cases.
//!
//! If the journal and the store differ, the journal is right, and the store is updated or rebuilt from it. Acknowledged
//! events are never changed. Repairs are recorded as new events.

pub(crate) mod extent;
pub(crate) mod unrecorded_findings;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use apm2_model::{
    causes::causes,
    clock::SystemClock,
    event::{kind::EventKind, timestamp::Clock as _},
    state::stream::Stream,
};
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use uuid::Uuid;

use crate::{
    append::archived_files::remove_archived,
    chain::Chain,
    dir::{self, BACKUP_FILE, LedgerDir},
    error::{Damage, OpenError, ReadError},
    file::sync_dir,
    journal::{
        JOURNAL_DIR,
        base::Base,
        reader::JournalReader,
        segment_file::all_segment_files,
        unsynced::{CutTail, UnsyncedJournal},
        writer::JournalWriter,
    },
    limits::{FLUSH_FRAMES, SET_ASIDE_MAX},
    lock::Lock,
    options::Options,
    read::{reader::Reader, replay::Origin, sealed_states::base_streams},
    record::decode_event,
    store::{
        STORE_DIR, clean_shutdown,
        error::StoreError,
        files::{is_linked_copy, sync_files},
        head::StoreHead,
        index::EventKeys,
        indexed_frame_builder::IndexedFrameBuilder,
        sled_store::Store,
    },
    verify::compare::{check, diverging},
};

/// The name prefix of a store that was unusable and was renamed. The last [`SET_ASIDE_MAX`] of them are kept; older
/// ones are removed, since the journal holds all their events.
pub(crate) const SET_ASIDE: &str = "sled.set-aside.";

/// The name prefix of a store that belongs to another ledger and was renamed. Such a store is never removed, since it
/// may be the only copy of that ledger's store.
pub(crate) const OTHER_LEDGER: &str = "sled.of-another.";

/// The name of a store while it is rebuilt on request. After it was exchanged with the store, the old store has this name
/// until it is removed.
pub(crate) const REBUILT: &str = "sled.rebuilt";

/// A ledger after recovery, ready to be used.
pub(crate) struct Recovered {
    pub(crate) lock: Arc<Lock>,
    pub(crate) journal: JournalWriter,
    /// `None` if the store could neither be opened nor rebuilt. The ledger then works without a store, and readers read
    /// the journal.
    pub(crate) store: Option<Store>,
    /// The findings of the recovery, to be appended as events.
    pub(crate) findings: Vec<EventKind>,
}

/// The id and the size that a ledger must have when it is opened again after this process had it open before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExpectedLedger {
    /// The id of the ledger.
    pub id: Uuid,
    /// The number of events that were acknowledged.
    pub size: u64,
}

/// The reason why the existing store cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unusable {
    /// The store is damaged or cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store is missing, or does not match the journal.
    #[error("{0}")]
    Mismatch(String),
    /// The store has events that are in archives now. It is replaced, and needs no finding.
    #[error("it has events that are in archives")]
    ArchivedEvents,
    /// The store belongs to another ledger.
    #[error("it belongs to another ledger")]
    OtherLedger,
    /// The journal is damaged or cannot be read. The store must not be renamed or rebuilt, and the ledger is not
    /// opened.
    #[error(transparent)]
    Journal(OpenError),
}

impl From<ReadError> for Unusable {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Damaged(damage) => Self::Journal(damage.into()),
            ReadError::Io { path, source } => Self::Journal(OpenError::Io { path, source }),
            ReadError::Store(error) => Self::Store(error),
            other => Self::Mismatch(causes(&other)),
        }
    }
}

impl From<io::Error> for Unusable {
    fn from(error: io::Error) -> Self {
        Self::Store(error.into())
    }
}

/// Locks and recovers the ledger in `dir`. Creates a ledger if there is none.
///
/// No file of the ledger is repaired until the checks have shown that no acknowledged event is missing.
pub(crate) fn recover(dir: &Path, options: &Options) -> Result<Recovered, OpenError> {
    dir::prepare(dir, true)?;
    recover_locked(Arc::new(Lock::take(dir, options.lock_wait)?), None, options)
}

/// Recovers the ledger in the directory that `lock` locks. With `expected`, no ledger is created, and the ledger must
/// have that id and at least that number of events.
pub(crate) fn recover_locked(
    lock: Arc<Lock>,
    expected: Option<ExpectedLedger>,
    options: &Options,
) -> Result<Recovered, OpenError> {
    let locked = Arc::clone(lock.dir());
    recover_in_dir(lock, expected, options).map_err(|error| locked.as_named(error))
}

/// Does the work of [`recover_locked`]. The paths in its errors are those of [`LedgerDir::at`].
fn recover_in_dir(
    lock: Arc<Lock>,
    expected: Option<ExpectedLedger>,
    options: &Options,
) -> Result<Recovered, OpenError> {
    let dir = Arc::clone(lock.dir());
    let RecoveredJournal { journal, opened, clean_mark, mut findings } = recover_journal(&lock, expected, options)?;
    let opened = match opened {
        Err(Unusable::ArchivedEvents) => replace_store(&lock, &journal).map(|store| (store, None)),
        opened => opened.map(|store| (store, clean_mark)),
    };
    let store = match opened.and_then(|(store, clean_mark)| check_and_update(store, &dir, &journal, clean_mark)) {
        Ok(store) => Some(store),
        Err(Unusable::Journal(error)) => return Err(error),
        Err(cause) => rebuild_store(&lock, &journal, &cause, &mut findings)?,
    };
    Ok(Recovered { lock, journal, store, findings })
}

/// A journal after recovery, and the store as it was found.
pub(crate) struct RecoveredJournal {
    pub(crate) journal: JournalWriter,
    /// The store, which was not checked, or the reason why it cannot be opened.
    pub(crate) opened: Result<Store, Unusable>,
    clean_mark: CleanMark,
    /// The findings, which are in the file `pending`, too, until an opening has appended them.
    findings: Vec<EventKind>,
}

/// Recovers the journal. The paths in its errors are those of [`LedgerDir::at`].
///
/// # Errors
/// When the journal is damaged or lacks events, or differs from the store although both are undamaged.
pub(crate) fn recover_journal(
    lock: &Arc<Lock>,
    expected: Option<ExpectedLedger>,
    options: &Options,
) -> Result<RecoveredJournal, OpenError> {
    let opened_dir = Arc::clone(lock.dir());
    let dir = opened_dir.at();
    let journal_dir = dir.join(JOURNAL_DIR);
    if dir.join(BACKUP_FILE).exists() {
        return Err(OpenError::Backup { path: opened_dir.named().to_owned() });
    }
    let found = match expected {
        Some(expected) => find_expected_journal(expected, &opened_dir, &journal_dir, options)?,
        None => find_or_create_journal(&opened_dir, &journal_dir, options)?,
    };
    // The marks are read before the clean-shutdown mark is removed. They show whether the journal was replaced by an
    // older backup, which is undamaged but too short.
    let extent = extent::read(dir).filter(|extent| extent.ledger == found.ledger());
    let known_size = clean_shutdown::size_at_close(dir).max(extent.map(|extent| extent.size));
    if let Some(known_size) = known_size.filter(|known_size| *known_size > found.last_seq()) {
        return Err(OpenError::JournalShort { journal: found.last_seq(), store: known_size });
    }
    remove_dir(&dir.join(REBUILT)).map_err(OpenError::io(dir))?;
    if let Some(base) = found.base() {
        remove_archived(&opened_dir, base).map_err(OpenError::io(&journal_dir))?;
    }
    let (clean_mark, opened) = open_store(dir, lock, &found)?;
    let mut findings = unrecorded_findings::load(dir);
    findings.extend(found.torn().map(|CutTail { segment, offset }| EventKind::TailCut { segment, offset }));
    unrecorded_findings::write(dir, &findings).map_err(OpenError::io(dir))?;
    let found = found.unshared().map_err(OpenError::io(&journal_dir))?;
    // The process that wrote the clean-shutdown mark had acknowledged every commit, so the last commit is durable, too.
    // Without the mark the last commit may be only in the page cache, and is written and synced again.
    let is_durable = !found.ends_sealed() && clean_mark.as_ref().is_some_and(|(size, _)| *size == found.last_seq());
    let journal = if is_durable {
        found.assume_durable()
    } else {
        dir::sync_name(dir).and_then(|()| found.make_durable()).map_err(OpenError::io(&journal_dir))?
    };
    Ok(RecoveredJournal { journal, opened, clean_mark, findings })
}

/// Finds the journal of a ledger that this process had open before. Returns an error if the journal is missing, belongs
/// to another ledger or lacks acknowledged events. Creates nothing.
fn find_expected_journal(
    expected: ExpectedLedger,
    dir: &Arc<LedgerDir>,
    journal_dir: &Path,
    options: &Options,
) -> Result<UnsyncedJournal, OpenError> {
    let is_gone = match all_segment_files(journal_dir) {
        Ok(segments) => segments.is_empty(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => true,
        Err(error) => return Err(OpenError::io(journal_dir)(error)),
    };
    if is_gone {
        return Err(OpenError::JournalGone { path: dir.named().to_owned(), size: expected.size });
    }
    let found = UnsyncedJournal::find(dir, options.segment_bytes, options.backend.clone())?;
    if found.ledger() != expected.id {
        return Err(OpenError::OtherLedger {
            path: dir.named().to_owned(),
            expected: expected.id,
            found: found.ledger(),
        });
    }
    if found.last_seq() < expected.size {
        return Err(OpenError::JournalShort { journal: found.last_seq(), store: expected.size });
    }
    Ok(found)
}

/// Finds the journal in `journal_dir`. Creates a journal if there is none, unless other files of a ledger show that it
/// was lost.
fn find_or_create_journal(
    dir: &Arc<LedgerDir>,
    journal_dir: &Path,
    options: &Options,
) -> Result<UnsyncedJournal, OpenError> {
    dir::make_private(journal_dir).map_err(OpenError::io(journal_dir))?;
    let is_empty = all_segment_files(journal_dir).map_err(OpenError::io(journal_dir))?.is_empty();
    if !is_empty {
        return UnsyncedJournal::find(dir, options.segment_bytes, options.backend.clone());
    }
    // The other files of a ledger are created after its first segment. If they exist without a segment, the journal was
    // lost.
    if let lost @ OpenError::Damaged(_) = dir::without_journal(dir) {
        return Err(lost);
    }
    JournalWriter::create(dir, Uuid::new_v4(), options.segment_bytes, options.backend.clone())
        .and_then(|journal| dir::sync_names(dir.at()).map(|()| UnsyncedJournal::made(journal)))
        .map_err(OpenError::io(journal_dir))
}

/// The size and the chain in a valid clean-shutdown mark, see [`clean_shutdown`].
type CleanMark = Option<(u64, String)>;

/// Reads and removes the clean-shutdown mark, and opens the store. Returns the mark, and the store or the reason why it
/// cannot be used.
///
/// # Errors
/// When the store holds events that the journal lacks, or differs from the journal although both are undamaged.
fn open_store(
    dir: &Path,
    lock: &Arc<Lock>,
    found: &UnsyncedJournal,
) -> Result<(CleanMark, Result<Store, Unusable>), OpenError> {
    let path = dir.join(STORE_DIR);
    let clean_mark = clean_shutdown::valid_mark(dir, &path);
    let opened = (|| {
        if !path.is_dir() {
            return Err(Unusable::Mismatch("it is missing".to_owned()));
        }
        if fs::read_dir(&path)?.next().is_none() {
            return Err(Unusable::Mismatch("it is empty".to_owned()));
        }
        clean_shutdown::remove(dir)?;
        if is_linked_copy(dir)? {
            return Err(Unusable::Mismatch("its files are hard links to the store of the original ledger".to_owned()));
        }
        let store = Store::open(&path, lock)?;
        let head = store.head()?;
        Ok((store, head))
    })();
    match opened {
        Ok((_, Some(head))) if head.ledger == found.ledger() && head.seq > found.last_seq() => {
            Err(OpenError::JournalShort { journal: found.last_seq(), store: head.seq })
        }
        Ok((store, Some(head)))
            if head.ledger == found.ledger()
                && store.base().ok() != Some(found.base().map(|base| (base.seq(), base.chain()))) =>
        {
            drop(store.close());
            Ok((None, Err(Unusable::ArchivedEvents)))
        }
        Ok((store, Some(head))) if head.ledger == found.ledger() => {
            match diverging(&store, head, lock.dir(), found.head()) {
                Some(seq) => Err(OpenError::Diverged { seq }),
                None => Ok((clean_mark, Ok(store))),
            }
        }
        Ok((store, _)) => Ok((clean_mark, Ok(store))),
        Err(unusable) => Ok((clean_mark, Err(unusable))),
    }
}

/// Checks the store, and adds the events of the journal that the store lacks. Skips the check of the content if the
/// clean-shutdown mark matches the head of the store.
fn check_and_update(
    store: Store,
    dir: &Arc<LedgerDir>,
    journal: &JournalWriter,
    clean_mark: CleanMark,
) -> Result<Store, Unusable> {
    let head = match store.head()? {
        Some(head) => head,
        None if journal.next_seq() == 1 => return Ok(store),
        None => return Err(Unusable::Mismatch("it holds nothing".to_owned())),
    };
    if head.ledger != journal.ledger() {
        return Err(Unusable::OtherLedger);
    }
    head.check_version()?;
    if clean_mark != Some((head.seq, head.chain.to_string())) {
        check(&store, head)?;
    }
    add_missing_events(&store, dir, journal, head, &mut |_| {})?;
    Ok(store)
}

/// Adds the events of the journal after `head`, the last event of the store, to the store. Returns an error if the hash
/// chains of the store and of the journal differ at `head`.
fn add_missing_events(
    store: &Store,
    dir: &Arc<LedgerDir>,
    journal: &JournalWriter,
    head: StoreHead,
    progress: &mut dyn FnMut(u64),
) -> Result<(), Unusable> {
    if head.seq + 1 == journal.next_seq() {
        if head.chain != journal.chain() {
            return Err(Unusable::Mismatch(format!("its chain differs from the journal's at event {}", head.seq)));
        }
        return Ok(());
    }
    let mut reader = JournalReader::starting_at(dir, head.seq + 1)?;
    let mut frame_builder = IndexedFrameBuilder::new(head.seq + 1, head.chain)?;
    let mut unflushed = 0;
    while let Some(batch) = reader.next_batch()? {
        let mut chain = batch.chain_before();
        for (seq, event_bytes) in batch.iter() {
            if seq < frame_builder.next_seq() {
                chain = chain.link(seq, event_bytes);
                continue;
            }
            // The journal and the store must have the same chain before the first event that is added: then they have
            // the same earlier events.
            if chain != frame_builder.chain() {
                return Err(Unusable::Mismatch(format!("its chain differs from the journal's at event {}", seq - 1)));
            }
            let event = decode_event(seq, event_bytes)
                .map_err(|error| StoreError::Inconsistent(format!("event {seq}: {error}")))?;
            if let Some(frame) = frame_builder.push(event_bytes, &EventKeys::from(&event))? {
                store.add(head.ledger, &frame)?;
                unflushed += 1;
            }
            chain = frame_builder.chain();
            if unflushed >= FLUSH_FRAMES {
                unflushed = 0;
                progress(seq);
                store.flush()?;
            }
        }
    }
    if let Some(frame) = frame_builder.finish()? {
        store.add(head.ledger, &frame)?;
    }
    if frame_builder.next_seq() != journal.next_seq() || frame_builder.chain() != journal.chain() {
        let what = "the events do not match the hash chain that the journal states";
        let seq = frame_builder.next_seq() - 1;
        let damage = Damage { first_seq: head.seq + 1, last_seq: seq, segment: 0, offset: 0, what: what.to_owned() };
        return Err(Unusable::Journal(damage.into()));
    }
    Ok(store.flush()?)
}

/// Builds a store from the journal in the locked directory, which has no store.
pub(crate) fn new_store(lock: &Arc<Lock>, journal: &JournalWriter) -> Result<Store, Unusable> {
    new_store_in(&lock.dir().at().join(STORE_DIR), lock, journal, &mut |_| {})
}

/// Builds a store from the journal in the directory `path`, which must not exist. Calls `progress` at intervals with the number
/// of events that were added.
pub(crate) fn new_store_in(
    path: &Path,
    lock: &Arc<Lock>,
    journal: &JournalWriter,
    progress: &mut dyn FnMut(u64),
) -> Result<Store, Unusable> {
    let ledger = journal.ledger();
    let base = journal.base().map(|base| (base.seq(), base.chain()));
    let store = Store::create(path, lock, ledger, base)?;
    if let Some(base) = journal.base() {
        let states = kept_states(lock.dir(), base)?;
        store.write_snapshot(base.seq(), &states)?;
    }
    let (seq, chain) = base.unwrap_or_else(|| (0, Chain::genesis(ledger)));
    add_missing_events(&store, lock.dir(), journal, StoreHead::new(ledger, seq, chain), progress)?;
    Ok(store)
}

/// The states of the streams in the base. They are replayed from the archives when this version of the program cannot decode them.
fn kept_states(dir: &Arc<LedgerDir>, base: &Base) -> Result<Vec<Arc<Stream>>, Unusable> {
    let states = match base_streams(base) {
        Some(states) => states,
        None => {
            let replayed = Reader::of_segments(Arc::clone(dir)).replay(base.seq(), Origin::Genesis)?;
            let is_kept = |stream: &Stream| base.state(stream.id).map_or(true, |state| state.is_some());
            replayed.streams.into_values().filter(is_kept).collect()
        }
    };
    Ok(states.into_iter().map(Arc::new).collect())
}

/// Builds a new store, and exchanges it with the store that has events that are in archives now.
fn replace_store(lock: &Arc<Lock>, journal: &JournalWriter) -> Result<Store, Unusable> {
    let dir = lock.dir().at();
    let (path, rebuilt) = (dir.join(STORE_DIR), dir.join(REBUILT));
    new_store_in(&rebuilt, lock, journal, &mut |_| {})?.close()?;
    sync_files(&rebuilt)?;
    exchange(&rebuilt, &path)?;
    sync_dir(dir)?;
    if let Err(error) = remove_dir(&rebuilt) {
        tracing::warn!(%error, "the old store could not be removed; the next opening of the ledger removes it");
    }
    Ok(Store::open(&path, lock)?)
}

/// Exchanges the directories, or renames the first one where the second does not exist.
pub(crate) fn exchange(rebuilt: &Path, path: &Path) -> io::Result<()> {
    if path.exists() {
        Ok(renameat2(AT_FDCWD, rebuilt, AT_FDCWD, path, RenameFlags::RENAME_EXCHANGE)?)
    } else {
        fs::rename(rebuilt, path)
    }
}

/// Renames the unusable store, if there is one, and builds a new store from the journal. Returns `None` if that fails,
/// too; the ledger then works without a store.
fn rebuild_store(
    lock: &Arc<Lock>,
    journal: &JournalWriter,
    cause: &Unusable,
    findings: &mut Vec<EventKind>,
) -> Result<Option<Store>, OpenError> {
    let dir = lock.dir().at();
    let path = dir.join(STORE_DIR);
    let prefix = if matches!(cause, Unusable::OtherLedger) { OTHER_LEDGER } else { SET_ASIDE };
    let cause = lock.dir().shown_text(&cause.to_string());
    let earlier = findings.len();
    let rebuilt = (|| {
        let name = set_aside_name(&path, prefix)?;
        if journal.next_seq() > 1 {
            tracing::warn!(%cause, "the store is rebuilt from the journal");
            findings.push(EventKind::StoreRebuilt { cause: cause.clone(), set_aside: name.clone() });
            unrecorded_findings::write(dir, findings)?;
        }
        set_aside(dir, &path, name.as_deref())?;
        new_store(lock, journal)
    })();
    match rebuilt {
        Ok(store) => Ok(Some(store)),
        Err(Unusable::Journal(error)) => Err(error),
        Err(error) => {
            tracing::warn!(%cause, %error, "the store could not be rebuilt; the journal is read instead");
            // The findings stay in the file `pending` until an opening succeeds. That opening has a finding of its own
            // about the store, so the one of this opening is kept only if it names a store that was renamed.
            if !findings.last().is_some_and(|finding| names_renamed_store(dir, finding)) {
                findings.truncate(earlier);
                if let Err(error) = unrecorded_findings::rewrite(dir, findings) {
                    tracing::warn!(%error, "the next opening may record a rebuild of the store that failed");
                }
            }
            findings.clear();
            Ok(None)
        }
    }
}

/// Whether `finding` names an unusable store that was renamed.
fn names_renamed_store(dir: &Path, finding: &EventKind) -> bool {
    matches!(finding, EventKind::StoreRebuilt { set_aside: Some(name), .. } if dir.join(name).exists())
}

/// The new name for the unusable store at `path`; `None` if the store is missing or empty.
fn set_aside_name(path: &Path, prefix: &str) -> io::Result<Option<String>> {
    let is_absent = !path.exists() || (path.is_dir() && fs::read_dir(path)?.next().is_none());
    Ok((!is_absent).then(|| format!("{prefix}{:020}", SystemClock.now().wall_ns.max(0))))
}

/// Renames the store at `path` to `name`, after it has removed the oldest of the stores that were renamed before.
fn set_aside(dir: &Path, path: &Path, name: Option<&str>) -> io::Result<()> {
    let Some(name) = name else {
        // Without a name the store is missing or an empty directory, which is removed.
        return fs::remove_dir(path).or_else(ignore_missing);
    };
    let mut older: Vec<PathBuf> = fs::read_dir(dir)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(SET_ASIDE.as_bytes())))
        .collect();
    older.sort();
    for path in older.iter().rev().skip(SET_ASIDE_MAX - 1) {
        fs::remove_dir_all(path)?;
    }
    fs::rename(path, dir.join(name))
}

/// Removes the directory `path`, if it exists.
fn remove_dir(path: &Path) -> io::Result<()> {
    fs::remove_dir_all(path).or_else(ignore_missing)
}

/// Converts the error for a missing file or directory to success.
pub(crate) fn ignore_missing(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}
