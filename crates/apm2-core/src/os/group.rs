//! Finds the processes of a group or session in `/proc`.

use std::{
    collections::{HashMap, HashSet},
    io,
    os::fd::AsFd as _,
};

use apm2_model::signal::Signal;
use nix::unistd::{getpgid, getsid};
use rustix::{
    io::Errno,
    process::{Pid, PidfdFlags, pidfd_open},
};

use crate::os::{
    child::{self, SignalScope},
    procfs::{Stat, read_file},
    search::{CombinedSearch, Found, Sighting, survey},
};

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

/// The running processes (without zombies) of the process group and of the session with this id.
///
/// # Errors
/// `/proc` cannot be read, so it is unknown whether the group is empty.
pub(crate) fn members(group: u32) -> io::Result<Vec<Member>> {
    SEARCH.find(group, members_of_each)
}

/// Like [`members`], without a thread that waits.
///
/// # Errors
/// Those of [`members`].
pub(super) async fn members_later(group: u32) -> io::Result<Vec<Member>> {
    SEARCH.find_later(group, members_of_each).await
}

static SEARCH: CombinedSearch<u32, Member> = CombinedSearch::new();

/// The running processes of each of these groups.
fn members_of_each(groups: &[u32]) -> io::Result<Found<Member>> {
    let mut queries: HashMap<u32, Vec<usize>> = HashMap::new();
    for (query, group) in groups.iter().enumerate() {
        queries.entry(*group).or_default().push(query);
    }
    // A leader that had ended before the search cannot fork during it, so its state requires no second pass.
    let has_ended = |pid: &u32| Some((*pid, Stat::read(*pid).filter(Stat::has_ended)?.start_ticks));
    let ended_before: HashSet<(u32, u64)> = queries.keys().filter_map(has_ended).collect();
    survey(groups.len(), |pid| {
        // getpgid(2) and getsid(2) exclude a process fifty times faster than reading its `stat` file.
        match is_near(pid, &queries) {
            Ok(true) => {}
            Ok(false) => return Ok(Sighting::Stranger),
            Err(nix::errno::Errno::ESRCH) => return Ok(Sighting::Gone),
            // A security module may forbid these system calls while `stat` is readable.
            Err(_) => {}
        }
        // Only a process that ended in the meantime counts as gone. Other errors are returned.
        let Some(text) = read_unless_gone(&format!("/proc/{pid}/stat"))? else { return Ok(Sighting::Gone) };
        let Some(stat) = Stat::parse(&text) else { return Ok(Sighting::Stranger) };
        // A shell with job control puts its jobs into new process groups of the same session.
        let of_session = (stat.session != stat.group).then_some(stat.session);
        let members: Vec<_> = std::iter::once(stat.group)
            .chain(of_session)
            .flat_map(|id| queries.get(&id).into_iter().flatten())
            .filter_map(|query| Some((*query, Member::of(pid, &stat, stat.group == *groups.get(*query)?))))
            .collect();
        Ok(match members.is_empty() {
            true => Sighting::Stranger,
            false if ended_before.contains(&(pid, stat.start_ticks)) => Sighting::Stranger,
            false if stat.has_ended() => Sighting::Ended,
            false => Sighting::Members(members),
        })
    })
}

/// Whether `pid` is in the process group or the session of a query. Both are 0 for kernel threads.
fn is_near(pid: u32, queries: &HashMap<u32, Vec<usize>>) -> nix::Result<bool> {
    let Ok(pid) = i32::try_from(pid) else { return Ok(false) };
    let pid = Some(nix::unistd::Pid::from_raw(pid));
    let is_id = |found: nix::unistd::Pid| u32::try_from(found.as_raw()).is_ok_and(|id| queries.contains_key(&id));
    Ok(is_id(getpgid(pid)?) || is_id(getsid(pid)?))
}

/// Reads a file of a process; `None` if the process is gone.
pub(super) fn read_unless_gone(path: &str) -> io::Result<Option<Vec<u8>>> {
    match read_file(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.raw_os_error() == Some(nix::libc::ESRCH) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        os::unix::process::CommandExt as _,
        process::{Child, Command},
    };

    use super::*;

    /// A process that leads a group of its own. Killed and reaped when this value is dropped.
    struct Leader(Child);

    impl Leader {
        fn start() -> Self {
            Self(Command::new("sleep").arg("1000").process_group(0).spawn().unwrap())
        }
    }

    impl Drop for Leader {
        fn drop(&mut self) {
            self.0.kill().unwrap();
            self.0.wait().unwrap();
        }
    }

    #[test]
    fn one_search_finds_the_members_of_several_groups() {
        let leaders = [Leader::start(), Leader::start()];
        let [first, second] = leaders.each_ref().map(|leader| leader.0.id());
        // No process has this pid, so no group has this id (`PID_MAX_LIMIT`, proc(5)).
        let unused = 1 << 23;
        let found = members_of_each(&[first, unused, second, first]).unwrap();
        let pids: Vec<Option<Vec<u32>>> = found
            .into_iter()
            .map(|members| members.map(|members| members.iter().map(|member| member.pid).collect()))
            .collect();
        assert_eq!(pids, [Some(vec![first]), Some(vec![]), Some(vec![second]), Some(vec![first])]);
        assert!(members(first).unwrap().iter().all(|member| member.in_group && member.pid == first));
    }
}
