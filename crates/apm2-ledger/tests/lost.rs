//! Missing ledger files, and other file types under the name of a ledger file. The ledger reports an error and does not
//! block.

use std::{fs, os::unix::fs::symlink, path::Path};

use apm2_ledger::{Ledger, OpenError, Reader, verify};
use nix::{sys::stat::Mode, unistd::mkfifo};

use crate::support::{
    all_events, closed_ledger, copy_of, fill, private_dir, segments, small_segments, state_of, stream,
};

/// Checks that opening, reading and verifying the ledger each report an integrity error and do not change the journal.
fn expect_broken(dir: &Path, what: &str) {
    let before = state_of(&dir.join("journal"));
    let error = Ledger::open_with(dir, &small_segments()).err();
    assert!(error.as_ref().is_some_and(OpenError::is_integrity), "{what}: {error:?}");
    let report = verify(dir, &mut |_| {}).unwrap();
    assert!(!report.findings.is_empty(), "{what}: verified");
    let read = Reader::open(dir).map(|reader| reader.events(1, u64::MAX).any(|event| event.is_err()));
    assert!(
        read.as_ref().is_ok_and(|has_failed| *has_failed) || read.is_err_and(|error| error.is_integrity()),
        "{what}"
    );
    assert_eq!(state_of(&dir.join("journal")), before, "{what}");
}

#[test]
fn a_segment_path_that_is_not_a_regular_file_is_damage() {
    let (dir, _) = closed_ledger();
    let names: Vec<_> = segments(dir.path()).iter().map(|path| path.file_name().unwrap().to_owned()).collect();
    for name in [&names[1], names.last().unwrap()] {
        for kind in ["a FIFO", "a directory", "a link"] {
            let copy = copy_of(dir.path());
            let path = copy.path().join("journal").join(name);
            let aside = copy.path().join("aside");
            fs::rename(&path, &aside).unwrap();
            match kind {
                "a FIFO" => mkfifo(&path, Mode::S_IRWXU).unwrap(),
                "a directory" => fs::create_dir(&path).unwrap(),
                _ => symlink(&aside, &path).unwrap(),
            }
            expect_broken(copy.path(), kind);
        }
    }
}

#[test]
fn stray_files_and_fifos_in_the_ledger_directory_are_ignored() {
    let (dir, events) = closed_ledger();
    for name in ["journal/7.seg", "journal/0000000009.seg.old", "journal/x.seg", "journal/ahead.new", "stray"] {
        fs::write(dir.path().join(name), b"stray").unwrap();
    }
    for name in ["clean", "pending", "owner", "journal/ahead"] {
        fs::remove_file(dir.path().join(name)).ok();
        mkfifo(&dir.path().join(name), Mode::S_IRWXU).unwrap();
    }
    assert_eq!(verify(dir.path(), &mut |_| {}).unwrap().findings, []);
    assert_eq!(Reader::open(dir.path()).unwrap().events(1, u64::MAX).map(Result::unwrap).count(), events.len());
    let ledger = Ledger::open_with(dir.path(), &small_segments()).unwrap();
    assert_eq!(all_events(&ledger)[..events.len()], events[..]);
}

#[test]
fn a_ledger_without_its_journal_is_broken_and_not_begun_anew() {
    let (dir, _) = closed_ledger();
    let all_gone = copy_of(dir.path());
    segments(all_gone.path()).into_iter().for_each(|path| fs::remove_file(path).unwrap());
    expect_broken(all_gone.path(), "all segments gone");
    // The journal and the store are both missing. The remaining files show that the directory contained a ledger.
    for left in ["clean", "launch/x.json", "logs/it-0/stdout.log"] {
        let copy = copy_of(dir.path());
        for name in ["journal", "sled"] {
            fs::remove_dir_all(copy.path().join(name)).unwrap();
        }
        fs::remove_file(copy.path().join("clean")).unwrap();
        let path = copy.path().join(left);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, b"left").unwrap();
        let error = Ledger::open_with(copy.path(), &small_segments()).err().unwrap();
        assert!(
            matches!(&error, OpenError::Damaged(damage) if damage.what.contains("every segment is missing")),
            "{error}"
        );
    }
}

#[test]
fn a_reader_knows_that_the_journal_is_shorter_than_at_the_last_close() {
    let (dir, events) = closed_ledger();
    let older = copy_of(dir.path());
    let ledger = Ledger::open_with(dir.path(), &small_segments()).unwrap();
    fill(&ledger, stream(4), 3);
    let all = all_events(&ledger).len();
    ledger.close().unwrap();
    assert_eq!(Reader::open(dir.path()).unwrap().missing(), None);
    fs::copy(dir.path().join("clean"), older.path().join("clean")).unwrap();
    let missing = (u64::try_from(events.len()).unwrap() + 1, u64::try_from(all).unwrap());
    assert_eq!(Reader::open(older.path()).unwrap().missing(), Some(missing));
}

#[test]
fn a_journal_without_its_last_segment_is_broken() {
    let (dir, _) = closed_ledger();
    fs::remove_file(segments(dir.path()).pop().unwrap()).unwrap();
    expect_broken(dir.path(), "the last segment gone");
}

#[test]
fn the_journal_of_another_ledger_in_the_place_of_a_longer_one_is_refused() {
    let (dir, _) = closed_ledger();
    let other = private_dir();
    let ledger = Ledger::open_with(other.path(), &small_segments()).unwrap();
    fill(&ledger, stream(9), 1);
    drop(ledger);
    fs::remove_dir_all(dir.path().join("journal")).unwrap();
    fs::rename(other.path().join("journal"), dir.path().join("journal")).unwrap();
    let before = state_of(&dir.path().join("sled"));
    let error = Ledger::open_with(dir.path(), &small_segments()).err();
    assert!(error.as_ref().is_some_and(OpenError::is_integrity), "{error:?}");
    assert!(!verify(dir.path(), &mut |_| {}).unwrap().findings.is_empty());
    assert_eq!(state_of(&dir.path().join("sled")), before, "nothing is set aside");
}
