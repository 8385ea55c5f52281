//! Processes, signals, pidfds, `/proc` and inotify of Linux. All unsafe code is in `child`.

pub(crate) mod activity;
pub(crate) mod child;
pub(crate) mod exec_barrier;
pub(crate) mod exec_failure;
pub(crate) mod exec_image;
pub(crate) mod group;
pub(crate) mod hook;
pub(crate) mod inherited;
pub(crate) mod main_process;
pub(crate) mod marker;
pub mod notify;
pub(crate) mod precheck;
pub(crate) mod procfs;
pub(crate) mod search;
pub(crate) mod spare_threads;
pub(crate) mod spawn_slot;
pub(crate) mod spawner;
pub(crate) mod stdin;
pub(crate) mod unreaped_child;
pub(crate) mod usage;
