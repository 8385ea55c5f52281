//! The store is built again on request: the ledger has the same events, and nothing is recorded.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

use apm2_core::process::Event;
use apm2_ledger::{
    Ledger, OpenError, RebuildError, RebuildProgress, Rebuilt, StoreCheck, rebuild, rebuild_plan, verify,
};
use tempfile::TempDir;

use crate::{
    salvage::{Random, sample},
    support::{
        all_events, closed_ledger, copy_of, fill, private_dir, sealed, segments, small_segments, state_of, stream,
    },
};

fn rebuilt(dir: &Path) -> Result<Rebuilt, RebuildError> {
    rebuild(dir, &small_segments(), &mut |_| {})
}

/// Checks that the store was compared with the journal, and that opening the ledger records nothing.
fn assert_ledger(dir: &Path, events: &[Event]) {
    let report = verify(dir, &mut |_| {}).unwrap();
    assert_eq!((report.findings, report.store, report.store_note), (Vec::new(), StoreCheck::Done, None));
    let ledger = Ledger::open_with(dir, &small_segments()).unwrap();
    assert_eq!(all_events(&ledger), events);
    ledger.close().unwrap();
    let names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(names.iter().all(|name| !name.starts_with("sled.")), "{names:?}");
}

#[test]
fn a_store_is_rebuilt_whatever_it_was() {
    let (ledger, events) = closed_ledger();
    let before = state_of(ledger.path());
    let plan = rebuild_plan(ledger.path(), &mut |_| {}).unwrap();
    assert_eq!(state_of(ledger.path()), before);
    let done = rebuilt(ledger.path()).unwrap();
    assert_eq!((plan.store_bytes, done.head.size), (done.bytes_before, events.len() as u64));
    assert!(done.bytes_after > 0);
    assert_ledger(ledger.path(), &events);
    type Damage<'a> = &'a dyn Fn(&Path);
    let missing: Damage<'_> = &|store| fs::remove_dir_all(store).unwrap();
    let damaged: Damage<'_> = &|store| fs::write(store.join("db"), "damage").unwrap();
    let empty: Damage<'_> = &|store| {
        fs::remove_dir_all(store).unwrap();
        fs::create_dir(store).unwrap();
    };
    for (number, damage) in [missing, damaged, empty].into_iter().enumerate() {
        let copy = copy_of(ledger.path());
        damage(&copy.path().join("sled"));
        assert_eq!(rebuilt(copy.path()).unwrap().head, done.head, "{number}");
        assert_ledger(copy.path(), &events);
    }
}

#[test]
fn a_rebuild_that_is_interrupted_leaves_a_whole_store() {
    let (ledger, events) = closed_ledger();
    let mut steps = 0;
    let is_counted = |progress| !matches!(progress, RebuildProgress::CheckingSegments { .. });
    rebuild(copy_of(ledger.path()).path(), &small_segments(), &mut |step| steps += i32::from(is_counted(step)))
        .unwrap();
    assert!(steps >= 3, "{steps}");
    for end in 0..steps {
        let (copy, mut step) = (copy_of(ledger.path()), 0);
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            rebuild(copy.path(), &small_segments(), &mut |progress| {
                assert!(step < end || !is_counted(progress), "it ends here");
                step += i32::from(is_counted(progress));
            })
        }));
        assert!(outcome.is_err() && copy.path().join("sled.rebuilt").exists(), "{end}");
        let opened = copy_of(copy.path());
        let reopened = Ledger::open_with(opened.path(), &small_segments()).unwrap();
        assert_eq!(all_events(&reopened), events, "{end}");
        reopened.close().unwrap();
        assert_ledger(opened.path(), &events);
        rebuilt(copy.path()).unwrap();
        assert_ledger(copy.path(), &events);
    }
}

#[test]
fn what_cannot_be_rebuilt_is_refused_and_the_old_store_stays() {
    let (ledger, events) = closed_ledger();
    let nothing = private_dir();
    assert!(matches!(rebuilt(nothing.path()), Err(RebuildError::Open(OpenError::Missing { .. }))));
    assert_eq!(fs::read_dir(nothing.path()).unwrap().count(), 0);
    let opened = Ledger::open_with(ledger.path(), &small_segments()).unwrap();
    assert!(matches!(rebuilt(ledger.path()), Err(RebuildError::Open(OpenError::Locked { .. }))));
    opened.close().unwrap();
    // The store of another ledger.
    let (other, _) = closed_ledger();
    let copy = copy_of(ledger.path());
    fs::remove_dir_all(copy.path().join("sled")).unwrap();
    crate::support::copy_dir(&other.path().join("sled"), &copy.path().join("sled"));
    assert!(matches!(rebuilt(copy.path()), Err(RebuildError::OtherLedger)));
    // A store that has events that the journal lacks is evidence of their loss.
    let longer = copy_of(ledger.path());
    let opened = Ledger::open_with(longer.path(), &small_segments()).unwrap();
    fill(&opened, stream(9), 3);
    opened.close().unwrap();
    let copy = copy_of(ledger.path());
    fs::remove_dir_all(copy.path().join("sled")).unwrap();
    crate::support::copy_dir(&longer.path().join("sled"), &copy.path().join("sled"));
    let error = rebuilt(copy.path()).unwrap_err();
    assert!(error.is_integrity(), "{error:?}");
    assert!(copy.path().join("sled/db").exists());
    assert_ledger(ledger.path(), &events);
}

/// The names of the damaged files that were kept.
fn kept(dir: &Path) -> Vec<String> {
    let names =
        fs::read_dir(dir.join("journal")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut kept: Vec<_> = names.filter(|name| name.contains("damaged")).collect();
    kept.sort();
    kept
}

#[test]
fn a_segment_is_written_again_from_the_store() {
    let (ledger, records) = sample(11, 16 * 1024);
    let size = records.len() as u64;
    let events = events_of(ledger.path());
    let copy = copy_of(ledger.path());
    let all = sealed(copy.path());
    for path in &all {
        drop(fs::remove_file(path.with_extension("seg")));
    }
    // One is missing, one has a damaged block, one a damaged footer; each has intact neighbours.
    fs::remove_file(&all[1]).unwrap();
    flip(&all[3], 400);
    let len = usize::try_from(fs::metadata(&all[5]).unwrap().len()).unwrap();
    flip(&all[5], len - 20);
    let damaged = fs::read(&all[3]).unwrap();
    let before = state_of(copy.path());
    let plan = rebuild_plan(copy.path(), &mut |_| {}).unwrap();
    assert_eq!(state_of(copy.path()), before);
    assert_eq!(plan.segments.iter().map(|segment| segment.number).collect::<Vec<_>>(), [2, 4, 6]);
    assert!(plan.segments.iter().all(|segment| segment.refusal.is_none()), "{plan:?}");
    let done = rebuilt(copy.path()).unwrap();
    assert_eq!((done.head.size, &done.segments), (size, &plan.segments));
    assert_eq!(kept(copy.path()), ["0000000004.sealed.damaged", "0000000006.sealed.damaged"]);
    assert_eq!(fs::read(all[3].with_extension("sealed.damaged")).unwrap(), damaged);
    assert_ledger(copy.path(), &events);
    assert_eq!(rebuilt(copy.path()).unwrap().segments, []);
    // Damaged again, the file gets another name.
    flip(&all[3], 400);
    rebuilt(copy.path()).unwrap();
    assert_eq!(kept(copy.path()).len(), 3);
    assert_ledger(copy.path(), &events);
}

#[test]
fn a_segment_that_nothing_proves_is_left_and_named() {
    let (ledger, _) = sample(12, 16 * 1024);
    let all = sealed(ledger.path());
    for path in &all {
        drop(fs::remove_file(path.with_extension("seg")));
    }
    // The store lacks the events.
    let copy = copy_of(ledger.path());
    let path = copy.path().join("journal").join(all[2].file_name().unwrap());
    flip(&path, 400);
    fs::remove_dir_all(copy.path().join("sled")).unwrap();
    let before = fs::read(&path).unwrap();
    let plan = rebuild_plan(copy.path(), &mut |_| {}).unwrap();
    assert!(plan.segments[0].refusal.as_deref().unwrap().contains("is in no other file"), "{plan:?}");
    let error = rebuilt(copy.path()).unwrap_err();
    assert!(error.is_integrity(), "{error:?}");
    assert_eq!((fs::read(&path).unwrap(), kept(copy.path()).len()), (before, 0));
    // The store is that of another ledger.
    let (other, _) = sample(12, 16 * 1024);
    crate::support::copy_dir(&other.path().join("sled"), &copy.path().join("sled"));
    let plan = rebuild_plan(copy.path(), &mut |_| {}).unwrap();
    assert!(plan.segments[0].refusal.is_some(), "{plan:?}");
    // Two neighbours without headers: it is not known where the second one begins.
    let copy = copy_of(ledger.path());
    for number in [2, 3] {
        fs::remove_file(copy.path().join("journal").join(all[number].file_name().unwrap())).unwrap();
    }
    let plan = rebuild_plan(copy.path(), &mut |_| {}).unwrap();
    assert_eq!(plan.segments.iter().filter(|segment| segment.refusal.is_some()).count(), 2, "{plan:?}");
    assert!(rebuilt(copy.path()).is_err());
    assert!(!sealed(copy.path()).iter().any(|path| path.ends_with(all[2].file_name().unwrap())));
}

#[test]
fn a_sealed_file_of_another_segment_beside_an_intact_plain_one_is_replaced() {
    let (ledger, _) = sample(15, 16 * 1024);
    let events = events_of(ledger.path());
    let copy = copy_of(ledger.path());
    let all = sealed(copy.path());
    let both = all.iter().position(|path| path.with_extension("seg").exists()).unwrap();
    fs::copy(&all[(both + 1) % all.len()], &all[both]).unwrap();
    let opened = Ledger::open_with(copy.path(), &small_segments());
    assert!(matches!(opened, Err(OpenError::Damaged(_))));
    let done = rebuilt(copy.path()).unwrap();
    assert_eq!(done.segments.iter().map(|segment| segment.number).collect::<Vec<_>>(), [both as u64 + 1]);
    assert!(all[both].with_extension("seg").exists(), "the intact plain file stays");
    assert_ledger(copy.path(), &events);
}

#[test]
fn events_that_contradict_the_hash_chain_are_not_written() {
    // Two ledgers with the same beginning, and the store of the other one.
    let (base, _) = closed_ledger();
    let [one, two] = [copy_of(base.path()), copy_of(base.path())];
    for (copy, number) in [(&one, 7), (&two, 8)] {
        let ledger = Ledger::open_with(copy.path(), &small_segments()).unwrap();
        fill(&ledger, stream(number), 60);
        ledger.close().unwrap();
    }
    let last_common = segments(base.path()).len() - 1;
    let damaged = &segments(one.path())[last_common];
    let end = fs::read(damaged).unwrap().iter().rposition(|byte| *byte != 0).unwrap();
    let store = one.path().join("sled");
    flip(damaged, end - 40);
    let plan = rebuild_plan(one.path(), &mut |_| {}).unwrap();
    assert_eq!(plan.segments.len(), 1);
    assert_eq!(plan.segments[0].refusal, None, "its own store has the events");
    fs::remove_dir_all(&store).unwrap();
    crate::support::copy_dir(&two.path().join("sled"), &store);
    fs::remove_file(damaged).unwrap();
    let plan = rebuild_plan(one.path(), &mut |_| {}).unwrap();
    let refusal = plan.segments[0].refusal.as_deref().unwrap();
    assert!(refusal.contains("does not prove"), "{refusal}");
    assert!(rebuilt(one.path()).is_err());
    assert!(sealed(one.path()).is_empty() && kept(one.path()).is_empty());
}

fn events_of(dir: &Path) -> Vec<Event> {
    apm2_ledger::Reader::open(dir).unwrap().events(1, u64::MAX).map(Result::unwrap).collect()
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 0x10;
    fs::write(path, bytes).unwrap();
}

/// Rounds of random damage. `REBUILD_ROUNDS` sets another number.
const ROUNDS: u64 = 12;

#[test]
fn segments_with_random_damage_are_written_again_right_or_left() {
    let rounds = std::env::var("REBUILD_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(ROUNDS);
    let (ledger, _) = sample(13, 16 * 1024);
    let events = events_of(ledger.path());
    let head = verify(ledger.path(), &mut |_| {}).unwrap().head;
    let mut random = Random::new(rounds);
    let (mut mended, mut left) = (0, 0);
    for round in 0..rounds {
        let copy = copy_of(ledger.path());
        let all = sealed(copy.path());
        for path in &all {
            if random.below(5) > 0 {
                drop(fs::remove_file(path.with_extension("seg")));
            }
        }
        let mut broken = Vec::new();
        for _ in 0..=random.below(3) {
            let path = &all[random.index(all.len())];
            let Ok(bytes) = fs::read(path) else { continue };
            match random.below(4) {
                0 => fs::remove_file(path).unwrap(),
                1 => fs::write(path, &bytes[..random.index(bytes.len())]).unwrap(),
                2 => fs::copy(&all[random.index(all.len())], path).map(drop).unwrap_or_default(),
                _ => flip(path, random.index(bytes.len())),
            }
            broken.push(path.file_name().unwrap().to_owned());
        }
        // The store is damaged, or behind.
        if random.below(3) == 0 {
            let db = copy.path().join("sled/db");
            let mut bytes = fs::read(&db).unwrap();
            for _ in 0..20 {
                let at = random.index(bytes.len());
                let end = (at + random.index(30_000)).min(bytes.len());
                bytes[at..end].fill(0);
            }
            fs::write(db, bytes).unwrap();
        }
        let sound: Vec<_> =
            segments(copy.path()).iter().chain(&all).map(|path| (path.clone(), fs::read(path).ok())).collect();
        let plan = rebuild_plan(copy.path(), &mut |_| {}).unwrap();
        match rebuilt(copy.path()) {
            Ok(done) => {
                mended += done.segments.len();
                assert_eq!((done.head, &done.segments), (head, &plan.segments), "{round}: {broken:?}");
                let found = verify(copy.path(), &mut |_| {}).unwrap().findings;
                assert!(found.is_empty(), "{round}: {broken:?} {found:?}");
                let ledger = Ledger::open_with(copy.path(), &small_segments()).unwrap();
                assert_eq!(all_events(&ledger), events, "{round}: {broken:?}");
                ledger.close().unwrap();
            }
            Err(error) => {
                left += 1;
                let names = plan.segments.iter().filter(|segment| segment.refusal.is_some()).count();
                assert!(names > 0 && error.is_integrity(), "{round}: {broken:?} {plan:?} {error}");
                // What is not damaged is as it was, and no damaged byte is lost.
                for (path, bytes) in sound.iter().filter(|(_, bytes)| bytes.is_some()) {
                    let journal = fs::read_dir(copy.path().join("journal")).unwrap();
                    let mut files = journal.filter_map(|entry| fs::read(entry.unwrap().path()).ok());
                    assert!(files.any(|found| Some(&found) == bytes.as_ref()), "{round}: {}", path.display());
                }
            }
        }
    }
    println!("{rounds} rounds: {mended} segments written again, {left} ledgers left");
    assert!(mended > 0);
}

/// A ledger with a damaged and a missing segment, and its events.
fn damaged_segments() -> (TempDir, Vec<Event>) {
    let (ledger, _) = sample(14, 16 * 1024);
    let events = events_of(ledger.path());
    let all = sealed(ledger.path());
    for path in &all {
        drop(fs::remove_file(path.with_extension("seg")));
    }
    flip(&all[1], 300);
    fs::remove_file(&all[4]).unwrap();
    (ledger, events)
}

/// Number of kills in a normal test run. `APM2_KILL_ROUNDS` sets another number.
const KILL_ROUNDS: u32 = 8;

/// The command that the kills end. Cargo builds the example together with the tests.
fn rebuilding(dir: &Path) -> Command {
    let test = std::env::current_exe().unwrap();
    let mut command = Command::new(test.parent().unwrap().parent().unwrap().join("examples/durability"));
    command.arg("rebuild").arg(dir).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

#[test]
fn a_repair_that_is_killed_at_any_moment_is_repeated() {
    let rounds = std::env::var("APM2_KILL_ROUNDS").map_or(KILL_ROUNDS, |text| text.parse().unwrap());
    let (ledger, events) = damaged_segments();
    let began = Instant::now();
    assert!(rebuilding(copy_of(ledger.path()).path()).status().unwrap().success());
    let took = began.elapsed();
    let mut left = std::collections::BTreeMap::new();
    for round in 0..rounds {
        let copy = copy_of(ledger.path());
        let mut child = rebuilding(copy.path()).spawn().unwrap();
        let random = u32::try_from(uuid::Uuid::new_v4().as_u64_pair().0 % 1000).unwrap();
        std::thread::sleep(took * random / 1000);
        child.kill().unwrap();
        child.wait().unwrap();
        let damaged = rebuild_plan(copy.path(), &mut |_| {}).unwrap().segments.len();
        *left.entry(damaged).or_insert(0) += 1;
        rebuilt(copy.path()).unwrap();
        assert_eq!(events_of(copy.path()), events, "round {round}");
        assert_ledger(copy.path(), &events);
    }
    eprintln!("{rounds} kills; by the number of segments that were still damaged: {left:?}");
}

#[test]
fn a_repair_that_is_interrupted_is_repeated() {
    let (ledger, events) = damaged_segments();
    let mut steps = 0;
    rebuild(copy_of(ledger.path()).path(), &small_segments(), &mut |_| steps += 1).unwrap();
    for end in 0..steps {
        let (copy, mut step) = (copy_of(ledger.path()), 0);
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            rebuild(copy.path(), &small_segments(), &mut |_| {
                assert!(step < end, "it ends here");
                step += 1;
            })
        }));
        assert!(outcome.is_err(), "{end}");
        rebuilt(copy.path()).unwrap();
        assert_ledger(copy.path(), &events);
    }
}
