//! The daemon is killed at random moments while processes run, start and stop, and the next one takes over: every process
//! is adopted or recorded as ended, none runs twice, no line is lost or doubled, exit codes are exact, and the ledger
//! verifies. `APM2_DAEMON_KILLS` sets the number of kills.

use std::{
    collections::BTreeMap,
    fs,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::{
    ecosystem::eight,
    support::{Place, gone, send, wait_until},
};

const KILLS: usize = 12;

/// The longest time from the beginning of a change to the kill.
const KILL_WITHIN_MS: u32 = 250;

/// Processes beside the eight of `ecosystem.rs`. Each writes numbered lines that begin with its run. `counter` runs until it
/// is stopped, the exit code of `exiter` depends on its run, `slow` outlives many daemons, `stamped` has timestamps, and `small`
/// has many log files.
const ECOSYSTEM: &str = r#"
[[process]]
name = "counter"
command = "sh"
args = ["-c", 'i=0; while :; do i=$((i+1)); echo "$APM2_RUN $i"; done | head -n 4000; i=4000; while :; do i=$((i+1)); echo "$APM2_RUN $i"; sleep 0.002; done']
restart = { policy = "always", backoff = "5ms", max_restarts = 1000 }
shutdown = { timeout = "2s" }

[[process]]
name = "exiter"
command = "sh"
args = ["-c", 'r=${APM2_RUN##*/}; i=0; while [ $i -lt 40 ]; do i=$((i+1)); echo "$APM2_RUN $i"; done; exit $((r % 5 + 1))']
restart = { policy = "always", backoff = "5ms", max_restarts = 1000 }
instances = 2

[[process]]
name = "slow"
command = "sh"
args = ["-c", 'i=0; while :; do i=$((i+1)); echo "$APM2_RUN $i"; echo "$APM2_RUN $i" >&2; sleep 0.01; done']

[[process]]
name = "stamped"
command = "sh"
args = ["-c", 'i=0; while :; do i=$((i+1)); echo "$APM2_RUN $i"; sleep 0.001; done']
log = { timestamps = true }

[[process]]
name = "small"
command = "sh"
args = ["-c", 'i=0; while :; do i=$((i+1)); echo "$APM2_RUN $i"; sleep 0.001; done']
log = { rotate_bytes = 20000, total_bytes_max = 1000000000, merge = true }
"#;

fn random(below: u32) -> u32 {
    u32::try_from(uuid::Uuid::new_v4().as_u128() % u128::from(below)).unwrap()
}

/// Starts a change that the kill may interrupt at any point.
fn begin(place: &Place, round: usize) -> Child {
    let name = ["counter", "exiter", "slow", "stamped", "small", "exiter-1"][round % 6];
    let args = match random(4) {
        0 => vec!["restart", name],
        1 => vec!["stop", name],
        _ => vec!["up", "ecosystem.toml"],
    };
    place.command(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Waits for a random time.
fn pass(time: Duration) {
    let began = Instant::now();
    wait_until("the moment", || (began.elapsed() >= time).then_some(()));
}

#[test]
fn nothing_is_lost_when_the_daemon_is_killed() {
    let kills = std::env::var("APM2_DAEMON_KILLS").ok().map_or(KILLS, |text| text.parse().unwrap());
    let place = Place::new();
    fs::write(place.path("ecosystem.toml"), format!("{ECOSYSTEM}\n{}", eight(&place))).unwrap();
    // Some of it ends repeatedly, which is a failure for `up`.
    let up = || assert!(place.run(&["up"]).code <= 1);
    up();
    let mut killed = 0;
    for round in 0..kills {
        let mut changing = begin(&place, round);
        pass(Duration::from_millis(u64::from(random(KILL_WITHIN_MS))));
        if let Some(pid) = place.daemon() {
            if random(5) == 0 {
                // Stopped (SIGSTOP) for a while instead of killed: the processes are not affected.
                send(pid, Signal::SIGSTOP);
                pass(Duration::from_millis(u64::from(random(100))));
                send(pid, Signal::SIGCONT);
            }
            send(pid, Signal::SIGKILL);
            wait_until("it is gone", || gone(pid).then_some(()));
            killed += 1;
        }
        changing.wait().unwrap();
        assert_none_twice();
    }
    up();
    assert_none_twice();
    assert_eq!(place.json(&["verify"])["ok"], true);
    let pids = pids_in(&place);
    place.run(&["down"]).succeeded();
    wait_until("nothing is left", || pids.iter().all(|pid| gone(*pid)).then_some(()));
    assert!(killed * 2 > kills, "{killed} of {kills} rounds killed a daemon");
    place.stop_daemon();
    assert_eq!(place.json(&["verify"])["ok"], true);

    let mut lines = 0;
    for (name, outputs) in [
        ("counter", &["--stdout"][..]),
        ("exiter-0", &["--stdout"]),
        ("exiter-1", &["--stdout"]),
        ("slow", &["--stdout", "--stderr"]),
        ("stamped", &["--stdout"]),
        ("small", &["--stdout"]),
    ] {
        for output in outputs {
            lines += assert_lines(&place, name, output);
        }
    }
    lines += assert_chatty(&place);
    let exits = assert_exits(&place);
    println!("{killed} daemons killed, {lines} lines whole, {exits}");
}

/// The pids of running processes in the ledger.
fn pids_in(place: &Place) -> Vec<u32> {
    let listed = place.json(&["list"]);
    let pids = listed.as_array().unwrap().iter().filter_map(|handle| handle["pid"].as_u64());
    pids.map(|pid| u32::try_from(pid).unwrap()).collect()
}

/// A session leader with the name of its instance and run in its environment.
struct Leader {
    pid: u32,
    parent: u32,
    run: String,
}

/// No instance has two processes. A descendant of a run may lead a session, too.
fn assert_none_twice() {
    let mut instances: BTreeMap<String, Vec<Leader>> = BTreeMap::new();
    for entry in fs::read_dir("/proc").unwrap() {
        let name = entry.unwrap().file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let marker = environ.split(|byte| *byte == 0).find_map(|variable| variable.strip_prefix(b"APM2_RUN="));
        let Some(marker) = marker.map(|marker| String::from_utf8_lossy(marker).into_owned()) else { continue };
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let Some((_, fields)) = stat.rsplit_once(')') else { continue };
        let fields: Vec<u32> = fields.split_whitespace().skip(1).map_while(|field| field.parse().ok()).collect();
        let [parent, _, session, ..] = fields.as_slice() else { continue };
        if *session == pid && !gone(pid) {
            let (instance, run) = marker.rsplit_once('/').unwrap();
            let leader = Leader { pid, parent: *parent, run: run.to_owned() };
            instances.entry(instance.to_owned()).or_default().push(leader);
        }
    }
    for (instance, leaders) in instances {
        let is_first = |leader: &&Leader| leaders.iter().all(|other| other.pid != leader.parent);
        let first: Vec<_> = leaders.iter().filter(is_first).map(|leader| (leader.pid, &leader.run)).collect();
        assert_eq!(first.len(), 1, "{instance} runs more than once: {first:?}");
    }
}

/// The newest lines of the process with the most output are complete over all files and daemons.
fn assert_chatty(place: &Place) -> usize {
    let text = place.run(&["logs", "chatty", "--stdout", "-n", "all", "--raw"]).succeeded().stdout;
    // The oldest file that is left begins where the one before it was full, and the stop cuts the last line.
    let whole = text.split_inclusive('\n').skip(1).filter_map(|line| line.strip_suffix('\n'));
    let numbers: Vec<u64> = whole.map(|line| line.parse().unwrap()).collect();
    let gap = numbers.windows(2).find(|pair| pair[1] != pair[0] + 1);
    assert_eq!(gap, None, "a line of chatty is lost or doubled");
    assert!(numbers.len() > 10_000);
    numbers.len()
}

/// The lines of each run are numbered from 1 without a gap, and no run begins twice.
fn assert_lines(place: &Place, name: &str, output: &str) -> usize {
    let text = place.run(&["logs", name, output, "-n", "all", "--raw"]).succeeded().stdout;
    let mut last: BTreeMap<String, u64> = BTreeMap::new();
    // Each line begins with the value of `APM2_RUN`, and that with the same characters up to the first slash.
    let first = text.split_whitespace().find(|word| word.contains('/')).unwrap_or_default();
    let prefix = first.split_inclusive('/').next().unwrap_or_default();
    let mut count = 0;
    // A program that is killed can leave a part of a line: at the end, or before the first line of the next run.
    for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
        let line = line.rfind(prefix).and_then(|begin| line.get(begin..)).unwrap_or(line);
        let words: Vec<&str> = line.split(' ').collect();
        let [run, number] = words.as_slice() else { panic!("{name} {output}: {line:?} is no line of it") };
        let number: u64 = number.parse().unwrap_or_else(|_| panic!("{name} {output}: {line:?} is cut"));
        let before = last.entry((*run).to_owned()).or_insert(0);
        assert_eq!(number, *before + 1, "{name} {output} of {run}: a line is lost or doubled");
        *before = number;
        count += 1;
    }
    assert!(count > 0, "{name} {output} has no lines");
    if name.starts_with("exiter") {
        let whole = ended_by_themselves(place, name);
        for (run, number) in &last {
            let run = run.rsplit('/').next().unwrap().parse::<u64>().unwrap();
            assert!(*number == 40 || !whole.contains(&run), "{name}: run {run} ends with line {number}");
        }
    }
    count
}

/// The runs of an instance that were not stopped on request.
fn ended_by_themselves(place: &Place, name: &str) -> Vec<u64> {
    let events = place.events(name);
    let stopped: Vec<_> =
        events.iter().filter(|event| event["type"] == "stopping").map(|event| &event["run"]).collect();
    let crashed = events.iter().filter(|event| event["type"] == "crashed" && !stopped.contains(&&event["run"]));
    crashed.map(|event| event["run"].as_u64().unwrap()).collect()
}

/// An exit is the one of the script or recorded as unknown; it is known wherever the kernel can report it.
fn assert_exits(place: &Place) -> String {
    let (mut exact, mut recovered, mut unknown) = (0, 0, 0);
    for name in ["exiter-0", "exiter-1"] {
        let whole = ended_by_themselves(place, name);
        for run in place.json(&["show", name])["runs"].as_array().unwrap() {
            let number = run["run"].as_u64().unwrap();
            if !whole.contains(&number) || run["end"] == "never_confirmed" {
                continue;
            }
            let exit = &run["exit"];
            if exit["evidence"] == "unknown" {
                assert_eq!(exit["code"], Value::Null);
                unknown += 1;
                continue;
            }
            assert_eq!(exit["code"].as_u64(), Some(number % 5 + 1), "{name}, run {number}: {run}");
            exact += 1;
            recovered += u32::from(exit["evidence"] == "recovered");
        }
    }
    assert!(exact > 0);
    if can_kernel_tell() {
        assert_eq!(unknown, 0, "the kernel tells the exit of every process that somebody holds a pidfd of");
    }
    format!("{exact} exits exact, {recovered} of them recovered, {unknown} unknown")
}

/// Since Linux 6.15 a pidfd reports the exit of a reaped process.
fn can_kernel_tell() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(['.', '-']).map_while(|number| number.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(6), Some(15))
}
