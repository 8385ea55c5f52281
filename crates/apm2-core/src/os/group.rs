//! Process groups, sessions and markers, as `/proc` shows them. A whole group is signalled elsewhere.

use std::{collections::HashSet, fmt, io, os::fd::AsFd as _};

use apm2_model::{
    event::{identity::ProcessIdentity, stream_id::StreamId},
    signal::Signal,
};
use nix::unistd::{getpgid, getsid};
use rustix::{
    io::Errno,
    process::{Pid, PidfdFlags, pidfd_open},
};
use uuid::Uuid;

use crate::os::{
    child::{self, SignalScope},
    procfs::{Stat, identify},
};

/// Looks at all processes until one is complete.
const LOOKS_MAX: u32 = 32;

/// A process that has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Member {
    /// Its pid.
    pub(crate) pid: u32,
    /// Whether it is stopped, and so cannot act on a signal.
    pub(crate) stopped: bool,
    /// Whether a signal to the group reaches it. One that is in the session alone has to be sent its own.
    pub(crate) in_group: bool,
    /// Its start time, by which it is told from a later process with its pid (law 6).
    start_ticks: u64,
}

impl Member {
    const fn of(pid: u32, stat: &Stat, in_group: bool) -> Self {
        Self { pid, stopped: stat.state == b'T', in_group, start_ticks: stat.start_ticks }
    }

    /// What tells it from every other process of this boot.
    pub(crate) const fn id(&self) -> (u32, u64) {
        (self.pid, self.start_ticks)
    }

    /// Sends it a signal of its own. One that is gone needs none.
    ///
    /// # Errors
    /// The error of pidfd_send_signal(2).
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) else { return Ok(()) };
        let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => pidfd,
            Err(Errno::SRCH) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        };
        // What the pidfd means is looked up after it was opened: from here on it cannot become a stranger.
        if Stat::read(self.pid).is_none_or(|stat| stat.start_ticks != self.start_ticks) {
            return Ok(());
        }
        match child::signal_by(pidfd.as_fd(), signal, SignalScope::Process) {
            Err(error) if error.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => Ok(()),
            sent => sent,
        }
    }
}

/// What a process turned out to be.
enum Sighting {
    /// One of those that are looked for.
    Member(Member),
    /// Another one. Neither it nor a child of it becomes one of them.
    Stranger,
    /// A zombie, which may have been one of them when the list was made, and have forked since.
    Ended,
    /// It ended, or is becoming another program, before it could be looked at.
    Gone,
}

/// Looks at all processes until a look finds some of those that are looked for, or is complete and finds none. The oldest are
/// the first of those that are found.
///
/// A process that forks and ends between the list and the look is on neither side of it, and neither is its child: so a look
/// is complete only when nobody has vanished from it that could have been one of them. Whom an earlier look has seen is
/// known, so that the next one is over as fast as others come and go.
fn survey(mut examine: impl FnMut(u32) -> io::Result<Sighting>) -> io::Result<Vec<Member>> {
    let mut strangers = HashSet::new();
    for _ in 0..LOOKS_MAX {
        let (mut members, mut has_vanished) = (Vec::new(), false);
        let mut unknown: Vec<u32> = pids()?.filter(|pid| !strangers.contains(pid)).collect();
        // The newest are the first to be gone.
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
    Err(io::Error::new(io::ErrorKind::ResourceBusy, "processes come and go too fast to tell whether any is left"))
}

/// The members of the process group, and of the session that its leader leads, that have not ended. A zombie has.
///
/// # Errors
/// When `/proc` cannot be read: the group is then not known to be empty.
pub(crate) fn members(group: u32) -> io::Result<Vec<Member>> {
    survey(|pid| {
        // Two system calls for each stranger, where reading its `stat` would take fifty times as long.
        match is_near(pid, group) {
            Ok(true) => {}
            Ok(false) => return Ok(Sighting::Stranger),
            Err(nix::errno::Errno::ESRCH) => return Ok(Sighting::Gone),
            // Some security modules forbid to ask; the file may be read all the same.
            Err(_) => {}
        }
        // A process that ends while it is looked at is gone, and nothing else may pass for that.
        let Some(text) = read_unless_gone(&format!("/proc/{pid}/stat"))? else { return Ok(Sighting::Gone) };
        // A shell with job control puts its jobs into groups of their own, and they stay in the session.
        let found = Stat::parse(&text).filter(|stat| stat.group == group || stat.session == group);
        Ok(match found {
            None => Sighting::Stranger,
            Some(stat) if stat.has_ended() => Sighting::Ended,
            Some(stat) => Sighting::Member(Member::of(pid, &stat, stat.group == group)),
        })
    })
}

/// Whether `pid` is in the process group or the session with this id. Those of kernel threads are 0.
fn is_near(pid: u32, group: u32) -> nix::Result<bool> {
    let Ok(pid) = i32::try_from(pid) else { return Ok(false) };
    let pid = Some(nix::unistd::Pid::from_raw(pid));
    let is_id = |found: nix::unistd::Pid| u32::try_from(found.as_raw()) == Ok(group);
    Ok(is_id(getpgid(pid)?) || is_id(getsid(pid)?))
}

pub(crate) fn pids() -> io::Result<impl Iterator<Item = u32>> {
    let entries = std::fs::read_dir("/proc")?.collect::<io::Result<Vec<_>>>()?;
    Ok(entries.into_iter().filter_map(|entry| entry.file_name().to_str()?.parse().ok()))
}

fn read_unless_gone(path: &str) -> io::Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.raw_os_error() == Some(nix::libc::ESRCH) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The environment variable by which the processes of a run are known, whatever became of their supervisor.
pub const RUN_VARIABLE: &str = "APM2_RUN";

/// The place of a ledger, by which runs of a copy of the ledger are told from its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LedgerPlace {
    /// Drawn at random for this place.
    pub nonce: Uuid,
    /// Whether markers from before there were places are its own.
    pub has_old_markers: bool,
}

/// The version of a marker that names a place.
const MARKER_VERSION: &str = "2";

/// One run, as [`RUN_VARIABLE`] names it in the environment of its processes:
///
/// ```text
/// <process id>/<instance>/<run>               version 1
/// 2:<place>/<process id>/<instance>/<run>     version 2
/// ```
///
/// A holder knows it by the text of version 1, since a holder belongs to one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Marker {
    /// Where. Without a place it is of version 1.
    pub(crate) place: Option<LedgerPlace>,
    /// Whose run.
    pub(crate) stream: StreamId,
    /// Which of its runs.
    pub(crate) run: u64,
}

impl Marker {
    /// The value of [`RUN_VARIABLE`].
    pub(crate) fn variable(&self) -> String {
        format!("{}{self}", self.place.map(|place| beginning(&place)).unwrap_or_default())
    }

    /// What the variable begins with in the environment of a process that is of this place; for each version.
    fn beginnings(&self) -> Vec<String> {
        match self.place {
            None => vec![format!("{RUN_VARIABLE}=")],
            Some(place) => {
                let ours = format!("{RUN_VARIABLE}={}", beginning(&place));
                if place.has_old_markers { vec![ours, format!("{RUN_VARIABLE}=")] } else { vec![ours] }
            }
        }
    }

    /// The variable as it is in the environment of a process of the run; for each version.
    fn variables(&self) -> Vec<String> {
        self.beginnings().iter().map(|beginning| format!("{beginning}{self}")).collect()
    }

    /// Whether the process was started with this marker in its environment. Not when that may not be read.
    pub(crate) fn is_carried_by(&self, pid: u32) -> bool {
        let variables = self.variables();
        let is_one = |entry: &[u8]| variables.iter().any(|variable| entry == variable.as_bytes());
        has_variable(pid, is_one).is_ok_and(|found| found == Some(true))
    }

    /// The processes that carry the marker, wherever they have gone, and have not ended.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub(crate) fn carriers(&self) -> io::Result<Vec<Member>> {
        let variables = self.variables();
        Self::who_carry(|entry| variables.iter().any(|variable| entry == variable.as_bytes()))
    }

    /// The processes that carry a marker of this instance, of whatever run, and have not ended.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub(crate) fn carriers_of_any_run(&self) -> io::Result<Vec<Member>> {
        let of_instance = format!("{}/{}/", self.stream.process_id, self.stream.instance);
        let variables: Vec<String> =
            self.beginnings().iter().map(|beginning| format!("{beginning}{of_instance}")).collect();
        Self::who_carry(|entry| variables.iter().any(|variable| entry.starts_with(variable.as_bytes())))
    }

    fn who_carry(is_it: impl Fn(&[u8]) -> bool) -> io::Result<Vec<Member>> {
        let us = std::process::id();
        survey(|pid| {
            if pid == us {
                return Ok(Sighting::Stranger);
            }
            match has_variable(pid, &is_it) {
                Ok(Some(false)) => return Ok(Sighting::Stranger),
                // What may not be read is not ours.
                Err(_) => return Ok(Sighting::Stranger),
                Ok(None) => {
                    return Ok(match Stat::read(pid) {
                        Some(stat) if stat.has_ended() => Sighting::Ended,
                        // It can have been in exec when its environment was read, and have left it since.
                        Some(stat) if !stat.is_in_exec() && matches!(has_variable(pid, &is_it), Ok(Some(true))) => {
                            Sighting::Gone
                        }
                        // A kernel thread, or one that was given an empty environment.
                        Some(stat) if !stat.is_in_exec() => Sighting::Stranger,
                        _ => Sighting::Gone,
                    });
                }
                Ok(Some(true)) => {}
            }
            // Whose environment it is is looked up before it is read again: a pid that changed hands meanwhile carries nothing.
            let Some(stat) = Stat::read(pid) else { return Ok(Sighting::Gone) };
            if stat.has_ended() {
                return Ok(Sighting::Ended);
            }
            Ok(match has_variable(pid, &is_it) {
                Ok(Some(true)) => Sighting::Member(Member::of(pid, &stat, false)),
                _ => Sighting::Gone,
            })
        })
    }

    /// The process that the run began with, if it is alive: the one that carries the marker and leads a session.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub(crate) fn main_process(&self) -> io::Result<Option<ProcessIdentity>> {
        let leads = |member: &&Member| Stat::read(member.pid).is_some_and(|stat| stat.session == member.pid);
        // A descendant may lead a session of its own: the first of them is the one that all others come from.
        let first =
            self.carriers()?.iter().filter(leads).min_by_key(|member| member.start_ticks).map(|member| member.pid);
        Ok(first.and_then(identify))
    }
}

fn beginning(place: &LedgerPlace) -> String {
    format!("{MARKER_VERSION}:{}/", place.nonce.simple())
}

/// Whether the environment that a process was started with has such an entry; `None` when it has none, for now or for ever.
///
/// # Errors
/// When it may not be read.
fn has_variable(pid: u32, is_it: impl Fn(&[u8]) -> bool) -> io::Result<Option<bool>> {
    let environ = read_unless_gone(&format!("/proc/{pid}/environ"))?;
    let environ = environ.filter(|environ| !environ.is_empty());
    Ok(environ.map(|environ| environ.split(|byte| *byte == 0).any(is_it)))
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.stream.process_id, self.stream.instance, self.run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_names_its_place_and_ends_with_its_run() {
        let stream = StreamId { process_id: "00000000-0000-0000-0000-000000000007".parse().unwrap(), instance: 1 };
        let old = Marker { place: None, stream, run: 3 };
        assert_eq!(old.variable(), "00000000-0000-0000-0000-000000000007/1/3");
        let nonce = Uuid::from_u128(9);
        let new = |has_old_markers| Marker { place: Some(LedgerPlace { nonce, has_old_markers }), ..old };
        let text = "2:00000000000000000000000000000009/00000000-0000-0000-0000-000000000007/1/3";
        assert_eq!(new(false).variable(), text);
        assert_eq!(new(true).variable(), text);
        assert_eq!(new(true).to_string(), old.variable(), "what a holder knows it by");
        assert_eq!((new(false).beginnings().len(), new(true).beginnings().len()), (1, 2));
    }
}
