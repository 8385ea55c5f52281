//! The keeper: a process that does nothing but hold descriptors.
//!
//! A pipe is gone with all that is in it once nobody has it open. If a process writes its last lines and ends while no
//! supervisor is alive, somebody else must have the pipe open, or they are lost. The keeper has it open, from before the
//! process is spawned until its output is written. It also holds the pidfd, by which the kernel tells the exit of a
//! process that somebody else has reaped.
//!
//! It reads nothing from what it holds. It knows its descriptors by the text of a run's marker, answers only its own user
//! and root, and leaves when it holds nothing and nobody is connected.

pub(crate) mod client;
#[cfg(test)]
pub(crate) mod golden;
pub(crate) mod message;
pub(crate) mod server;

pub use crate::fd_store::{client::FdStoreClient, server::serve_descriptors};
