//! Copies of a ledger whose files are hard links to the same inodes, as `cp -al` makes them. The owners of the copies
//! never write to the same file.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use apm2_core::process::EventKind;
use apm2_ledger::{Ledger, verify};

use crate::support::{
    all_events, closed_ledger, draft_at, fill, private_dir, registered, segments, small_segments, stream,
};

/// Creates a copy with hard links, like `cp -al`.
pub(crate) fn link_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            link_dir(&entry.path(), &target);
        } else {
            fs::hard_link(entry.path(), target).unwrap();
        }
    }
}

/// Path and CRC-32C of each file below a directory.
pub(crate) fn bytes_of(dir: &Path) -> Vec<(std::path::PathBuf, u32)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(bytes_of(&path));
        } else {
            found.push((path.clone(), crc32c::crc32c(&fs::read(&path).unwrap())));
        }
    }
    found.sort();
    found
}

#[test]
fn an_owner_writes_no_file_that_a_hard_linked_copy_has_too() {
    let (dir, events) = closed_ledger();
    let copy = private_dir();
    link_dir(dir.path(), copy.path());
    let before = bytes_of(copy.path());
    let original = Ledger::open_with(dir.path(), &small_segments()).unwrap();
    // The events fill several segments, including the segment file that was prepared before the copy was made.
    let written = fill(&original, stream(7), 60);
    assert_eq!(bytes_of(copy.path()), before, "what is written into the one is not in the other");
    // The original and the copy are open and written at the same time.
    let copied = Ledger::open_with(copy.path(), &small_segments()).unwrap();
    let written_in_copy = fill(&copied, stream(8), 60);
    fill(&original, stream(9), 60);
    for (ledger, dir, own) in [(copied, copy.path(), written_in_copy), (original, dir.path(), written)] {
        let all = all_events(&ledger);
        assert_eq!(all[..events.len()], events[..]);
        assert!(own.iter().all(|event| all.contains(event)));
        ledger.close().unwrap();
        let report = verify(dir, &mut |_| {}).unwrap();
        assert_eq!(report.findings, []);
    }
}

#[test]
fn an_owner_notices_a_hard_link_that_is_made_while_it_writes() {
    let dir = private_dir();
    let ledger = Ledger::open_with(dir.path(), &small_segments()).unwrap();
    let id = stream(1);
    ledger.append(id, 0, vec![registered(id, "p")]).unwrap();
    let copy = private_dir();
    link_dir(&dir.path().join("journal"), &copy.path().join("journal"));
    let append = |version| ledger.append(id, version, vec![draft_at(id, 0, 1, EventKind::BudgetReset)]).unwrap();
    append(1);
    let path = segments(dir.path()).pop().unwrap();
    assert_eq!(fs::metadata(&path).unwrap().nlink(), 1, "it goes on in a file of its own");
    let before = bytes_of(copy.path());
    (2..400).for_each(|version| drop(append(version)));
    assert_eq!(bytes_of(copy.path()), before);
    // A full segment with another hard link is not truncated, because that would truncate the copy, too.
    let copied = Ledger::open_with(copy.path(), &small_segments()).unwrap();
    assert!(all_events(&copied).len() >= 2);
    fill(&copied, stream(2), 5);
    copied.close().unwrap();
    ledger.check_place();
    assert_eq!(ledger.poisoned(), None, "the exchange was its own");
    ledger.close().unwrap();
    for dir in [dir.path(), copy.path()] {
        assert_eq!(verify(dir, &mut |_| {}).unwrap().findings, []);
    }
}

/// The recorded causes of all rebuilds of the store.
fn causes_of_rebuilds(ledger: &Ledger) -> Vec<String> {
    let causes = all_events(ledger).into_iter().filter_map(|event| match event.kind {
        EventKind::StoreRebuilt { cause, .. } => Some(cause),
        _ => None,
    });
    causes.collect()
}

#[test]
fn a_copy_of_a_ledger_that_is_open_has_its_store_built_again_without_a_wait() {
    let dir = private_dir();
    let original = Ledger::open_with(dir.path(), &small_segments()).unwrap();
    fill(&original, stream(1), 20);
    let copy = private_dir();
    link_dir(dir.path(), copy.path());
    let copied = Ledger::open_with(copy.path(), &small_segments()).unwrap();
    let causes = causes_of_rebuilds(&copied);
    assert!(matches!(causes.as_slice(), [cause] if cause.contains("hard links")), "not for a lock: {causes:?}");
    copied.close().unwrap();
    original.close().unwrap();
    assert_eq!(verify(copy.path(), &mut |_| {}).unwrap().findings, []);
}

#[test]
fn a_copy_is_not_short_of_what_its_original_recorded_after_it_was_made() {
    let dir = private_dir();
    let original = Ledger::open_with(dir.path(), &small_segments()).unwrap();
    fill(&original, stream(1), 20);
    let copy = private_dir();
    link_dir(dir.path(), copy.path());
    // These events are also written to the store files that the copy shares.
    fill(&original, stream(2), 60);
    original.close().unwrap();
    let report = verify(copy.path(), &mut |_| {}).unwrap();
    assert_eq!(report.findings, []);
    assert!(report.store_note.unwrap().contains("hard links"));
    let copied = Ledger::open_with(copy.path(), &small_segments()).unwrap();
    fill(&copied, stream(3), 5);
    copied.close().unwrap();
    for dir in [dir.path(), copy.path()] {
        assert_eq!(verify(dir, &mut |_| {}).unwrap().findings, []);
    }
}
