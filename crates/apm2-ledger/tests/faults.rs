//! Failed writes and syncs, and the order of writes and syncs.

use std::{
    fs::File,
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use apm2_core::process::EventKind;
use apm2_ledger::{
    AppendError, Ledger, Options,
    journal::storage_backend::{Disk, StorageBackend},
};

use crate::support::{all_events, copy_of, draft_at, private_dir, registered, small_segments, stream};

/// Storage backend that counts its calls and fails from one call on.
#[derive(Default)]
struct Faulty {
    writes: AtomicU64,
    syncs: AtomicU64,
    fail_write: AtomicU64,
    fail_sync: AtomicU64,
}

impl Faulty {
    fn armed(write: u64, sync: u64) -> Arc<Self> {
        let faulty = Self::default();
        faulty.fail_write.store(write, Ordering::SeqCst);
        faulty.fail_sync.store(sync, Ordering::SeqCst);
        Arc::new(faulty)
    }
}

impl StorageBackend for Faulty {
    fn write_all_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        if self.writes.fetch_add(1, Ordering::SeqCst) + 1 == self.fail_write.load(Ordering::SeqCst) {
            Disk.write_all_at(file, &bytes[..bytes.len() / 2], offset)?;
            return Err(io::Error::from_raw_os_error(5));
        }
        Disk.write_all_at(file, bytes, offset)
    }

    fn sync_data(&self, file: &File) -> io::Result<()> {
        if self.syncs.fetch_add(1, Ordering::SeqCst) + 1 == self.fail_sync.load(Ordering::SeqCst) {
            return Err(io::Error::from_raw_os_error(5));
        }
        Disk.sync_data(file)
    }
}

fn options(backend: Arc<dyn StorageBackend>) -> Options {
    Options { backend, ..small_segments() }
}

#[test]
fn law_4_no_append_is_acknowledged_before_its_sync() {
    let dir = private_dir();
    let backend = Arc::new(Faulty::default());
    let ledger = Ledger::open_with(dir.path(), &options(backend.clone())).unwrap();
    let id = stream(1);
    let mut drafts = vec![registered(id, "p")];
    for version in 0..50 {
        let (writes, syncs) = (backend.writes.load(Ordering::SeqCst), backend.syncs.load(Ordering::SeqCst));
        ledger.append(id, version, drafts).unwrap();
        assert!(backend.writes.load(Ordering::SeqCst) > writes, "append {version} wrote");
        assert!(backend.syncs.load(Ordering::SeqCst) > syncs, "append {version} synced");
        drafts = vec![draft_at(id, 0, 1, EventKind::BudgetReset)];
    }
}

#[test]
fn law_4_a_failed_write_or_sync_poisons_until_reopened_and_loses_nothing_acknowledged() {
    // Several appends that start a new segment. The outcome is the same whichever call fails.
    for call in 2..40 {
        for is_write in [true, false] {
            let dir = private_dir();
            let backend = if is_write { Faulty::armed(call, 0) } else { Faulty::armed(0, call) };
            let small = Options { segment_bytes: 2048, ..options(backend) };
            let ledger = match Ledger::open_with(dir.path(), &small) {
                Ok(ledger) => ledger,
                Err(_) => continue,
            };
            let id = stream(1);
            let mut acknowledged = 0;
            let mut drafts = vec![registered(id, "p")];
            let failed = loop {
                match ledger.append(id, acknowledged, drafts) {
                    Ok(_) => acknowledged += 1,
                    Err(error) => break error,
                }
                assert!(acknowledged < 100, "the fault was never met");
                drafts = vec![draft_at(id, 0, 1, EventKind::BudgetReset)];
            };
            assert!(matches!(failed, AppendError::Poisoned(_)), "call {call}: {failed}");
            let again = ledger.append(id, acknowledged, vec![draft_at(id, 0, 1, EventKind::BudgetReset)]);
            assert!(matches!(again, Err(AppendError::Poisoned(_))));
            assert!(ledger.poisoned().is_some());
            assert_eq!(all_events(&ledger).len() as u64, acknowledged, "what was acknowledged stays readable");
            assert!(ledger.close().is_err());
            let copy = copy_of(dir.path());
            let reopened = Ledger::open_with(copy.path(), &small_segments()).unwrap();
            let events = reopened.reader().stream_events(id).map(Result::unwrap).count() as u64;
            assert!((acknowledged..=acknowledged + 1).contains(&events), "{acknowledged} acknowledged, {events} there");
            reopened.append(id, events, vec![draft_at(id, 0, 1, EventKind::BudgetReset)]).unwrap_or_else(|error| {
                assert_eq!(events, 0, "{error}");
                Vec::new()
            });
        }
    }
}
