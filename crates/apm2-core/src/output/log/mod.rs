//! Log files of the output of a process: writing, rotation, retention and reading.

pub(crate) mod captured;
#[cfg(test)]
pub(crate) mod fault;
pub(crate) mod files;
pub(crate) mod follow;
pub(crate) mod last;
pub(crate) mod log_set;
pub(crate) mod meter;
pub(crate) mod retention;
pub(crate) mod rotation;
pub(crate) mod secret_filter;
pub(crate) mod since;
pub(crate) mod sink;
pub(crate) mod tail;
pub(crate) mod threads;
pub(crate) mod writer;
