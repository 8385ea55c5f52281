//! The process that a run began with: waiting for its end, without reaping it.
//!
//! While it is unreaped its pid, which is the id of its group, cannot become somebody else's. So the exit of a child is
//! looked at first and taken from the kernel last, once its group is empty. A process that outlived its supervisor is
//! nobody's child any more, or somebody else's: its exit is read where the kernel still shows it.

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
        group::{self, Marker, Member},
        procfs::{ProcessStatus, is_in_another_namespace, status_of},
    },
};

/// How often a process is looked at on a kernel without pidfds (before Linux 5.3).
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// The bit of a wait status that says that core was dumped (wait(2)).
const CORE_DUMPED: i32 = 0x80;

/// The leader of a process group.
#[derive(Debug)]
pub(crate) struct MainProcess {
    pid: Pid,
    pidfd: Option<AsyncFd<Arc<OwnedFd>>>,
    kin: Parentage,
}

/// What it is to us.
#[derive(Debug, Clone, Copy)]
enum Parentage {
    /// A child that we have not reaped.
    Child,
    /// A process that an earlier supervisor started.
    Adopted(ProcessIdentity),
}

impl MainProcess {
    /// Takes the child with this pid, just spawned; `None` when the number cannot be a pid.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub(crate) fn child(pid: u32) -> Option<Self> {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw)?;
        Some(Self { pid, pidfd: open_pidfd(pid).and_then(watched), kin: Parentage::Child })
    }

    /// Takes a process that an earlier supervisor started, dead or alive, with the pidfd that was kept for it.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub(crate) fn adopted(identity: ProcessIdentity, kept: Option<OwnedFd>) -> Option<Self> {
        let pid = i32::try_from(identity.pid).ok().and_then(Pid::from_raw)?;
        let opened = || {
            let opened = open_pidfd(pid)?;
            // What it means is looked up after it was opened: from here on it cannot become a stranger.
            matches!(status_of(&identity), ProcessStatus::Alive | ProcessStatus::Zombie(_)).then_some(opened)
        };
        let pidfd = kept.or_else(opened).and_then(watched);
        Some(Self { pid, pidfd, kin: Parentage::Adopted(identity) })
    }

    /// The id of the group.
    pub(crate) fn group(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// The members of its group and session that have not ended.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub(crate) fn members(&self, marker: &Marker) -> io::Result<Vec<Member>> {
        if !self.is_of_this_boot() {
            return Ok(Vec::new());
        }
        let members = group::members(self.group())?;
        match self.kin {
            // Looked at after the list was made: if the process is still there, the id was its own all the time.
            Parentage::Adopted(_) if !self.keeps_its_pid() => {
                // A group that the pidfd still knows keeps its id for itself.
                if self.pidfd().is_some_and(|pidfd| child::has_group(pidfd).unwrap_or(false)) {
                    return Ok(members);
                }
                // The id may be a stranger's by now: only those that carry the mark of the run are its own (law 6).
                Ok(members.into_iter().filter(|member| marker.is_carried_by(member.pid)).collect())
            }
            Parentage::Adopted(_) | Parentage::Child => Ok(members),
        }
    }

    /// Whether anything of the run can be left: nothing survives a reboot.
    pub(crate) fn is_of_this_boot(&self) -> bool {
        match self.kin {
            Parentage::Child => true,
            Parentage::Adopted(identity) => identity.boot_id == boot_id(),
        }
    }

    /// Whether the id of the group may mean another group, now that the leader has ended in this way. Of an adopted one
    /// the members are told by other means.
    pub(crate) const fn has_lost_group(&self, exit: &Exit) -> bool {
        matches!((self.kin, exit.evidence), (Parentage::Child, Evidence::Unknown))
    }

    /// Sends `signal` to the whole group, of which `members` were seen.
    ///
    /// # Errors
    /// The error of kill(2) or pidfd_send_signal(2).
    pub(crate) fn signal_group(&self, signal: Signal, members: &[Member]) -> io::Result<()> {
        if let Some(pidfd) = self.pidfd()
            && child::signal_by(pidfd, signal, SignalScope::Group).is_ok()
        {
            return Ok(());
        }
        match self.kin {
            Parentage::Child => child::signal_group(self.pid, signal),
            // Without a kernel that holds on to the group, each member is told by its start time.
            Parentage::Adopted(_) => {
                members.iter().filter(|member| member.in_group).try_for_each(|member| member.signal(signal))
            }
        }
    }

    /// Sends `signal` to the process alone.
    ///
    /// # Errors
    /// The error of pidfd_send_signal(2); `ENOSYS` on a kernel without pidfds.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        let pidfd = self.pidfd().ok_or_else(|| io::Error::from(rustix::io::Errno::NOSYS))?;
        child::signal_by(pidfd, signal, SignalScope::Process)
    }

    /// Waits until the process has ended, and leaves it a zombie. [`Exit::UNKNOWN`] when nobody can tell how.
    ///
    /// Dropping the future changes nothing.
    pub(crate) async fn ended(&self) -> Exit {
        loop {
            if let Some(exit) = self.look().await {
                return exit;
            }
            self.might_have_ended().await;
        }
    }

    /// The exit, if the process has ended.
    async fn look(&self) -> Option<Exit> {
        match self.kin {
            Parentage::Child => match self.peek() {
                Ok(status) => status.map(|status| Exit::from_status(status, Evidence::Observed)),
                Err(error) => {
                    tracing::warn!(pid = self.group(), %error, "the exit status was taken by somebody else");
                    Some(Exit::UNKNOWN)
                }
            },
            Parentage::Adopted(identity) => {
                // The descriptor is asked first: what `/proc` does not show may be hidden.
                let has_ended = self.has_ended();
                if has_ended == Some(false) {
                    return None;
                }
                let look = move || (status_of(&identity), is_in_another_namespace(&identity));
                // Nothing is seen when the runtime is shutting down.
                let (observed, is_apart) = blocking::step(look).await.ok()?;
                match (has_ended, observed) {
                    // Or between the two looks.
                    (_, ProcessStatus::Alive) => None,
                    // Of another namespace it was taken over only because that is gone (`Supervisor::out_of_sight`).
                    (None, ProcessStatus::Unverifiable) if !is_apart => None,
                    (_, ProcessStatus::Zombie(exit)) => Some(exit),
                    (_, ProcessStatus::Gone | ProcessStatus::Unverifiable) => Some(self.kept_exit()),
                }
            }
        }
    }

    /// Whether the process has ended, by its descriptor; `None` without one.
    fn has_ended(&self) -> Option<bool> {
        self.pidfd().and_then(child::has_ended)
    }

    /// Whether its pid, and so the id of its group, certainly is its own: it has not ended, or is a zombie.
    fn keeps_its_pid(&self) -> bool {
        let Parentage::Adopted(identity) = self.kin else { return true };
        self.has_ended() == Some(false)
            || matches!(status_of(&identity), ProcessStatus::Alive | ProcessStatus::Zombie(_))
    }

    /// The exit of a process that is reaped, if the kernel kept it for our pidfd.
    fn kept_exit(&self) -> Exit {
        let status = self.pidfd().and_then(child::kept_status);
        status.map_or(Exit::UNKNOWN, |status| Exit::from_status(ExitStatus::from_raw(status), Evidence::Recovered))
    }

    /// The status, if the child has ended.
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

    /// The descriptor that means this process and no other; `None` on a kernel without pidfds.
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

/// The wait status (wait(2)) that says the same as the answer of waitid(2).
fn wait_status(found: &WaitIdStatus) -> Option<ExitStatus> {
    let core_dumped = if found.dumped() { CORE_DUMPED } else { 0 };
    let of_code = found.exit_status().map(|code| (code & 0xff) << 8);
    let of_signal = || found.terminating_signal().map(|signal| signal | core_dumped);
    of_code.or_else(of_signal).map(ExitStatus::from_raw)
}
