//! Where the output of a process is kept, how it gets there, and how it is read back.

pub(crate) mod captured;
#[cfg(test)]
pub(crate) mod fault;
pub(crate) mod files;
pub(crate) mod follow;
pub(crate) mod last;
pub(crate) mod meter;
pub(crate) mod retention;
pub(crate) mod rotation;
pub(crate) mod secret_filter;
pub(crate) mod since;
pub(crate) mod sink;
pub(crate) mod tail;
pub(crate) mod threads;
pub(crate) mod writer;
