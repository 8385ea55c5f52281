//! The resource usage of all processes of a run, from `/proc`.
//!
//! One scan of `/proc` serves every run that is measured within [`SCAN_AGE_MAX`], so that many runs do not each read all of it.
//! The environment of a process is read once: its marker identifies the run of a process that left its session.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use apm2_model::event::identity::ProcessIdentity;
use nix::time::{ClockId, clock_gettime};
use rustix::param::{clock_ticks_per_second, page_size};

use crate::os::{
    marker::RUN_VARIABLE,
    procfs::{Stat, pids, read_file},
};

/// Longest time for which the results of a scan are reused.
const SCAN_AGE_MAX: Duration = Duration::from_secs(1);

/// Largest number of environments that are read in one scan. The next scan reads the remaining ones.
const ENVIRONMENTS_MAX: usize = 4096;

/// Age from which the environment of a process is read. A younger process may not have called execve(2) yet.
const SETTLED_AGE: Duration = Duration::from_secs(2);

/// The resource usage of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Usage {
    /// CPU time of the processes of the run and of their waited-for children, in user and kernel mode.
    pub(crate) cpu: Duration,
    /// Resident memory of the processes of the run, in bytes. Shared memory counts once for each process.
    pub(crate) memory_bytes: u64,
    /// Time since the start of the main process.
    pub(crate) age: Duration,
    /// Number of processes of the run.
    pub(crate) processes: u32,
}

/// The resource usage of the run with the main process `first` and this marker: of the processes in its session and
/// process group, their descendants, and the processes with the marker. `None` if no process is left.
///
/// Blocks, because it reads `/proc`.
pub(crate) fn usage(first: &ProcessIdentity, marker: &str) -> Option<Usage> {
    let mut last = LATEST.lock().unwrap_or_else(PoisonError::into_inner);
    let markers = match last.take() {
        Some(scan) if scan.at.elapsed() <= SCAN_AGE_MAX && scan.at_ticks >= first.start_ticks => {
            return last.insert(scan).usage(first, marker);
        }
        Some(scan) => scan.markers,
        None => HashMap::new(),
    };
    last.insert(ProcessScan::take(markers)?).usage(first, marker)
}

/// The latest scan of `/proc`.
static LATEST: Mutex<Option<ProcessScan>> = Mutex::new(None);

/// Identifies a process by its pid and start time.
type ProcessKey = (u32, u64);

/// All processes that one scan of `/proc` found.
struct ProcessScan {
    at: Instant,
    /// The time of the scan, in clock ticks since boot.
    at_ticks: u64,
    processes: HashMap<u32, Stat>,
    /// The marker of each process whose environment was read; an empty text if there is no marker.
    markers: HashMap<ProcessKey, Arc<str>>,
    index: ScanIndex,
}

impl ProcessScan {
    fn take(mut markers: HashMap<ProcessKey, Arc<str>>) -> Option<Self> {
        let (at, now) = (Instant::now(), since_boot()?);
        let found = pids().ok()?.filter_map(|pid| Some((pid, Stat::read(pid)?)));
        let processes: HashMap<u32, Stat> = found.filter(|(_, stat)| !stat.has_ended()).collect();
        markers.retain(|(pid, start), _| processes.get(pid).is_some_and(|stat| stat.start_ticks == *start));
        let unread = processes.iter().filter(|(pid, stat)| {
            let is_settled = now.saturating_sub(of_ticks(stat.start_ticks)) > SETTLED_AGE;
            // A kernel thread has no memory and no environment.
            is_settled && stat.resident_pages > 0 && !markers.contains_key(&(**pid, stat.start_ticks))
        });
        let unread: Vec<ProcessKey> =
            unread.take(ENVIRONMENTS_MAX).map(|(pid, stat)| (*pid, stat.start_ticks)).collect();
        markers.extend(unread.into_iter().map(|id| (id, marker_of(id.0).unwrap_or_default().into())));
        let index = ScanIndex::of(&processes, &markers);
        Some(Self { at, at_ticks: ticks_of(now), processes, markers, index })
    }

    fn usage(&self, first: &ProcessIdentity, marker: &str) -> Option<Usage> {
        let members = self.members(first, marker);
        let stats = || members.iter().filter_map(|pid| self.processes.get(pid));
        let page_bytes = u64::try_from(page_size()).unwrap_or(u64::MAX);
        let pages = stats().fold(0_u64, |pages, stat| pages.saturating_add(stat.resident_pages));
        let ticks = stats().fold(0_u64, |ticks, stat| ticks.saturating_add(stat.cpu_ticks));
        let usage = Usage {
            cpu: of_ticks(ticks),
            memory_bytes: pages.saturating_mul(page_bytes),
            age: since_boot()?.saturating_sub(of_ticks(first.start_ticks)),
            processes: u32::try_from(members.len()).unwrap_or(u32::MAX),
        };
        (usage.processes > 0).then_some(usage)
    }

    fn members(&self, first: &ProcessIdentity, marker: &str) -> HashSet<u32> {
        // The kernel does not reuse the id of a session or process group that has members. Processes that are older
        // than the run do not belong to it.
        let younger = |pid: u32| self.processes.get(&pid).filter(|stat| stat.start_ticks >= first.start_ticks);
        let is_first_gone = self.processes.get(&first.pid).is_some_and(|stat| stat.start_ticks != first.start_ticks);
        let in_session = self.index.sessions.get(&first.pid).filter(|_| !is_first_gone);
        let carriers = self.index.carriers.get(marker).filter(|_| !marker.is_empty());
        let found = std::iter::once(first.pid).filter(|_| !is_first_gone);
        let found = found.chain(in_session.into_iter().chain(carriers).flatten().copied());
        let mut members: HashSet<u32> = found.filter(|pid| younger(*pid).is_some()).collect();
        // Descendants belong to the run in any session, as long as their parents exist.
        let mut parents: Vec<u32> = members.iter().copied().collect();
        while let Some(parent) = parents.pop() {
            for child in self.index.children.get(&parent).into_iter().flatten() {
                let carries_another = |stat: &Stat| {
                    let carried = self.markers.get(&(*child, stat.start_ticks)).map_or("", |carried| &**carried);
                    !carried.is_empty() && carried != marker
                };
                if younger(*child).is_some_and(|stat| !carries_another(stat)) && members.insert(*child) {
                    parents.push(*child);
                }
            }
        }
        members
    }
}

/// The processes of a scan by what connects them to a run, so that the time for one run does not depend on the number of
/// all processes.
#[derive(Default)]
struct ScanIndex {
    /// The processes of each session and of each process group, by its id.
    sessions: HashMap<u32, Vec<u32>>,
    children: HashMap<u32, Vec<u32>>,
    /// The processes with each marker.
    carriers: HashMap<Arc<str>, Vec<u32>>,
}

impl ScanIndex {
    fn of(processes: &HashMap<u32, Stat>, markers: &HashMap<ProcessKey, Arc<str>>) -> Self {
        let mut index = Self::default();
        for (pid, stat) in processes {
            index.children.entry(stat.parent).or_default().push(*pid);
            index.sessions.entry(stat.session).or_default().push(*pid);
            if stat.group != stat.session {
                index.sessions.entry(stat.group).or_default().push(*pid);
            }
            if let Some(marker) = markers.get(&(*pid, stat.start_ticks)).filter(|marker| !marker.is_empty()) {
                index.carriers.entry(Arc::clone(marker)).or_default().push(*pid);
            }
        }
        index
    }
}

/// The marker in the initial environment of a process; `None` if the environment may not be read.
fn marker_of(pid: u32) -> Option<String> {
    let environ = read_file(&format!("/proc/{pid}/environ")).ok()?;
    let entries = environ.split(|byte| *byte == 0);
    let value = entries.filter_map(|entry| entry.strip_prefix(RUN_VARIABLE.as_bytes())?.strip_prefix(b"=")).next()?;
    Some(String::from_utf8_lossy(value).into_owned())
}

fn since_boot() -> Option<Duration> {
    clock_gettime(ClockId::CLOCK_BOOTTIME).ok().map(Duration::from)
}

fn of_ticks(ticks: u64) -> Duration {
    let per_second = clock_ticks_per_second().max(1);
    Duration::from_millis(ticks.saturating_mul(1000) / per_second)
}

fn ticks_of(time: Duration) -> u64 {
    let ticks = time.as_millis().saturating_mul(u128::from(clock_ticks_per_second())) / 1000;
    u64::try_from(ticks).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::{
        process::{Child, Command, Stdio},
        thread,
    };

    use nix::{
        sys::signal::{Signal, kill},
        unistd::Pid,
    };

    use super::*;
    use crate::os::procfs::identify;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// A running instance that is killed when the test ends.
    struct Run {
        child: Child,
        first: ProcessIdentity,
        marker: &'static str,
    }

    impl Run {
        fn start(script: &str, marker: &'static str) -> Self {
            let mut command = Command::new("setsid");
            command.args(["sh", "-c", script]).env(RUN_VARIABLE, marker).stdin(Stdio::null());
            let child = command.spawn().unwrap();
            let first = identify(child.id()).unwrap();
            Self { child, first, marker }
        }

        fn until(&self, what: &str, holds: impl Fn(Usage) -> bool) -> Usage {
            let began = Instant::now();
            loop {
                match usage(&self.first, self.marker) {
                    Some(usage) if holds(usage) => return usage,
                    other => assert!(began.elapsed() < PATIENCE, "{what}: {other:?}"),
                }
                thread::sleep(Duration::from_millis(50));
            }
        }
    }

    impl Drop for Run {
        fn drop(&mut self) {
            let Some(scan) = ProcessScan::take(HashMap::new()) else { return };
            for pid in scan.members(&self.first, self.marker) {
                let _ = kill(Pid::from_raw(i32::try_from(pid).unwrap()), Signal::SIGKILL);
            }
            let _ = self.child.wait();
        }
    }

    #[test]
    fn the_whole_run_is_measured_and_not_its_first_process_alone() {
        let script = "(x=$(head -c 20000000 /dev/zero | tr '\\0' x); sleep 1000; echo $x) & setsid sleep 1000 & sleep 1000 & wait";
        let run = Run::start(script, "usage-whole/0/1");
        let usage = run.until("five processes", |usage| usage.processes == 5 && usage.memory_bytes > 20_000_000);
        assert!(usage.cpu > Duration::ZERO && usage.age < PATIENCE * 2, "{usage:?}");
        assert!(usage.memory_bytes < 200_000_000, "{usage:?}");
    }

    #[test]
    fn a_process_that_left_the_session_is_found_by_the_marker_of_its_run_alone() {
        let run = Run::start("setsid sleep 1000 & exit 0", "usage-stray/0/1");
        let usage_of_both = run.until("the one that left", |usage| usage.processes == 1 && usage.age > SETTLED_AGE * 2);
        assert!(usage_of_both.memory_bytes > 0);
        assert_eq!(usage(&run.first, "usage-stray/0/2"), None);
    }

    #[test]
    fn time_of_what_has_ended_is_not_lost() {
        let run = Run::start(
            "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; sh -c 'i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done'; sleep 1000",
            "usage-time/0/1",
        );
        let usage = run.until("both have counted", |usage| usage.processes == 2 && usage.cpu > Duration::ZERO);
        let first = Stat::read(run.first.pid).unwrap();
        assert_eq!(usage.processes, 2);
        assert!(first.cpu_ticks > 0);
    }

    #[test]
    fn many_runs_share_one_scan() {
        let me = identify(std::process::id()).unwrap();
        let mut scans = HashSet::new();
        for _ in 0..100 {
            usage(&me, "").unwrap();
            scans.insert(LATEST.lock().unwrap().as_ref().map(|scan| scan.at));
        }
        assert!(scans.len() < 20, "{}", scans.len());
    }
}
