//! The process that a run began with: waiting for its end, without reaping it.
//!
//! While it is unreaped its pid, which is the id of its group, cannot become somebody else's. So its exit is looked at
//! first and taken from the kernel last, once its group is empty.

use std::{
    io,
    os::{
        fd::{AsFd as _, BorrowedFd, OwnedFd},
        unix::process::ExitStatusExt as _,
    },
    process::ExitStatus,
    time::Duration,
};

use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, WaitIdStatus, pidfd_open, waitid};
use tokio::io::unix::AsyncFd;

use crate::process::{Signal, child};

/// How often a process is looked at on a kernel without pidfds (before Linux 5.3).
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// The bit of a wait status that says that core was dumped (wait(2)).
const CORE_DUMPED: i32 = 0x80;

/// A child of ours that leads its process group and has not been reaped.
#[derive(Debug)]
pub(super) struct Leader {
    pid: Pid,
    pidfd: Option<AsyncFd<OwnedFd>>,
}

impl Leader {
    /// Takes the child with this pid, just spawned; `None` when the number cannot be a pid.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub(super) fn new(pid: u32) -> Option<Self> {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw)?;
        let pidfd = pidfd_open(pid, PidfdFlags::empty())
            .map_err(io::Error::from)
            .and_then(child::readiness)
            .inspect_err(|error| tracing::debug!(%error, "no pidfd: the process is polled"))
            .ok();
        Some(Self { pid, pidfd })
    }

    /// The id of the group.
    pub(super) fn group(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Sends `signal` to the whole group.
    pub(super) fn signal_group(&self, signal: Signal) -> io::Result<()> {
        child::signal_group(self.pid, self.pidfd(), signal)
    }

    /// Waits until the process has ended, and leaves it a zombie. `None` when somebody else has taken its status.
    ///
    /// Dropping the future changes nothing.
    pub(super) async fn ended(&self) -> Option<ExitStatus> {
        loop {
            match self.peek() {
                Ok(Some(status)) => return Some(status),
                Ok(None) => self.might_have_ended().await,
                Err(error) => {
                    tracing::warn!(pid = self.group(), %error, "the exit status was taken by somebody else");
                    return None;
                }
            }
        }
    }

    /// The status, if the process has ended.
    fn peek(&self) -> io::Result<Option<ExitStatus>> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        loop {
            match waitid(WaitId::Pid(self.pid), options) {
                Ok(found) => return Ok(found.as_ref().and_then(wait_status)),
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Waits for a sign that the process has ended.
    async fn might_have_ended(&self) {
        let Some(pidfd) = &self.pidfd else { return tokio::time::sleep(POLL_INTERVAL).await };
        match pidfd.readable().await {
            // Readiness is forgotten so that an untimely wake-up cannot make this a busy loop.
            Ok(mut ready) => ready.clear_ready(),
            Err(_) => tokio::time::sleep(POLL_INTERVAL).await,
        }
    }

    fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        self.pidfd.as_ref().map(AsyncFd::get_ref).map(OwnedFd::as_fd)
    }
}

/// The wait status (wait(2)) that says the same as the answer of waitid(2).
fn wait_status(found: &WaitIdStatus) -> Option<ExitStatus> {
    let core_dumped = if found.dumped() { CORE_DUMPED } else { 0 };
    let of_code = found.exit_status().map(|code| (code & 0xff) << 8);
    let of_signal = || found.terminating_signal().map(|signal| signal | core_dumped);
    of_code.or_else(of_signal).map(ExitStatus::from_raw)
}
