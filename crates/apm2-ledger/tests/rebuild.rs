//! The store is built again on request: the ledger has the same events, and nothing is recorded.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use apm2_core::process::Event;
use apm2_ledger::{Ledger, OpenError, RebuildError, Rebuilt, StoreCheck, rebuild, rebuild_plan, verify};

use crate::support::{all_events, closed_ledger, copy_of, fill, private_dir, small_segments, state_of, stream};

fn rebuilt(dir: &Path) -> Result<Rebuilt, RebuildError> {
    rebuild(dir, &small_segments(), &mut |_| {})
}

/// Checks that the store was compared with the journal, and that opening the ledger records nothing.
fn assert_ledger(dir: &Path, events: &[Event]) {
    let report = verify(dir, &mut |_| {}).unwrap();
    assert_eq!((report.findings, report.store, report.store_note), (Vec::new(), StoreCheck::Done, None));
    let ledger = Ledger::open_with(dir, &small_segments()).unwrap();
    assert_eq!(all_events(&ledger), events);
    ledger.close().unwrap();
    let names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(names.iter().all(|name| !name.starts_with("sled.")), "{names:?}");
}

#[test]
fn a_store_is_rebuilt_whatever_it_was() {
    let (ledger, events) = closed_ledger();
    let before = state_of(ledger.path());
    let plan = rebuild_plan(ledger.path()).unwrap();
    assert_eq!(state_of(ledger.path()), before);
    let done = rebuilt(ledger.path()).unwrap();
    assert_eq!((plan.store_bytes, done.head.size), (done.bytes_before, events.len() as u64));
    assert!(done.bytes_after > 0);
    assert_ledger(ledger.path(), &events);
    type Damage<'a> = &'a dyn Fn(&Path);
    let missing: Damage<'_> = &|store| fs::remove_dir_all(store).unwrap();
    let damaged: Damage<'_> = &|store| fs::write(store.join("db"), "damage").unwrap();
    let empty: Damage<'_> = &|store| {
        fs::remove_dir_all(store).unwrap();
        fs::create_dir(store).unwrap();
    };
    for (number, damage) in [missing, damaged, empty].into_iter().enumerate() {
        let copy = copy_of(ledger.path());
        damage(&copy.path().join("sled"));
        assert_eq!(rebuilt(copy.path()).unwrap().head, done.head, "{number}");
        assert_ledger(copy.path(), &events);
    }
}

#[test]
fn a_rebuild_that_is_interrupted_leaves_a_whole_store() {
    let (ledger, events) = closed_ledger();
    let mut steps = 0;
    rebuild(copy_of(ledger.path()).path(), &small_segments(), &mut |_| steps += 1).unwrap();
    assert!(steps >= 3, "{steps}");
    for end in 0..steps {
        let (copy, mut step) = (copy_of(ledger.path()), 0);
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            rebuild(copy.path(), &small_segments(), &mut |_| {
                assert!(step < end, "it ends here");
                step += 1;
            })
        }));
        assert!(outcome.is_err() && copy.path().join("sled.rebuilt").exists(), "{end}");
        let opened = copy_of(copy.path());
        let reopened = Ledger::open_with(opened.path(), &small_segments()).unwrap();
        assert_eq!(all_events(&reopened), events, "{end}");
        reopened.close().unwrap();
        assert_ledger(opened.path(), &events);
        rebuilt(copy.path()).unwrap();
        assert_ledger(copy.path(), &events);
    }
}

#[test]
fn what_cannot_be_rebuilt_is_refused_and_the_old_store_stays() {
    let (ledger, events) = closed_ledger();
    let nothing = private_dir();
    assert!(matches!(rebuilt(nothing.path()), Err(RebuildError::Open(OpenError::Missing { .. }))));
    assert_eq!(fs::read_dir(nothing.path()).unwrap().count(), 0);
    let opened = Ledger::open_with(ledger.path(), &small_segments()).unwrap();
    assert!(matches!(rebuilt(ledger.path()), Err(RebuildError::Open(OpenError::Locked { .. }))));
    opened.close().unwrap();
    // The store of another ledger.
    let (other, _) = closed_ledger();
    let copy = copy_of(ledger.path());
    fs::remove_dir_all(copy.path().join("sled")).unwrap();
    crate::support::copy_dir(&other.path().join("sled"), &copy.path().join("sled"));
    assert!(matches!(rebuilt(copy.path()), Err(RebuildError::OtherLedger)));
    // A store that has events that the journal lacks is evidence of their loss.
    let longer = copy_of(ledger.path());
    let opened = Ledger::open_with(longer.path(), &small_segments()).unwrap();
    fill(&opened, stream(9), 3);
    opened.close().unwrap();
    let copy = copy_of(ledger.path());
    fs::remove_dir_all(copy.path().join("sled")).unwrap();
    crate::support::copy_dir(&longer.path().join("sled"), &copy.path().join("sled"));
    let error = rebuilt(copy.path()).unwrap_err();
    assert!(error.is_integrity(), "{error:?}");
    assert!(copy.path().join("sled/db").exists());
    assert_ledger(ledger.path(), &events);
}
