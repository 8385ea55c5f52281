//! Checks the store and compares it with the journal, without changing either.
//!
//! sled writes to its files when it opens them. So `verify` copies the store to a temporary directory outside the
//! ledger, and opens the copy.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
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
    journal::{JOURNAL_DIR, base::Base, reader::JournalReader},
    lock::{Lock, has_owner},
    read::{
        cancel::Cancel,
        reader::Reader,
        replay::{Origin, StreamStates},
    },
    record::{decode_event, decode_stream},
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
pub(crate) enum Skipped {
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
    #[error("no thread can be created to check it: {0}")]
    NoThread(#[source] io::Error),
    #[error("it could not be copied to a temporary directory: {0}")]
    Copy(#[source] io::Error),
}

/// A copy of the store of a ledger, and whether its content is consistent.
pub(crate) struct CheckedStore {
    store: Store,
    head: Option<StoreHead>,
    checked: Result<(), StoreError>,
    /// Declared after the store, so that it is removed after the store was closed.
    copy: Copy,
}

impl CheckedStore {
    /// Copies and checks the store. This needs nothing from the journal, so it can run while the journal is checked. `before`
    /// describes the files of the store before the journal was read: if they have changed since then, the store is skipped.
    /// Ends early once `cancel` is set; the result is useless then.
    pub(crate) fn of(dir: &LedgerDir, before: &StoreFiles, cancel: &Cancel) -> Result<Self, Skipped> {
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
        let head = store.head()?;
        let checked = head.map_or(Ok(()), |head| head.check_version().and_then(|()| check_until(&store, head, cancel)));
        Ok(Self { store, head, checked, copy })
    }
}

/// Compares the store with the journal, and adds the result to `report`. `states` are those of all streams after the last event
/// of the journal.
pub(crate) fn compare(
    dir: &Arc<LedgerDir>,
    store: Result<CheckedStore, Skipped>,
    states: StreamStates,
    report: &mut VerifyReport,
) {
    match store.and_then(|store| compared(dir, store, states, report)) {
        Ok(findings) => {
            report.store = StoreCheck::Done;
            report.findings.extend(findings);
        }
        Err(skipped) => report.store_note = Some(skipped.to_string()),
    }
}

fn compared(
    dir: &Arc<LedgerDir>,
    store: CheckedStore,
    states: StreamStates,
    report: &VerifyReport,
) -> Result<Vec<Finding>, Skipped> {
    let CheckedStore { store, head, checked, copy: _copy } = store;
    let Some(head) = head else {
        let note = StoreError::Inconsistent("it holds nothing".to_owned());
        return if report.head.size == 0 { Ok(Vec::new()) } else { Err(note.into()) };
    };
    if Some(head.ledger) != report.ledger {
        return Err(Skipped::OtherLedger);
    }
    let find = |first_seq: u64, message: String| Finding {
        kind: FindingKind::Store,
        first_seq,
        last_seq: report.head.size.max(head.seq).max(first_seq),
        message,
    };
    match checked {
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
    let base = Base::read(&dir.at().join(JOURNAL_DIR)).ok().flatten().map(Arc::new);
    let size = Head { size: head.seq, chain: head.chain };
    let stored = Reader::shared(Arc::new(SharedState::new(Arc::clone(dir), base, size, Some(store))));
    let equal = equal_snapshots(&stored, states);
    // A stream that is read alone reads many frames, so only those are read alone that were not found equal together.
    let is_same = |id, state| stored.stream(id).is_ok_and(|found| found.as_ref() == Some(state));
    let differing = states.iter().filter(|(id, state)| !equal.contains(*id) && !is_same(**id, *state));
    let message = |name: String| format!("the state of {name} in the store differs from its events in the journal");
    differing.map(|(_, state)| find(state.last_seq, message(state.handle.display_name()))).collect()
}

/// The streams whose snapshot, with the events after it, is the state in `states`. Reads each snapshot and each event after all
/// of them once. A stream that has no snapshot, or an older one, is not found.
fn equal_snapshots(stored: &Reader, states: &BTreeMap<StreamId, Stream>) -> HashSet<StreamId> {
    let (mut equal, mut older) = (HashSet::new(), HashMap::new());
    let Some(store) = stored.store() else { return equal };
    let mut snapshots = store.scan_snapshots();
    while let Ok(Some((id, bytes))) = snapshots.next() {
        match (decode_stream(&bytes), states.get(&id)) {
            (Ok(snapshot), Some(state)) if snapshot == *state => drop(equal.insert(id)),
            (Ok(snapshot), Some(_)) if snapshot.id == id => drop(older.insert(id, snapshot)),
            _ => {}
        }
    }
    let Ok(seq) = store.snapshot_seq() else { return equal };
    // The events after an error are missing, and the states that they change are not equal.
    for event in stored.events(seq + 1, u64::MAX).map_while(Result::ok) {
        if let Some(stream) = older.get_mut(&event.stream).filter(|stream| stream.last_seq < event.seq)
            && stream.apply(&event).is_err()
        {
            older.remove(&event.stream);
        }
    }
    equal.extend(older.into_iter().filter(|(id, stream)| states.get(id) == Some(stream)).map(|(id, _)| id));
    equal
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
pub(crate) fn journal_chain(dir: &Arc<LedgerDir>, seq: u64) -> Result<Option<Chain>, ReadError> {
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
    let first = store.base()?.map_or(1, |(seq, _)| seq + 1);
    let mut reader = JournalReader::starting_at(dir, first)?;
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
    check_until(store, head, &Cancel::default())
}

/// Like [`check`], but ends with an error once `cancel` is set.
fn check_until(store: &Store, head: StoreHead, cancel: &Cancel) -> Result<(), StoreError> {
    let inconsistent = |what: String| Err(StoreError::Inconsistent(what));
    let (base_seq, mut chain) = store.base()?.unwrap_or_else(|| (0, Chain::genesis(head.ledger)));
    let mut next_seq = base_seq + 1;
    let mut expected = Digest::default();
    let (mut keys, mut names) = (FrameKeys::default(), HashSet::new());
    let mut checked = (0, 0);
    let altered = |(first_seq, last_seq)| Err(StoreError::Altered { first_seq, last_seq });
    store.each_frame(|frame| {
        if cancel.is_set() {
            return inconsistent("the check was cancelled".to_owned());
        }
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use apm2_model::{
        clock::SystemClock,
        event::{NewEvent, actor::Actor, kind::EventKind, timestamp::Clock as _},
        spec::{ProcessSpec, redact::spec::RedactedSpec},
    };

    use super::*;
    use crate::{ledger::Ledger, verify::verify};

    /// A stream with three events.
    fn append_stream(ledger: &Ledger, name: &str) -> StreamId {
        let spec = ProcessSpec::builder().name(name).command("c").build();
        let stream = StreamId { process_id: spec.id, instance: 0 };
        let draft = |kind| {
            let (actor, stamp) = (Actor::System, SystemClock.now());
            NewEvent { stream, run: 0, actor, reason: None, cause: None, stamp, kind }
        };
        let kinds =
            [EventKind::Registered { spec: RedactedSpec::new(&spec) }, EventKind::BudgetReset, EventKind::Unregistered];
        ledger.append(stream, 0, kinds.into_iter().map(draft).collect()).unwrap();
        stream
    }

    #[test]
    fn a_wrong_snapshot_is_found_and_an_older_one_is_not() {
        let mode = fs::Permissions::from_mode(0o700);
        let dir = tempfile::Builder::new().permissions(mode).tempdir().unwrap();
        let ledger = Ledger::open(dir.path()).unwrap();
        let [first, second] = ["first", "second"].map(|name| append_stream(&ledger, name));
        let (older, latest) = (ledger.reader().stream_at(second, 4), ledger.reader().stream(first));
        let (older, latest) = (older.unwrap().unwrap(), latest.unwrap().unwrap());
        ledger.close().unwrap();
        let messages_with_snapshot = |seq, snapshot: &Stream| {
            let lock = Arc::new(Lock::take(dir.path(), std::time::Duration::ZERO).unwrap());
            let store = Store::open(&dir.path().join(STORE_DIR), &lock).unwrap();
            store.write_snapshot(seq, &[Arc::new(snapshot.clone())]).unwrap();
            store.close().unwrap();
            drop(lock);
            let report = verify(dir.path(), &mut |_| {}).unwrap();
            assert_eq!((report.store, report.store_note), (StoreCheck::Done, None));
            report.findings.into_iter().map(|finding| finding.message).collect::<Vec<_>>()
        };
        assert_eq!(older.version, 1);
        for seq in [4, 6] {
            assert!(messages_with_snapshot(seq, &older).is_empty(), "snapshots up to event {seq}");
        }
        let wrong = Stream { wanted: !latest.wanted, ..latest };
        let found = messages_with_snapshot(6, &wrong);
        assert_eq!(found, ["the state of first in the store differs from its events in the journal"]);
    }
}
