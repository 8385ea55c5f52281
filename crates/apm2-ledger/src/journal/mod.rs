//! The journal: the write-ahead log of the ledger, and its authoritative data.
//!
//! The journal is a directory of append-only segment files. A segment file is created before it is needed, filled with
//! zeros and synced. A commit therefore overwrites blocks that are already allocated, and its fdatasync(2) has no metadata
//! to write. A full segment is later rewritten as a sealed segment: compressed, with an index.
//!
//! [`writer`] appends commits. [`reader`] reads events without a lock, also while another process appends. [`scan`]
//! decides whether the end of a segment is valid, torn or damaged. [`segment`] defines the header of a segment file, and
//! [`sealed`] the form of a sealed segment.

pub(crate) mod archive;
pub(crate) mod base;
pub mod catalog;
pub(crate) mod event_batch;
pub(crate) mod kept_segment;
pub(crate) mod next_segment;
pub(crate) mod origin;
pub(crate) mod plain_segment;
pub mod reader;
pub mod scan;
pub mod sealed;
pub(crate) mod sealed_cursor;
pub mod segment;
pub(crate) mod segment_file;
pub(crate) mod segment_walk;
pub(crate) mod segments;
pub mod storage_backend;
pub(crate) mod unsynced;
pub(crate) mod wanted;
pub mod writer;

/// Name of the journal directory within the ledger directory.
pub const JOURNAL_DIR: &str = "journal";
