//! A ledger that is made of the records of another one has the same events and the same hash chain.

use std::{fs, ops::ControlFlow, path::Path};

use apm2_ledger::{Head, ImportError, Importer, Ledger, Options, Reader, StagedDirError, verify};
use uuid::Uuid;

use crate::support::{closed_ledger, fill, private_dir, small_segments, stream};

fn records(dir: &Path) -> (Uuid, Head, Vec<Vec<u8>>) {
    let reader = Reader::open(dir).unwrap();
    let head = reader.head().unwrap();
    let mut records = Vec::new();
    reader
        .each_record(head.size, |seq, record| {
            assert_eq!(seq, records.len() as u64 + 1);
            records.push(record.to_vec());
            ControlFlow::Continue(())
        })
        .unwrap();
    (reader.ledger_id().unwrap(), head, records)
}

fn import(to: &Path, id: Uuid, records: &[Vec<u8>], head: Head, options: &Options) -> Result<(), ImportError> {
    let mut importer = Importer::create(to, id, options)?;
    for (seq, record) in (1..).zip(records) {
        importer.push(seq, record)?;
    }
    importer.finish(head)
}

#[test]
fn an_imported_ledger_has_the_same_chain_verifies_and_goes_on() {
    let (from, _) = closed_ledger();
    let place = private_dir();
    let to = place.path().join("ledger");
    let (id, head, all) = records(from.path());
    import(&to, id, &all, head, &small_segments()).unwrap();
    assert_eq!(records(&to), (id, head, all.clone()));
    let report = verify(&to, &mut |_| {}).unwrap();
    assert_eq!(report.findings, []);
    // Opening it records nothing, since its store is complete.
    let ledger = Ledger::open_with(&to, &small_segments()).unwrap();
    assert_eq!(ledger.known().size, head.size);
    fill(&ledger, stream(99), 5);
    ledger.close().unwrap();
    assert!(verify(&to, &mut |_| {}).unwrap().findings.is_empty());
    // It is not overwritten.
    let error = import(&to, id, &all, head, &small_segments()).unwrap_err();
    assert!(matches!(error, ImportError::Directory(StagedDirError::Exists { .. })), "{error:?}");
}

#[test]
fn records_that_are_not_those_of_the_ledger_leave_nothing() {
    let (from, _) = closed_ledger();
    let place = private_dir();
    let to = place.path().join("ledger");
    let (id, head, all) = records(from.path());
    let refused = |id, records: &[Vec<u8>]| {
        let error = import(&to, id, records, head, &small_segments()).unwrap_err();
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0, "{error:?}");
        error
    };
    assert!(matches!(refused(id, &all[1..]), ImportError::Illegal { seq: 1, .. } | ImportError::Record { seq: 1, .. }));
    assert!(matches!(refused(id, &all[..all.len() - 1]), ImportError::Chain { .. }));
    assert!(matches!(refused(Uuid::new_v4(), &all), ImportError::Chain { .. }));
    for at in (0..all.len()).step_by(29) {
        let mut edited = all.clone();
        let byte = edited[at].last_mut().unwrap();
        *byte ^= 1;
        refused(id, &edited);
        edited[at].clear();
        assert!(matches!(refused(id, &edited), ImportError::Record { .. }));
    }
    let mut importer = Importer::create(&to, id, &small_segments()).unwrap();
    assert!(matches!(importer.push(2, &all[0]), Err(ImportError::Order { expected: 1, found: 2 })));
    // Another process that imports to the same place is refused.
    let other = import(&to, id, &all, head, &small_segments()).unwrap_err();
    assert!(matches!(other, ImportError::Directory(StagedDirError::Open(_))), "{other:?}");
    drop(importer);
    import(&to, id, &all, head, &small_segments()).unwrap();
}
