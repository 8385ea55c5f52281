//! Flipped bits and truncated files in the journal: the ledger reports the damage with the affected events, and does
//! not panic.

use std::fs;

use apm2_ledger::{
    FindError, FindingKind, Ledger, MigrateError, OpenError, ReadError, Reader, StoreCheck, migrate, verify,
};

use crate::support::{closed_ledger, copy_of, segments, small_segments};

#[test]
fn a_sound_ledger_verifies_against_its_store() {
    let (dir, events) = closed_ledger();
    let report = verify(dir.path(), &mut |_| {}).unwrap();
    assert_eq!(report.findings, []);
    assert_eq!(
        (report.events, report.head.size, report.store),
        (events.len() as u64, events.len() as u64, StoreCheck::Done)
    );
}

#[test]
fn every_flipped_bit_of_the_journal_is_found_and_names_the_events_concerned() {
    let (dir, events) = closed_ledger();
    let size = events.len() as u64;
    // The step is a prime number, so that the flipped bits are spread over all parts of a commit and all bit positions
    // of a byte.
    const STEP: usize = 1_009;
    // A reader is tested only at every 23rd bit, because it retries for a while when the damage looks like a commit
    // that is being written.
    const READ_EVERY: usize = 23;
    for path in segments(dir.path()) {
        let sound = fs::read(&path).unwrap();
        for (round, bit) in (0..sound.len() * 8).step_by(STEP).enumerate() {
            let mut bytes = sound.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, &bytes).unwrap();
            let report = verify(dir.path(), &mut |_| {}).unwrap();
            let finding = report.findings.first().unwrap_or_else(|| panic!("{} bit {bit}", path.display()));
            assert_eq!(finding.kind, FindingKind::Damage, "{} bit {bit}", path.display());
            assert!((1..=size + 1).contains(&finding.first_seq) && finding.last_seq <= size + 1, "{finding:?}");
            if round % READ_EVERY != 0 {
                continue;
            }
            // A reader returns the events before the damage, and then an error, or the end of the journal if the
            // damaged part is unused.
            let reader = Reader::open(dir.path()).unwrap();
            for (got, want) in reader.events(1, u64::MAX).map_while(Result::ok).zip(&events) {
                assert_eq!(&got, want);
            }
        }
        fs::write(&path, &sound).unwrap();
    }
}

#[test]
fn a_flipped_bit_in_the_last_commit_is_damage_and_not_a_torn_tail() {
    let (dir, events) = closed_ledger();
    let path = segments(dir.path()).pop().unwrap();
    let sound = fs::read(&path).unwrap();
    let end = sound.iter().rposition(|byte| *byte != 0).unwrap();
    let copy = copy_of(dir.path());
    // Without the store, the damage must be found from the journal alone.
    fs::remove_dir_all(copy.path().join("sled")).unwrap();
    let target = copy.path().join("journal").join(path.file_name().unwrap());
    for back in 0..150 {
        let mut bytes = sound.clone();
        bytes[end - back] ^= 0x10;
        fs::write(&target, &bytes).unwrap();
        let error =
            Ledger::open_with(copy.path(), &small_segments()).err().unwrap_or_else(|| panic!("{back} bytes back"));
        assert!(error.is_integrity(), "{back} bytes back: {error}");
        assert!(error.to_string().contains(&events.len().to_string()), "{error}");
    }
}

#[test]
fn a_missing_segment_is_named() {
    let (dir, _) = closed_ledger();
    let all = segments(dir.path());
    assert!(all.len() >= 3, "{} segments", all.len());
    for path in &all[..all.len() - 1] {
        let copy = copy_of(dir.path());
        fs::remove_file(copy.path().join("journal").join(path.file_name().unwrap())).unwrap();
        let report = verify(copy.path(), &mut |_| {}).unwrap();
        assert_eq!(report.findings[0].kind, FindingKind::Damage);
        assert!(Ledger::open_with(copy.path(), &small_segments()).err().unwrap().is_integrity());
    }
    // A journal without its last segment is valid by itself, but has fewer events than the store.
    let copy = copy_of(dir.path());
    fs::remove_file(copy.path().join("journal").join(all.last().unwrap().file_name().unwrap())).unwrap();
    assert!(Ledger::open_with(copy.path(), &small_segments()).err().unwrap().is_integrity());
}

#[test]
fn a_tampered_event_with_right_checksums_breaks_the_chain() {
    use apm2_ledger::frame::{Frame, FrameBuilder};
    let (dir, _) = closed_ledger();
    let path = segments(dir.path()).remove(0);
    let mut bytes = fs::read(&path).unwrap();
    let start = 96;
    let frame = Frame::parse(&bytes[start..]).unwrap();
    let (length, after) = (frame.header().frame_len(), frame.header().chain_after);
    let mut forged = FrameBuilder::new(frame.header().first_seq, frame.header().chain_before);
    for (_, event) in frame.iter(&bytes[start..]) {
        let mut event = event.to_vec();
        let last = event.len() - 1;
        event[last] ^= 1;
        forged.push(&event);
    }
    let forged = forged.finish();
    assert_eq!(forged.len(), length);
    bytes[start..start + length].copy_from_slice(&forged);
    fs::write(&path, bytes).unwrap();
    let report = verify(dir.path(), &mut |_| {}).unwrap();
    assert!(report.findings.iter().any(|finding| finding.first_seq <= 2), "{:?}", report.findings);
    assert_ne!(Frame::parse(&forged).unwrap().header().chain_after, after);
}

#[test]
fn a_journal_directory_that_cannot_be_read_is_no_damage() {
    let (dir, _) = closed_ledger();
    let journal = dir.path().join("journal");
    fs::rename(&journal, dir.path().join("elsewhere")).unwrap();
    // open(2) fails with ELOOP.
    std::os::unix::fs::symlink("journal", &journal).unwrap();
    assert!(matches!(verify(dir.path(), &mut |_| {}), Err(OpenError::Io { .. })));
    let error = migrate(dir.path(), &small_segments(), &mut |_| {}).unwrap_err();
    assert!(matches!(error, MigrateError::Open(OpenError::Io { .. })), "{error:?}");
}

#[test]
fn a_segment_that_is_not_a_file_is_damage_for_a_name_too() {
    let (dir, _) = closed_ledger();
    let path = &segments(dir.path())[1];
    fs::remove_file(path).unwrap();
    fs::create_dir(path).unwrap();
    let found = Reader::open(dir.path()).unwrap().find("p1");
    assert!(matches!(found, Err(FindError::Read(ReadError::Damaged(_)))), "{found:?}");
}
