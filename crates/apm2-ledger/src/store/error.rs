//! Errors of the store.

use std::io;

use crate::journal::sealed::error::SealError;

/// Why an operation on the store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// sled returned an error.
    #[error("sled: {0}")]
    Sled(#[from] sled::Error),
    /// sled panicked.
    #[error("sled panicked: {0}")]
    Panicked(String),
    /// A file or directory of the store could not be read or written.
    #[error("the store's directory: {0}")]
    Io(#[from] io::Error),
    /// A frame could not be built from events.
    #[error(transparent)]
    Frame(#[from] SealError),
    /// The content of the store contradicts itself, so that it cannot be what was written.
    #[error("the store is inconsistent: {0}")]
    Inconsistent(String),
    /// The events in a frame have a correct checksum, but do not match the hash chain in the frame: they were changed
    /// together with the checksum.
    #[error("the store is inconsistent: events {first_seq} to {last_seq} do not match the hash chain of the store")]
    Altered {
        /// The sequence number of the first event in the frame.
        first_seq: u64,
        /// The sequence number of the last event in the frame.
        last_seq: u64,
    },
}
