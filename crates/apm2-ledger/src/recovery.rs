//! What is done when a ledger is opened, case by case. The table is in `docs/recovery.md`.
//!
//! The journal decides; the store follows. Nothing is edited that was acknowledged: what was found is appended.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use apm2_core::process::{Clock as _, EventKind, SystemClock};
use uuid::Uuid;

use crate::{
    chain::Chain,
    clean,
    dir::{self, Lock},
    error::{Damage, OpenError, ReadError},
    index::{self, Digest},
    journal::{
        JOURNAL_DIR,
        reader::JournalReader,
        segments,
        writer::{JournalWriter, sync_dir},
    },
    ledger::Options,
    limits::{FLUSH_EVENTS, SET_ASIDE_MAX},
    packer::Packer,
    store::{STORE_DIR, Store, StoreError, StoreHead},
};

const SET_ASIDE: &str = "sled.set-aside.";

/// A ledger that is in order.
pub(crate) struct Recovered {
    pub(crate) dir: PathBuf,
    pub(crate) lock: Lock,
    pub(crate) journal: JournalWriter,
    /// `None` when it could neither be opened nor built: the ledger works without, and reads its journal.
    pub(crate) store: Option<Store>,
    /// What is to be recorded of the opening.
    pub(crate) findings: Vec<EventKind>,
}

/// Why a store is not used as it is.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    /// It is what is wrong.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It does not fit the journal.
    #[error("{0}")]
    Misfit(String),
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
            other => Self::Misfit(other.to_string()),
        }
    }
}

impl From<io::Error> for Unusable {
    fn from(error: io::Error) -> Self {
        Self::Store(error.into())
    }
}

/// Puts the ledger in `dir` in order, and makes it when `create` and there is none.
pub(crate) fn recover(dir: &Path, options: &Options, create: bool) -> Result<Recovered, OpenError> {
    dir::prepare(dir, create)?;
    let journal_dir = dir.join(JOURNAL_DIR);
    if !create && !journal_dir.is_dir() {
        return Err(OpenError::Missing { path: dir.to_owned() });
    }
    let lock = Lock::take(dir, options.lock_wait)?;
    let (journal, cut) = open_journal(dir, &journal_dir, options, create)?;
    let mut findings = Vec::new();
    if let Some(cut) = cut {
        findings.push(EventKind::TailCut { segment: cut.segment, offset: cut.offset });
    }
    let store = open_store(dir, &journal, &mut findings)?;
    Ok(Recovered { dir: dir.to_owned(), lock, journal, store, findings })
}

fn open_journal(
    dir: &Path,
    journal_dir: &Path,
    options: &Options,
    create: bool,
) -> Result<(JournalWriter, Option<crate::journal::writer::CutTail>), OpenError> {
    dir::make_private(journal_dir).map_err(OpenError::io(journal_dir))?;
    let is_empty = segments(journal_dir).map_err(OpenError::io(journal_dir))?.is_empty();
    if !is_empty {
        // Whoever marks a clean close has had every commit acknowledged, the last one too.
        let marked = clean::marked_size(dir, &dir.join(STORE_DIR)).map(|(size, _)| size);
        let is_settled = |size| marked == Some(size);
        return JournalWriter::open(journal_dir, options.segment_bytes, options.medium.clone(), is_settled);
    }
    // A store is made only after the first segment: one without a journal means that the journal was lost.
    if dir.join(STORE_DIR).exists() {
        let what = "every segment is missing, and there is a store".to_owned();
        return Err(Damage { first_seq: 1, last_seq: 1, segment: 1, offset: 0, what }.into());
    }
    if !create {
        return Err(OpenError::Missing { path: dir.to_owned() });
    }
    let made = JournalWriter::create(journal_dir, Uuid::new_v4(), options.segment_bytes, options.medium.clone())
        .and_then(|journal| {
            sync_dir(dir)?;
            dir.parent().filter(|parent| !parent.as_os_str().is_empty()).map_or(Ok(()), sync_dir)?;
            Ok(journal)
        })
        .map_err(OpenError::io(journal_dir))?;
    Ok((made, None))
}

/// The store, following the journal; rebuilt if it has to be.
fn open_store(dir: &Path, journal: &JournalWriter, findings: &mut Vec<EventKind>) -> Result<Option<Store>, OpenError> {
    let cause = match use_store(dir, journal) {
        Ok(store) => return Ok(Some(store)),
        Err(Unusable::Journal(error)) => return Err(error),
        Err(cause) => cause.to_string(),
    };
    match rebuild_store(dir, journal) {
        Ok((store, set_aside)) => {
            if journal.next_seq() > 1 {
                tracing::warn!(%cause, "the store was rebuilt from the journal");
                findings.push(EventKind::StoreRebuilt { cause, set_aside });
            }
            Ok(Some(store))
        }
        Err(Unusable::Journal(error)) => Err(error),
        Err(error) => {
            tracing::warn!(%cause, %error, "no store; the journal is read instead");
            Ok(None)
        }
    }
}

/// Opens the store as it is and brings it up to the journal.
fn use_store(dir: &Path, journal: &JournalWriter) -> Result<Store, Unusable> {
    let path = dir.join(STORE_DIR);
    if !path.is_dir() {
        return Err(Unusable::Misfit("it is missing".to_owned()));
    }
    if fs::read_dir(&path)?.next().is_none() {
        return Err(Unusable::Misfit("it is empty".to_owned()));
    }
    let marked = clean::marked_size(dir, &path);
    clean::unmark(dir)?;
    let store = Store::open(&path)?;
    let head = match store.head()? {
        Some(head) => head,
        None if journal.next_seq() == 1 => return Ok(store),
        None => return Err(Unusable::Misfit("it holds nothing".to_owned())),
    };
    if head.ledger != journal.ledger() {
        return Err(Unusable::Misfit("it belongs to another ledger".to_owned()));
    }
    let last_seq = journal.next_seq() - 1;
    if head.seq > last_seq {
        return Err(Unusable::Journal(OpenError::JournalShort { journal: last_seq, store: head.seq }));
    }
    if marked != Some((head.seq, head.chain.to_string())) {
        check(&store, head)?;
    }
    catch_up(&store, dir, journal, head)?;
    Ok(store)
}

/// Goes through all that the store holds: every frame, every link between them, every key.
fn check(store: &Store, head: StoreHead) -> Result<(), StoreError> {
    let inconsistent = |what: String| Err(StoreError::Inconsistent(what));
    let mut next_seq = 1;
    let mut chain = Chain::genesis(head.ledger);
    let mut expected = Digest::default();
    store.each_frame(|frame, bytes| {
        let header = frame.header();
        if header.first_seq != next_seq || header.chain_before != chain {
            return inconsistent(format!("no frame follows on event {}", next_seq - 1));
        }
        (next_seq, chain) = (header.last_seq() + 1, header.chain_after);
        let keys = index::keys(frame, bytes)
            .map_err(|(seq, error)| StoreError::Inconsistent(format!("event {seq}: {error}")))?;
        keys.iter().for_each(|key| expected.add(key));
        Ok(())
    })?;
    if next_seq != head.seq + 1 || chain != head.chain {
        return inconsistent(format!("it ends at event {}, and says {}", next_seq - 1, head.seq));
    }
    if store.index_digest()? != expected {
        return inconsistent("its index does not fit its frames".to_owned());
    }
    Ok(())
}

/// Feeds the store with what the journal has after `head`.
fn catch_up(store: &Store, dir: &Path, journal: &JournalWriter, head: StoreHead) -> Result<(), Unusable> {
    if head.seq + 1 == journal.next_seq() {
        if head.chain != journal.chain() {
            return Err(Unusable::Misfit(format!("its chain differs from the journal's at event {}", head.seq)));
        }
        return Ok(());
    }
    let mut reader = JournalReader::starting_at(&dir.join(JOURNAL_DIR), head.seq + 1)?;
    let mut packer = Packer::new(head.seq + 1, head.chain);
    let mut unflushed = 0;
    while let Some(commit) = reader.next_commit()? {
        let header = *commit.frame.header();
        let mut chain = header.chain_before;
        for (seq, event_bytes) in commit.frame.iter(&commit.bytes) {
            if seq < packer.next_seq() {
                chain = chain.link(seq, event_bytes);
                continue;
            }
            // Where the two meet, they must agree on everything before.
            if chain != packer.chain() {
                return Err(Unusable::Misfit(format!("its chain differs from the journal's at event {}", seq - 1)));
            }
            if let Some(frame) = packer.push(event_bytes)? {
                store.add(head.ledger, &frame)?;
            }
            chain = packer.chain();
            unflushed += 1;
        }
        if unflushed >= FLUSH_EVENTS {
            unflushed = 0;
            store.flush()?;
        }
    }
    if let Some(frame) = packer.finish()? {
        store.add(head.ledger, &frame)?;
    }
    if packer.next_seq() != journal.next_seq() || packer.chain() != journal.chain() {
        let what = "the events do not give the chain that the journal states";
        let seq = packer.next_seq() - 1;
        let damage = Damage { first_seq: head.seq + 1, last_seq: seq, segment: 0, offset: 0, what: what.to_owned() };
        return Err(Unusable::Journal(damage.into()));
    }
    Ok(store.flush()?)
}

/// Sets the store aside, if there is one, and builds another from the journal. Returns the name it was given.
fn rebuild_store(dir: &Path, journal: &JournalWriter) -> Result<(Store, Option<String>), Unusable> {
    let path = dir.join(STORE_DIR);
    let set_aside = set_aside(dir, &path)?;
    let store = Store::create(&path)?;
    let ledger = journal.ledger();
    let nothing = StoreHead { ledger, seq: 0, chain: Chain::genesis(ledger) };
    catch_up(&store, dir, journal, nothing)?;
    Ok((store, set_aside))
}

fn set_aside(dir: &Path, path: &Path) -> io::Result<Option<String>> {
    let is_absent = !path.exists() || (path.is_dir() && fs::read_dir(path)?.next().is_none());
    if is_absent {
        // An empty directory is nothing to keep.
        return fs::remove_dir(path).or_else(ignore_missing).map(|()| None);
    }
    let mut older: Vec<PathBuf> = fs::read_dir(dir)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(SET_ASIDE.as_bytes())))
        .collect();
    older.sort();
    for path in older.iter().rev().skip(SET_ASIDE_MAX - 1) {
        fs::remove_dir_all(path)?;
    }
    let name = format!("{SET_ASIDE}{:020}", SystemClock.now().wall_ns.max(0));
    fs::rename(path, dir.join(&name))?;
    Ok(Some(name))
}

fn ignore_missing(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}
