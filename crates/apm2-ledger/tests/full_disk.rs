//! Case 15 of `docs/recovery.md`: a full disk. The test mounts a small tmpfs, so it needs root; run it with
//! `--ignored`.

use std::{fs, path::Path, process::Command};

use apm2_core::process::{EventKind, StartTrigger};
use apm2_ledger::{AppendError, Ledger, MigrateError, MigrationProgress, Options, migrate, verify};
use apm2_model::causes::causes;

use crate::support::{
    all_events, draft_at, fill, make_format_1, private_dir, registered, sealed, segments, small_segments, stream,
    tiny_segments,
};

/// A tmpfs mount that is unmounted when the test ends, also when it fails.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(size: &str) -> Self {
        let dir = private_dir();
        let options = format!("size={size},mode=0700");
        let status = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(dir.path()).status();
        assert!(status.unwrap().success(), "mount needs root");
        Self(dir)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Fills the disk until about `free` bytes are left.
    fn fill(&self, free: u64) {
        let stat = nix::sys::statvfs::statvfs(self.path()).unwrap();
        let taken = (stat.blocks_available() * stat.fragment_size()).saturating_sub(free);
        fs::write(self.path().join("filler"), vec![1; usize::try_from(taken).unwrap()]).unwrap();
    }

    fn free(&self) {
        fs::remove_file(self.path().join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        Command::new("umount").arg("--lazy").arg(self.path()).status().ok();
    }
}

#[test]
#[ignore = "needs root, to mount a small file system"]
fn case_15_on_a_full_disk_no_start_is_recorded_exits_are_and_nothing_acknowledged_is_lost() {
    let disk = SmallDisk::mount("48m");
    let dir = disk.path().join("ledger");
    let options = Options { segment_bytes: 256 * 1024, ..small_segments() };
    let ledger = Ledger::open_with(&dir, &options).unwrap();
    let id = stream(1);
    ledger.append(id, 0, vec![registered(id, "p")]).unwrap();
    disk.fill(64 * 1024);
    let start = draft_at(id, 1, 1, EventKind::StartRequested { trigger: StartTrigger::Start });
    assert!(matches!(ledger.append(id, 1, vec![start]), Err(AppendError::DiskLow { .. })));
    // Events other than start requests are still recorded, in the allocated part of the segment, until that is full
    // too.
    let mut version = 1;
    let failed = loop {
        match ledger.append(id, version, vec![draft_at(id, 0, 1, EventKind::BudgetReset)]) {
            Ok(_) => version += 1,
            Err(error) => break error,
        }
        assert!(version < 100_000, "the disk was never full");
    };
    assert!(version > 500, "only {version} events fitted");
    assert!(matches!(failed, AppendError::Poisoned(_)), "{failed}");
    assert_eq!(ledger.reader().stream_events(id).map(Result::unwrap).count() as u64, version);
    drop(ledger);
    // The ledger can be read while the disk is full, and accepts events again when the disk has free space.
    let full = apm2_ledger::Reader::open(&dir).unwrap();
    assert!(full.stream_events(id).map(Result::unwrap).count() as u64 >= version);
    drop(full);
    disk.free();
    let again = Ledger::open_with(&dir, &options).unwrap();
    let there = again.reader().stream_events(id).map(Result::unwrap).count() as u64;
    assert!((version..=version + 1).contains(&there), "{version} acknowledged, {there} there");
    again.append(id, there, vec![draft_at(id, 0, 1, EventKind::BudgetReset)]).unwrap();
    again.close().unwrap();
    assert_eq!(verify(&dir, &mut |_| {}).unwrap().findings, []);
}

#[test]
#[ignore = "needs root, to mount a small file system"]
fn a_migration_on_a_full_disk_leaves_the_ledger_as_it_was_and_is_made_later() {
    let disk = SmallDisk::mount("64m");
    let dir = disk.path().join("ledger");
    let ledger = Ledger::open_with(&dir, &tiny_segments()).unwrap();
    for number in 1..=8 {
        fill(&ledger, stream(number), 40);
    }
    let (events, head) = (all_events(&ledger), ledger.reader().head().unwrap());
    ledger.close().unwrap();
    make_format_1(&dir);
    let before = segments(&dir);
    disk.fill(1024 * 1024);
    let refused = migrate(&dir, &tiny_segments(), &mut |_| {}).unwrap_err();
    assert!(matches!(refused, MigrateError::DiskLow { .. }), "{refused}");
    assert_eq!((segments(&dir), sealed(&dir).len()), (before.clone(), 0));
    disk.free();
    // The disk is full after some segments were sealed.
    let mut fill_disk = |progress| {
        if matches!(progress, MigrationProgress::Sealing { done: 9, .. }) {
            disk.fill(0);
        }
    };
    let failed = migrate(&dir, &tiny_segments(), &mut fill_disk).unwrap_err();
    assert!(matches!(failed, MigrateError::Seal { number: 10, .. }), "{failed}");
    assert!(causes(&failed).contains("No space left on device"), "{}", causes(&failed));
    assert_eq!(sealed(&dir).len(), 0);
    assert_eq!(segments(&dir)[..before.len()], before);
    let read = apm2_ledger::Reader::open(&dir).unwrap();
    assert_eq!(read.events(1, u64::MAX).map(Result::unwrap).collect::<Vec<_>>(), events);
    disk.free();
    let ledger = Ledger::open_with(&dir, &tiny_segments()).unwrap();
    assert_eq!(all_events(&ledger), events);
    ledger.close().unwrap();
    assert_eq!(migrate(&dir, &tiny_segments(), &mut |_| {}).unwrap().unwrap().head, head);
    assert_eq!(verify(&dir, &mut |_| {}).unwrap().findings, []);
}
