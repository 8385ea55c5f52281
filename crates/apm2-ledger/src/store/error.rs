//! What can go wrong with the store.

use std::io;

/// Why the store refused.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// sled returned an error.
    #[error("sled: {0}")]
    Sled(#[from] sled::Error),
    /// sled panicked.
    #[error("sled panicked: {0}")]
    Panicked(String),
    /// Its directory could not be handled.
    #[error("the store's directory: {0}")]
    Io(#[from] io::Error),
    /// What it holds is not what was put into it.
    #[error("the store is inconsistent: {0}")]
    Inconsistent(String),
    /// Events in it are whole, and are not those that its own chain was made of.
    #[error("the store is inconsistent: events {first_seq} to {last_seq} are not what they were")]
    Altered {
        /// The first of them.
        first_seq: u64,
        /// The last of them.
        last_seq: u64,
    },
}
