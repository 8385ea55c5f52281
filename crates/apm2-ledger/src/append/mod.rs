//! The append path: the events of a caller become part of a durable commit in the journal.
//!
//! [`encoded_append`] checks and encodes the events of one caller. [`group_commit`] collects the requests of all callers.
//! [`commit_writer`] checks them against the states of their streams, numbers and writes them. The module `journal` defines the format of a commit on the disk.

pub(crate) mod archived_files;
pub(crate) mod catalog_writer;
pub(crate) mod commit_writer;
pub(crate) mod encoded_append;
pub(crate) mod group_commit;
pub(crate) mod recorder;
pub(crate) mod request;
pub(crate) mod sealer;
pub(crate) mod segment_sealer;
pub(crate) mod segment_states;
pub(crate) mod stream_heads;
