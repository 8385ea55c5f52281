//! The calls of clients: one file for each.

pub(crate) mod apply;
pub(crate) mod control;
pub(crate) mod follow;
pub(crate) mod forget;
pub(crate) mod outcomes;
pub(crate) mod remove;
pub(crate) mod run;
pub(crate) mod scale;
pub(crate) mod shutdown;
pub(crate) mod streams;
