//! The append path: the events of a caller become part of a durable commit in the journal.
//!
//! [`group_commit`] collects the requests of all callers. [`commit_writer`] checks, numbers, encodes and writes the
//! events. The module `journal` defines the format of a commit on the disk.

pub(crate) mod archived_files;
pub(crate) mod catalog_writer;
pub(crate) mod commit_writer;
pub(crate) mod group_commit;
pub(crate) mod recorder;
pub(crate) mod request;
pub(crate) mod sealer;
pub(crate) mod segment_sealer;
pub(crate) mod segment_states;
pub(crate) mod stream_heads;
