//! The numbered cases of `docs/recovery.md`.

use std::{
    fs,
    io::{Seek as _, SeekFrom, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use apm2_core::process::{Event, EventKind};
use apm2_ledger::{Ledger, OpenError, Options, Origin, Reader, verify};

use crate::support::{all_events, closed_ledger, copy_of, fill, private_dir, segments, small_segments, stream};

fn open(dir: &Path) -> Ledger {
    Ledger::open_with(dir, &small_segments()).unwrap()
}

/// Opens the ledger, and checks that it contains `events` and then the event that records a rebuild of the store.
fn expect_rebuilt(dir: &Path, events: &[Event]) {
    let ledger = open(dir);
    let found = all_events(&ledger);
    assert_eq!(found[..events.len()], *events);
    let rebuilt =
        found[events.len()..].iter().filter(|event| matches!(event.kind, EventKind::StoreRebuilt { .. })).count();
    assert_eq!((rebuilt, found.len()), (1, events.len() + 1));
    ledger.close().unwrap();
    assert_eq!(verify(dir, &mut |_| {}).unwrap().findings, []);
}

#[test]
fn case_01_an_empty_or_missing_directory_becomes_a_ledger_closed_to_others() {
    let parent = private_dir();
    let dir = parent.path().join("a/b");
    open(&dir).close().unwrap();
    assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
    let loose = parent.path().join("loose");
    fs::create_dir(&loose).unwrap();
    fs::set_permissions(&loose, fs::Permissions::from_mode(0o755)).unwrap();
    open(&loose).close().unwrap();
    assert_eq!(fs::metadata(&loose).unwrap().permissions().mode() & 0o777, 0o700);
    for below in ["", "journal", "sled", "sled/blobs"] {
        for entry in fs::read_dir(loose.join(below)).unwrap() {
            let entry = entry.unwrap();
            assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o077, 0, "{}", entry.path().display());
        }
    }
}

#[test]
fn case_02_a_directory_that_is_a_link_or_open_to_others_is_refused() {
    let (dir, _) = closed_ledger();
    let parent = private_dir();
    let link = parent.path().join("link");
    std::os::unix::fs::symlink(dir.path(), &link).unwrap();
    assert!(matches!(Ledger::open(&link), Err(OpenError::Unsafe { .. })));
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o750)).unwrap();
    assert!(matches!(Ledger::open(dir.path()), Err(OpenError::Unsafe { .. })));
    assert!(matches!(Reader::open(&parent.path().join("none")), Err(OpenError::Missing { .. })));
    assert!(!parent.path().join("none").exists());
}

#[test]
fn case_03_a_torn_last_commit_is_cut_off_at_every_sector_and_the_cut_is_recorded() {
    let (dir, events) = closed_ledger();
    let path = segments(dir.path()).pop().unwrap();
    let sound = fs::read(&path).unwrap();
    let used = sound.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    // A torn commit: the write of a commit of several sectors was interrupted, so that only some sectors are on the
    // disk.
    let ledger = open(dir.path());
    let id = stream(9);
    let mut large = crate::support::registered(id, "large");
    large.reason = Some("x".repeat(2500));
    ledger.append(id, 0, vec![large]).unwrap();
    let killed = copy_of(dir.path());
    drop(ledger);
    let target = killed.path().join("journal").join(path.file_name().unwrap());
    let full = fs::read(&target).unwrap();
    let end = full.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    assert!(end > used + 2500);
    // The torn commit is not in the store, because only acknowledged commits are added to the store.
    fs::remove_dir_all(killed.path().join("sled")).unwrap();
    fs::remove_file(killed.path().join("clean")).ok();
    for missing in used / 512..=end / 512 {
        let mut bytes = full.clone();
        for byte in &mut bytes[(missing * 512).max(used)..((missing + 1) * 512).min(end.next_multiple_of(8))] {
            *byte = 0;
        }
        let torn = copy_of(killed.path());
        let target = torn.path().join("journal").join(path.file_name().unwrap());
        fs::write(&target, &bytes).unwrap();
        assert_eq!(verify(torn.path(), &mut |_| {}).unwrap().findings, [], "a torn tail is no finding");
        let torn = copy_of(torn.path());
        fs::remove_dir_all(torn.path().join("sled")).ok();
        fs::write(torn.path().join("journal").join(path.file_name().unwrap()), &bytes).unwrap();
        let ledger = open(torn.path());
        let found = all_events(&ledger);
        assert_eq!(found[..events.len()], events[..]);
        assert!(matches!(found[events.len()].kind, EventKind::TailCut { .. }), "sector {missing}: {:?}", found.last());
        ledger.close().unwrap();
        assert_eq!(verify(torn.path(), &mut |_| {}).unwrap().findings, []);
    }
}

#[test]
fn case_04_a_store_behind_the_journal_is_brought_up_without_a_word() {
    let dir = private_dir();
    let ledger = open(dir.path());
    fill(&ledger, stream(1), 20);
    let early = copy_of(&dir.path().join("sled"));
    fill(&ledger, stream(2), 20);
    let events = all_events(&ledger);
    ledger.close().unwrap();
    let behind = copy_of(dir.path());
    fs::remove_dir_all(behind.path().join("sled")).unwrap();
    crate::support::copy_dir(early.path(), &behind.path().join("sled"));
    let reopened = open(behind.path());
    let found = all_events(&reopened);
    assert_eq!(found[..events.len()], events[..]);
    reopened.close().unwrap();
    assert_eq!(verify(behind.path(), &mut |_| {}).unwrap().findings, []);
}

#[test]
fn case_05_a_store_that_is_missing_or_empty_is_rebuilt() {
    let (dir, events) = closed_ledger();
    let missing = copy_of(dir.path());
    fs::remove_dir_all(missing.path().join("sled")).unwrap();
    expect_rebuilt(missing.path(), &events);
    let empty = copy_of(dir.path());
    fs::remove_dir_all(empty.path().join("sled")).unwrap();
    fs::create_dir(empty.path().join("sled")).unwrap();
    expect_rebuilt(empty.path(), &events);
}

#[test]
fn case_06_a_store_cut_short_anywhere_loses_no_event() {
    let (dir, events) = closed_ledger();
    let length = fs::metadata(dir.path().join("sled/db")).unwrap().len();
    for keep in (0..length).step_by(usize::try_from(length / 16).unwrap().max(1)) {
        let cut = copy_of(dir.path());
        let file = fs::OpenOptions::new().write(true).open(cut.path().join("sled/db")).unwrap();
        file.set_len(keep).unwrap();
        let ledger = open(cut.path());
        assert_eq!(all_events(&ledger)[..events.len()], events[..], "{keep} bytes kept");
        ledger.close().unwrap();
        assert_eq!(verify(cut.path(), &mut |_| {}).unwrap().findings, []);
    }
}

#[test]
fn case_07_a_store_with_flipped_bytes_loses_no_event() {
    let (dir, events) = closed_ledger();
    let names = ["sled/db", "sled/conf"];
    for (round, name) in (0..40_u64).zip(names.iter().cycle()) {
        let flipped = copy_of(dir.path());
        let path = flipped.path().join(name);
        let length = fs::metadata(&path).unwrap().len();
        let mut file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.seek(SeekFrom::Start(round * 7919 % length)).unwrap();
        file.write_all(&[0xA5; 16]).unwrap();
        drop(file);
        let ledger = open(flipped.path());
        assert_eq!(all_events(&ledger)[..events.len()], events[..], "round {round}, {name}");
        ledger.close().unwrap();
        assert_eq!(verify(flipped.path(), &mut |_| {}).unwrap().findings, [], "round {round}, {name}");
    }
}

#[test]
fn case_08_a_snapshot_that_sled_never_finished_is_removed() {
    let (dir, events) = closed_ledger();
    fs::write(dir.path().join("sled/snap.00000000FFFFFFFF.generating"), b"half").unwrap();
    let ledger = open(dir.path());
    assert_eq!(all_events(&ledger), events);
}

#[test]
fn case_06_a_name_that_was_given_twice_does_not_make_a_sound_store_suspect() {
    let dir = private_dir();
    let ledger = open(dir.path());
    let id = stream(1);
    let mut version = fill(&ledger, id, 20).last().unwrap().version;
    for _ in 0..3 {
        let EventKind::Registered { spec } = crate::support::registered(id, "p1").kind else { unreachable!() };
        let changed = crate::support::draft_at(id, 20, 9999, EventKind::SpecChanged { spec });
        version = ledger.append(id, version, vec![changed]).unwrap().last().unwrap().version;
        // Enough events for another frame of the store.
        for _ in 0..80 {
            let reset = crate::support::draft_at(id, 20, 9999, EventKind::BudgetReset);
            version = ledger.append(id, version, vec![reset]).unwrap().last().unwrap().version;
        }
    }
    let events = all_events(&ledger);
    ledger.close().unwrap();
    assert_eq!(verify(dir.path(), &mut |_| {}).unwrap().findings, []);
    // A copy is checked completely when it is opened.
    let copy = copy_of(dir.path());
    assert_eq!(all_events(&open(copy.path())), events, "nothing was rebuilt");
}

#[test]
fn case_09_a_store_with_more_than_the_journal_is_a_refusal() {
    let (dir, _) = closed_ledger();
    let behind = copy_of(dir.path());
    let ledger = open(dir.path());
    fill(&ledger, stream(9), 1);
    ledger.close().unwrap();
    fs::remove_dir_all(behind.path().join("sled")).unwrap();
    crate::support::copy_dir(&dir.path().join("sled"), &behind.path().join("sled"));
    let error = Ledger::open_with(behind.path(), &small_segments()).err().unwrap();
    assert!(matches!(error, OpenError::JournalShort { .. }) && error.is_integrity());
    // The events that the journal still contains can be read.
    let reader = Reader::open(behind.path()).unwrap();
    assert!(reader.events(1, u64::MAX).all(|event| event.is_ok()));
}

#[test]
fn case_10_a_journal_that_is_gone_beside_a_store_is_a_refusal() {
    let (dir, _) = closed_ledger();
    fs::remove_dir_all(dir.path().join("journal")).unwrap();
    assert!(Ledger::open_with(dir.path(), &small_segments()).err().unwrap().is_integrity());
}

#[test]
fn case_11_a_newer_format_is_refused_and_left_as_it_is() {
    let (dir, _) = closed_ledger();
    for path in segments(dir.path()) {
        let mut bytes = fs::read(&path).unwrap();
        bytes[8] = 3;
        let crc = crc32c::crc32c(&bytes[..88]);
        bytes[88..92].copy_from_slice(&crc.to_le_bytes());
        fs::write(&path, bytes).unwrap();
    }
    let before: Vec<_> = segments(dir.path()).iter().map(|path| fs::read(path).unwrap()).collect();
    assert!(matches!(Ledger::open(dir.path()), Err(OpenError::Newer { found: 3, known: 2, .. })));
    assert!(matches!(Reader::open(dir.path()), Err(OpenError::Newer { .. })));
    assert!(matches!(verify(dir.path(), &mut |_| {}), Err(OpenError::Newer { .. })));
    let after: Vec<_> = segments(dir.path()).iter().map(|path| fs::read(path).unwrap()).collect();
    assert_eq!(before, after);
}

#[test]
fn case_12_a_ledger_that_was_never_begun_can_be_begun() {
    // A process that is killed before the first segment has its name leaves at most these files.
    let dir = private_dir();
    fs::create_dir(dir.path().join("journal")).unwrap();
    fs::write(dir.path().join("journal/ahead.new"), [0; 100]).unwrap();
    fs::write(dir.path().join("journal/ahead"), [0; 100]).unwrap();
    fs::create_dir(dir.path().join("sled.new")).unwrap();
    fs::write(dir.path().join("sled.new/conf"), b"half").unwrap();
    let ledger = Ledger::open_with(dir.path(), &Options { segment_bytes: 4096, ..small_segments() }).unwrap();
    fill(&ledger, stream(1), 3);
    ledger.close().unwrap();
    assert_eq!(verify(dir.path(), &mut |_| {}).unwrap().findings, []);
}

/// After a kill, the last events are in no snapshot. When the ledger is opened and closed later, the new snapshots must
/// not hide these events from a replay.
#[test]
fn events_without_a_snapshot_at_a_kill_are_replayed_after_later_closes() {
    let dir = private_dir();
    let ledger = open(dir.path());
    fill(&ledger, stream(1), 3);
    let killed = copy_of(dir.path());
    drop(ledger);
    for number in 2..4 {
        let ledger = open(killed.path());
        if number == 3 {
            fill(&ledger, stream(number), 1);
        }
        ledger.append_system(EventKind::SupervisorStopped).unwrap();
        ledger.close().unwrap();
        let reopened = open(killed.path());
        let reader = reopened.reader();
        let kept = reader.replay(u64::MAX, Origin::Snapshot).unwrap();
        let whole = reader.replay(u64::MAX, Origin::Genesis).unwrap();
        assert!(!whole.streams.is_empty() && kept.streams == whole.streams, "{:?}", kept.streams.keys());
    }
}

/// A rebuild that fails is no rebuild: the ledger works without a store, and only the rebuild that succeeds is recorded.
#[test]
fn a_store_that_cannot_be_rebuilt_is_recorded_once_it_is() {
    for is_damaged in [false, true] {
        let (dir, events) = closed_ledger();
        let store = dir.path().join("sled");
        if is_damaged {
            for file in fs::read_dir(&store).unwrap().flatten().filter(|entry| entry.path().is_file()) {
                fs::write(file.path(), "damaged").unwrap();
            }
        } else {
            fs::remove_dir_all(&store).unwrap();
        }
        // The new store is created in this directory.
        let obstacle = dir.path().join("sled.new");
        fs::write(&obstacle, "").unwrap();
        for _ in 0..3 {
            let ledger = open(dir.path());
            assert_eq!(all_events(&ledger), events, "nothing is recorded yet");
            ledger.close().unwrap();
        }
        fs::remove_file(&obstacle).unwrap();
        let ledger = open(dir.path());
        let found = all_events(&ledger);
        let set_aside: Vec<bool> = found[events.len()..]
            .iter()
            .map(|event| match &event.kind {
                EventKind::StoreRebuilt { set_aside, .. } => set_aside.is_some(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(set_aside, if is_damaged { vec![true, false] } else { vec![false] });
        ledger.close().unwrap();
        assert_eq!(verify(dir.path(), &mut |_| {}).unwrap().findings, []);
    }
}
