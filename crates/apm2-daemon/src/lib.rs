//! The daemon: the one owner of a ledger, and the supervisor of what runs.
//!
//! ```text
//! clients --> socket --> session --> Supervisor --> processes
//!                                       |              | outputs, pidfds
//!                                     Ledger         keeper
//! ```
//!
//! [`serve`] opens the ledger, takes up what an earlier daemon left, and answers clients until it is told to leave or has
//! nothing to do. The [`fd_store`] is a process of its own that does nothing but hold descriptors, so that the end of the
//! daemon loses none of them. What is supervised and how is `apm2-core`'s matter, what is recorded `apm2-ledger`'s, and
//! what a person types and reads `apm2-ledger-cli`'s.

mod address;
mod calls;
pub mod client;
mod connection;
mod descriptor;
mod error;
mod failure;
pub mod fd_store;
mod frame;
mod guard;
mod launch_file;
mod launches;
pub mod log_file;
mod options;
pub mod owner;
mod peer;
mod pending_connections;
mod place;
pub mod protocol;
mod record;
mod reopen;
mod retention;
mod server;
mod session;
mod signals;
pub mod start;
mod state;
pub mod stray;
mod survey;
mod user;
mod watch;

pub use crate::{
    address::DAEMON_SOCKET, error::DaemonError, launches::launched, options::DaemonOptions, server::serve,
    survey::dry_run,
};
