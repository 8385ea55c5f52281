//! Checks the store and compares it with the journal, without changing either.
//!
//! sled writes to its files when it opens them. So `verify` copies the store to a temporary directory outside the
//! ledger, and opens the copy.

use std::{
    collections::{BTreeMap, HashSet},
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use apm2_model::{causes::causes, event::stream_id::StreamId, state::stream::Stream};

use crate::{
    chain::Chain,
    dir::LedgerDir,
    error::{OpenError, ReadError},
    file,
    head::Head,
    journal::reader::JournalReader,
    lock::{Lock, has_owner},
    read::{
        reader::Reader,
        replay::{Origin, StreamStates},
    },
    record::decode_event,
    shared_state::SharedState,
    store::{
        STORE_DIR, clean_shutdown,
        error::StoreError,
        files::{files, is_linked_copy},
        head::StoreHead,
        index::{Digest, EventKeys, FrameKeys},
        key,
        sled_store::Store,
    },
    verify::report::{Finding, FindingKind, StoreCheck, VerifyReport},
};

/// The inode, size and times of each file of a store, to detect that the store was changed between two moments.
pub(crate) struct StoreFiles(Option<String>);

impl StoreFiles {
    /// Reads the metadata of the store's files. Holds `None` if another process has the ledger open and may change the
    /// files.
    pub(crate) fn read(dir: &LedgerDir) -> Self {
        let is_idle = !has_owner(dir);
        Self(is_idle.then(|| clean_shutdown::describe(&dir.at().join(STORE_DIR), 0, Chain([0; 32])).ok()).flatten())
    }
}

/// The reason why the store was not compared with the journal.
#[derive(Debug, thiserror::Error)]
enum Skipped {
    #[error("another process has the ledger open")]
    InUse,
    #[error("there is no store; it is built from the journal when the ledger is next opened")]
    Missing,
    #[error(
        "its files are hard links to the store of the original ledger; it is built again from the journal when the ledger is next opened"
    )]
    LinkedCopy,
    #[error("it belongs to another ledger; it is set aside when the ledger is next opened")]
    OtherLedger,
    #[error("it is unusable and is built again from the journal when the ledger is next opened: {0}")]
    Unusable(#[from] StoreError),
    #[error("it could not be copied to a temporary directory: {0}")]
    Copy(#[source] io::Error),
}

/// Compares the store with the journal, and adds the result to `report`. `before` describes the files of the store
/// before the journal was read: if they have changed since then, the comparison is skipped. `states` are those of all
/// streams after the last event of the journal.
pub(crate) fn compare(dir: &Arc<LedgerDir>, before: &StoreFiles, states: StreamStates, report: &mut VerifyReport) {
    match compared(dir, before, states, report) {
        Ok(findings) => {
            report.store = StoreCheck::Done;
            report.findings.extend(findings);
        }
        Err(skipped) => report.store_note = Some(skipped.to_string()),
    }
}

fn compared(
    dir: &Arc<LedgerDir>,
    before: &StoreFiles,
    states: StreamStates,
    report: &VerifyReport,
) -> Result<Vec<Finding>, Skipped> {
    let original = dir.at().join(STORE_DIR);
    if has_owner(dir) {
        return Err(Skipped::InUse);
    }
    if !original.is_dir() || fs::read_dir(&original).map_err(Skipped::Copy)?.next().is_none() {
        return Err(Skipped::Missing);
    }
    if is_linked_copy(dir.at()).map_err(Skipped::Copy)? {
        return Err(Skipped::LinkedCopy);
    }
    let copy = Copy::of(&original).map_err(Skipped::Copy)?;
    let after = StoreFiles::read(dir).0;
    if after.is_none() || after != before.0 {
        return Err(Skipped::InUse);
    }
    let lock = Arc::new(
        Lock::take(&copy.0, std::time::Duration::ZERO)
            .map_err(|error| Skipped::Copy(io::Error::other(causes(&error))))?,
    );
    let store = Store::open(&lock.dir().at().join(STORE_DIR), &lock)?;
    let Some(head) = store.head()? else {
        let note = StoreError::Inconsistent("it holds nothing".to_owned());
        return if report.head.size == 0 { Ok(Vec::new()) } else { Err(note.into()) };
    };
    if Some(head.ledger) != report.ledger {
        return Err(Skipped::OtherLedger);
    }
    head.check_version()?;
    let find = |first_seq: u64, message: String| Finding {
        kind: FindingKind::Store,
        first_seq,
        last_seq: report.head.size.max(head.seq).max(first_seq),
        message,
    };
    match check(&store, head) {
        Ok(()) => {}
        Err(error @ StoreError::Altered { first_seq, .. }) => return Ok(vec![find(first_seq, error.to_string())]),
        Err(error) => return Err(error.into()),
    }
    if head.seq > report.head.size {
        let short = OpenError::JournalShort { journal: report.head.size, store: head.seq };
        return Ok(vec![find(report.head.size + 1, short.to_string())]);
    }
    if let Some(seq) = diverging(&store, head, dir, report.head) {
        return Ok(vec![find(seq, OpenError::Diverged { seq }.to_string())]);
    }
    // The store has the events of the journal: their hash chains are equal.
    let states = if head.seq == report.head.size { Ok(states.into_streams()) } else { states_at(dir, head.seq) };
    match states {
        Ok(states) => Ok(compare_snapshots(dir, store, head, &states, &find)),
        Err(error) => Ok(vec![find(1, causes(&error))]),
    }
}

/// The states of all streams after event `seq`, from the events in the journal.
fn states_at(dir: &Arc<LedgerDir>, seq: u64) -> Result<BTreeMap<StreamId, Stream>, StatesError> {
    Ok(Reader::of_journal(Arc::clone(dir))?.replay(seq, Origin::Genesis)?.streams)
}

/// Why the states of streams cannot be read from the journal.
#[derive(Debug, thiserror::Error)]
enum StatesError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Compares the states of streams that the store has, from its snapshots and the events after them, with `states`, which
/// are those after the last event of the store. Returns a finding for each difference.
fn compare_snapshots(
    dir: &Arc<LedgerDir>,
    store: Store,
    head: StoreHead,
    states: &BTreeMap<StreamId, Stream>,
    find: &dyn Fn(u64, String) -> Finding,
) -> Vec<Finding> {
    let size = Head { size: head.seq, chain: head.chain };
    let stored = Reader::shared(Arc::new(SharedState::new(Arc::clone(dir), size, Some(store))));
    let is_same = |id, state| stored.stream(id).is_ok_and(|found| found.as_ref() == Some(state));
    let differing = states.iter().filter(|(id, state)| !is_same(**id, *state));
    let message = |name: String| format!("the state of {name} in the store differs from its events in the journal");
    differing.map(|(_, state)| find(state.last_seq, message(state.handle.display_name()))).collect()
}

/// The first event that differs between the journal and the store. Returns `None` if all their common events are equal,
/// or if the journal or the store is damaged. The store must not have more events than the journal.
pub(crate) fn diverging(store: &Store, head: StoreHead, dir: &Arc<LedgerDir>, journal: Head) -> Option<u64> {
    let chain = if head.seq == journal.size { journal.chain } else { journal_chain(dir, head.seq).ok()?? };
    if chain == head.chain || check(store, head).is_err() {
        return None;
    }
    Some(first_difference(store, dir).ok().flatten().unwrap_or(head.seq))
}

/// The value of the journal's hash chain after event `seq`; `None` if the journal ends before that event.
fn journal_chain(dir: &Arc<LedgerDir>, seq: u64) -> Result<Option<Chain>, ReadError> {
    let mut reader = JournalReader::starting_at(dir, seq + 1)?;
    while let Some(batch) = reader.next_batch()? {
        if batch.last_seq() >= seq {
            let events = batch.iter().take_while(|(at, _)| *at <= seq);
            return Ok(Some(events.fold(batch.chain_before(), |chain, (at, bytes)| chain.link(at, bytes))));
        }
    }
    Ok(None)
}

/// The sequence number of the first event in the store whose bytes differ from those in the journal.
fn first_difference(store: &Store, dir: &Arc<LedgerDir>) -> Result<Option<u64>, ReadError> {
    let mut reader = JournalReader::starting_at(dir, 1)?;
    let mut journal = std::iter::from_fn(move || reader.next_batch().ok().flatten()).flat_map(|batch| {
        let events: Vec<_> = batch.iter().map(|(seq, bytes)| (seq, bytes.to_vec())).collect();
        events
    });
    let mut found = None;
    store.each_frame(|frame| {
        let mut events = frame.iter();
        if found.is_none() {
            let differing = |(seq, in_store): &(u64, &[u8])| {
                journal.next().is_none_or(|(at, in_journal)| at != *seq || in_journal != *in_store)
            };
            found = events.find(differing).map(|(seq, _)| seq);
        }
        Ok(())
    })?;
    Ok(found)
}

/// A copy of a store in a temporary directory, under the same name as in a ledger's directory. Dropping it removes the
/// directory.
struct Copy(PathBuf);

impl Copy {
    fn of(store: &Path) -> io::Result<Self> {
        let template = std::env::temp_dir().join("apm2-ledger-verify.XXXXXX");
        let copy = Self(nix::unistd::mkdtemp(&template)?);
        for from in files(store)? {
            let to = copy.0.join(STORE_DIR).join(from.strip_prefix(store).unwrap_or(&from));
            if let Some(parent) = to.parent() {
                fs::create_dir_all(parent)?;
            }
            io::copy(&mut file::open(&from)?, &mut File::create(&to)?)?;
        }
        Ok(copy)
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, path = %self.0.display(), "the temporary copy of the store could not be removed");
        }
    }
}

/// Checks the whole content of the store: the checksums, sequence numbers and hash chain of its frames, and all index
/// keys. `head` is the head that the store states.
pub(crate) fn check(store: &Store, head: StoreHead) -> Result<(), StoreError> {
    let inconsistent = |what: String| Err(StoreError::Inconsistent(what));
    let mut next_seq = 1;
    let mut chain = Chain::genesis(head.ledger);
    let mut expected = Digest::default();
    let (mut keys, mut names) = (FrameKeys::default(), HashSet::new());
    let mut checked = (0, 0);
    let altered = |(first_seq, last_seq)| Err(StoreError::Altered { first_seq, last_seq });
    store.each_frame(|frame| {
        if frame.first_seq() != next_seq {
            return inconsistent(format!("the frame after event {} is missing", next_seq - 1));
        }
        // The chain is computed from the events, to detect an event that was changed together with the checksum of its
        // frame.
        if frame.chain_before() != chain {
            return if checked.1 == 0 {
                inconsistent("it begins with another chain".to_owned())
            } else {
                altered(checked)
            };
        }
        chain = frame.iter().fold(chain, |chain, (seq, event_bytes)| chain.link(seq, event_bytes));
        checked = (next_seq, frame.last_seq());
        next_seq = frame.last_seq() + 1;
        for (seq, event_bytes) in frame.iter() {
            let event = decode_event(seq, event_bytes)
                .map_err(|error| StoreError::Inconsistent(format!("event {seq}: {error}")))?;
            keys.add(frame.first_seq(), seq, &EventKeys::from(&event));
        }
        for key in keys.take() {
            // Several events can give a process the same name. The store holds one key for it, so only the first one is
            // counted.
            if !key.starts_with(&[key::NAME]) || names.insert(key.clone()) {
                expected.add(&key);
            }
        }
        Ok(())
    })?;
    if next_seq == head.seq + 1 && chain != head.chain {
        return altered(checked);
    }
    if next_seq != head.seq + 1 {
        return inconsistent(format!("it ends at event {}, but its head states event {}", next_seq - 1, head.seq));
    }
    if store.index_digest()? != expected {
        return inconsistent("its index does not match its frames".to_owned());
    }
    Ok(())
}
