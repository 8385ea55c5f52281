//! The output of a process: how it is moved from pipes into log files, and read from these files.

pub(crate) mod destination;
pub(crate) mod drain;
pub(crate) mod fd_store;
pub(crate) mod log;
pub(crate) mod notice;
pub(crate) mod observer;
pub(crate) mod pipes;
pub(crate) mod reader;
pub(crate) mod readers;
pub(crate) mod source;
pub(crate) mod subscriber;
