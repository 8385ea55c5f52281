//! The daemon: the only process that writes a ledger, and the supervisor of the processes recorded in it.
//!
//! ```text
//! clients --> socket --> session --> Supervisor --> processes
//!                                       |              | outputs, pidfds
//!                                     Ledger         fd_store
//! ```
//!
//! [`serve`] opens the ledger, takes over the processes of an earlier daemon, and answers clients until a client or a
//! signal requests its end, or until it is idle. [`fd_store`] is a separate process that only holds file descriptors,
//! so that none is closed when the daemon ends. The crate `apm2-core` supervises processes, `apm2-ledger` stores the
//! recorded events, and `apm2-ledger-cli` contains the command line.

mod accept_loop;
mod address;
mod calls;
pub mod client;
mod connection;
mod descriptor;
mod drain;
mod error;
mod failure;
pub mod fd_store;
mod frame;
mod guard;
mod launch_file;
mod launch_form;
mod launches;
pub mod ledger_settings;
pub mod log_file;
mod options;
pub mod owner;
mod peer;
mod pending_connections;
mod place;
pub mod protocol;
pub mod question;
pub mod reader;
mod record;
mod recovery;
mod reopen;
mod retain_at_start;
mod retention;
mod server;
mod service_manager;
mod session;
mod shared_sync;
mod signals;
mod size_limit;
pub mod start;
mod state;
pub mod stray;
mod survey;
mod thread_limit;
mod user;
mod watch;

pub use crate::{
    address::{DAEMON_SOCKET, FD_STORE_SOCKET},
    error::DaemonError,
    launches::launched,
    options::DaemonOptions,
    server::serve,
    survey::dry_run,
};
