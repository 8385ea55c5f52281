//! What is done when a ledger is opened, case by case. The table is in `docs/recovery.md`.
//!
//! The journal decides; the store follows. Nothing is edited that was acknowledged: what was found is appended.

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
};
use uuid::Uuid;

use crate::{
    chain::Chain,
    dir::{self, LedgerDir},
    error::{Damage, OpenError, ReadError},
    journal::{
        JOURNAL_DIR,
        reader::JournalReader,
        segments,
        unsynced::{CutTail, UnsyncedJournal},
        writer::JournalWriter,
    },
    limits::{FLUSH_FRAMES, SET_ASIDE_MAX},
    lock::Lock,
    options::Options,
    record::decode_event,
    store::files::is_linked_copy,
    store::{
        STORE_DIR, clean_shutdown, error::StoreError, head::StoreHead, index::EventKeys,
        indexed_frame_builder::IndexedFrameBuilder, sled_store::Store,
    },
    verify::compare::{check, diverging},
};

/// Names of stores that were set aside. Of those that could not be used the last few are kept; what they held is in the
/// journal. A store of another ledger is whole, and may be the only one of it: it is never removed.
const SET_ASIDE: &str = "sled.set-aside.";

const OTHER_LEDGER: &str = "sled.of-another.";

/// A ledger that is in order.
pub(crate) struct Recovered {
    pub(crate) lock: Arc<Lock>,
    pub(crate) journal: JournalWriter,
    /// `None` when it could neither be opened nor built: the ledger works without, and reads its journal.
    pub(crate) store: Option<Store>,
    /// What is to be recorded of the opening.
    pub(crate) findings: Vec<EventKind>,
}

/// What is known of a ledger that was open and is opened again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExpectedLedger {
    /// The id of the ledger.
    pub id: Uuid,
    /// The last event that was acknowledged.
    pub size: u64,
}

/// Why a store is not used as it is.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unusable {
    /// It is what is wrong.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It does not fit the journal.
    #[error("{0}")]
    Misfit(String),
    /// It is not this ledger's.
    #[error("it belongs to another ledger")]
    OtherLedger,
    /// The journal is what is wrong, or the store has what the journal lost: nothing may be set aside.
    #[error(transparent)]
    Journal(OpenError),
}

impl From<ReadError> for Unusable {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Damaged(damage) => Self::Journal(damage.into()),
            ReadError::Io { path, source } => Self::Journal(OpenError::Io { path, source }),
            ReadError::Store(error) => Self::Store(error),
            other => Self::Misfit(causes(&other)),
        }
    }
}

impl From<io::Error> for Unusable {
    fn from(error: io::Error) -> Self {
        Self::Store(error.into())
    }
}

/// Puts the ledger in `dir` in order, and makes it where there is none.
///
/// Nothing is changed before it is clear that nothing acknowledged is missing.
pub(crate) fn recover(dir: &Path, options: &Options) -> Result<Recovered, OpenError> {
    dir::prepare(dir, true)?;
    recover_locked(Arc::new(Lock::take(dir, options.lock_wait)?), None, options)
}

/// The same, for one that has the lock already. A ledger that is `known` is not made, and must hold what it held.
pub(crate) fn recover_locked(
    lock: Arc<Lock>,
    known: Option<ExpectedLedger>,
    options: &Options,
) -> Result<Recovered, OpenError> {
    let locked = Arc::clone(lock.dir());
    recover_below(lock, known, options).map_err(|error| locked.as_named(error))
}

fn recover_below(lock: Arc<Lock>, known: Option<ExpectedLedger>, options: &Options) -> Result<Recovered, OpenError> {
    let opened_dir = Arc::clone(lock.dir());
    let dir = opened_dir.at();
    let journal_dir = dir.join(JOURNAL_DIR);
    let found = match known {
        Some(known) => find_known(known, &opened_dir, &journal_dir, options)?,
        None => find_journal(&opened_dir, &journal_dir, options)?,
    };
    // Before the mark of the close is removed: a journal of another ledger in the place of this one can be whole and too short.
    let extent = extent::read(dir).filter(|extent| extent.ledger == found.ledger());
    let known_size = clean_shutdown::size_at_close(dir).max(extent.map(|extent| extent.size));
    if let Some(known_size) = known_size.filter(|known_size| *known_size > found.last_seq()) {
        return Err(OpenError::JournalShort { journal: found.last_seq(), store: known_size });
    }
    let (marked, opened) = open_store(dir, &lock, &found)?;
    let mut findings = unrecorded_findings::load(dir);
    findings.extend(found.torn().map(|CutTail { segment, offset }| EventKind::TailCut { segment, offset }));
    unrecorded_findings::write(dir, &findings).map_err(OpenError::io(dir))?;
    let found = found.unshared().map_err(OpenError::io(&journal_dir))?;
    // The process that wrote the mark of a clean close has acknowledged every commit, the last one included.
    let is_durable = marked.as_ref().is_some_and(|(size, _)| *size == found.last_seq());
    let journal = if is_durable {
        found.assume_durable()
    } else {
        dir::sync_name(dir).and_then(|()| found.make_durable()).map_err(OpenError::io(&journal_dir))?
    };
    let store = match opened.and_then(|store| follow(store, &opened_dir, &journal, marked)) {
        Ok(store) => Some(store),
        Err(Unusable::Journal(error)) => return Err(error),
        Err(cause) => rebuild_store(&lock, &journal, &cause, &mut findings)?,
    };
    Ok(Recovered { lock, journal, store, findings })
}

/// Finds the journal of a ledger that was open. Nothing is made where there is none.
fn find_known(
    known: ExpectedLedger,
    dir: &Arc<LedgerDir>,
    journal_dir: &Path,
    options: &Options,
) -> Result<UnsyncedJournal, OpenError> {
    let is_gone = match segments(journal_dir) {
        Ok(segments) => segments.is_empty(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => true,
        Err(error) => return Err(OpenError::io(journal_dir)(error)),
    };
    if is_gone {
        return Err(OpenError::JournalGone { path: dir.named().to_owned(), size: known.size });
    }
    let found = UnsyncedJournal::find(dir, options.segment_bytes, options.backend.clone())?;
    if found.ledger() != known.id {
        return Err(OpenError::OtherLedger { path: dir.named().to_owned(), expected: known.id, found: found.ledger() });
    }
    if found.last_seq() < known.size {
        return Err(OpenError::JournalShort { journal: found.last_seq(), store: known.size });
    }
    Ok(found)
}

fn find_journal(dir: &Arc<LedgerDir>, journal_dir: &Path, options: &Options) -> Result<UnsyncedJournal, OpenError> {
    dir::make_private(journal_dir).map_err(OpenError::io(journal_dir))?;
    let is_empty = segments(journal_dir).map_err(OpenError::io(journal_dir))?.is_empty();
    if !is_empty {
        return UnsyncedJournal::find(dir, options.segment_bytes, options.backend.clone());
    }
    // What is left of a ledger is made only after its first segment: without one the journal was lost.
    if let lost @ OpenError::Damaged(_) = dir::without_journal(dir) {
        return Err(lost);
    }
    JournalWriter::create(dir, Uuid::new_v4(), options.segment_bytes, options.backend.clone())
        .and_then(|journal| dir::sync_names(dir.at()).map(|()| UnsyncedJournal::made(journal)))
        .map_err(OpenError::io(journal_dir))
}

/// What the mark of a clean close says: the size and the chain.
type Marked = Option<(u64, String)>;

/// Opens the store, if it can be opened, and takes the mark off it. Refuses when it has what the journal lost.
fn open_store(
    dir: &Path,
    lock: &Arc<Lock>,
    found: &UnsyncedJournal,
) -> Result<(Marked, Result<Store, Unusable>), OpenError> {
    let path = dir.join(STORE_DIR);
    let marked = clean_shutdown::valid_mark(dir, &path);
    let opened = (|| {
        if !path.is_dir() {
            return Err(Unusable::Misfit("it is missing".to_owned()));
        }
        if fs::read_dir(&path)?.next().is_none() {
            return Err(Unusable::Misfit("it is empty".to_owned()));
        }
        clean_shutdown::remove(dir)?;
        if is_linked_copy(dir)? {
            return Err(Unusable::Misfit(
                "its files are those of the ledger that this is a copy of (hard links)".to_owned(),
            ));
        }
        let store = Store::open(&path, lock)?;
        let head = store.head()?;
        Ok((store, head))
    })();
    match opened {
        Ok((_, Some(head))) if head.ledger == found.ledger() && head.seq > found.last_seq() => {
            Err(OpenError::JournalShort { journal: found.last_seq(), store: head.seq })
        }
        Ok((store, Some(head))) if head.ledger == found.ledger() => {
            match diverging(&store, head, lock.dir(), found.head()) {
                Some(seq) => Err(OpenError::Diverged { seq }),
                None => Ok((marked, Ok(store))),
            }
        }
        Ok((store, _)) => Ok((marked, Ok(store))),
        Err(unusable) => Ok((marked, Err(unusable))),
    }
}

/// Brings the store up to the journal, once it is clear that it can be.
fn follow(store: Store, dir: &Arc<LedgerDir>, journal: &JournalWriter, marked: Marked) -> Result<Store, Unusable> {
    let head = match store.head()? {
        Some(head) => head,
        None if journal.next_seq() == 1 => return Ok(store),
        None => return Err(Unusable::Misfit("it holds nothing".to_owned())),
    };
    if head.ledger != journal.ledger() {
        return Err(Unusable::OtherLedger);
    }
    if marked != Some((head.seq, head.chain.to_string())) {
        check(&store, head)?;
    }
    catch_up(&store, dir, journal, head)?;
    Ok(store)
}

/// Feeds the store with what the journal has after `head`.
fn catch_up(store: &Store, dir: &Arc<LedgerDir>, journal: &JournalWriter, head: StoreHead) -> Result<(), Unusable> {
    if head.seq + 1 == journal.next_seq() {
        if head.chain != journal.chain() {
            return Err(Unusable::Misfit(format!("its chain differs from the journal's at event {}", head.seq)));
        }
        return Ok(());
    }
    let mut reader = JournalReader::starting_at(dir, head.seq + 1)?;
    let mut frame_builder = IndexedFrameBuilder::new(head.seq + 1, head.chain);
    let mut unflushed = 0;
    while let Some(commit) = reader.next_commit()? {
        let header = *commit.frame.header();
        let mut chain = header.chain_before;
        for (seq, event_bytes) in commit.frame.iter(&commit.bytes) {
            if seq < frame_builder.next_seq() {
                chain = chain.link(seq, event_bytes);
                continue;
            }
            // Where the two meet, they must agree on everything before.
            if chain != frame_builder.chain() {
                return Err(Unusable::Misfit(format!("its chain differs from the journal's at event {}", seq - 1)));
            }
            let event = decode_event(seq, event_bytes)
                .map_err(|error| StoreError::Inconsistent(format!("event {seq}: {error}")))?;
            if let Some(frame) = frame_builder.push(event_bytes, &EventKeys::from(&event)) {
                store.add(head.ledger, &frame)?;
                unflushed += 1;
            }
            chain = frame_builder.chain();
            if unflushed >= FLUSH_FRAMES {
                unflushed = 0;
                store.flush()?;
            }
        }
    }
    if let Some(frame) = frame_builder.finish() {
        store.add(head.ledger, &frame)?;
    }
    if frame_builder.next_seq() != journal.next_seq() || frame_builder.chain() != journal.chain() {
        let what = "the events do not give the chain that the journal states";
        let seq = frame_builder.next_seq() - 1;
        let damage = Damage { first_seq: head.seq + 1, last_seq: seq, segment: 0, offset: 0, what: what.to_owned() };
        return Err(Unusable::Journal(damage.into()));
    }
    Ok(store.flush()?)
}

/// Sets the store aside, if there is one, and builds another from the journal. Where that cannot be done either, the
/// ledger works without.
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
    let rebuilt = (|| {
        let name = set_aside_name(&path, prefix)?;
        if journal.next_seq() > 1 {
            tracing::warn!(%cause, "the store is rebuilt from the journal");
            findings.push(EventKind::StoreRebuilt { cause: cause.clone(), set_aside: name.clone() });
            unrecorded_findings::write(dir, findings)?;
        }
        set_aside(dir, &path, name.as_deref())?;
        let store = Store::create(&path, lock)?;
        let ledger = journal.ledger();
        catch_up(&store, lock.dir(), journal, StoreHead { ledger, seq: 0, chain: Chain::genesis(ledger) })?;
        Ok(store)
    })();
    match rebuilt {
        Ok(store) => Ok(Some(store)),
        Err(Unusable::Journal(error)) => Err(error),
        Err(error) => {
            tracing::warn!(%cause, %error, "no store; the journal is read instead");
            // Nothing was rebuilt, so nothing of it is recorded yet: it is pending until an opening succeeds.
            findings.clear();
            Ok(None)
        }
    }
}

/// The name that the store is set aside under; none where there is nothing to keep.
fn set_aside_name(path: &Path, prefix: &str) -> io::Result<Option<String>> {
    let is_absent = !path.exists() || (path.is_dir() && fs::read_dir(path)?.next().is_none());
    Ok((!is_absent).then(|| format!("{prefix}{:020}", SystemClock.now().wall_ns.max(0))))
}

fn set_aside(dir: &Path, path: &Path, name: Option<&str>) -> io::Result<()> {
    let Some(name) = name else {
        // An empty directory is nothing to keep.
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

fn ignore_missing(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}
