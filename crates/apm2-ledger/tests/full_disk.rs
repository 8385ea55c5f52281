//! Case 15 of `docs/recovery.md`: a full disk. The test mounts a small tmpfs, so it needs root; run it with
//! `--ignored`.

use std::{fs, path::Path, process::Command};

use apm2_core::process::{EventKind, StartTrigger};
use apm2_ledger::{AppendError, Ledger, Options, verify};

use crate::support::{draft_at, private_dir, registered, small_segments, stream};

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
