//! Resets process attributes that a daemon has inherited through execve(2) from the client that started it.
//!
//! Attributes that must be reset before execve(2) (session, signals, descriptors) are in [`child`]. The client sets the
//! working directory, environment and standard streams when it starts the daemon. The values of process 1 are used as
//! the normal values.

use std::{fs, io, num::NonZeroU64};

use rustix::{
    process::{Pid, Resource, Rlimit, getrlimit, setpriority_process, setrlimit},
    thread::{CpuSet, sched_getaffinity, sched_setaffinity, set_current_timer_slack},
};

use crate::os::child;

/// The timer slack that the kernel gives to process 1, in nanoseconds (prctl(2)).
const TIMER_SLACK: NonZeroU64 = NonZeroU64::MIN.saturating_add(49_999);

/// The file of the OOM score adjustment (proc_pid_oom_score_adj(5)).
const OOM_FILE: &str = "/proc/self/oom_score_adj";

/// The adjustment that leaves the OOM score unchanged.
const OOM_NEUTRAL: &str = "0";

/// The resource limits of process 1, readable by every user.
const LIMITS_FILE: &str = "/proc/1/limits";

/// The resources and their names in `/proc/<pid>/limits` (proc_pid_limits(5)).
const RESOURCES: [(&str, Resource); 16] = [
    ("Max cpu time", Resource::Cpu),
    ("Max file size", Resource::Fsize),
    ("Max data size", Resource::Data),
    ("Max stack size", Resource::Stack),
    ("Max core file size", Resource::Core),
    ("Max resident set", Resource::Rss),
    ("Max processes", Resource::Nproc),
    ("Max open files", Resource::Nofile),
    ("Max locked memory", Resource::Memlock),
    ("Max address space", Resource::As),
    ("Max file locks", Resource::Locks),
    ("Max pending signals", Resource::Sigpending),
    ("Max msgqueue size", Resource::Msgqueue),
    ("Max nice priority", Resource::Nice),
    ("Max realtime priority", Resource::Rtprio),
    ("Max realtime timeout", Resource::Rttime),
];

/// Resets resource limits, niceness, scheduling policy, I/O priority, CPU affinity, timer slack and OOM score
/// adjustment. Call it before threads are started, because they inherit from the calling thread.
///
/// Returns a text for each attribute that could not be reset because of missing privileges.
#[must_use]
pub fn reset_inherited() -> Vec<String> {
    let mut unchanged = reset_limits();
    let mut note = |what: &str, done: io::Result<()>| {
        if let Err(error) = done {
            unchanged.push(format!("{what}: {error}"));
        }
    };
    note("the scheduling policy", child::set_default_policy());
    note("the niceness", setpriority_process(None, 0).map_err(io::Error::from));
    note("the I/O priority", child::set_default_io_priority());
    note("the CPU affinity", widen_affinity());
    note("the timer slack", set_current_timer_slack(Some(TIMER_SLACK)).map_err(io::Error::from));
    note("the OOM score adjustment", reset_oom_score());
    unchanged
}

fn reset_oom_score() -> io::Result<()> {
    let is_neutral = fs::read_to_string(OOM_FILE)?.trim() == OOM_NEUTRAL;
    if is_neutral { Ok(()) } else { fs::write(OOM_FILE, OOM_NEUTRAL) }
}

/// Adds the CPUs that process 1 may use to the affinity mask.
fn widen_affinity() -> io::Result<()> {
    let mut cpus = sched_getaffinity(None)?;
    let usual = sched_getaffinity(Some(Pid::INIT))?;
    let missing: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|cpu| usual.is_set(*cpu) && !cpus.is_set(*cpu)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    missing.into_iter().for_each(|cpu| cpus.set(cpu));
    Ok(sched_setaffinity(None, &cpus)?)
}

/// Raises each resource limit to that of process 1. Does not lower limits.
fn reset_limits() -> Vec<String> {
    let text = match fs::read_to_string(LIMITS_FILE) {
        Ok(text) => text,
        Err(error) => return vec![format!("the resource limits: {LIMITS_FILE}: {error}")],
    };
    let limits = text.lines().filter_map(limits_of_line);
    limits.filter_map(|(name, resource, usual)| raise(name, resource, usual)).collect()
}

/// Raises one resource limit. Returns a message if that is not possible.
fn raise(name: &str, resource: Resource, usual: Rlimit) -> Option<String> {
    let now = getrlimit(resource);
    let maximum = larger(now.maximum, usual.maximum);
    let current = larger(now.current, usual.current);
    if now.current == current && now.maximum == maximum {
        return None;
    }
    if setrlimit(resource, Rlimit { current, maximum }).is_ok() {
        return None;
    }
    // Without the privilege to raise the hard limit, raise the soft limit up to it.
    let within = smaller(current, now.maximum);
    let error = match setrlimit(resource, Rlimit { current: within, maximum: now.maximum }) {
        Ok(()) if now.maximum == maximum => return None,
        Ok(()) => io::Error::from_raw_os_error(nix::libc::EPERM),
        Err(errno) => errno.into(),
    };
    let words = |limit: Option<u64>| limit.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string());
    Some(format!("the hard limit {name:?}, {} where process 1 has {}: {error}", words(now.maximum), words(maximum)))
}

/// The larger of two limits, where `None` means unlimited.
fn larger(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    Some(one?.max(other?))
}

fn smaller(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

fn limits_of_line(line: &str) -> Option<(&'static str, Resource, Rlimit)> {
    let (name, resource) = RESOURCES.into_iter().find(|(name, _)| line.starts_with(name))?;
    let mut words = line.get(name.len()..)?.split_ascii_whitespace();
    let mut limit = || match words.next()? {
        "unlimited" => Some(None),
        number => number.parse().ok().map(Some),
    };
    Some((name, resource, Rlimit { current: limit()?, maximum: limit()? }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_limits_is_understood() {
        let (name, resource, limit) = limits_of_line("Max open files            1024   524288   files     ").unwrap();
        assert_eq!((name, resource), ("Max open files", Resource::Nofile));
        assert_eq!((limit.current, limit.maximum), (Some(1024), Some(524_288)));
        let (_, _, limit) = limits_of_line("Max core file size        0                    unlimited bytes").unwrap();
        assert_eq!((limit.current, limit.maximum), (Some(0), None));
        assert!(limits_of_line("Limit                     Soft Limit           Hard Limit           Units").is_none());
    }

    #[test]
    fn every_limit_of_this_kernel_has_a_name() {
        let text = fs::read_to_string(LIMITS_FILE).unwrap();
        assert_eq!(text.lines().filter_map(limits_of_line).count(), text.lines().count() - 1, "{text}");
    }

    #[test]
    fn unlimited_is_the_largest() {
        assert_eq!((larger(None, Some(1)), larger(Some(2), Some(1))), (None, Some(2)));
        assert_eq!((smaller(None, Some(1)), smaller(Some(2), Some(1)), smaller(None, None)), (Some(1), Some(1), None));
    }
}
