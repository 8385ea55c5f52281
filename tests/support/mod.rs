//! What every scenario needs: a place of its own, the program run in it, and patience with a bound.

mod place;
mod running;
mod wait;

pub(crate) use self::{
    place::{Outcome, Place, finish, helpers_of},
    running::Running,
    wait::{gone, wait_until},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// Sends a signal to one process.
pub(crate) fn send(pid: u32, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(pid).unwrap()), signal).unwrap();
}
