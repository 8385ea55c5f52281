//! [`Store`]: the sled database with the frames and their index by sequence number, stream, time and process name.
//!
//! The ledger does not rely on sled for durability. The `flush` of sled is not equivalent to fsync(2), sled can lose
//! its last writes without an error, and it can panic on unexpected bytes. Therefore the store holds nothing that the
//! journal does not hold, every frame has its own checksum and sequence numbers, and panics are converted into errors.
//! When a ledger is opened, the store is checked against the journal, see [`recovery`](crate::recovery).

use std::{fs, path::Path, sync::Arc};

use apm2_model::{event::stream_id::StreamId, spec::id::ProcessId};
use uuid::Uuid;

use crate::{
    chain::Chain,
    limits::RECLAIM_WRITES,
    lock::Lock,
    store::{
        database::Database,
        error::StoreError,
        files::{Files, UNFINISHED, check_entries, make_files_private, sync_files, unshare, wait_until_released},
        guard::guarded,
        head::StoreHead,
        index::{Digest, IndexedFrame},
        key,
    },
};

/// Name of the sled tree of [`Store::reclaim_space`]. The frames and all else are in sled's default tree.
const RECLAIM_TREE: &str = "reclaim";

/// An open store: a sled database with the frames, their index, and the snapshots of stream states.
pub(crate) struct Store {
    // The fields are dropped in this order: the trees before the database, and that before its directory and lock.
    /// A tree with one key, see [`reclaim_space`](Self::reclaim_space).
    reclaim: sled::Tree,
    pub(super) db: Database,
    files: Files,
}

impl Store {
    /// Opens the store in the existing directory `path`. The store holds `lock`, the lock of the ledger, until it is
    /// closed.
    pub(crate) fn open(path: &Path, lock: &Arc<Lock>) -> Result<Self, StoreError> {
        check_entries(path)?;
        wait_until_released(path)?;
        for entry in fs::read_dir(path)? {
            let file = entry?.path();
            if file.as_os_str().as_encoded_bytes().ends_with(UNFINISHED.as_bytes()) {
                fs::remove_file(file)?;
            }
        }
        unshare(path)?;
        let db = Database::open(path)?;
        let reclaim = guarded(|| Ok(db.open_tree(RECLAIM_TREE)?))?;
        make_files_private(path)?;
        Ok(Self { reclaim, db, files: Files { path: path.to_owned(), lock: Arc::clone(lock) } })
    }

    /// Creates a store without events for the ledger `ledger` in `path`, which must not exist, and opens it. It begins after the
    /// event of `base`, where earlier events are in archives. The files are
    /// created under a temporary name, and renamed when they are complete, because sled cannot open a database whose
    /// creation was interrupted by a crash. The store has a head from the beginning, so that a store that has lost its
    /// head can be distinguished from one to which no event was added yet.
    pub(crate) fn create(
        path: &Path,
        lock: &Arc<Lock>,
        ledger: Uuid,
        base: Option<(u64, Chain)>,
    ) -> Result<Self, StoreError> {
        let temporary = path.with_extension("new");
        if temporary.exists() {
            fs::remove_dir_all(&temporary)?;
        }
        let db = Database::open(&temporary)?;
        let (seq, chain) = base.unwrap_or_else(|| (0, Chain::genesis(ledger)));
        let head = StoreHead::new(ledger, seq, chain);
        if base.is_some() {
            let bytes = [&seq.to_be_bytes()[..], &chain.0].concat();
            guarded(|| Ok(db.insert(key::META_BASE, bytes)?))?;
        }
        guarded(|| Ok(db.insert(key::META_HEAD, head.to_bytes())?))?;
        guarded(|| Ok(db.flush()?))?;
        db.close()?;
        wait_until_released(&temporary)?;
        sync_files(&temporary)?;
        fs::rename(&temporary, path)?;
        Self::open(path, lock)
    }

    pub(crate) fn head(&self) -> Result<Option<StoreHead>, StoreError> {
        let bytes = guarded(|| Ok(self.db.get(key::META_HEAD)?))?;
        bytes.map(|bytes| StoreHead::parse(&bytes)).transpose()
    }

    /// The last event that is in an archive and not in the store, and the hash chain value after it; `None` for a store that begins
    /// with the first event.
    pub(crate) fn base(&self) -> Result<Option<(u64, Chain)>, StoreError> {
        let Some(bytes) = guarded(|| Ok(self.db.get(key::META_BASE)?))? else { return Ok(None) };
        let parsed = bytes.split_first_chunk().and_then(|(seq, chain)| Some((seq, chain.try_into().ok()?)));
        let (seq, chain) =
            parsed.ok_or_else(|| StoreError::Inconsistent("the record of its base is invalid".to_owned()))?;
        Ok(Some((u64::from_be_bytes(*seq), Chain(chain))))
    }

    /// Adds the next frame, its index keys and the new head of the store, in one atomic batch.
    pub(crate) fn add(&self, ledger: Uuid, frame: &IndexedFrame) -> Result<(), StoreError> {
        let mut batch = sled::Batch::default();
        batch.insert(key::frame(frame.first_seq), frame.bytes.as_slice());
        for key in &frame.index {
            batch.insert(key.as_slice(), &[]);
        }
        let head = StoreHead::new(ledger, frame.last_seq, frame.chain);
        batch.insert(key::META_HEAD, head.to_bytes());
        guarded(|| Ok(self.db.apply_batch(batch)?))?;
        self.reclaim_space()
    }

    /// Makes sled move the nodes out of segments of its file that are mostly garbage, so that it can use these segments
    /// again. Outside of its periodic flush, which the ledger does not use, sled moves one node each time that it writes a
    /// node as a whole, and it does that at every tenth change of a node. A store that is rebuilt
    /// from the journal takes about half of the space with these writes.
    fn reclaim_space(&self) -> Result<(), StoreError> {
        // Each value differs from the one before, because sled does not write an equal value.
        guarded(|| {
            (0..RECLAIM_WRITES).try_for_each(|number| {
                self.reclaim.insert([], &[number])?;
                Ok(())
            })
        })
    }

    /// The streams whose process id begins with the bytes `prefix`; at most `most` of them.
    pub(crate) fn streams(&self, prefix: &[u8], most: usize) -> Result<Vec<StreamId>, StoreError> {
        let mut found: Vec<StreamId> = Vec::new();
        let mut from = [&[key::STREAM], prefix].concat();
        let whole = from.clone();
        while found.len() < most {
            let next = guarded(|| Ok(self.db.range(from.clone()..).next().transpose()?))?;
            let Some((key, _)) = next.filter(|(key, _)| key.starts_with(&whole)) else { break };
            let Some((stream, _)) = key::parse_stream(&key) else { break };
            found.push(stream);
            // Skips the rest of this stream's entries.
            from = key::stream(stream, u64::MAX);
        }
        Ok(found)
    }

    /// The ids of the processes that have or had the name `name`.
    pub(crate) fn named(&self, name: &str) -> Result<Vec<ProcessId>, StoreError> {
        let prefix = key::name_prefix(name);
        let keys = self.keys(&prefix)?;
        Ok(keys.iter().filter(|key| key.len() == prefix.len() + 16).filter_map(|key| key::name_process(key)).collect())
    }

    fn keys(&self, prefix: &[u8]) -> Result<Vec<sled::IVec>, StoreError> {
        guarded(|| self.db.scan_prefix(prefix).keys().map(|key| Ok(key?)).collect())
    }

    /// The checksum over all index keys in the store, to compare with the keys that the frames require.
    pub(crate) fn index_digest(&self) -> Result<Digest, StoreError> {
        guarded(|| {
            let mut digest = Digest::default();
            for tag in [key::STREAM, key::MINUTE, key::NAME] {
                for key in self.db.scan_prefix([tag]).keys() {
                    digest.add(&key?);
                }
            }
            Ok(digest)
        })
    }

    /// Writes sled's buffered data to its files. The data is not durable after this, see the documentation of this
    /// module.
    pub(crate) fn flush(&self) -> Result<(), StoreError> {
        guarded(|| Ok(self.db.flush().map(|_| ())?))
    }

    /// Flushes and drops the database, and waits until sled has released its files. A panic of sled is returned as an
    /// error.
    pub(crate) fn close(self) -> Result<(), StoreError> {
        self.flush()?;
        let Self { reclaim, db, files } = self;
        drop(reclaim);
        let closed = db.close();
        drop(files);
        closed
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use apm2_model::event::kind::EventKind;

    use super::*;
    use crate::{ledger::Ledger, store::STORE_DIR};

    #[test]
    fn a_store_of_an_older_version_is_rebuilt_once() {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        let dir = tempfile::Builder::new().permissions(mode).tempdir().unwrap();
        let opened = || Ledger::open(dir.path()).unwrap();
        let ledger = opened();
        ledger.append_system(EventKind::SupervisorStopped).unwrap();
        ledger.close().unwrap();
        let lock = Arc::new(Lock::take(dir.path(), Duration::ZERO).unwrap());
        let store = Store::open(&dir.path().join(STORE_DIR), &lock).unwrap();
        let head = guarded(|| Ok(store.db.get(key::META_HEAD)?)).unwrap().unwrap();
        // Version 1 had no version before the other fields.
        guarded(|| Ok(store.db.insert(key::META_HEAD, &head[4..])?)).unwrap();
        store.close().unwrap();
        drop(lock);
        let kinds = || {
            let ledger = opened();
            let kinds: Vec<_> = ledger.reader().events(1, u64::MAX).map(|event| event.unwrap().kind.name()).collect();
            ledger.close().unwrap();
            kinds
        };
        assert_eq!(kinds(), ["supervisor_stopped", "store_rebuilt"]);
        assert_eq!(kinds(), ["supervisor_stopped", "store_rebuilt"]);
    }
}
