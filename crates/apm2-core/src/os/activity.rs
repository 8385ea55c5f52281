//! Whether a process and its descendants are idle, from `/proc`.

use std::fs;

use apm2_model::event::identity::ProcessIdentity;

use crate::os::procfs::{Stat, read_file};

/// Largest number of threads that are examined. A process with more threads counts as not idle.
const THREADS_MAX: usize = 256;

/// The threads of a process and of its descendants, none of which runs or waits for a processor or a disk. If two
/// values are equal, no thread has run between the two readings.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct IdleThreads {
    /// The id of each thread, with the number of times that it was scheduled (`/proc/<pid>/schedstat`).
    threads: Vec<(u32, u64)>,
}

impl IdleThreads {
    /// The threads of the process `first` and of its descendants. `None` if one of them is not idle, if the process has
    /// ended, or if this is unknown: a kernel without `CONFIG_SCHED_INFO` or `CONFIG_PROC_CHILDREN`.
    ///
    /// Blocks, because it reads `/proc`.
    pub(crate) fn of(first: &ProcessIdentity) -> Option<Self> {
        let (mut threads, mut unread) = (Vec::new(), vec![first.pid]);
        while let Some(pid) = unread.pop() {
            let stat = Stat::read(pid).filter(|stat| !stat.has_ended());
            let stat = match stat {
                Some(stat) if pid != first.pid || stat.start_ticks == first.start_ticks => stat,
                Some(_) | None if pid == first.pid => return None,
                // A child has ended.
                Some(_) | None => continue,
            };
            for thread in thread_ids(pid, &stat)? {
                let read = |file: &str| read_file(&format!("/proc/{pid}/task/{thread}/{file}")).ok();
                let state = if thread == pid { stat.state } else { Stat::parse(&read("stat")?)?.state };
                if !matches!(state, b'S' | b'T' | b't') || threads.len() >= THREADS_MAX {
                    return None;
                }
                let times_scheduled = String::from_utf8(read("schedstat")?).ok()?;
                threads.push((thread, times_scheduled.split_ascii_whitespace().nth(2)?.parse().ok()?));
                let children = String::from_utf8(read("children")?).ok()?;
                unread.extend(children.split_ascii_whitespace().filter_map(|child| child.parse::<u32>().ok()));
            }
        }
        Some(Self { threads })
    }
}

/// The ids of the threads of a process.
fn thread_ids(pid: u32, stat: &Stat) -> Option<Vec<u32>> {
    if stat.threads == 1 {
        return Some(vec![pid]);
    }
    fs::read_dir(format!("/proc/{pid}/task"))
        .ok()?
        .map(|thread| thread.ok()?.file_name().to_str()?.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write as _,
        process::{Child, Command, Stdio},
        thread,
        time::{Duration, Instant},
    };

    use super::*;
    use crate::os::procfs::identify;

    fn until<T>(what: &str, found: impl Fn() -> Option<T>) -> T {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            match found() {
                Some(found) => return found,
                None => assert!(Instant::now() < deadline, "not in time: {what}"),
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    fn shell(script: &str) -> Child {
        Command::new("sh").args(["-c", script]).stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
    }

    #[test]
    fn a_process_is_idle_while_it_and_its_children_wait() {
        // The process waits for its child, and the child for a line.
        let mut child = shell("sh -c 'read line; read line'; exit 0");
        let process = identify(child.id()).unwrap();
        let idle = until("both wait", || IdleThreads::of(&process).filter(|idle| idle.threads.len() == 2));
        assert_eq!(IdleThreads::of(&process).as_ref(), Some(&idle));
        child.stdin.as_mut().unwrap().write_all(b"one\n").unwrap();
        let later = until("the child has run", || IdleThreads::of(&process).filter(|later| *later != idle));
        assert_eq!(later.threads.len(), 2);
        drop(child.stdin.take());
        until("it has ended", || Stat::read(process.pid).is_none_or(|stat| stat.has_ended()).then_some(()));
        assert_eq!(IdleThreads::of(&process), None, "a process that has ended is not idle");
        child.wait().unwrap();
        assert_eq!(IdleThreads::of(&process), None);
    }

    #[test]
    fn a_process_whose_child_computes_is_not_idle() {
        let mut child = shell("sh -c 'while :; do :; done'; exit 0");
        let process = identify(child.id()).unwrap();
        let computing = until("its child computes", || {
            let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", process.pid)).ok()?;
            let pid = children.split_ascii_whitespace().next()?.to_owned();
            let is_running = Stat::read(pid.parse().ok()?)?.state == b'R';
            let is_waited_for = Stat::read(process.pid)?.state == b'S';
            (is_running && is_waited_for).then_some(pid)
        });
        for _ in 0..50 {
            assert_eq!(IdleThreads::of(&process), None);
        }
        Command::new("kill").args(["-9", &computing]).status().unwrap();
        child.wait().unwrap();
    }
}
