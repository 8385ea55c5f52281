//! Snapshots: copies of stream states in the store. A reader loads the snapshot of a stream and applies only the later
//! events, instead of all events of the stream.

use std::sync::Arc;

use apm2_model::{event::stream_id::StreamId, state::stream::Stream};

use crate::{
    record::{decode_stream, encode_stream, is_current_stream},
    store::{error::StoreError, guard::guarded, key, sled_store::Store},
};

/// Iterates over the snapshots in the order of their stream ids.
pub(crate) struct SnapshotScan {
    entries: sled::Iter,
    /// Keeps the store open and the ledger locked during the iteration.
    _store: Arc<Store>,
}

impl SnapshotScan {
    /// The id of the next stream and the record of its snapshot, which may be damaged. Returns `None` after the last
    /// snapshot.
    pub(crate) fn next(&mut self) -> Result<Option<(StreamId, Vec<u8>)>, StoreError> {
        guarded(|| {
            let Some((key, bytes)) = self.entries.next().transpose()? else { return Ok(None) };
            let (id, _) = key::parse_stream(&key)
                .ok_or_else(|| StoreError::Inconsistent("the key of a snapshot is invalid".to_owned()))?;
            Ok(Some((id, bytes.to_vec())))
        })
    }
}

impl Store {
    /// Writes snapshots of `streams`, whose states are those after event `seq`.
    pub(crate) fn write_snapshot(&self, seq: u64, streams: &[Arc<Stream>]) -> Result<(), StoreError> {
        let mut batch = sled::Batch::default();
        let mut is_complete = true;
        for stream in streams {
            match encode_stream(stream) {
                Ok(bytes) => batch.insert(key::stream_prefix(key::SNAPSHOT, stream.id), bytes),
                // Without this snapshot the snapshots are not complete up to `seq`. `META_SNAPSHOT` keeps its old
                // value, so that a reader replays the events of this stream since then.
                Err(_) => is_complete = false,
            }
        }
        if is_complete {
            batch.insert(key::META_SNAPSHOT, seq.to_be_bytes().to_vec());
        }
        guarded(|| Ok(self.db.apply_batch(batch)?))
    }

    /// The event up to which the snapshots of all streams are complete; 0 if none were written yet. A single snapshot
    /// may include later events, too.
    pub(crate) fn snapshot_seq(&self) -> Result<u64, StoreError> {
        let bytes = guarded(|| Ok(self.db.get(key::META_SNAPSHOT)?))?;
        Ok(bytes.and_then(|bytes| bytes.first_chunk().map(|seq| u64::from_be_bytes(*seq))).unwrap_or(0))
    }

    /// The snapshot of `stream`; `None` if there is none, or if this version of the program cannot decode it.
    pub(crate) fn snapshot(&self, stream: StreamId) -> Result<Option<Stream>, StoreError> {
        let bytes = guarded(|| Ok(self.db.get(key::stream_prefix(key::SNAPSHOT, stream))?))?;
        Ok(bytes.and_then(|bytes| decode_stream(&bytes).ok()).filter(|snapshot| snapshot.id == stream))
    }

    /// All snapshots; `None` if this version of the program cannot decode one of them.
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

    /// Iterates over the snapshots in the order of their stream ids, with one of them in memory at a time.
    pub(crate) fn scan_snapshots(self: &Arc<Self>) -> SnapshotScan {
        SnapshotScan { entries: self.db.scan_prefix([key::SNAPSHOT]), _store: Arc::clone(self) }
    }

    /// Whether all snapshots have the record version that this program writes.
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
