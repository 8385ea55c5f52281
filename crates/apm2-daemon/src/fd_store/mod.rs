//! The file descriptor store: a process that only holds file descriptors (compare `FDSTORE` in
//! sd_pid_notify_with_fds(3)). Its command and socket are named `keeper`.
//!
//! The kernel discards a pipe and its content when the last descriptor is closed. If a process writes its last lines
//! and ends while no supervisor is alive, another process must hold the pipe, or the lines are lost. The store holds
//! the pipe from before the process is spawned until its output is written. The store also holds the pidfd, from which
//! the exit status of a process can be read after init has reaped it.
//!
//! The store reads nothing from the descriptors. The key of the descriptors of a run is the marker of the run. The
//! store accepts connections only from its own user and from root. It exits when it has no descriptors and no
//! connection.

pub(crate) mod client;
pub(crate) mod connect;
#[cfg(test)]
pub(crate) mod golden;
pub(crate) mod message;
pub(crate) mod probe;
pub(crate) mod server;
pub(crate) mod stored_fds;

pub use crate::fd_store::{client::FdStoreClient, probe::answers, server::serve_descriptors};
