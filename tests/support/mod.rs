//! Helpers for all scenarios: a directory of their own, the program run in it, and bounded waits.

mod following;
mod place;
mod running;
mod tmux;
mod unprivileged;
mod wait;

pub(crate) use self::{
    following::Following,
    place::{Outcome, Place, finish, helpers_of, helpers_of_program},
    running::Running,
    tmux::Tmux,
    unprivileged::Unprivileged,
    wait::{gone, is_so_in_time, wait_until},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use rustix::process::{Resource, Rlimit, getrlimit, prlimit};

/// Sends a signal to one process.
pub(crate) fn send(pid: u32, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(pid).unwrap()), signal).unwrap();
}

/// Sets the soft limit of a process, or raises it to our hard limit.
pub(crate) fn limit(pid: u32, resource: Resource, soft: Option<u64>) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap());
    let maximum = getrlimit(resource).maximum;
    prlimit(pid, resource, Rlimit { current: soft.or(maximum), maximum }).unwrap();
}
