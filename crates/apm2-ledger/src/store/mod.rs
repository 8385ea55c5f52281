//! The store: an index of the journal in sled, asked by event number, stream, time and name.
//!
//! The store holds nothing that the journal does not hold. [`sled_store`] makes the calls of sled, and [`guard`] turns its panics
//! into errors.

pub(crate) mod clean_shutdown;
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

/// The store's directory within the ledger's.
pub(crate) const STORE_DIR: &str = "sled";
