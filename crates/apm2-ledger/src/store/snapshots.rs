//! The snapshots: states of streams in the store, so that a reader does not replay them from their first event.

use std::sync::Arc;

use apm2_model::{event::stream_id::StreamId, state::stream::Stream};

use crate::{
    record::{decode_stream, encode_stream, is_current_stream},
    store::{error::StoreError, guard::guarded, key, sled_store::Store},
};

/// Kept folds in the order of their streams.
pub(crate) struct SnapshotScan {
    folds: sled::Iter,
    /// As long as sled is in use, the ledger is.
    _store: Arc<Store>,
}

impl SnapshotScan {
    /// The next stream and its fold, which is `None` where it cannot be read; `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<(StreamId, Option<Stream>)>, StoreError> {
        guarded(|| {
            let Some((key, bytes)) = self.folds.next().transpose()? else { return Ok(None) };
            let (id, _) =
                key::parse_stream(&key).ok_or_else(|| StoreError::Inconsistent("the key of a fold".to_owned()))?;
            Ok(Some((id, decode_stream(&bytes).ok().filter(|kept| kept.id == id))))
        })
    }
}

impl Store {
    /// Keeps the folds of these streams, as they are after event `seq`.
    pub(crate) fn write_snapshot(&self, seq: u64, streams: &[Arc<Stream>]) -> Result<(), StoreError> {
        let mut batch = sled::Batch::default();
        let mut are_all_kept = true;
        for stream in streams {
            match encode_stream(stream) {
                Ok(bytes) => batch.insert(key::stream_prefix(key::SNAPSHOT, stream.id), bytes),
                // It is replayed instead, from before the first event that it lacks: the mark stays where it is.
                Err(_) => are_all_kept = false,
            }
        }
        if are_all_kept {
            batch.insert(key::META_SNAPSHOT, seq.to_be_bytes().to_vec());
        }
        guarded(|| Ok(self.db.apply_batch(batch)?))
    }

    /// The event after which all folds were last kept; 0 before that. Later events may be folded in already.
    pub(crate) fn snapshot_seq(&self) -> Result<u64, StoreError> {
        let bytes = guarded(|| Ok(self.db.get(key::META_SNAPSHOT)?))?;
        Ok(bytes.and_then(|bytes| bytes.first_chunk().map(|seq| u64::from_be_bytes(*seq))).unwrap_or(0))
    }

    /// The kept fold of `stream`; `None` when there is none that this version can read.
    pub(crate) fn snapshot(&self, stream: StreamId) -> Result<Option<Stream>, StoreError> {
        let bytes = guarded(|| Ok(self.db.get(key::stream_prefix(key::SNAPSHOT, stream))?))?;
        Ok(bytes.and_then(|bytes| decode_stream(&bytes).ok()).filter(|kept| kept.id == stream))
    }

    /// All kept folds; `None` when one of them cannot be read by this version.
    pub(crate) fn snapshots(&self) -> Result<Option<Vec<Stream>>, StoreError> {
        guarded(|| {
            let mut found = Vec::new();
            for value in self.db.scan_prefix([key::SNAPSHOT]).values() {
                match decode_stream(&value?) {
                    Ok(stream) => found.push(stream),
                    Err(_) => return Ok(None),
                }
            }
            Ok(Some(found))
        })
    }

    /// The kept folds one after the other, in the order of their streams.
    pub(crate) fn scan_snapshots(self: &Arc<Self>) -> SnapshotScan {
        SnapshotScan { folds: self.db.scan_prefix([key::SNAPSHOT]), _store: Arc::clone(self) }
    }

    /// Whether all kept folds are of the version that this program writes.
    pub(crate) fn are_snapshots_current(&self) -> Result<bool, StoreError> {
        guarded(|| {
            for bytes in self.db.scan_prefix([key::SNAPSHOT]).values() {
                if !is_current_stream(&bytes?) {
                    return Ok(false);
                }
            }
            Ok(true)
        })
    }
}
