//! How a ledger is opened.

use std::{sync::Arc, time::Duration};

use crate::{
    journal::medium::{Disk, Medium},
    limits::{HEADS_MAX, LOCK_WAIT, SEGMENT_BYTES},
};

/// How a ledger is opened. The defaults are for use, other values for tests.
#[derive(Clone)]
pub struct Options {
    /// Length of a journal segment, in bytes.
    pub segment_bytes: u64,
    /// How long to wait for another process to let go of the ledger.
    pub lock_wait: Duration,
    /// Through what the journal is written and synced.
    pub medium: Arc<dyn Medium>,
    /// Streams whose heads are held in memory, beside those that something is going on in.
    pub heads_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { segment_bytes: SEGMENT_BYTES, lock_wait: LOCK_WAIT, medium: Arc::new(Disk), heads_max: HEADS_MAX }
    }
}
