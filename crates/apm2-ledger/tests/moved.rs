//! A ledger directory that is renamed or replaced while the ledger is being opened or is open.

use std::{fs, sync::mpsc::channel, thread, time::Duration};

use apm2_core::process::EventKind;
use apm2_ledger::{AppendError, Ledger, OpenError, Options, Place, verify};

use crate::support::{all_events, copy_dir, draft_at, fill, private_dir, registered, segments, small_segments, stream};

#[test]
fn an_opener_that_waits_for_the_lock_of_a_directory_that_is_exchanged_is_refused() {
    let parent = private_dir();
    let dir = parent.path().join("ledger");
    let first = Ledger::open_with(&dir, &small_segments()).unwrap();
    let events = fill(&first, stream(1), 1);
    let patient = Options { lock_wait: Duration::from_secs(60), ..small_segments() };
    let opener = {
        let dir = dir.clone();
        thread::spawn(move || Ledger::open_with(&dir, &patient).err())
    };
    // The opener waits for the lock when the directory is open twice.
    let openers = || fs::read_dir("/proc/self/fd").unwrap().filter_map(|fd| fs::read_link(fd.unwrap().path()).ok());
    while openers().filter(|path| *path == dir).count() < 2 {
        thread::yield_now();
    }
    fs::rename(&dir, parent.path().join("old")).unwrap();
    let second = Ledger::open_with(&dir, &small_segments()).unwrap();
    drop(first);
    let refused = opener.join().unwrap().unwrap();
    assert!(matches!(refused, OpenError::Moved { .. }), "{refused}");
    second.close().unwrap();
    let old = Ledger::open_with(&parent.path().join("old"), &small_segments()).unwrap();
    assert_eq!(all_events(&old), events);
}

#[test]
fn the_lock_of_a_ledger_goes_with_its_directory_when_that_is_moved() {
    let parent = private_dir();
    let dir = parent.path().join("ledger");
    let held = Ledger::open_with(&dir, &small_segments()).unwrap();
    fs::rename(&dir, parent.path().join("old")).unwrap();
    let refused = Ledger::open_with(&parent.path().join("old"), &small_segments()).err().unwrap();
    assert!(matches!(refused, OpenError::Locked { .. }), "{refused}");
    drop(held);
}

#[test]
fn a_ledger_that_was_moved_writes_nothing_into_the_directory_that_has_its_name() {
    let parent = private_dir();
    let dir = parent.path().join("ledger");
    let ledger = Ledger::open_with(&dir, &small_segments()).unwrap();
    fill(&ledger, stream(1), 2);
    // The directory is replaced by a copy, as when a backup is restored.
    fs::rename(&dir, parent.path().join("old")).unwrap();
    copy_dir(&parent.path().join("old"), &dir);
    fs::set_permissions(&dir, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let other = Ledger::open_with(&dir, &small_segments()).unwrap();
    fill(&other, stream(2), 2);
    // The first ledger fills its segment. It must not create the next segment in the new directory.
    let id = stream(3);
    let mut version = 0;
    let failed = loop {
        let kind = if version == 0 { registered(id, "p") } else { draft_at(id, 0, 1, EventKind::BudgetReset) };
        match ledger.append(id, version, vec![kind]) {
            Ok(_) => version += 1,
            Err(error) => break error,
        }
        assert!(version < 10_000, "it goes on for ever");
    };
    assert!(matches!(&failed, AppendError::Poisoned(why) if why.contains("was moved")), "{failed}");
    assert_eq!(ledger.dir().place(), Place::Moved);
    fill(&other, stream(4), 40);
    let of_other = all_events(&other);
    drop(ledger);
    other.close().unwrap();
    assert!(of_other.iter().all(|event| event.stream != id));
    assert_eq!(verify(&dir, &mut |_| {}).unwrap().findings, []);
    let old = Ledger::open_with(&parent.path().join("old"), &small_segments()).unwrap();
    assert_eq!(old.reader().stream_events(id).map(Result::unwrap).count() as u64, version, "all that was acknowledged");
    old.close().unwrap();
    assert_eq!(verify(&parent.path().join("old"), &mut |_| {}).unwrap().findings, []);
}

#[test]
fn a_move_is_noticed_when_it_is_looked_for_and_poisons_once() {
    let parent = private_dir();
    let dir = parent.path().join("ledger");
    let ledger = Ledger::open_with(&dir, &small_segments()).unwrap();
    let (sender, told) = channel();
    ledger.when_poisoned(move || sender.send(()).unwrap());
    ledger.check_place();
    assert_eq!(ledger.poisoned(), None);
    fs::rename(&dir, parent.path().join("old")).unwrap();
    ledger.check_place();
    let poison = ledger.poisoned().unwrap();
    assert!(poison.to_string().starts_with("poisoned since ") && poison.why.contains("was moved"), "{poison}");
    told.recv_timeout(Duration::from_secs(10)).unwrap();
    fs::rename(parent.path().join("old"), &dir).unwrap();
    ledger.check_place();
    assert_eq!(ledger.poisoned(), Some(poison));
}

#[test]
fn a_journal_or_segment_that_is_removed_or_exchanged_poisons_when_it_is_looked_for() {
    type Change = fn(&std::path::Path);
    let changes: [(&str, Change); 4] = [
        ("the journal is another directory", |dir| {
            fs::rename(dir.join("journal"), dir.join("aside")).unwrap();
            copy_dir(&dir.join("aside"), &dir.join("journal"));
        }),
        ("the segment is another file", |dir| {
            let path = segments(dir).pop().unwrap();
            fs::copy(&path, dir.join("aside")).unwrap();
            fs::rename(dir.join("aside"), path).unwrap();
        }),
        ("the journal is gone", |dir| fs::remove_dir_all(dir.join("journal")).unwrap()),
        ("the segment is gone", |dir| fs::remove_file(segments(dir).pop().unwrap()).unwrap()),
    ];
    for (what, change) in changes {
        let dir = private_dir();
        let ledger = Ledger::open_with(dir.path(), &small_segments()).unwrap();
        // The ledger has enough events for a second segment.
        fill(&ledger, stream(1), 60);
        assert!(segments(dir.path()).len() > 1);
        ledger.check_place();
        assert_eq!(ledger.poisoned(), None, "{what}");
        change(dir.path());
        ledger.check_place();
        let why = ledger.poisoned().map(|poison| poison.why).unwrap_or_default();
        assert!(why.contains("journal was removed or exchanged"), "{what}: {why}");
        assert_eq!(ledger.dir().place(), Place::Exchanged);
        let refused = ledger.append(stream(2), 0, vec![registered(stream(2), "p")]).unwrap_err();
        assert!(matches!(refused, AppendError::Poisoned(_)), "{what}: {refused}");
    }
}
