//! The limits of this process, of the daemon and of the kernel.

use std::{fs, ops::ControlFlow, path::Path};

use apm2_ledger::Reader;
use rustix::process::{Resource, getrlimit};

/// A limit of a process; `None` for no limit (getrlimit(2)).
pub(crate) type Limit = Option<u64>;

/// The facts about limits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LimitFacts {
    /// Number of instances of processes with a launch file.
    pub(crate) instances: u64,
    /// The hard limit on open files of this process. A daemon raises its soft limit to it.
    pub(crate) open_files: Limit,
    /// The soft limit on open files of the daemon; the outer `None` if there is no daemon.
    pub(crate) daemon_open_files: Option<Limit>,
    /// Pid of the daemon.
    pub(crate) daemon: Option<u32>,
    /// The soft limit on processes and threads of this user.
    pub(crate) processes: Limit,
    pub(crate) is_root: bool,
    pub(crate) inotify_watches: Option<u64>,
    pub(crate) inotify_instances: Option<u64>,
    pub(crate) pid_max: Option<u64>,
    pub(crate) file_max: Option<u64>,
}

impl LimitFacts {
    pub(crate) fn look(dir: &Path, daemon: Option<u32>) -> Self {
        Self {
            instances: instances(dir),
            open_files: getrlimit(Resource::Nofile).maximum,
            daemon_open_files: daemon.and_then(open_files_of),
            daemon,
            processes: getrlimit(Resource::Nproc).current,
            is_root: nix::unistd::geteuid().is_root(),
            inotify_watches: sysctl("fs/inotify/max_user_watches"),
            inotify_instances: sysctl("fs/inotify/max_user_instances"),
            pid_max: sysctl("kernel/pid_max"),
            file_max: sysctl("fs/file-max"),
        }
    }
}

/// The number of instances on record of the processes with a launch file; 0 if the ledger cannot be read.
fn instances(dir: &Path) -> u64 {
    let Some(launched) = apm2_daemon::launched(dir).ok().flatten().filter(|launched| !launched.is_empty()) else {
        return 0;
    };
    let Ok(reader) = Reader::open(dir) else { return 0 };
    let mut count: u64 = 0;
    // After an error, the instances that were read are counted. The check of the journal reports the error.
    let _ = reader.each_stream(|stream| {
        if launched.contains(&stream.id.process_id) {
            count = count.saturating_add(1);
        }
        ControlFlow::Continue(())
    });
    count
}

fn sysctl(name: &str) -> Option<u64> {
    fs::read_to_string(format!("/proc/sys/{name}")).ok()?.trim().parse().ok()
}

fn open_files_of(pid: u32) -> Option<Limit> {
    parse_open_files(&fs::read_to_string(format!("/proc/{pid}/limits")).ok()?)
}

/// The soft limit in a line such as `Max open files  1024  4096  files` (proc_pid_limits(5)).
fn parse_open_files(text: &str) -> Option<Limit> {
    let soft = text.lines().find_map(|line| line.strip_prefix("Max open files"))?.split_ascii_whitespace().next()?;
    if soft == "unlimited" { Some(None) } else { soft.parse().ok().map(Some) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_is_the_first_number() {
        assert_eq!(
            parse_open_files("Max processes  5 6 processes\nMax open files  1024  4096  files\n"),
            Some(Some(1024))
        );
        assert_eq!(parse_open_files("Max open files  unlimited  unlimited  files\n"), Some(None));
        assert_eq!(parse_open_files(""), None);
    }
}
