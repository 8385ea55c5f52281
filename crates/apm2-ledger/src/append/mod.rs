//! The append path: a caller's events become one durable commit of the journal.
//!
//! [`group_commit`] collects the requests of all callers; [`commit_writer`] checks, numbers, encodes and writes them. What a commit
//! looks like on the disk is in `journal`.

pub(crate) mod commit_writer;
pub(crate) mod group_commit;
pub(crate) mod recorder;
pub(crate) mod request;
pub(crate) mod stream_heads;
