//! The calls that clients can make, one file for each call.

pub(crate) mod apply;
pub(crate) mod control;
pub(crate) mod follow;
pub(crate) mod forget;
pub(crate) mod outcomes;
pub(crate) mod read;
pub(crate) mod remove;
pub(crate) mod run;
pub(crate) mod scale;
pub(crate) mod shutdown;
pub(crate) mod streams;
