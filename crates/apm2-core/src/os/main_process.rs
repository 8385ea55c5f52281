//! The main process of a run: waits for its end without reaping it.
//!
//! While a process is not reaped, the kernel does not reuse its pid, which is also the id of its process group. The
//! exit of a child is therefore read with `WNOWAIT` (waitid(2)), and the child is reaped only when its process group is
//! empty. A process that outlived its supervisor is not a child of this supervisor. Its exit is read from `/proc` or
//! from its pidfd, if the kernel still has it.

use std::{
    io,
    os::{
        fd::{AsFd as _, BorrowedFd, OwnedFd},
        unix::process::ExitStatusExt as _,
    },
    process::ExitStatus,
    sync::Arc,
    time::Duration,
};

use apm2_model::{
    clock::boot_id,
    event::{
        exit::{Evidence, Exit},
        identity::ProcessIdentity,
    },
    signal::Signal,
};
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, WaitIdStatus, pidfd_open, waitid};
use tokio::io::unix::AsyncFd;

use crate::{
    blocking,
    os::{
        child::{self, SignalScope},
        group::{self, Member},
        marker::Marker,
        procfs::{ProcessStatus, is_in_another_namespace, status_of},
    },
};

/// Polling interval on a kernel without pidfds (before Linux 5.3).
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// The bit of a wait status that says that the process dumped core (`WCOREDUMP`, wait(2)).
const CORE_DUMPED: i32 = 0x80;

/// The main process of a run, leader of its session and process group.
#[derive(Debug)]
pub(crate) struct MainProcess {
    pid: Pid,
    pidfd: Option<AsyncFd<Arc<OwnedFd>>>,
    parentage: Parentage,
}

/// Whether the main process is a child of this supervisor.
#[derive(Debug, Clone, Copy)]
enum Parentage {
    /// The process is an unreaped child of this supervisor.
    Child,
    /// The process was started by an earlier supervisor.
    Adopted(ProcessIdentity),
}

impl MainProcess {
    /// The main process with this pid, a child that was just spawned.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub(crate) fn child(pid: Pid) -> Self {
        Self { pid, pidfd: open_pidfd(pid).and_then(watched), parentage: Parentage::Child }
    }

    /// A process that an earlier supervisor started, running or ended, with its pidfd from the file descriptor store. `None`
    /// if its pid is not valid.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub(crate) fn adopted(identity: ProcessIdentity, stored: Option<OwnedFd>) -> Option<Self> {
        let pid = i32::try_from(identity.pid).ok().and_then(Pid::from_raw)?;
        let opened = || {
            let opened = open_pidfd(pid)?;
            // The identity is checked after the pidfd was opened. From then on, the pidfd cannot refer to another
            // process.
            matches!(status_of(&identity), ProcessStatus::Alive | ProcessStatus::Zombie(_)).then_some(opened)
        };
        let pidfd = stored.or_else(opened).and_then(watched);
        Some(Self { pid, pidfd, parentage: Parentage::Adopted(identity) })
    }

    /// The id of the process group, which is the pid of the main process.
    pub(crate) fn group(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// The running processes of the process group and the session of the main process.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub(crate) fn members(&self, marker: &Marker) -> io::Result<Vec<Member>> {
        if !self.is_of_this_boot() {
            return Ok(Vec::new());
        }
        Ok(self.own_members(group::members(self.group())?, marker))
    }

    /// Searches for the processes of [`members`](Self::members) without a thread that waits. They are to be passed to
    /// [`own_members`](Self::own_members) then.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub(crate) async fn members_later(&self) -> io::Result<Vec<Member>> {
        if self.is_of_this_boot() { group::members_later(self.group()).await } else { Ok(Vec::new()) }
    }

    /// Of the processes that a search found in the process group and the session with this pid, those of this run.
    pub(crate) fn own_members(&self, members: Vec<Member>, marker: &Marker) -> Vec<Member> {
        match self.parentage {
            // The pid is checked after the list of members was made. If the pid still belongs to the main process now,
            // it also belonged to the main process while the list was made.
            Parentage::Adopted(_) if !self.keeps_its_pid() => {
                // The kernel does not reuse the id of a process group while the pidfd refers to the group.
                if self.pidfd().is_some_and(|pidfd| child::has_group(pidfd).unwrap_or(false)) {
                    return members;
                }
                // The id of the process group may have been reused. Only processes with the marker of the run (an
                // environment variable) belong to the run.
                members.into_iter().filter(|member| marker.is_carried_by(member.pid)).collect()
            }
            Parentage::Adopted(_) | Parentage::Child => members,
        }
    }

    /// Whether the main process was started in the current boot. Otherwise, no process of the run can be left.
    pub(crate) fn is_of_this_boot(&self) -> bool {
        match self.parentage {
            Parentage::Child => true,
            Parentage::Adopted(identity) => identity.boot_id == boot_id(),
        }
    }

    /// Whether the id of the process group may have been reused, now that the leader has ended with `exit`. Always
    /// `false` for an adopted process, because its members are identified by pidfd, start time or marker.
    pub(crate) const fn has_lost_group(&self, exit: &Exit) -> bool {
        matches!((self.parentage, exit.evidence), (Parentage::Child, Evidence::Unknown))
    }

    /// Sends `signal` to the whole process group. `members` are the processes found in the group; they are used only on
    /// kernels that cannot signal a group through a pidfd.
    ///
    /// # Errors
    /// The error of kill(2) or pidfd_send_signal(2).
    pub(crate) fn signal_group(&self, signal: Signal, members: &[Member]) -> io::Result<()> {
        if let Some(pidfd) = self.pidfd()
            && child::send_signal(pidfd, signal, SignalScope::Group).is_ok()
        {
            return Ok(());
        }
        match self.parentage {
            Parentage::Child => child::signal_group(self.pid, signal),
            // Before Linux 6.9: each member is identified by its start time and signalled on its own.
            Parentage::Adopted(_) => {
                members.iter().filter(|member| member.in_group).try_for_each(|member| member.signal(signal))
            }
        }
    }

    /// Sends `signal` to the main process alone.
    ///
    /// # Errors
    /// The error of pidfd_send_signal(2); `ENOSYS` on a kernel without pidfds.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        let pidfd = self.pidfd().ok_or_else(|| io::Error::from(rustix::io::Errno::NOSYS))?;
        child::send_signal(pidfd, signal, SignalScope::Process)
    }

    /// Waits until the main process has ended, and leaves it as a zombie. Returns [`Exit::UNKNOWN`] if its exit cannot
    /// be read. Cancel safe.
    pub(crate) async fn ended(&self) -> Exit {
        loop {
            if let Some(exit) = self.look().await {
                return exit;
            }
            self.might_have_ended().await;
        }
    }

    /// The exit of the main process; `None` while it runs.
    async fn look(&self) -> Option<Exit> {
        match self.parentage {
            Parentage::Child => match self.peek() {
                Ok(status) => status.map(|status| Exit::from_status(status, Evidence::Observed)),
                Err(error) => {
                    tracing::warn!(pid = self.group(), %error, "the exit status is lost: the child was reaped elsewhere in this process");
                    Some(Exit::UNKNOWN)
                }
            },
            Parentage::Adopted(identity) => {
                // The pidfd is checked first, because `/proc` may hide the process.
                let has_ended = self.has_ended();
                if has_ended == Some(false) {
                    return None;
                }
                let look = move || (status_of(&identity), is_in_another_namespace(&identity));
                // An error means that the runtime is shutting down.
                let (observed, is_apart) = blocking::step(look).await.ok()?;
                match (has_ended, observed) {
                    // The process is alive, or it ended between the two checks.
                    (_, ProcessStatus::Alive) => None,
                    // A run of another pid namespace is adopted only if that namespace is gone (`Supervisor::out_of_sight`).
                    (None, ProcessStatus::Unverifiable) if !is_apart => None,
                    (_, ProcessStatus::Zombie(exit)) => Some(exit),
                    (_, ProcessStatus::Gone | ProcessStatus::Unverifiable) => Some(self.reaped_exit()),
                }
            }
        }
    }

    /// Whether the process has ended, according to its pidfd; `None` without a pidfd.
    fn has_ended(&self) -> Option<bool> {
        self.pidfd().and_then(child::has_ended)
    }

    /// Whether the kernel cannot have reused the pid and the process group id, because the process is running or a
    /// zombie.
    fn keeps_its_pid(&self) -> bool {
        let Parentage::Adopted(identity) = self.parentage else { return true };
        self.has_ended() == Some(false)
            || matches!(status_of(&identity), ProcessStatus::Alive | ProcessStatus::Zombie(_))
    }

    /// The exit of a reaped process; `None` if the kernel has not kept it for the pidfd.
    fn reaped_exit(&self) -> Exit {
        let status = self.pidfd().and_then(child::reaped_status);
        status.map_or(Exit::UNKNOWN, |status| Exit::from_status(ExitStatus::from_raw(status), Evidence::Recovered))
    }

    /// The exit of the child if it has ended. Does not reap the child.
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

    /// Waits until the main process may have ended. The caller checks again.
    async fn might_have_ended(&self) {
        let Some(pidfd) = &self.pidfd else { return tokio::time::sleep(POLL_INTERVAL).await };
        match pidfd.readable().await {
            // The readiness is cleared, so that a spurious wake-up does not lead to a busy loop.
            Ok(mut ready) => ready.clear_ready(),
            Err(_) => tokio::time::sleep(POLL_INTERVAL).await,
        }
    }

    /// The pidfd of the process; `None` on a kernel without pidfds (before Linux 5.3).
    pub(crate) fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        self.pidfd.as_ref().map(|pidfd| pidfd.get_ref().as_fd())
    }
}

fn open_pidfd(pid: Pid) -> Option<OwnedFd> {
    pidfd_open(pid, PidfdFlags::empty()).ok()
}

fn watched(pidfd: OwnedFd) -> Option<AsyncFd<Arc<OwnedFd>>> {
    child::readiness(Arc::new(pidfd))
        .inspect_err(|error| tracing::debug!(%error, "no pidfd: the process is polled"))
        .ok()
}

/// Converts a result of waitid(2) to a wait status (wait(2)).
fn wait_status(found: &WaitIdStatus) -> Option<ExitStatus> {
    let core_dumped = if found.dumped() { CORE_DUMPED } else { 0 };
    let of_code = found.exit_status().map(|code| (code & 0xff) << 8);
    let of_signal = || found.terminating_signal().map(|signal| signal | core_dumped);
    of_code.or_else(of_signal).map(ExitStatus::from_raw)
}
