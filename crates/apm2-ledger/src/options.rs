//! How a ledger is opened.

use std::{sync::Arc, time::Duration};

use crate::{
    journal::storage_backend::{Disk, StorageBackend},
    limits::{LOCK_WAIT, SEGMENT_BYTES, STREAM_HEADS_MAX},
};

/// How a ledger is opened. The defaults are for use, other values for tests.
#[derive(Clone)]
pub struct Options {
    /// Length of a journal segment, in bytes.
    pub segment_bytes: u64,
    /// How long to wait for another process to let go of the ledger.
    pub lock_wait: Duration,
    /// Through what the journal is written and synced.
    pub backend: Arc<dyn StorageBackend>,
    /// Streams whose heads are held in memory, beside those that something is going on in.
    pub stream_heads_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: SEGMENT_BYTES,
            lock_wait: LOCK_WAIT,
            backend: Arc::new(Disk),
            stream_heads_max: STREAM_HEADS_MAX,
        }
    }
}
