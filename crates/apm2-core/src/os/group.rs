//! Finds the processes of a group or session in `/proc`.

use std::{collections::HashSet, io, os::fd::AsFd as _};

use apm2_model::signal::Signal;
use nix::unistd::{getpgid, getsid};
use rustix::{
    io::Errno,
    process::{Pid, PidfdFlags, pidfd_open},
};

use crate::os::{
    child::{self, SignalScope},
    procfs::Stat,
};

/// Attempts to make a complete list of processes.
const PASSES_MAX: u32 = 32;

/// A process of a run that has not ended yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Member {
    /// The pid of the process.
    pub(crate) pid: u32,
    /// Whether the process is stopped (state `T`). A stopped process acts on no signal except SIGKILL and SIGCONT.
    pub(crate) stopped: bool,
    /// Whether a signal to the process group reaches the process. Other processes of the run are signalled one by one.
    pub(crate) in_group: bool,
    /// Start time of the process in clock ticks since boot. Distinguishes the process from a later process with the
    /// same pid.
    pub(super) start_ticks: u64,
}

impl Member {
    pub(super) const fn of(pid: u32, stat: &Stat, in_group: bool) -> Self {
        Self { pid, stopped: stat.state == b'T', in_group, start_ticks: stat.start_ticks }
    }

    /// The pid and the start time, which identify the process among all processes of this boot.
    pub(crate) const fn id(&self) -> (u32, u64) {
        (self.pid, self.start_ticks)
    }

    /// Sends a signal to this process alone. Succeeds also if the process has ended.
    ///
    /// # Errors
    /// The error of pidfd_open(2) or pidfd_send_signal(2).
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) else { return Ok(()) };
        let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => pidfd,
            Err(Errno::SRCH) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        };
        // The start time is checked after the pidfd was opened. From then on, the pidfd cannot refer to another
        // process.
        if Stat::read(self.pid).is_none_or(|stat| stat.start_ticks != self.start_ticks) {
            return Ok(());
        }
        match child::send_signal(pidfd.as_fd(), signal, SignalScope::Process) {
            Err(error) if error.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => Ok(()),
            sent => sent,
        }
    }
}

/// The result of examining one process in `/proc`.
pub(super) enum Sighting {
    /// The process belongs to the group or session that is searched for.
    Member(Member),
    /// The process does not belong to the searched group or session. It cannot join them later, and its children cannot
    /// either.
    Stranger,
    /// The process is a zombie. It may have belonged to the group when the list was made, and may have forked since.
    Ended,
    /// The process ended, or was in execve(2), before it could be examined.
    Gone,
}

/// Searches all processes of `/proc`. Repeats the search until a pass finds some matching processes, or until a
/// complete pass finds none. Returns the oldest process first.
///
/// If a process forks and ends between the listing of `/proc` and its examination, neither it nor its child is found. A
/// pass without a result is therefore complete only if each process that vanished in the meantime can be excluded. A
/// later pass does not examine again the processes that an earlier pass has excluded, and is therefore short.
pub(super) fn survey(mut examine: impl FnMut(u32) -> io::Result<Sighting>) -> io::Result<Vec<Member>> {
    let mut strangers = HashSet::new();
    for _ in 0..PASSES_MAX {
        let (mut members, mut has_vanished) = (Vec::new(), false);
        let mut unknown: Vec<u32> = pids()?.filter(|pid| !strangers.contains(pid)).collect();
        // The newest processes are examined first, because they are the most likely to end soon.
        unknown.reverse();
        for pid in unknown {
            match examine(pid)? {
                Sighting::Member(member) => members.push(member),
                Sighting::Stranger => drop(strangers.insert(pid)),
                Sighting::Ended => has_vanished |= strangers.insert(pid),
                Sighting::Gone => has_vanished = true,
            }
        }
        if !members.is_empty() || !has_vanished {
            members.reverse();
            return Ok(members);
        }
    }
    Err(io::Error::new(io::ErrorKind::ResourceBusy, "processes start and end too fast for a complete list"))
}

/// The running processes (without zombies) of the process group and of the session with this id.
///
/// # Errors
/// `/proc` cannot be read, so it is unknown whether the group is empty.
pub(crate) fn members(group: u32) -> io::Result<Vec<Member>> {
    survey(|pid| {
        // getpgid(2) and getsid(2) exclude a process fifty times faster than reading its `stat` file.
        match is_near(pid, group) {
            Ok(true) => {}
            Ok(false) => return Ok(Sighting::Stranger),
            Err(nix::errno::Errno::ESRCH) => return Ok(Sighting::Gone),
            // A security module may forbid these system calls while `stat` is readable.
            Err(_) => {}
        }
        // Only a process that ended in the meantime counts as gone. Other errors are returned.
        let Some(text) = read_unless_gone(&format!("/proc/{pid}/stat"))? else { return Ok(Sighting::Gone) };
        // A shell with job control puts its jobs into new process groups of the same session.
        let found = Stat::parse(&text).filter(|stat| stat.group == group || stat.session == group);
        Ok(match found {
            None => Sighting::Stranger,
            Some(stat) if stat.has_ended() => Sighting::Ended,
            Some(stat) => Sighting::Member(Member::of(pid, &stat, stat.group == group)),
        })
    })
}

/// Whether `pid` is in the process group or the session with this id. Both are 0 for kernel threads.
fn is_near(pid: u32, group: u32) -> nix::Result<bool> {
    let Ok(pid) = i32::try_from(pid) else { return Ok(false) };
    let pid = Some(nix::unistd::Pid::from_raw(pid));
    let is_id = |found: nix::unistd::Pid| u32::try_from(found.as_raw()) == Ok(group);
    Ok(is_id(getpgid(pid)?) || is_id(getsid(pid)?))
}

/// The pids in `/proc`.
pub(crate) fn pids() -> io::Result<impl Iterator<Item = u32>> {
    let entries = std::fs::read_dir("/proc")?.collect::<io::Result<Vec<_>>>()?;
    Ok(entries.into_iter().filter_map(|entry| entry.file_name().to_str()?.parse().ok()))
}

/// Reads a file of a process; `None` if the process is gone.
pub(super) fn read_unless_gone(path: &str) -> io::Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.raw_os_error() == Some(nix::libc::ESRCH) => Ok(None),
        Err(error) => Err(error),
    }
}
