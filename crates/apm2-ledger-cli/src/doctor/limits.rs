//! Judges the limits against the number of supervised instances.

use crate::doctor::{
    check::Check,
    facts::limits::{Limit, LimitFacts},
};

/// Open files of a daemon without a process: the ledger, its store, its sockets and some clients.
const FILES_BASE: u64 = 96;

/// Open files of a daemon for each running process: its pidfd and its outputs, the duplicates for the store, and two log files.
const FILES_EACH: u64 = 8;

/// Threads of a daemon and processes of a user's session without a supervised process.
const PROCESSES_BASE: u64 = 256;

/// Processes and threads for each supervised process. An agent starts tools, and these have threads.
const PROCESSES_EACH: u64 = 16;

/// Inotify instances of a user below which there is a note: each `logs -f` and `run` uses one.
const INOTIFY_INSTANCES_LOW: u64 = 16;

/// Inotify watches of a user below which there is a note: each followed log uses two.
const INOTIFY_WATCHES_LOW: u64 = 1024;

/// The smallest number of process ids without a note. The default of the kernel is 32768.
const PIDS_LOW: u64 = 4096;

pub(crate) fn judge(facts: &LimitFacts) -> Vec<Check> {
    let files_needed = FILES_EACH.saturating_mul(facts.instances).saturating_add(FILES_BASE);
    let processes_needed = PROCESSES_EACH.saturating_mul(facts.instances).saturating_add(PROCESSES_BASE);
    [
        Some(open_files(facts, files_needed)),
        daemon_open_files(facts, files_needed),
        Some(processes(facts, processes_needed)),
        kernel_limit(
            "limit_inotify_watches",
            "fs.inotify.max_user_watches",
            facts.inotify_watches,
            INOTIFY_WATCHES_LOW,
        ),
        kernel_limit(
            "limit_inotify_instances",
            "fs.inotify.max_user_instances",
            facts.inotify_instances,
            INOTIFY_INSTANCES_LOW,
        ),
        kernel_limit("limit_pids", "kernel.pid_max", facts.pid_max, PIDS_LOW.max(processes_needed)),
        kernel_limit("limit_system_files", "fs.file-max", facts.file_max, files_needed),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn is_below(limit: Limit, needed: u64) -> bool {
    limit.is_some_and(|limit| limit < needed)
}

fn shown(limit: Limit) -> String {
    limit.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string())
}

fn open_files(facts: &LimitFacts, needed: u64) -> Check {
    const NAME: &str = "limit_open_files";
    let limit = shown(facts.open_files);
    if is_below(facts.open_files, needed) {
        let message = format!("a daemon that starts here may open {limit} files; it needs about {needed}");
        return Check::problem(NAME, message, format!("ulimit -n {needed}, or LimitNOFILE= in the unit"));
    }
    Check::ok(NAME, format!("a daemon that starts here may open {limit} files; it needs about {needed}"))
}

fn daemon_open_files(facts: &LimitFacts, needed: u64) -> Option<Check> {
    const NAME: &str = "limit_daemon_open_files";
    let (limit, pid) = (facts.daemon_open_files?, facts.daemon?);
    let message = format!("the daemon may open {} files; it needs about {needed}", shown(limit));
    Some(if is_below(limit, needed) {
        Check::problem(NAME, message, format!("prlimit --pid {pid} --nofile={needed}:"))
    } else {
        Check::ok(NAME, message)
    })
}

fn processes(facts: &LimitFacts, needed: u64) -> Check {
    const NAME: &str = "limit_processes";
    let limit = shown(facts.processes);
    if facts.is_root {
        return Check::ok(NAME, "the limit on processes does not apply to root");
    }
    let message = format!("this user may have {limit} processes and threads; about {needed} may be needed");
    if is_below(facts.processes, needed) {
        return Check::note(NAME, message).with_remedy(format!("ulimit -u {needed}, or TasksMax= in the unit"));
    }
    Check::ok(NAME, message)
}

/// A setting of the kernel (sysctl(8)) that should be at least `low`. `None` if the kernel does not show it.
fn kernel_limit(name: &'static str, setting: &str, value: Option<u64>, low: u64) -> Option<Check> {
    let value = value?;
    let remedy = format!("sysctl -w {setting}={low}");
    Some(match value {
        0 => Check::problem(name, format!("{setting} is 0"), remedy),
        _ if value < low => Check::note(name, format!("{setting} is {value}, which is low")).with_remedy(remedy),
        _ => Check::ok(name, format!("{setting} is {value}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::check::CheckStatus;

    fn sound() -> LimitFacts {
        LimitFacts {
            instances: 10,
            open_files: Some(1024),
            daemon_open_files: Some(None),
            daemon: Some(5),
            processes: Some(8192),
            is_root: false,
            inotify_watches: Some(8192),
            inotify_instances: Some(128),
            pid_max: Some(32768),
            file_max: Some(100_000),
        }
    }

    fn found(facts: &LimitFacts) -> Vec<(&'static str, CheckStatus)> {
        let all = judge(facts).into_iter();
        all.filter(|check| check.status != CheckStatus::Ok).map(|check| (check.name, check.status)).collect()
    }

    #[test]
    fn limits_are_compared_with_the_number_of_processes() {
        use CheckStatus::{Note, Problem};
        assert_eq!(found(&sound()), []);
        assert_eq!(found(&LimitFacts { instances: 200, ..sound() }), [("limit_open_files", Problem)]);
        let daemon = LimitFacts { daemon_open_files: Some(Some(16)), ..sound() };
        assert_eq!(found(&daemon), [("limit_daemon_open_files", Problem)]);
        assert_eq!(found(&LimitFacts { processes: Some(50), ..sound() }), [("limit_processes", Note)]);
        assert_eq!(found(&LimitFacts { processes: Some(50), is_root: true, ..sound() }), []);
        assert_eq!(found(&LimitFacts { inotify_watches: Some(0), ..sound() }), [("limit_inotify_watches", Problem)]);
        assert_eq!(found(&LimitFacts { inotify_instances: Some(3), ..sound() }), [("limit_inotify_instances", Note)]);
        assert_eq!(found(&LimitFacts { pid_max: Some(301), file_max: None, ..sound() }), [("limit_pids", Note)]);
    }
}
