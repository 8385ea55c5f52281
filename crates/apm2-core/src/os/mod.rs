//! The operating system: processes, signals, pidfds, `/proc`. `child` holds all of the unsafe code.

pub(crate) mod child;
pub(crate) mod exec_barrier;
pub(crate) mod exec_failure;
pub(crate) mod group;
pub(crate) mod hook;
pub(crate) mod inherited;
pub(crate) mod main_process;
pub mod notify;
pub(crate) mod precheck;
pub(crate) mod procfs;
pub(crate) mod spawner;
pub(crate) mod stdin;
pub(crate) mod usage;
