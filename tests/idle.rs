//! Waiting processes make few system calls.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
};

use crate::support::{Following, Place, wait_until};

/// Length of a measurement. Calls that strace(1) itself interrupts and restarts are not counted.
const COUNTED_SECS: u64 = 10;

/// Number of calls that fails the test.
const CALLS_A_SECOND: u64 = 5;

/// The limit for the daemon: it checks each second whether the ledger's path still names its directory, since the kernel does
/// not report that.
/// does not tell.
const DAEMON_CALLS_A_SECOND: u64 = 10;

/// Number of measurements.
const COUNTS_MAX: u32 = 3;

/// Counts the system calls of all threads of a process; the name is for messages.
struct Count {
    name: &'static str,
    tracer: Child,
    path: std::path::PathBuf,
}

impl Count {
    fn start(place: &Place, name: &'static str, pid: u32) -> Self {
        let path = place.path(&format!("{}.strace", name.replace(' ', "-")));
        let mut command = Command::new("timeout");
        command.args(["-s", "INT", &COUNTED_SECS.to_string(), "strace", "-c"]);
        for thread in threads(pid) {
            command.args(["-p", &thread]);
        }
        let tracer = command.arg("-o").arg(&path).stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        Self { name, tracer, path }
    }

    /// The calls, once they are counted; `None` when tracing is not permitted.
    fn calls(&mut self) -> Option<u64> {
        self.tracer.wait().unwrap();
        let table = fs::read_to_string(&self.path).ok()?;
        // `% time, seconds, usecs/call, calls, errors, syscall`; the errors may be missing.
        let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let calls = rows.filter(|row| row.len() >= 5 && !["total", "restart_syscall"].contains(row.last().unwrap()));
        Some(calls.filter_map(|row| row[3].parse::<u64>().ok()).sum())
    }
}

/// The threads of a process except those of sled, which wake up once a second in any case.
fn threads(pid: u32) -> Vec<String> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap().map(|entry| entry.unwrap());
    let is_ours = |path: &Path| !fs::read_to_string(path.join("comm")).unwrap().starts_with("sled-io");
    threads.filter(|thread| is_ours(&thread.path())).map(|thread| thread.file_name().into_string().unwrap()).collect()
}

fn follow(place: &Place, name: &str, args: &[&str]) -> Following {
    let following = Following::start(place, args);
    wait_until(name, || (!following.printed().is_empty()).then_some(()));
    following
}

#[expect(clippy::print_stderr, reason = "the reader of the test's output is to know that nothing was tested")]
pub(crate) fn skip(why: &str) {
    eprintln!("skipped: {why}");
}

pub(crate) fn can_trace() -> bool {
    let traced = Command::new("strace").args(["-c", "true"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    traced.is_ok_and(|status| status.success())
}

/// Measures again those that were still starting up: a process that polls fails each time.
fn assert_few_calls(place: &Place, counted: &[(&'static str, u32)]) {
    let mut left = counted.to_vec();
    let mut tables = String::new();
    for _ in 0..COUNTS_MAX {
        let mut counts: Vec<_> = left.iter().map(|(name, pid)| (Count::start(place, name, *pid), *pid)).collect();
        left.clear();
        tables.clear();
        for (count, pid) in &mut counts {
            let Some(calls) = count.calls() else { return skip("strace(1) may not attach here") };
            let max = if count.name == "daemon" { DAEMON_CALLS_A_SECOND } else { CALLS_A_SECOND };
            if calls >= max * COUNTED_SECS {
                left.push((count.name, *pid));
                tables.push_str(&format!("{}: {}\n", count.name, fs::read_to_string(&count.path).unwrap()));
            }
        }
        if left.is_empty() {
            return;
        }
    }
    panic!("too many system calls:\n{tables}");
}

#[test]
fn waiting_makes_few_system_calls() {
    if !can_trace() {
        return skip("strace(1) is missing, or may not trace here");
    }
    let place = Place::new();
    let running = place.start_script(&["--name", "it"], "echo out; echo err >&2; exec sleep 1000");
    wait_until("it runs", || place.run(&["logs", "it"]).stdout.contains("err").then_some(()));
    let tail = follow(&place, "tail", &["tail", "-f"]);
    let logs = follow(&place, "logs", &["logs", "it", "-f"]);
    let counted =
        [("run", running.pid()), ("tail -f", tail.pid()), ("logs -f", logs.pid()), ("daemon", place.daemon().unwrap())];
    assert_few_calls(&place, &counted);
}

#[test]
fn waiting_without_a_daemon_makes_few_system_calls() {
    if !can_trace() {
        return skip("strace(1) is missing, or may not trace here");
    }
    let place = Place::new();
    place.run_script(&["--name", "it"], "echo out; echo err >&2").succeeded();
    place.stop_daemon();
    let tail = follow(&place, "tail", &["tail", "-f"]);
    let logs = follow(&place, "logs", &["logs", "it", "-f"]);
    assert_few_calls(&place, &[("tail -f", tail.pid()), ("logs -f", logs.pid())]);
}
