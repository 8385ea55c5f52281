//! The only place with sled: what is asked by seq, by stream, by time and by name.
//!
//! sled is never believed. Its `flush` is no fsync, it can lose its tail in silence, and it can panic on bytes it did not
//! expect; so it holds nothing that the journal does not hold, every frame carries its own checksum and numbering, and
//! its panics are caught here. At opening it is checked against the journal, see [`recovery`](crate::recovery).

use std::{fs, path::Path, sync::Arc};

use apm2_model::{event::stream_id::StreamId, spec::id::ProcessId};
use uuid::Uuid;

use crate::{
    limits::STORE_CACHE_BYTES,
    lock::Lock,
    store::{
        error::StoreError,
        files::{Files, UNFINISHED, check_entries, close_to_others, sync_files, unshare, wait_until_released},
        guard::guarded,
        head::StoreHead,
        index::{Digest, IndexedFrame},
        key,
    },
};

/// The frames and their indexes.
pub(crate) struct Store {
    /// Dropped before what it is in.
    pub(super) db: sled::Db,
    files: Files,
}

fn open_db(path: &Path) -> Result<sled::Db, StoreError> {
    let config = sled::Config::default()
        .path(path)
        .cache_capacity(STORE_CACHE_BYTES)
        // Its flusher swallows sync errors and panics when dropped: flushes are asked for.
        .flush_every_ms(None);
    guarded(|| Ok(config.open()?))
}

impl Store {
    /// Opens the store in `path`, which exists.
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
        let db = open_db(path)?;
        close_to_others(path)?;
        Ok(Self { db, files: Files { path: path.to_owned(), lock: Arc::clone(lock) } })
    }

    /// Makes an empty store in `path`, which does not exist. A crash half-way leaves nothing under that name: sled can
    /// not open what it had half made.
    pub(crate) fn create(path: &Path, lock: &Arc<Lock>) -> Result<Self, StoreError> {
        let making = path.with_extension("new");
        if making.exists() {
            fs::remove_dir_all(&making)?;
        }
        let db = open_db(&making)?;
        guarded(|| Ok(db.flush()?))?;
        guarded(|| {
            drop(db);
            Ok(())
        })?;
        wait_until_released(&making)?;
        sync_files(&making)?;
        fs::rename(&making, path)?;
        Self::open(path, lock)
    }

    pub(crate) fn head(&self) -> Result<Option<StoreHead>, StoreError> {
        let Some(bytes) = guarded(|| Ok(self.db.get(key::META_HEAD)?))? else { return Ok(None) };
        let head = StoreHead::parse(&bytes).ok_or_else(|| StoreError::Inconsistent("its head".to_owned()))?;
        Ok(Some(head))
    }

    /// Adds the next frame, its index and the new head, in one batch.
    pub(crate) fn add(&self, ledger: Uuid, frame: &IndexedFrame) -> Result<(), StoreError> {
        let mut batch = sled::Batch::default();
        batch.insert(key::frame(frame.first_seq), frame.bytes.as_slice());
        for key in &frame.index {
            batch.insert(key.as_slice(), &[]);
        }
        let head = StoreHead { ledger, seq: frame.last_seq, chain: frame.chain };
        batch.insert(key::META_HEAD, head.to_bytes());
        guarded(|| Ok(self.db.apply_batch(batch)?))
    }

    /// The streams whose process id begins with `prefix`, at most `most`.
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

    /// The processes that have had this name.
    pub(crate) fn named(&self, name: &str) -> Result<Vec<ProcessId>, StoreError> {
        let prefix = key::name_prefix(name);
        let keys = self.keys(&prefix)?;
        Ok(keys.iter().filter(|key| key.len() == prefix.len() + 16).filter_map(|key| key::name_process(key)).collect())
    }

    fn keys(&self, prefix: &[u8]) -> Result<Vec<sled::IVec>, StoreError> {
        guarded(|| self.db.scan_prefix(prefix).keys().map(|key| Ok(key?)).collect())
    }

    /// The sum over all index entries as they are.
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

    /// Writes out what is held in memory. Not durable, see the head of this module.
    pub(crate) fn flush(&self) -> Result<(), StoreError> {
        guarded(|| Ok(self.db.flush().map(|_| ())?))
    }

    /// Lets go of the files. sled may panic here, as anywhere.
    pub(crate) fn close(self) -> Result<(), StoreError> {
        self.flush()?;
        let Self { db, files } = self;
        let closed = guarded(|| {
            drop(db);
            Ok(())
        });
        drop(files);
        closed
    }
}
