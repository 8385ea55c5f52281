//! The extent file shows which events are missing from a journal after a crash. It reports no missing events in a copy.

use std::{fs, path::Path};

use apm2_ledger::{Ledger, Reader, limits::EXTENT_EVENTS, verify};

use crate::support::{copy_dir, fill, private_dir, small_segments, stream};

/// Replaces the journal in `to` by the journal in `from`.
fn put_back(from: &Path, to: &Path) {
    fs::remove_dir_all(to.join("journal")).unwrap();
    copy_dir(&from.join("journal"), &to.join("journal"));
}

#[test]
fn readers_know_without_a_clean_close_that_an_older_journal_was_put_back() {
    let (dir, older) = (private_dir(), private_dir());
    let ledger = Ledger::open_with(dir.path(), &small_segments()).unwrap();
    fill(&ledger, stream(1), 5);
    copy_dir(dir.path(), older.path());
    let before = Reader::open(older.path()).unwrap().head().unwrap().size;
    fill(&ledger, stream(2), 60);
    let after = ledger.reader().head().unwrap().size;
    ledger.close().unwrap();
    // The state after a crash, and without the store, which readers do not open.
    fs::remove_file(dir.path().join("clean")).unwrap();
    fs::remove_dir_all(dir.path().join("sled")).unwrap();
    assert_eq!(Reader::open(dir.path()).unwrap().missing(), None);
    put_back(older.path(), dir.path());
    assert_eq!(Reader::open(dir.path()).unwrap().missing(), Some((before + 1, after)));
    let findings = verify(dir.path(), &mut |_| {}).unwrap().findings;
    assert!(
        matches!(findings.as_slice(), [one] if (one.first_seq, one.last_seq) == (before + 1, after)),
        "{findings:?}"
    );
    assert!(Ledger::open_with(dir.path(), &small_segments()).err().unwrap().is_integrity());
    // A copy of the same files reports no missing events, because a copy may contain the journal of an earlier moment.
    let copy = private_dir();
    copy_dir(dir.path(), copy.path());
    assert_eq!(Reader::open(copy.path()).unwrap().missing(), None);
    assert_eq!(verify(copy.path(), &mut |_| {}).unwrap().findings, []);
    Ledger::open_with(copy.path(), &small_segments()).unwrap().close().unwrap();
}

#[test]
fn the_mark_is_written_while_the_ledger_is_open() {
    let dir = private_dir();
    let ledger = Ledger::open_with(dir.path(), &small_segments()).unwrap();
    let marked = || -> u64 {
        let text = fs::read_to_string(dir.path().join("extent")).unwrap();
        text.split(' ').nth(2).unwrap().parse().unwrap()
    };
    assert_eq!(marked(), 0);
    let began = std::time::Instant::now();
    // The events are sent to the indexing thread when they fill a frame of the store.
    for round in 1.. {
        fill(&ledger, stream(round), 20);
        if marked() >= EXTENT_EVENTS {
            break;
        }
        assert!(began.elapsed() < std::time::Duration::from_secs(60), "{}", marked());
    }
    let size = ledger.reader().head().unwrap().size;
    assert!(marked() <= size);
    ledger.close().unwrap();
    assert_eq!(marked(), size);
}

#[test]
fn a_damaged_mark_and_a_ledger_without_a_mark_are_ignored() {
    let dir = private_dir();
    let ledger = Ledger::open_with(dir.path(), &small_segments()).unwrap();
    fill(&ledger, stream(1), 5);
    ledger.close().unwrap();
    let path = dir.path().join("extent");
    let text = fs::read_to_string(&path).unwrap();
    let size = Reader::open(dir.path()).unwrap().head().unwrap().size;
    let larger = text.replace(&format!(" {size} "), " 999 ");
    assert_ne!(larger, text);
    fs::write(&path, &larger).unwrap();
    assert_eq!(Reader::open(dir.path()).unwrap().missing(), Some((size + 1, 999)));
    for wrong in [larger.replacen("1 ", "2 ", 1), larger[..20].to_owned(), String::new()] {
        fs::write(&path, wrong).unwrap();
        assert_eq!(Reader::open(dir.path()).unwrap().missing(), None);
    }
    fs::remove_file(&path).unwrap();
    assert_eq!(Reader::open(dir.path()).unwrap().missing(), None);
    assert_eq!(verify(dir.path(), &mut |_| {}).unwrap().findings, []);
    Ledger::open_with(dir.path(), &small_segments()).unwrap().close().unwrap();
    assert!(path.exists(), "an opening writes the mark");
}
