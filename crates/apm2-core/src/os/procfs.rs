//! The identity of a process, read from `/proc`: `(boot id, pid namespace, pid, start time)`. A pid alone does not
//! identify a process, since the kernel reuses pids.

use std::{
    fs::File,
    io::{self, Read as _},
    os::unix::{fs::MetadataExt as _, process::ExitStatusExt as _},
    process::ExitStatus,
    sync::OnceLock,
};

use apm2_model::{
    clock::boot_id,
    event::{
        exit::{Evidence, Exit},
        identity::ProcessIdentity,
    },
};
use nix::unistd::{getegid, geteuid};
use rustix::{
    io::Errno,
    process::{Pid, test_kill_process},
};

/// The inode of the pid namespace of this process; `None` if `/proc` does not show it.
#[must_use]
pub fn pid_namespace() -> Option<u64> {
    static NAMESPACE: OnceLock<Option<u64>> = OnceLock::new();
    *NAMESPACE.get_or_init(|| std::fs::metadata("/proc/self/ns/pid").ok().map(|metadata| metadata.ino()))
}

/// Whether `/proc` shows the pid namespace of this process. If `/proc` shows another namespace, the pids in `/proc`
/// differ from the pids in system calls. True without `/proc`.
#[must_use]
pub fn proc_is_of_our_namespace() -> bool {
    let shown = std::fs::read_link("/proc/self").ok().and_then(|pid| pid.to_str()?.parse().ok());
    shown.is_none_or(|pid: u32| pid == std::process::id())
}

/// The pids in `/proc`.
pub(crate) fn pids() -> io::Result<impl Iterator<Item = u32>> {
    let entries = std::fs::read_dir("/proc")?.collect::<io::Result<Vec<_>>>()?;
    Ok(entries.into_iter().filter_map(|entry| entry.file_name().to_str()?.parse().ok()))
}

/// Capacity of the buffer for a file of `/proc`. Most of these files fit.
const FILE_BYTES: usize = 4 << 10;

/// Reads a file of `/proc` with two calls of read(2) in most cases. The size of such a file is not known before, so
/// [`std::fs::read`] begins with a buffer of 32 bytes, and the kernel generates parts of some files again for each call.
pub(crate) fn read_file(path: &str) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(FILE_BYTES);
    // Without the limit, the file would be asked for its size, which is 0.
    File::open(path)?.take(u64::MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Whether a process still exists, as far as can be observed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessStatus {
    /// The process exists and has not ended.
    Alive,
    /// The process has ended and is not reaped yet (a zombie).
    Zombie(Exit),
    /// The process no longer exists. Another process may have its pid.
    Gone,
    /// Unknown: the process is in another pid namespace, or `/proc` hides it.
    Unverifiable,
}

/// The identity of the process that has this pid now; `None` when no process has it or `/proc` does not show it.
#[must_use]
pub fn identify(pid: u32) -> Option<ProcessIdentity> {
    read_identity(pid).ok()
}

/// Like [`identify`], with the error of the read.
///
/// # Errors
/// Those of open(2) and read(2) for `/proc/<pid>/stat`: `NotFound` when no process has this pid or `/proc` does not show it.
pub(crate) fn read_identity(pid: u32) -> io::Result<ProcessIdentity> {
    let stat = Stat::parse(&read_file(&stat_path(pid))?).ok_or(io::ErrorKind::InvalidData)?;
    Ok(ProcessIdentity { boot_id: boot_id(), pid, start_ticks: stat.start_ticks, pid_namespace: pid_namespace() })
}

/// The path of the file with the status of a process (proc_pid_stat(5)).
pub(crate) fn stat_path(pid: u32) -> String {
    format!("/proc/{pid}/stat")
}

/// The status of the process with this identity. If its pid is unused or has another start time, the process is gone.
/// Another process with the same pid is never mistaken for it.
#[must_use]
pub fn status_of(identity: &ProcessIdentity) -> ProcessStatus {
    // Without a boot id, different boots cannot be distinguished.
    if identity.boot_id.is_nil() || identity.boot_id != boot_id() {
        return ProcessStatus::Gone;
    }
    if is_in_another_namespace(identity) {
        return ProcessStatus::Unverifiable;
    }
    match Stat::read(identity.pid) {
        Some(stat) if stat.start_ticks == identity.start_ticks => stat.status(identity.pid),
        Some(_) => ProcessStatus::Gone,
        None if is_hidden(identity.pid) => ProcessStatus::Unverifiable,
        None => ProcessStatus::Gone,
    }
}

/// Whether the identity was read on this boot in another pid namespace than that of this program. The pid is then
/// unused in this namespace, or belongs to another process.
#[must_use]
pub fn is_in_another_namespace(identity: &ProcessIdentity) -> bool {
    let ours = pid_namespace();
    identity.boot_id == boot_id()
        && ours.is_some()
        && identity.pid_namespace.is_some()
        && identity.pid_namespace != ours
}

/// Whether a process with this pid exists that `/proc` hides (mount option `hidepid`, proc(5)).
fn is_hidden(pid: u32) -> bool {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return false };
    let exists = || test_kill_process(pid) != Err(Errno::SRCH);
    // A process that ended between the two checks is not hidden.
    exists() && Stat::read(pid.as_raw_nonzero().get().unsigned_abs()).is_none() && exists()
}

/// Whether the process exists and is stopped by a signal (state `T` in proc_pid_stat(5)). A process stopped by a
/// debugger (state `t`) does not count.
#[must_use]
pub(crate) fn is_stopped(identity: &ProcessIdentity) -> bool {
    identity.boot_id == boot_id()
        && Stat::read(identity.pid).is_some_and(|stat| stat.start_ticks == identity.start_ticks && stat.state == b'T')
}

/// The fields of `/proc/<pid>/stat` that are used here (proc_pid_stat(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) state: u8,
    pub(crate) parent: u32,
    pub(crate) group: u32,
    pub(crate) session: u32,
    pub(crate) start_ticks: u64,
    /// User and system CPU time of the process and of its waited-for children, in clock ticks.
    pub(crate) cpu_ticks: u64,
    pub(crate) resident_pages: u64,
    /// Number of threads of the process.
    pub(crate) threads: u64,
    is_kernel_thread: bool,
    /// End address of the process's environment (`env_end`); 0 during execve(2), or if this process may not read it.
    env_end: u64,
    exit_status: Option<i32>,
}

/// `PF_KTHREAD` of the flags in `/proc/<pid>/stat` (linux/sched.h).
const KERNEL_THREAD: u64 = 0x0020_0000;

impl Stat {
    /// Reads the fields of `/proc/<pid>/stat`, if the process exists.
    pub(crate) fn read(pid: u32) -> Option<Self> {
        Self::parse(&read_file(&stat_path(pid)).ok()?)
    }

    /// Parses the text of `/proc/<pid>/stat`. The process name is in parentheses and may itself contain parentheses and
    /// blanks, so the fields are counted from the last `)`.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let end_of_name = text.iter().rposition(|byte| *byte == b')')?;
        let rest = std::str::from_utf8(text.get(end_of_name + 1..)?).ok()?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        // The first field after the name is field 3 of the manual page.
        Some(Self {
            state: *fields.first()?.as_bytes().first()?,
            parent: fields.get(1)?.parse().ok()?,
            group: fields.get(2)?.parse().ok()?,
            session: fields.get(3)?.parse().ok()?,
            threads: fields.get(17)?.parse().ok()?,
            start_ticks: fields.get(19)?.parse().ok()?,
            cpu_ticks: cpu_ticks(fields.get(11..15)?)?,
            resident_pages: fields.get(21)?.parse().ok()?,
            is_kernel_thread: fields.get(6)?.parse::<u64>().ok()? & KERNEL_THREAD != 0,
            env_end: fields.get(48).and_then(|field| field.parse().ok()).unwrap_or(0),
            exit_status: fields.get(49).and_then(|field| field.parse().ok()),
        })
    }

    /// Whether the process is in execve(2), so that its environment cannot be read yet.
    pub(crate) const fn is_in_exec(&self) -> bool {
        !self.has_ended() && !self.is_kernel_thread && self.env_end == 0
    }

    /// Whether the process has ended: it is a zombie or dead. If only the first thread has ended, the state is also
    /// that of a zombie, but the process has not ended.
    pub(crate) const fn has_ended(&self) -> bool {
        matches!(self.state, b'Z' | b'X') && self.threads <= 1
    }

    fn status(&self, pid: u32) -> ProcessStatus {
        match (self.has_ended(), self.exit_status) {
            (false, _) => ProcessStatus::Alive,
            // The kernel shows 0 to a process without ptrace access (proc_pid_stat(5)). The value 0 is therefore used
            // only if this process has this access.
            (true, Some(0)) if !may_read_exit(pid) => ProcessStatus::Zombie(Exit::UNKNOWN),
            (true, Some(status)) => {
                ProcessStatus::Zombie(Exit::from_status(ExitStatus::from_raw(status), Evidence::Recovered))
            }
            (true, None) => ProcessStatus::Zombie(Exit::UNKNOWN),
        }
    }
}

/// The sum of the CPU time fields. The fields of children are signed in the kernel, but never negative.
fn cpu_ticks(fields: &[&str]) -> Option<u64> {
    fields.iter().try_fold(0_u64, |sum, field| Some(sum.saturating_add(field.parse().ok()?)))
}

/// Whether the kernel shows the exit status of `pid` to this process. The kernel requires root, or that all user and
/// group ids are equal.
fn may_read_exit(pid: u32) -> bool {
    if geteuid().is_root() {
        return true;
    }
    let Ok(status) = std::fs::read_to_string(format!("/proc/{pid}/status")) else { return false };
    let are_all = |field: &str, id: u32| {
        let ids = status.lines().find_map(|line| line.strip_prefix(field));
        ids.is_some_and(|ids| ids.split_ascii_whitespace().all(|found| found.parse() == Ok(id)))
    };
    are_all("Uid:", geteuid().as_raw()) && are_all("Gid:", getegid().as_raw())
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn fields_are_counted_from_the_last_parenthesis() {
        let mut text = b"42 (a) Z (b)) S 1 77 77 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 123456".to_vec();
        text.extend_from_slice(b" 0".repeat(29).as_slice());
        text.extend_from_slice(b" 1792\n");
        let stat = Stat::parse(&text).unwrap();
        assert_eq!(stat.threads, 1);
        assert_eq!((stat.state, stat.group, stat.start_ticks, stat.exit_status), (b'S', 77, 123_456, Some(1792)));
    }

    #[test]
    fn a_process_knows_itself_and_a_stranger_is_gone() {
        let me = identify(std::process::id()).unwrap();
        assert_eq!(status_of(&me), ProcessStatus::Alive);
        let other = ProcessIdentity { start_ticks: me.start_ticks + 1, ..me };
        assert_eq!(status_of(&other), ProcessStatus::Gone);
        let elsewhere = ProcessIdentity { pid_namespace: me.pid_namespace.map(|inode| inode + 1), ..me };
        assert_eq!(status_of(&elsewhere), ProcessStatus::Unverifiable);
        let before_it_was_recorded = ProcessIdentity { pid_namespace: None, ..me };
        assert_eq!(status_of(&before_it_was_recorded), ProcessStatus::Alive);
        let earlier_boot = ProcessIdentity { boot_id: Uuid::from_u128(1), ..me };
        assert_eq!(status_of(&earlier_boot), ProcessStatus::Gone);
    }
}
