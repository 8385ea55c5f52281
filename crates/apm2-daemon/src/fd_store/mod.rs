//! The file descriptor store: a process that only holds file descriptors (compare `FDSTORE` in sd_pid_notify_with_fds(3)). Its
//! command and socket are named `keeper`.
//!
//! The kernel discards a pipe and its content when the last descriptor is closed. If a process writes its last lines and ends
//! while no supervisor is alive, another process must hold the pipe, or the lines are lost. The store holds it from before the
//! process is spawned until its output is written. It also holds the pidfd, from which the exit status of a process can be read
//! after init has reaped it.
//!
//! It reads nothing from the descriptors. It finds them by the marker of the run, accepts connections of its own user and root
//! only, and exits when it holds nothing and has no connection.

pub(crate) mod client;
pub(crate) mod connect;
#[cfg(test)]
pub(crate) mod golden;
pub(crate) mod message;
pub(crate) mod server;
pub(crate) mod stored_fds;

pub use crate::fd_store::{client::FdStoreClient, server::serve_descriptors};
