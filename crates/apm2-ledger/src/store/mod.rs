//! The store: an index of the journal in a sled database, for lookups by event number, stream, time and process name.
//!
//! The store holds nothing that the journal does not hold, so it can always be rebuilt. All calls of sled are in this
//! module, and [`guard`] converts the panics of sled into errors.

pub(crate) mod clean_shutdown;
mod database;
pub(crate) mod error;
pub(crate) mod files;
pub(crate) mod frames;
pub(crate) mod guard;
pub(crate) mod head;
pub(crate) mod index;
pub(crate) mod indexed_frame_builder;
pub(crate) mod indexer;
pub(crate) mod key;
pub(crate) mod sled_store;
pub(crate) mod snapshots;
mod stored_frame;

/// The name of the store's directory within the ledger's directory.
pub(crate) const STORE_DIR: &str = "sled";
