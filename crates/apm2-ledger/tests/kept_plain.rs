//! The plain files that are kept for some time beside their sealed segments: `verify` checks them, and no answer depends on them.

use std::{fs, path::PathBuf};

use apm2_ledger::{Ledger, Reader, journal::segment::SegmentHeader, verify};
use apm2_model::event::Event;
use tempfile::TempDir;

use crate::{
    sealed::wait_until_sealed,
    support::{all_events, fill, private_dir, sealed_segments, segments, stream},
};

/// A closed ledger with the plain files of its sealed segments still beside them, and the paths of these plain files.
fn ledger_with_plain_files() -> (TempDir, Vec<Event>, Vec<PathBuf>) {
    let dir = private_dir();
    let ledger = Ledger::open_with(dir.path(), &sealed_segments()).unwrap();
    fill(&ledger, stream(1), 120);
    let events = all_events(&ledger);
    wait_until_sealed(dir.path());
    ledger.close().unwrap();
    let mut plain = segments(dir.path());
    plain.pop();
    assert!(plain.len() > 2);
    (dir, events, plain)
}

#[test]
fn every_flipped_bit_in_a_plain_file_beside_its_sealed_segment_is_found_by_verify_and_changes_no_answer() {
    let (dir, events, plain) = ledger_with_plain_files();
    let report = verify(dir.path(), &mut |_| {}).unwrap();
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    for (number, path) in plain.iter().enumerate() {
        let bytes = fs::read(path).unwrap();
        for (at, step) in (number..bytes.len()).step_by(1009).zip(0..) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << (step % 8);
            fs::write(path, damaged).unwrap();
            let report = verify(dir.path(), &mut |_| {}).unwrap();
            assert_eq!(report.findings.len(), 1, "byte {at} of {}: {:?}", path.display(), report.findings);
            assert!(report.findings[0].message.contains("plain file"), "{:?}", report.findings);
            let read: Vec<Event> = Reader::open(dir.path()).unwrap().events(1, u64::MAX).map(Result::unwrap).collect();
            assert_eq!(read, events);
        }
        fs::write(path, bytes).unwrap();
    }
}

#[test]
fn a_plain_file_that_belongs_to_another_segment_or_ends_within_a_commit_is_found_by_verify() {
    let (dir, _, plain) = ledger_with_plain_files();
    let bytes = fs::read(&plain[0]).unwrap();
    let in_first_commit = SegmentHeader::parse(&bytes).unwrap().to_bytes().len() + 50;
    for other in [fs::read(&plain[1]).unwrap(), bytes[..in_first_commit].to_vec(), Vec::new()] {
        fs::write(&plain[0], other).unwrap();
        let report = verify(dir.path(), &mut |_| {}).unwrap();
        assert_eq!(report.findings.len(), 1, "{:?}", report.findings);
    }
}
