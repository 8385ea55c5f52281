//! The migration of a ledger of format 1.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use apm2_ledger::{
    FindingKind, Head, Ledger, MigrateError, Migrated, MigrationProgress, OpenError, Options, Reader,
    journal::sealed::reader::SealedSegment, migrate, migration_plan, verify,
};
use apm2_model::event::Event;
use tempfile::TempDir;

use crate::support::{
    all_events, copy_of, fill, make_format_1, private_dir, sealed, segments, state_of, stream, tiny_segments,
};

/// Number of streams of the ledger: enough to fill more than twenty segments.
const STREAMS: u8 = 8;

/// A closed ledger of format 1, its events and its head.
fn old_ledger() -> (TempDir, Vec<Event>, Head) {
    let dir = private_dir();
    let ledger = Ledger::open_with(dir.path(), &tiny_segments()).unwrap();
    for number in 1..=STREAMS {
        fill(&ledger, stream(number), 40);
    }
    let (events, head) = (all_events(&ledger), ledger.reader().head().unwrap());
    ledger.close().unwrap();
    make_format_1(dir.path());
    assert!(segments(dir.path()).len() >= 20, "{} segments", segments(dir.path()).len());
    (dir, events, head)
}

fn migrated(dir: &Path) -> Result<Option<Migrated>, MigrateError> {
    migrate(dir, &tiny_segments(), &mut |_| {})
}

fn formats(dir: &Path) -> Vec<u32> {
    let version = |path: &PathBuf| u32::from_le_bytes(fs::read(path).unwrap()[8..12].try_into().unwrap());
    segments(dir).iter().map(version).collect()
}

fn events_in(dir: &Path) -> Vec<Event> {
    Reader::open(dir).unwrap().events(1, u64::MAX).map(Result::unwrap).collect()
}

/// Checks that the ledger is one of format 2 with these events at its beginning.
fn assert_migrated(dir: &Path, events: &[Event]) {
    assert_eq!(formats(dir), [2], "one plain segment, of format 2");
    assert_eq!(sealed(dir).len() + 1, all_numbers(dir).len());
    let report = verify(dir, &mut |_| {}).unwrap();
    assert_eq!(report.findings, []);
    assert_eq!(events_in(dir)[..events.len()], *events);
}

fn all_numbers(dir: &Path) -> std::collections::BTreeSet<String> {
    let stem = |path: &PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
    segments(dir).iter().chain(&sealed(dir)).map(stem).collect()
}

#[test]
fn a_ledger_of_format_1_is_migrated_with_the_same_events_and_the_same_chain() {
    let (dir, events, head) = old_ledger();
    let count = segments(dir.path()).len() as u64;
    let done = migrated(dir.path()).unwrap().unwrap();
    assert_eq!((done.head, done.sealed, done.removed), (head, count, count));
    assert!(done.bytes_after * 2 < done.bytes_before, "{done:?}");
    assert_migrated(dir.path(), &events);
    assert_eq!(Reader::open(dir.path()).unwrap().head(), Some(head));
    for path in sealed(dir.path()) {
        assert!(SealedSegment::open(&path).unwrap().has_states().unwrap(), "{}", path.display());
    }
    assert!(migrated(dir.path()).unwrap().is_none(), "there is nothing to do");
    // The store is still that of the ledger, and the ledger goes on.
    let ledger = Ledger::open_with(dir.path(), &tiny_segments()).unwrap();
    assert_eq!(all_events(&ledger), events, "nothing was recorded");
    fill(&ledger, stream(STREAMS + 1), 20);
    ledger.close().unwrap();
    assert_eq!(verify(dir.path(), &mut |_| {}).unwrap().findings, []);
}

#[test]
fn a_ledger_of_format_2_is_not_changed_even_while_it_is_open() {
    let dir = private_dir();
    let ledger = Ledger::open_with(dir.path(), &tiny_segments()).unwrap();
    fill(&ledger, stream(1), 60);
    let before = state_of(dir.path());
    assert!(migrated(dir.path()).unwrap().is_none());
    assert_eq!(state_of(dir.path()), before);
    assert!(!migration_plan(dir.path()).unwrap().is_needed());
    ledger.close().unwrap();
}

#[test]
fn a_ledger_that_is_open_and_a_missing_one_are_refused() {
    let (dir, ..) = old_ledger();
    let ledger = Ledger::open_with(dir.path(), &tiny_segments()).unwrap();
    let before = state_of(&dir.path().join("journal"));
    assert!(matches!(migrated(dir.path()), Err(MigrateError::Open(OpenError::Locked { .. }))));
    assert_eq!(state_of(&dir.path().join("journal")), before);
    ledger.close().unwrap();
    let empty = private_dir();
    assert!(matches!(migrated(empty.path()), Err(MigrateError::Open(OpenError::Missing { .. }))));
    assert!(state_of(empty.path()).is_empty());
}

/// Damages the bytes of a segment.
type Damage = dyn Fn(&mut Vec<u8>);

#[test]
fn a_damaged_ledger_is_refused_and_left_as_it_is() {
    let (dir, ..) = old_ledger();
    let all = segments(dir.path());
    let flip = |at: usize| move |bytes: &mut Vec<u8>| bytes[at] ^= 1;
    let damages: [Box<Damage>; 3] =
        [Box::new(flip(500)), Box::new(flip(50)), Box::new(|bytes| bytes.truncate(bytes.len() / 2 + 3))];
    for (at, damage) in [0, all.len() / 2, all.len() - 2].into_iter().zip(damages) {
        let copy = copy_of(dir.path());
        let path = &segments(copy.path())[at];
        let mut bytes = fs::read(path).unwrap();
        damage(&mut bytes);
        fs::write(path, bytes).unwrap();
        let before = state_of(&copy.path().join("journal"));
        let error = migrated(copy.path()).unwrap_err();
        assert!(error.is_integrity(), "{error}");
        assert!(error.to_string().contains(&format!("segment {}", at + 1)), "{error}");
        if let MigrateError::Damaged { findings } = error {
            assert_eq!(findings[0].kind, FindingKind::Damage);
        }
        assert_eq!(state_of(&copy.path().join("journal")), before);
    }
    let copy = copy_of(dir.path());
    fs::remove_file(&segments(copy.path())[3]).unwrap();
    assert!(migrated(copy.path()).unwrap_err().is_integrity());
    assert_eq!(sealed(copy.path()), Vec::<PathBuf>::new());
}

#[test]
fn a_torn_last_commit_is_cut_off_and_recorded_before_the_migration() {
    let (dir, events, _) = old_ledger();
    let last = segments(dir.path()).pop().unwrap();
    let mut bytes = fs::read(&last).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    // The last bytes of the commit, its checksum among them, never reached the disk.
    bytes[end - 5..=end].fill(0);
    fs::write(&last, bytes).unwrap();
    fs::remove_dir_all(dir.path().join("sled")).unwrap();
    for name in ["clean", "extent"] {
        fs::remove_file(dir.path().join(name)).unwrap();
    }
    let done = migrated(dir.path()).unwrap().unwrap();
    let found = events_in(dir.path());
    let kinds: Vec<&str> = found.iter().rev().take(2).map(|event| event.kind.name()).collect();
    assert!(kinds.contains(&"tail_cut"), "{kinds:?}");
    assert_eq!(done.head.size, found.len() as u64);
    let kept = found.len() - 2;
    assert_migrated(dir.path(), &events[..kept]);
}

#[test]
fn a_last_segment_without_events_is_replaced() {
    let (dir, events, head) = old_ledger();
    // What a crash leaves between the name of a new segment and its first commit.
    let all = segments(dir.path());
    let (number, header) = (all.len() as u64 + 1, fs::read(&all[0]).unwrap());
    let path = dir.path().join(format!("journal/{number:010}.seg"));
    let last = all.last().unwrap();
    let mut bytes = fs::read(last).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    bytes.truncate(used.next_multiple_of(8));
    fs::write(last, bytes).unwrap();
    let mut empty = vec![0; 8 * 1024];
    empty[..96].copy_from_slice(&header[..96]);
    empty[32..40].copy_from_slice(&number.to_le_bytes());
    empty[40..48].copy_from_slice(&(head.size + 1).to_le_bytes());
    empty[48..80].copy_from_slice(&head.chain.0);
    let crc = crc32c::crc32c(&empty[..88]);
    empty[88..92].copy_from_slice(&crc.to_le_bytes());
    fs::write(&path, empty).unwrap();
    let done = migrated(dir.path()).unwrap().unwrap();
    assert_eq!((done.head, done.sealed), (head, number - 1));
    assert_eq!(segments(dir.path()), [path]);
    assert_migrated(dir.path(), &events);
}

#[test]
fn a_hard_linked_original_is_not_changed_by_the_migration_of_a_copy() {
    let (dir, events, head) = old_ledger();
    let copy = private_dir();
    crate::hard_links::link_dir(dir.path(), copy.path());
    let before = crate::hard_links::bytes_of(dir.path());
    assert_eq!(fs::metadata(&segments(copy.path())[0]).unwrap().nlink(), 2);
    migrated(copy.path()).unwrap().unwrap();
    assert_migrated(copy.path(), &events);
    assert_eq!(crate::hard_links::bytes_of(dir.path()), before);
    assert_eq!(migrated(dir.path()).unwrap().unwrap().head, head);
    assert_migrated(dir.path(), &events);
}

#[test]
fn what_an_interrupted_migration_leaves_is_a_ledger_and_is_finished() {
    let (dir, events, head) = old_ledger();
    let whole = copy_of(dir.path());
    migrated(whole.path()).unwrap();
    let new_last = segments(whole.path()).pop().unwrap();
    let sealed_files = sealed(whole.path());
    let add = |copy: &TempDir, paths: &[PathBuf]| {
        for path in paths {
            fs::copy(path, copy.path().join("journal").join(path.file_name().unwrap())).unwrap();
        }
    };
    let begun = |copy: &TempDir| add(copy, std::slice::from_ref(&new_last));
    let states: [&dyn Fn(&TempDir); 5] = [
        &begun,
        &|copy| {
            begun(copy);
            add(copy, &sealed_files[..5]);
            fs::write(copy.path().join("journal/sealing.new"), vec![7; 1000]).unwrap();
        },
        &|copy| {
            begun(copy);
            add(copy, &sealed_files);
        },
        &|copy| {
            begun(copy);
            add(copy, &sealed_files);
            for path in &segments(copy.path())[..7] {
                fs::remove_file(path).unwrap();
            }
        },
        &|copy| {
            begun(copy);
            add(copy, &sealed_files);
            // A removal that reached the disk before earlier ones.
            for path in segments(copy.path())[3..].iter().filter(|path| path.file_name() != new_last.file_name()) {
                fs::remove_file(path).unwrap();
            }
        },
    ];
    for (at, state) in states.iter().enumerate() {
        let copy = copy_of(dir.path());
        state(&copy);
        assert_eq!(verify(copy.path(), &mut |_| {}).unwrap().findings, [], "state {at}");
        let opened = copy_of(copy.path());
        let ledger = Ledger::open_with(opened.path(), &tiny_segments()).unwrap();
        assert_eq!(all_events(&ledger)[..events.len()], events, "state {at}");
        ledger.close().unwrap();
        let done = migrated(copy.path()).unwrap().unwrap();
        assert_eq!(done.head, head, "state {at}");
        assert_migrated(copy.path(), &events);
    }
}

#[test]
fn a_plan_writes_nothing_and_estimates_the_size() {
    let (dir, ..) = old_ledger();
    let before = state_of(dir.path());
    let plan = migration_plan(dir.path()).unwrap();
    assert_eq!(state_of(dir.path()), before);
    assert!(plan.is_needed());
    assert_eq!((plan.format, plan.to_seal), (1, segments(dir.path()).len() as u64));
    let done = migrate(dir.path(), &Options { seal: false, ..Options::default() }, &mut |_| {}).unwrap().unwrap();
    assert_eq!(plan.bytes_before, done.bytes_before);
    let off = plan.bytes_after.abs_diff(done.bytes_after);
    assert!(off * 5 < done.bytes_before, "{plan:?} {done:?}");
}

/// A storage backend whose writes fail.
struct FullDisk;

impl apm2_ledger::journal::storage_backend::StorageBackend for FullDisk {
    fn write_all_at(&self, _: &fs::File, _: &[u8], _: u64) -> std::io::Result<()> {
        Err(std::io::ErrorKind::StorageFull.into())
    }

    fn sync_data(&self, file: &fs::File) -> std::io::Result<()> {
        file.sync_data()
    }
}

#[test]
fn a_failed_write_leaves_the_ledger_as_it_was() {
    let (dir, events, head) = old_ledger();
    let names = all_numbers(dir.path());
    let options = Options { backend: Arc::new(FullDisk), ..tiny_segments() };
    let error = migrate(dir.path(), &options, &mut |_| {}).unwrap_err();
    assert!(!error.is_integrity() && apm2_model::causes::causes(&error).contains("storage"), "{error:?}");
    assert_eq!((all_numbers(dir.path()), sealed(dir.path())), (names, Vec::new()));
    // A directory with the name of a sealed segment makes the sealing of this segment fail, after that of others.
    let in_the_way = dir.path().join("journal/0000000009.sealed");
    let mut put_in_the_way = |progress| {
        if matches!(progress, MigrationProgress::Sealing { done: 8, .. }) {
            assert_eq!(sealed(dir.path()).len(), 8);
            fs::create_dir(&in_the_way).unwrap();
        }
    };
    let error = migrate(dir.path(), &tiny_segments(), &mut put_in_the_way).unwrap_err();
    assert!(matches!(error, MigrateError::Seal { number: 9, .. }), "{error:?}");
    fs::remove_dir(&in_the_way).unwrap();
    assert_eq!(sealed(dir.path()), Vec::<PathBuf>::new(), "no new file is left");
    assert!(!dir.path().join("journal/sealing.new").exists());
    assert_eq!(events_in(dir.path()), events);
    assert_eq!(migrated(dir.path()).unwrap().unwrap().head, head);
    assert_migrated(dir.path(), &events);
}
