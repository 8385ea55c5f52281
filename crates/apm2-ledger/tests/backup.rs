//! A backup has every event that was acknowledged before it began, and the ledger that is restored from it is sound.

use std::{
    fs,
    os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
    },
    thread,
};

use apm2_core::process::Event;
use apm2_ledger::{
    BackupError, BackupReport, Head, Ledger, OpenError, Reader, RestoreError, StagedDirError, backup, backup_plan,
    restore, restore_plan, verify,
};
use tempfile::TempDir;

use crate::support::{
    all_events, closed_ledger, copy_of, fill, private_dir, sealed, sealed_segments, segments, small_segments, state_of,
    stream, wait_until,
};

fn back_up(ledger: &Path, to: &Path) -> Result<BackupReport, BackupError> {
    backup(ledger, to, false, &mut |_| {})
}

fn restored(from: &Path) -> Result<(TempDir, PathBuf, Head), RestoreError> {
    let place = private_dir();
    let to = place.path().join("restored");
    let report = restore(from, &to, &small_segments(), &mut |_| {});
    let left: Vec<_> = fs::read_dir(place.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    match report {
        Ok(report) => {
            assert_eq!(left, ["restored"]);
            Ok((place, to, report.head))
        }
        Err(error) => {
            assert!(left.is_empty(), "{left:?} after {error}");
            Err(error)
        }
    }
}

/// Checks that the ledger is sound, an original, and has these events and no more, also after it was opened.
fn assert_ledger(dir: &Path, events: &[Event]) {
    let report = verify(dir, &mut |_| {}).unwrap();
    assert_eq!((report.findings, report.store_note), (Vec::new(), None));
    assert_eq!(report.head.size, events.len() as u64);
    let ledger = Ledger::open_with(dir, &small_segments()).unwrap();
    assert_eq!(all_events(&ledger), events);
    ledger.close().unwrap();
}

fn events_of(dir: &Path) -> Vec<Event> {
    Reader::open(dir).unwrap().events(1, u64::MAX).map(Result::unwrap).collect()
}

/// A closed ledger with plain and sealed segments, and an empty directory for its backup.
fn mixed_ledger() -> (TempDir, PathBuf, Vec<Event>) {
    let place = private_dir();
    let dir = place.path().join("ledger");
    let ledger = Ledger::open_with(&dir, &sealed_segments()).unwrap();
    fill(&ledger, stream(1), 60);
    wait_until(|| !sealed(&dir).is_empty());
    ledger.close().unwrap();
    let ledger = Ledger::open_with(&dir, &small_segments()).unwrap();
    fill(&ledger, stream(2), 60);
    let events = all_events(&ledger);
    ledger.close().unwrap();
    // Of each second sealed segment, the plain file is removed, as it is after some minutes.
    for path in sealed(&dir).iter().step_by(2) {
        fs::remove_file(path.with_extension("seg")).unwrap();
    }
    (place, dir, events)
}

fn append_more(dir: &Path, number: u8, runs: u64) -> Vec<Event> {
    let ledger = Ledger::open_with(dir, &small_segments()).unwrap();
    fill(&ledger, stream(number), runs);
    let events = all_events(&ledger);
    ledger.close().unwrap();
    events
}

/// Number of backups beside a writer, and of streams that it fills at most until the next one begins.
const BACKUPS: u8 = 8;
const STREAMS_A_BACKUP: u8 = 24;

#[test]
fn a_backup_beside_a_writer_has_every_event_that_was_acknowledged_before_it() {
    let place = private_dir();
    let (dir, to) = (place.path().join("ledger"), place.path().join("backup"));
    let ledger = Ledger::open_with(&dir, &sealed_segments()).unwrap();
    let (stop, acknowledged) = (AtomicBool::new(false), AtomicU64::new(0));
    // A fast disk must not let the writer run out of numbers for streams.
    let allowed = AtomicU8::new(STREAMS_A_BACKUP);
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in 1..=BACKUPS * STREAMS_A_BACKUP {
                wait_until(|| number <= allowed.load(Ordering::SeqCst) || stop.load(Ordering::SeqCst));
                if stop.load(Ordering::SeqCst) {
                    break;
                }
                let last = fill(&ledger, stream(number), 20).last().unwrap().seq;
                acknowledged.store(last, Ordering::SeqCst);
            }
        });
        for round in 0..BACKUPS {
            wait_until(|| acknowledged.load(Ordering::SeqCst) > u64::from(round) * 40);
            let before = acknowledged.load(Ordering::SeqCst);
            allowed.store((round + 1) * STREAMS_A_BACKUP, Ordering::SeqCst);
            let report = back_up(&dir, &to).unwrap();
            assert!(report.head.size >= before, "{report:?}, {before} acknowledged");
            let (_place, copy, head) = restored(&to).unwrap();
            assert_eq!(head, report.head);
            let all: Vec<Event> = ledger.reader().events(1, head.size).map(Result::unwrap).collect();
            assert_ledger(&copy, &all);
        }
        stop.store(true, Ordering::SeqCst);
    });
    ledger.close().unwrap();
    let report = back_up(&dir, &to).unwrap();
    let (_place, copy, head) = restored(&to).unwrap();
    assert_eq!(head, report.head);
    assert_ledger(&copy, &events_of(&dir));
    // The restored ledger goes on, and its next backup continues the one that it was made of.
    let events = append_more(&copy, 250, 40);
    back_up(&copy, &to).unwrap();
    let (_place, again, _) = restored(&to).unwrap();
    assert_ledger(&again, &events);
    assert!(matches!(back_up(&dir, &to), Err(BackupError::Older { .. })));
}

#[test]
fn a_second_backup_copies_only_what_is_new() {
    let (place, dir, events) = mixed_ledger();
    let to = place.path().join("backup");
    let plan = backup_plan(&dir, &to, false).unwrap();
    assert!(!to.exists());
    let first = back_up(&dir, &to).unwrap();
    assert_eq!(plan, first);
    assert_eq!((first.previous, first.kept_files), (None, 0));
    let (_place, copy, _) = restored(&to).unwrap();
    assert_ledger(&copy, &events);

    let files = |dir: &Path| [segments(dir), sealed(dir)].concat();
    let inodes = || -> Vec<(PathBuf, u64)> {
        files(&to).into_iter().map(|path| (path.clone(), fs::metadata(path).unwrap().ino())).collect()
    };
    let before = inodes();
    let again = back_up(&dir, &to).unwrap();
    assert_eq!((again.previous, again.copied_files, again.kept_files), (Some(first.head), 1, before.len() as u64 - 1));
    let events = append_more(&dir, 3, 40);
    let third = back_up(&dir, &to).unwrap();
    assert_eq!(third.kept_files, before.len() as u64 - 1);
    let after = inodes();
    let kept = before.iter().filter(|entry| after.contains(entry)).count();
    // All but the last segment, which had room for more events.
    assert_eq!(kept, before.len() - 1, "{before:?} {after:?}");
    let (_place, copy, _) = restored(&to).unwrap();
    assert_ledger(&copy, &events);
    // A file that differs in its content only is copied again.
    let path = &before[0].0;
    let file = fs::File::options().write(true).open(path).unwrap();
    let modified = file.metadata().unwrap().modified().unwrap();
    let len = file.metadata().unwrap().len();
    file.write_all_at(b"other", len - 40).unwrap();
    file.set_modified(modified).unwrap();
    assert_eq!(back_up(&dir, &to).unwrap().copied_files, 2);
    assert_ledger(&restored(&to).unwrap().1, &events);
}

#[test]
fn a_segment_that_was_sealed_meanwhile_replaces_the_plain_one_in_the_backup() {
    let place = private_dir();
    let (dir, to) = (place.path().join("ledger"), place.path().join("backup"));
    let ledger = Ledger::open_with(&dir, &small_segments()).unwrap();
    fill(&ledger, stream(1), 60);
    let events = all_events(&ledger);
    ledger.close().unwrap();
    back_up(&dir, &to).unwrap();
    let plain = segments(&to).len();
    assert!(plain > 2 && sealed(&to).is_empty());
    let ledger = Ledger::open_with(&dir, &sealed_segments()).unwrap();
    wait_until(|| sealed(&dir).len() == plain - 1);
    ledger.close().unwrap();
    back_up(&dir, &to).unwrap();
    assert_eq!((sealed(&to).len(), segments(&to).len()), (plain - 1, 1));
    assert_ledger(&restored(&to).unwrap().1, &events);
}

/// A backup that ends before each of its files in turn, as if it were killed there.
#[test]
fn a_backup_that_is_interrupted_leaves_the_one_before() {
    let (place, dir, old_events) = mixed_ledger();
    fs::create_dir(dir.join("launch")).unwrap();
    fs::write(dir.join("launch/a.json"), "1").unwrap();
    let old = place.path().join("old");
    back_up(&dir, &old).unwrap();
    // The ledger has new segments, and one of the old ones is sealed.
    let ledger = Ledger::open_with(&dir, &sealed_segments()).unwrap();
    fill(&ledger, stream(3), 60);
    ledger.close().unwrap();
    fs::write(dir.join("launch/a.json"), "2").unwrap();
    let events = events_of(&dir);
    let total = backup_plan(&dir, &old, false).unwrap().copied_files;
    assert!(total > 4, "{total}");
    for end in 0..total {
        let interrupted = |to: &Path| {
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                backup(&dir, to, false, &mut |progress| assert!(progress.done_files < end, "it ends here"))
            }));
            assert!(outcome.is_err(), "{end}");
        };
        let to = copy_of(&old);
        interrupted(to.path());
        assert_ledger(&restored(to.path()).unwrap().1, &old_events);
        // The directory can be read meanwhile, and has a prefix of the events.
        let read = events_of(to.path());
        assert!(read.len() >= old_events.len() && events.starts_with(&read), "{end}: {}", read.len());
        back_up(&dir, to.path()).unwrap();
        assert_ledger(&restored(to.path()).unwrap().1, &events);
        // A first backup.
        let to = private_dir();
        interrupted(to.path());
        assert!(matches!(restored(to.path()), Err(RestoreError::Incomplete { .. })), "{end}");
        if let Ok(report) = verify(to.path(), &mut |_| {}) {
            let is_whole = report.events == events.len() as u64;
            assert_eq!(report.findings.is_empty(), is_whole, "{end}: it is not taken for a whole one");
        }
        back_up(&dir, to.path()).unwrap();
        assert_ledger(&restored(to.path()).unwrap().1, &events);
    }
}

#[test]
fn what_an_interrupted_backup_of_another_state_left_is_not_used() {
    let (place, dir, _) = mixed_ledger();
    let to = place.path().join("backup");
    back_up(&dir, &to).unwrap();
    // The backup was interrupted after it had copied segments of a ledger that has lost its last events since then.
    let newer = copy_of(&dir);
    append_more(newer.path(), 9, 90);
    let steps = backup_plan(newer.path(), &to, false).unwrap().copied_files;
    let _ = catch_unwind(AssertUnwindSafe(|| {
        backup(newer.path(), &to, false, &mut |progress| assert!(progress.done_files + 1 < steps, "it ends here"))
    }));
    assert!(segments(&to).len() > segments(&dir).len(), "segments of the newer one are left");
    let events = append_more(&dir, 4, 50);
    back_up(&dir, &to).unwrap();
    assert_ledger(&restored(&to).unwrap().1, &events);
    assert_eq!(events_of(&to), events, "it reads as the ledger does");
}

#[test]
fn a_damaged_backup_is_restored_right_or_refused() {
    let (place, dir, events) = mixed_ledger();
    let to = place.path().join("backup");
    back_up(&dir, &to).unwrap();
    let mut seed = 7_u64;
    let mut below = |limit: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % limit.max(1)
    };
    let names: Vec<PathBuf> = [segments(&to), sealed(&to), vec![to.join("backup")]].concat();
    let (mut refused, mut right) = (0, 0);
    for path in names.iter().chain(&names).chain(&names) {
        let damaged = copy_of(&to);
        let path = damaged.path().join(path.strip_prefix(&to).unwrap());
        let bytes = fs::read(&path).unwrap();
        let at = below(bytes.len() as u64);
        match below(3) {
            0 => fs::write(&path, &bytes[..usize::try_from(at).unwrap()]).unwrap(),
            1 => fs::remove_file(&path).unwrap(),
            _ => {
                let mut bytes = bytes;
                bytes[usize::try_from(at).unwrap()] ^= 1 << below(8);
                fs::write(&path, bytes).unwrap();
            }
        }
        let plan = restore_plan(damaged.path(), &place.path().join("none"), &mut |_| {});
        match restored(damaged.path()) {
            Ok((_place, copy, _)) => {
                right += 1;
                assert_ledger(&copy, &events);
            }
            Err(error) => {
                refused += 1;
                assert!(plan.is_err(), "{}: {error}", path.display());
            }
        }
    }
    assert!(refused > names.len(), "{refused} refused, {right} restored");
}

#[test]
fn a_directory_that_is_no_backup_of_the_ledger_is_refused_and_left_as_it_is() {
    let (ledger, _) = closed_ledger();
    let (other, _) = closed_ledger();
    let place = private_dir();
    let refused = |from: &Path, to: &Path| {
        let before = state_of(to);
        let planned = backup_plan(from, to, false).unwrap_err();
        let error = back_up(from, to).unwrap_err();
        assert_eq!(planned.to_string(), error.to_string());
        assert_eq!(state_of(to), before, "{error}");
        error
    };
    assert!(matches!(refused(ledger.path(), ledger.path()), BackupError::SameDirectory { .. }));
    assert!(matches!(refused(ledger.path(), &ledger.path().join("journal")), BackupError::SameDirectory { .. }));
    assert!(matches!(refused(ledger.path(), other.path()), BackupError::NotABackup { .. }));
    let to = place.path().join("backup");
    back_up(ledger.path(), &to).unwrap();
    assert!(matches!(refused(other.path(), &to), BackupError::OtherLedger { .. }));
    // An older state of the ledger, and one that continues it in another way.
    let older = copy_of(ledger.path());
    append_more(ledger.path(), 9, 10);
    back_up(ledger.path(), &to).unwrap();
    assert!(matches!(refused(older.path(), &to), BackupError::Older { .. }));
    append_more(older.path(), 8, 40);
    assert!(matches!(refused(older.path(), &to), BackupError::Diverged { .. }));
    assert_ledger(&restored(&to).unwrap().1, &events_of(ledger.path()));
    fs::write(to.join("backup"), "2 x\n").unwrap();
    assert!(matches!(refused(ledger.path(), &to), BackupError::HeadFile { .. }));
}

#[test]
fn a_ledger_with_other_segments_is_not_mixed_with_the_backup() {
    let (ledger, events) = closed_ledger();
    let place = private_dir();
    let to = place.path().join("backup");
    back_up(ledger.path(), &to).unwrap();
    // An imported ledger has the same events in other segments.
    let imported = place.path().join("imported");
    let reader = Reader::open(ledger.path()).unwrap();
    let (id, head) = (reader.ledger_id().unwrap(), reader.head().unwrap());
    let mut importer = apm2_ledger::Importer::create(&imported, id, &crate::support::tiny_segments()).unwrap();
    reader
        .each_record(head.size, |seq, record| {
            importer.push(seq, record).unwrap();
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
    importer.finish(head).unwrap();
    assert!(matches!(back_up(&imported, &to), Err(BackupError::OtherSegments { .. })));
    assert_ledger(&restored(&to).unwrap().1, &events);
}

#[test]
fn a_backup_is_read_and_not_opened_for_appending() {
    let (ledger, events) = closed_ledger();
    let place = private_dir();
    let to = place.path().join("backup");
    back_up(ledger.path(), &to).unwrap();
    let before = state_of(&to);
    assert_eq!(events_of(&to), events);
    assert_eq!(verify(&to, &mut |_| {}).unwrap().findings, []);
    let journal = to.join("journal");
    let names = || fs::read_dir(&journal).unwrap().count();
    let count = names();
    assert_eq!(state_of(&to), before);
    let error = Ledger::open_with(&to, &small_segments()).err().unwrap();
    assert!(matches!(error, OpenError::Backup { .. }), "{error:?}");
    assert_eq!(names(), count);
    assert_ledger(&restored(&to).unwrap().1, &events);
}

#[test]
fn a_restore_overwrites_nothing_and_leaves_nothing_when_it_is_interrupted() {
    let (ledger, events) = closed_ledger();
    let place = private_dir();
    let (from, to) = (place.path().join("backup"), place.path().join("restored"));
    back_up(ledger.path(), &from).unwrap();
    let before = state_of(&from);
    let mut steps = 0;
    restore_plan(&from, &to, &mut |_| {}).unwrap();
    assert_eq!(state_of(&from), before);
    restore(&from, &to, &small_segments(), &mut |_| steps += 1).unwrap();
    assert!(steps > 4, "{steps}");
    let state = state_of(&to);
    for _ in 0..2 {
        let error = restore(&from, &to, &small_segments(), &mut |_| {}).unwrap_err();
        assert!(matches!(error, RestoreError::Directory(StagedDirError::Exists { .. })), "{error:?}");
        assert!(restore_plan(&from, &to, &mut |_| {}).is_err());
    }
    assert_eq!(state_of(&to), state);
    for end in 0..steps {
        let (to, mut step) = (place.path().join("other"), 0);
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            restore(&from, &to, &small_segments(), &mut |_| {
                assert!(step < end, "it ends here");
                step += 1;
            })
        }));
        assert!(outcome.is_err() && !to.exists(), "{end}");
    }
    assert_ledger(&to, &events);
    let nothing = private_dir();
    assert!(matches!(restored(nothing.path()), Err(RestoreError::NoBackup { .. })));
    assert!(matches!(restored(ledger.path()), Err(RestoreError::NoBackup { .. })));
}

#[test]
fn a_torn_commit_is_not_in_the_backup_and_damage_is_refused() {
    let (ledger, events) = closed_ledger();
    let place = private_dir();
    let to = place.path().join("backup");
    // The last commit lacks its end, as after a crash.
    let last = segments(ledger.path()).pop().unwrap();
    let mut bytes = fs::read(&last).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    bytes[used - 60..used].fill(0);
    fs::write(&last, &bytes).unwrap();
    let report = back_up(ledger.path(), &to).unwrap();
    let size = usize::try_from(report.head.size).unwrap();
    assert!(size < events.len() && size > events.len() - 5, "{size}");
    assert_ledger(&restored(&to).unwrap().1, &events[..size]);
    // Damage of a segment that is copied.
    let path = &segments(ledger.path())[1];
    let file = fs::File::options().write(true).open(path).unwrap();
    file.write_all_at(b"damage", 500).unwrap();
    let error = back_up(ledger.path(), &place.path().join("other")).unwrap_err();
    assert!(matches!(&error, BackupError::Damaged(damage) if damage.segment == 2), "{error:?}");
    assert!(error.is_integrity());
    assert!(matches!(restored(&place.path().join("other")), Err(RestoreError::Incomplete { .. })));
}

#[test]
fn launch_files_and_logs_are_copied_for_this_user_only() {
    let (ledger, events) = closed_ledger();
    let place = private_dir();
    let to = place.path().join("backup");
    let write = |path: &str, text: &str| {
        let path = ledger.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    };
    write("launch/a.json", "secret");
    write("launch/b.json", "other");
    write("launch/c.new", "unfinished");
    write("logs/p/0/stdout.log", "line\n");
    back_up(ledger.path(), &to).unwrap();
    let read = |dir: &Path, path: &str| fs::read_to_string(dir.join(path)).ok();
    assert_eq!((read(&to, "launch/a.json"), read(&to, "launch/c.new")), (Some("secret".into()), None));
    assert_eq!(read(&to, "logs/p/0/stdout.log"), None);
    backup(ledger.path(), &to, true, &mut |_| {}).unwrap();
    let (_place, copy, _) = restored(&to).unwrap();
    for dir in [&to, &copy] {
        for path in ["launch/a.json", "launch", "logs/p/0/stdout.log", "logs/p/0", "journal", ""] {
            let mode = fs::metadata(dir.join(path)).unwrap().mode() & 0o7777;
            assert_eq!(mode, if dir.join(path).is_dir() { 0o700 } else { 0o600 }, "{path}");
        }
    }
    assert_eq!(read(&copy, "launch/b.json").as_deref(), Some("other"));
    assert_eq!(read(&copy, "logs/p/0/stdout.log").as_deref(), Some("line\n"));
    assert_ledger(&copy, &events);
    // A file of equal length with another content is copied, and one that is gone is removed.
    write("launch/a.json", "secreT");
    fs::remove_file(ledger.path().join("launch/b.json")).unwrap();
    fs::remove_dir_all(ledger.path().join("logs/p")).unwrap();
    backup(ledger.path(), &to, true, &mut |_| {}).unwrap();
    assert_eq!((read(&to, "launch/a.json").as_deref(), read(&to, "launch/b.json")), (Some("secreT"), None));
    assert!(!to.join("logs/p").exists());
}

#[test]
fn only_one_backup_at_a_time_is_made_in_a_directory() {
    let (ledger, _) = closed_ledger();
    let place = private_dir();
    let to = place.path().join("backup");
    let second = Arc::new(AtomicBool::new(false));
    let mut other = |_| {
        let error = back_up(ledger.path(), &to).unwrap_err();
        assert!(matches!(error, BackupError::Open(OpenError::Locked { .. })), "{error:?}");
        second.store(true, Ordering::SeqCst);
    };
    backup(ledger.path(), &to, false, &mut other).unwrap();
    assert!(second.load(Ordering::SeqCst));
}

#[test]
fn a_ledger_that_ends_with_a_sealed_segment_is_backed_up_and_restored() {
    let (_place, dir, _) = mixed_ledger();
    // A copy may end so, see `journal/origin`.
    let copy = copy_of(&dir);
    let last = sealed(copy.path()).pop().unwrap();
    for path in segments(copy.path()).into_iter().filter(|path| path.file_stem() >= last.file_stem()) {
        fs::remove_file(path).unwrap();
    }
    fs::remove_dir_all(copy.path().join("sled")).unwrap();
    let events = events_of(copy.path());
    let to = private_dir();
    back_up(copy.path(), to.path()).unwrap();
    assert_ledger(&restored(to.path()).unwrap().1, &events);
}
