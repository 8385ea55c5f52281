//! [`Options`] of [`Ledger::open_with`](crate::Ledger::open_with).

use std::{sync::Arc, time::Duration};

use crate::{
    journal::storage_backend::{Disk, StorageBackend},
    limits::{LOCK_WAIT, SEGMENT_BYTES, STREAM_HEADS_MAX},
};

/// Options for opening a ledger. Programs use the defaults; tests set other values.
#[derive(Clone)]
pub struct Options {
    /// Length of a journal segment, in bytes.
    pub segment_bytes: u64,
    /// How long to wait for the lock of the ledger's directory while another process holds it.
    pub lock_wait: Duration,
    /// The implementation that writes and syncs the journal: the disk, or a backend of a test that injects faults.
    pub backend: Arc<dyn StorageBackend>,
    /// Number of idle streams whose state is held in memory for the next append. The state of a stream with a running
    /// process or a scheduled restart is always held, and does not count.
    pub stream_heads_max: usize,
    /// Whether full segments are rewritten as sealed segments, in the background.
    pub seal: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: SEGMENT_BYTES,
            lock_wait: LOCK_WAIT,
            backend: Arc::new(Disk),
            stream_heads_max: STREAM_HEADS_MAX,
            seal: true,
        }
    }
}
