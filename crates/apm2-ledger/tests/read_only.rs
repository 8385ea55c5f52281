//! Reading and verifying a ledger changes no file and needs no write permission.

use std::{fs, path::Path, process::Command};

use apm2_core::process::EventKind;
use apm2_ledger::{Ledger, Origin, Reader, StoreCheck, verify};

use crate::support::{closed_ledger, copy_of, fill, private_dir, segments, small_segments, state_of, stream};

fn read_all(dir: &Path) -> u64 {
    let reader = Reader::open(dir).unwrap();
    reader.replay(u64::MAX, Origin::Snapshot).unwrap();
    reader.find("p1").unwrap();
    reader.events(1, u64::MAX).map(Result::unwrap).count() as u64
}

#[test]
fn reading_and_verifying_write_nothing_into_an_idle_ledger() {
    let (dir, events) = closed_ledger();
    let before = state_of(dir.path());
    assert_eq!(read_all(dir.path()), events.len() as u64);
    let report = verify(dir.path(), &mut |_| {}).unwrap();
    assert_eq!((report.findings, report.store), (vec![], StoreCheck::Done));
    assert_eq!(state_of(dir.path()), before);
}

#[test]
fn what_a_crash_left_is_read_and_verified_and_stays_as_it_is() {
    let dir = private_dir();
    let ledger = Ledger::open_with(dir.path(), &small_segments()).unwrap();
    let events = fill(&ledger, stream(1), 5);
    let killed = copy_of(dir.path());
    drop(ledger);
    // The first half of a commit, as after a power failure.
    let path = segments(killed.path()).pop().unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap().next_multiple_of(8);
    bytes[end..end + 4].copy_from_slice(b"a2fr");
    fs::write(&path, bytes).unwrap();
    let before = state_of(killed.path());
    assert_eq!(read_all(killed.path()), events.len() as u64);
    let report = verify(killed.path(), &mut |_| {}).unwrap();
    assert_eq!(report.findings, []);
    assert!(report.torn.is_some(), "what the next opening cuts off is said");
    assert_eq!(state_of(killed.path()), before);
    let reopened = Ledger::open_with(killed.path(), &small_segments()).unwrap();
    let mut found = reopened.reader().events(1, u64::MAX).map(Result::unwrap);
    assert!(found.any(|event| matches!(event.kind, EventKind::TailCut { .. })));
}

/// A tmpfs mount that is unmounted when the test ends, also when it fails.
struct Mounted(tempfile::TempDir);

impl Mounted {
    fn mount() -> Self {
        let dir = private_dir();
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=64m,mode=0700", "tmpfs"]).arg(dir.path()).status();
        assert!(mount.unwrap().success(), "mount needs root");
        Self(dir)
    }

    fn close_to_writing(&self) {
        let mount = Command::new("mount").args(["-o", "remount,ro"]).arg(self.0.path()).status();
        assert!(mount.unwrap().success());
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        Command::new("umount").arg("--lazy").arg(self.0.path()).status().ok();
    }
}

#[test]
#[ignore = "needs root, to mount a read-only file system"]
fn a_ledger_on_a_read_only_file_system_is_read_and_verified() {
    let disk = Mounted::mount();
    let dir = disk.0.path().join("ledger");
    let ledger = Ledger::open_with(&dir, &small_segments()).unwrap();
    let events = fill(&ledger, stream(1), 40);
    ledger.close().unwrap();
    disk.close_to_writing();
    assert_eq!(read_all(&dir), events.len() as u64);
    let report = verify(&dir, &mut |_| {}).unwrap();
    assert_eq!((report.findings, report.store), (vec![], StoreCheck::Done));
}
