//! The threads that read and order for the screen. None of them draws, and the thread that draws waits for none of them.

pub(crate) mod answers;
pub(crate) mod events;
pub(crate) mod log_follower;
pub(crate) mod log_requests;
pub(crate) mod log_update;
pub(crate) mod mailbox;
pub(crate) mod orders;
pub(crate) mod overview;
pub(crate) mod samples;
pub(crate) mod snapshots;
pub(crate) mod thread;
