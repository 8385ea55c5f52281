//! A journal and a store of the same ledger that are each valid but contain different events. A crash cannot cause
//! this.

use std::{fs, path::Path};

use apm2_ledger::{FindingKind, Ledger, OpenError, StoreCheck, verify};

use crate::support::{
    all_events, closed_ledger, copy_dir, copy_of, fill, private_dir, small_segments, state_of, stream,
};

/// Creates a ledger with the journal of one history and the store of another. The histories have their first 13 events
/// in common.
fn diverged(journal_runs: u64, store_runs: u64) -> tempfile::TempDir {
    let dir = private_dir();
    let common = Ledger::open_with(dir.path(), &small_segments()).unwrap();
    fill(&common, stream(1), 3);
    common.close().unwrap();
    let grown = |number, runs| {
        let copy = copy_of(dir.path());
        let ledger = Ledger::open_with(copy.path(), &small_segments()).unwrap();
        fill(&ledger, stream(number), runs);
        ledger.close().unwrap();
        copy
    };
    let (journal, store) = (grown(2, journal_runs), grown(3, store_runs));
    let mixed = copy_of(journal.path());
    fs::remove_dir_all(mixed.path().join("sled")).unwrap();
    copy_dir(&store.path().join("sled"), &mixed.path().join("sled"));
    mixed
}

fn files_but_sled(dir: &Path) -> Vec<String> {
    let of_ledger = ["/sled ", "/sled/", "/owner ", "/clean "];
    state_of(dir).into_iter().filter(|line| !of_ledger.iter().any(|part| line.contains(part))).collect()
}

#[test]
fn a_diverged_ledger_is_an_integrity_error_that_names_the_first_different_event_and_changes_nothing() {
    // The store has as many events as the journal in the first case, and fewer in the second.
    for (journal_runs, store_runs) in [(40, 40), (40, 5)] {
        let dir = diverged(journal_runs, store_runs);
        let before = state_of(dir.path());
        for _ in 0..3 {
            let report = verify(dir.path(), &mut |_| {}).unwrap();
            let finding = &report.findings[0];
            assert_eq!((finding.kind, finding.first_seq), (FindingKind::Store, 14), "{finding:?}");
            assert_eq!(report.store, StoreCheck::Done);
        }
        assert_eq!(state_of(dir.path()), before, "verify repairs nothing");
        let names_before = files_but_sled(dir.path());
        for _ in 0..5 {
            let error = Ledger::open_with(dir.path(), &small_segments()).err().unwrap();
            assert!(matches!(error, OpenError::Diverged { seq: 14 }) && error.is_integrity(), "{error}");
        }
        assert_eq!(files_but_sled(dir.path()), names_before, "nothing is set aside, cut or rebuilt");
    }
}

#[test]
fn a_store_of_another_ledger_is_never_removed_however_often_stores_are_rebuilt() {
    let (dir, events) = closed_ledger();
    let (other, _) = closed_ledger();
    let path = dir.path().join("sled");
    fs::remove_dir_all(&path).unwrap();
    copy_dir(&other.path().join("sled"), &path);
    for round in 0..6 {
        let ledger = Ledger::open_with(dir.path(), &small_segments()).unwrap();
        assert_eq!(all_events(&ledger)[..events.len()], events[..]);
        ledger.close().unwrap();
        // The store is damaged in each round, so that each opening sets the store aside.
        fs::write(path.join("db"), [round; 4096]).unwrap();
    }
    let kept: Vec<_> = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("sled."))
        .collect();
    assert_eq!(kept.iter().filter(|name| name.starts_with("sled.of-another.")).count(), 1, "{kept:?}");
    assert_eq!(kept.iter().filter(|name| name.starts_with("sled.set-aside.")).count(), 3, "{kept:?}");
}
