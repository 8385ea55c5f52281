//! A file descriptor store with too low a limit on open files: the kernel drops descriptors of a message and sets MSG_CTRUNC.

use std::{
    fs,
    os::{fd::AsFd as _, unix::net::UnixStream},
    sync::Arc,
    thread,
    time::Duration,
};

use apm2_core::process::{FdStore as _, has_ended};
use apm2_daemon::fd_store::FdStoreClient;
use apm2_ledger::LedgerDir;
use rustix::process::Resource;

use crate::support::{Place, gone, helpers_of, limit, wait_until};

const ECOSYSTEM: &str =
    "[[process]]\nname = 'it'\ncommand = 'sleep'\nargs = ['1000']\nrestart = { policy = 'never' }\n";

/// The lowest limit that is tried: below the number of files that the store itself has open.
const LIMIT_MIN: u64 = 4;

/// A limit that is certainly sufficient.
const LIMIT_ENOUGH: u64 = 64;

/// The descriptors of a run: two outputs, and the process.
const DESCRIPTORS: usize = 3;

fn keeper(place: &Place) -> u32 {
    wait_until("there is a keeper", || helpers_of(&place.ledger(), &["keeper"]).first().copied())
}

/// The latest run, as the store knows it, and its number.
fn run_of(place: &Place) -> (String, u64) {
    let shown = place.json(&["show", "it"]);
    let number = shown["runs"].as_array().unwrap().last().unwrap()["run"].as_u64().unwrap();
    (format!("{}/0/{number}", shown["handle"]["id"].as_str().unwrap()), number)
}

/// Whether the daemon reports that the latest run is not stored.
fn is_refused(place: &Place) -> bool {
    let of_run =
        format!("instance{{name=it}}:run{{number={}}}: a process is not in the file descriptor store", run_of(place).1);
    fs::read_to_string(place.ledger().join("daemon.log")).unwrap().contains(&of_run)
}

/// For increasing limits, none, some and at last all descriptors of a run arrive.
#[test]
fn what_has_not_arrived_whole_is_not_held() {
    let place = Place::supervising(ECOSYSTEM);
    let keeper = keeper(&place);
    let dir = Arc::new(LedgerDir::open(&place.ledger()).unwrap());
    let client = FdStoreClient::new(&dir, Vec::new());
    assert_eq!(client.held().unwrap(), [run_of(&place).0]);
    let mut refused = 0;
    for soft in LIMIT_MIN..LIMIT_ENOUGH {
        limit(keeper, Resource::Nofile, Some(soft));
        place.run(&["restart", "it"]).succeeded();
        let (run, pid) = (run_of(&place).0, place.pid_of("it"));
        assert!(!gone(pid), "it runs, held or not");
        if is_refused(&place) {
            refused += 1;
            assert_eq!(client.held().unwrap(), [""; 0], "nothing is held of it, nor of the run before");
            assert!(client.get(&run).unwrap().is_none());
            continue;
        }
        // The first run that is not refused is stored completely.
        assert_eq!(client.held().unwrap(), [run.as_str()]);
        let held = client.get(&run).unwrap().unwrap();
        assert_eq!((held.outputs.len() + 1, held.identity.pid), (DESCRIPTORS, pid));
        assert_eq!(has_ended(held.pidfd.as_fd()), Some(false));
        break;
    }
    assert!(refused >= DESCRIPTORS, "refused only {refused} times, and a run needs {DESCRIPTORS} descriptors");
    assert_eq!(client.held().unwrap().len(), 1, "never held, whatever the limit");
    assert_eq!(self::keeper(&place), keeper, "the same one");
}

/// A run that is not stored is found by its pid, as without a store.
#[test]
fn a_run_that_is_not_held_is_taken_over_and_not_started_twice() {
    let place = Place::supervising(ECOSYSTEM);
    let keeper = keeper(&place);
    limit(keeper, Resource::Nofile, Some(LIMIT_MIN));
    place.run(&["restart", "it"]).succeeded();
    assert!(is_refused(&place));
    let pid = place.pid_of("it");
    limit(keeper, Resource::Nofile, None);
    place.kill_daemon();
    place.run(&["up"]).succeeded();
    assert_eq!(place.pid_of("it"), pid);
    let types = place.types("it");
    assert_eq!(types.iter().filter(|name| *name == "start_requested").count(), 2, "{types:?}");
    assert!(types.contains(&"adopted".to_owned()), "{types:?}");
    place.run(&["stop", "it"]).succeeded();
    assert!(gone(pid));
}

/// Duration of the measurement of CPU use, and the share that fails the test, in percent.
const LOOKED: Duration = Duration::from_secs(1);

const BUSY_PERCENT: u64 = 30;

/// CPU time of a process, in hundredths of a second.
fn processor_time(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    [11, 12].map(|at: usize| fields[at].parse::<u64>().unwrap()).iter().sum()
}

/// Number of open descriptors of a process.
fn descriptors(pid: u32) -> u64 {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count().try_into().unwrap()
}

/// Asserts that a process without a free descriptor for a connection uses little CPU time; `connect` opens a pending connection.
fn assert_waits<T>(pid: u32, connect: impl FnOnce() -> T) -> T {
    limit(pid, Resource::Nofile, Some(descriptors(pid).min(LIMIT_MIN)));
    let waiting = connect();
    let before = processor_time(pid);
    thread::sleep(LOOKED);
    let used = processor_time(pid) - before;
    limit(pid, Resource::Nofile, None);
    assert!(used < BUSY_PERCENT, "{used} % of a processor");
    waiting
}

#[test]
fn a_daemon_and_a_store_without_a_descriptor_for_a_connection_do_not_spin() {
    let place = Place::supervising(ECOSYSTEM);
    let keeper = keeper(&place);
    drop(assert_waits(place.daemon().unwrap(), || UnixStream::connect(place.ledger().join("daemon.sock")).unwrap()));
    let dir = Arc::new(LedgerDir::open(&place.ledger()).unwrap());
    let asked = Arc::clone(&dir);
    let asking = assert_waits(keeper, || thread::spawn(move || FdStoreClient::new(&asked, Vec::new()).held()));
    // The pending connection may have timed out.
    drop(asking.join().unwrap());
    assert_eq!(FdStoreClient::new(&dir, Vec::new()).held().unwrap(), [run_of(&place).0]);
    place.run(&["restart", "it"]).succeeded();
    assert!(!is_refused(&place), "the store serves its daemon");
    assert_eq!(self::keeper(&place), keeper, "the same one");
}
