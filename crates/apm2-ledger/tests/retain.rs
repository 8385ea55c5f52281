//! Segments are moved into archives: every question has the same answer as before, but for the default listings.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    ops::ControlFlow,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use apm2_core::process::{Event, EventKind, ProcessId, ProcessSpec, RedactedSpec, StreamId};
use apm2_ledger::{
    AppendError, Direction, EventQuery, EventsQuestion, FindError, KindSet, Ledger, Origin, ReadError, ReadLedger,
    Reader, Retained, StatesQuestion, StoreCheck, StreamAt, backup, restore, restore_plan, retain, retain_plan, verify,
};
use apm2_model::state::stream::Stream;
use chrono::{DateTime, Utc};
use proptest::prelude::*;
use tempfile::TempDir;

use crate::support::{
    copy_dir, copy_of, draft_at, private_dir, registered, remove_plain, run_commits, sealed, sealed_segments, segments,
    small_segments, state_of, states_after, stream,
};

const SEALED_WITHIN: Duration = Duration::from_secs(60);

/// The time `seconds` after that of the first event.
fn at(seconds: i64) -> DateTime<Utc> {
    crate::support::stamp(seconds).wall()
}

fn wait_until_sealed(dir: &Path) {
    let began = Instant::now();
    let is_unsealed = |path: &PathBuf| !path.with_extension("sealed").exists();
    // The last segment is being written.
    while segments(dir).iter().rev().skip(1).any(is_unsealed) {
        assert!(began.elapsed() < SEALED_WITHIN, "{} segments are sealed", sealed(dir).len());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A process of a test ledger.
#[derive(Debug, Clone, Copy)]
struct Process {
    number: u8,
    /// The second of its first event.
    from: i64,
    runs: u64,
    is_unregistered: bool,
}

/// Appends the events of the processes, and waits until all full segments are sealed. Plain files of sealed segments are removed.
fn add(dir: &Path, processes: &[Process]) {
    let ledger = Ledger::open_with(dir, &sealed_segments()).unwrap();
    for process in processes {
        let id = stream(process.number);
        let known = ledger.reader().stream(id).unwrap();
        let (mut version, mut run) = known.map_or((0, 0), |state| (state.version, state.run));
        let mut append = |kinds| {
            let appended = ledger.append(id, version, kinds).unwrap();
            version += appended.len() as u64;
        };
        if run == 0 {
            let mut event = registered(id, &format!("p{}", process.number));
            event.stamp = crate::support::stamp(process.from);
            append(vec![event]);
        }
        for at in 0..process.runs {
            run += 1;
            for commit in run_commits(id, run, process.from + i64::try_from(at).unwrap(), 0) {
                append(commit);
            }
        }
        if process.is_unregistered {
            append(vec![draft_at(id, run, process.from + 1000, EventKind::Unregistered)]);
        }
    }
    wait_until_sealed(dir);
    ledger.close().unwrap();
    remove_plain(dir);
}

/// Old processes, of which one is not unregistered, and later ones.
fn ledger() -> TempDir {
    let dir = private_dir();
    let old = |number| Process { number, from: 0, runs: 60, is_unregistered: true };
    let mut processes: Vec<Process> = (1..=5).map(old).collect();
    processes[2].is_unregistered = false;
    processes.extend((6..=8).map(|number| Process { number, from: 100_000, runs: 40, is_unregistered: number == 7 }));
    add(dir.path(), &processes);
    // The supervised process has a launch file.
    fs::create_dir(dir.path().join("launch")).unwrap();
    fs::write(dir.path().join(format!("launch/{}.json", stream(3).process_id)), "{}").unwrap();
    dir
}

fn retained(dir: &Path, before: DateTime<Utc>) -> Option<Retained> {
    retain(dir, before, &small_segments(), &mut |_| {}).unwrap()
}

fn archives(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir.join("archive")) else { return Vec::new() };
    let mut found: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

fn assert_sound(dir: &Path) {
    let report = verify(dir, &mut |_| {}).unwrap();
    assert_eq!((report.findings, report.store, report.store_note), (Vec::new(), StoreCheck::Done, None));
    assert!(report.missing_archives.is_empty());
}

fn ask(reader: &Reader, query: &EventQuery, seqs: (u64, u64), direction: Direction, max: u64) -> Vec<Event> {
    let question = EventsQuestion { query: query.clone(), first: seqs.0, last: seqs.1, direction, max };
    let mut found = Vec::new();
    ReadLedger::events(reader, &question, &mut |event| {
        found.push(event);
        ControlFlow::Continue(())
    })
    .unwrap();
    found
}

fn all_states(reader: &Reader, upto: u64) -> BTreeMap<StreamId, Stream> {
    let mut found = BTreeMap::new();
    reader
        .states(&StatesQuestion::All(upto), &mut |state| {
            found.insert(state.id, state);
            ControlFlow::Continue(())
        })
        .unwrap();
    found
}

/// Compares the answers with those that the events give. `gone` are the streams that are in archives only, whose last event is
/// `base` or an earlier one.
fn assert_answers(reader: &Reader, events: &[Event], gone: &BTreeSet<StreamId>, base: u64) {
    let size = events.len() as u64;
    let everything = EventQuery::default();
    assert_eq!(ask(reader, &everything, (1, u64::MAX), Direction::Forwards, u64::MAX), events);
    let mut queries: Vec<EventQuery> = (1..=9).map(|number| EventQuery::stream(stream(number))).collect();
    queries.push(everything);
    queries.push(EventQuery::stream(StreamId::SYSTEM));
    queries.push(EventQuery { streams: vec![stream(2), stream(6)], ..EventQuery::default() });
    queries.push(EventQuery { kinds: Some(KindSet::named(["unregistered"])), ..EventQuery::default() });
    queries.push(EventQuery { run: Some(7), ..EventQuery::default() });
    let middle = &events[events.len() / 3].stamp;
    queries
        .push(EventQuery { wall_ns: Some((middle.wall_ns, middle.wall_ns + 7_000_000_000)), ..EventQuery::default() });
    for query in &queries {
        for (first, last) in [(1, size), (size / 4, size / 2), (base.max(1), base + 1), (base + 1, size), (1, base)] {
            let expected: Vec<&Event> =
                events.iter().filter(|event| (first..=last).contains(&event.seq) && query.accepts(event)).collect();
            let found = ask(reader, query, (first, last), Direction::Forwards, u64::MAX);
            assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{query:?} {first} {last}");
            let mut found = ask(reader, query, (first, last), Direction::Backwards, u64::MAX);
            found.reverse();
            assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{query:?} {first} {last}, backwards");
            let last_three = ask(reader, query, (first, last), Direction::Backwards, 3);
            assert_eq!(last_three.iter().collect::<Vec<_>>(), expected.into_iter().rev().take(3).collect::<Vec<_>>());
        }
    }
    let now = states_after(events, size);
    for (id, state) in &now {
        assert_eq!(reader.stream(*id).unwrap().as_ref(), Some(state));
        assert_eq!(reader.find(&id.process_id.to_string()[..13]).unwrap(), [*id]);
        assert_eq!(reader.find(&state.handle.spec.name).unwrap(), [*id]);
        for seq in [0, 1, base / 2, base, base + 1, size / 2, size] {
            assert_eq!(reader.stream_at(*id, seq).unwrap(), states_after(events, seq).remove(id), "{id:?} at {seq}");
        }
        let events: Vec<&Event> = events.iter().filter(|event| event.stream == *id).collect();
        let found: Vec<Event> = reader.stream_events(*id).map(Result::unwrap).collect();
        assert_eq!(found.iter().collect::<Vec<_>>(), events);
    }
    assert!(matches!(reader.find("nothing-has-this-name"), Err(FindError::Unclear(_))));
    assert_eq!(reader.stream(stream(200)).unwrap(), None);
    for seq in [1, base / 2, base.saturating_sub(1), base, base + 1, size] {
        let mut expected = states_after(events, seq);
        if seq >= base {
            expected.retain(|id, _| !gone.contains(id));
        }
        assert_eq!(all_states(reader, seq), expected, "after {seq}");
        for origin in [Origin::Genesis, Origin::Snapshot] {
            assert_eq!(reader.replay(seq, origin).unwrap().streams, expected, "{origin:?} at {seq}");
        }
    }
    for since in [1, base / 2, base.max(1), base + 1, size] {
        let mut found = BTreeMap::new();
        reader
            .states(&StatesQuestion::Active { since, upto: size }, &mut |state| {
                assert!(found.insert(state.id, state).is_none());
                ControlFlow::Continue(())
            })
            .unwrap();
        let is_active = |state: &&Stream| state.last_seq >= since || !state.handle.state.has_exited();
        let expected: Vec<&Stream> = now.values().filter(is_active).collect();
        assert_eq!(found.values().collect::<Vec<_>>(), expected, "active since {since}");
    }
    let mut found = BTreeMap::new();
    reader
        .each_retained(|state| {
            found.insert(state.id, state);
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(found, now.into_iter().filter(|(id, _)| gone.contains(id)).collect());
    let mut records = 0;
    reader
        .each_record(size, |_, _| {
            records += 1;
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(records, size);
    for event in events.iter().step_by(53) {
        let before =
            events.iter().filter(|other| other.stamp.wall_ns <= event.stamp.wall_ns).map(|other| other.seq).max();
        assert_eq!(reader.seq_at(event.stamp.wall()).unwrap(), before.unwrap());
        let between: Vec<Event> =
            reader.between(event.stamp.wall(), event.stamp.wall()).unwrap().map(Result::unwrap).collect();
        let same = events.iter().filter(|other| other.stamp.wall_ns == event.stamp.wall_ns);
        assert_eq!(between.iter().collect::<Vec<_>>(), same.collect::<Vec<_>>());
    }
}

/// Checks the answers of a reader of the journal and of one of the open ledger.
fn assert_ledger(dir: &Path, events: &[Event], gone: &BTreeSet<StreamId>, base: u64) {
    assert_answers(&Reader::open(dir).unwrap(), events, gone, base);
    let ledger = Ledger::open_with(dir, &small_segments()).unwrap();
    assert_answers(&ledger.reader(), events, gone, base);
    ledger.close().unwrap();
    assert_sound(dir);
}

fn events_of(dir: &Path) -> Vec<Event> {
    Reader::open(dir).unwrap().events(1, u64::MAX).map(Result::unwrap).collect()
}

fn streams(numbers: impl IntoIterator<Item = u8>) -> BTreeSet<StreamId> {
    numbers.into_iter().map(stream).collect()
}

#[test]
fn retained_processes_are_found_and_not_listed() {
    let dir = ledger();
    let events = events_of(dir.path());
    let before = state_of(dir.path());
    assert_eq!(retain_plan(dir.path(), at(0)).unwrap(), None);
    let plan = retain_plan(dir.path(), at(50_000)).unwrap().unwrap();
    assert_eq!(state_of(dir.path()), before);
    let done = retained(dir.path(), at(50_000)).unwrap();
    assert_eq!(done, plan);
    assert_eq!(archives(dir.path()), [dir.path().join("archive").join(&done.archive)]);
    // The last of the old processes has events in the first segment that stays.
    let gone: BTreeSet<ProcessId> = done.processes.iter().copied().collect();
    let expected = streams([1, 2, 4]);
    assert!(gone.iter().eq(expected.iter().map(|id| &id.process_id)), "{gone:?}");
    assert_eq!((done.streams, done.kept), (3, 2));
    assert_ledger(dir.path(), &events, &expected, done.last_seq);
    assert_eq!(retained(dir.path(), at(50_000)), None);
    assert_eq!(events_of(dir.path()), events);
}

/// Writes a file of 100 bytes below the directory of the ledger, last written at the beginning of 1970 or now.
fn write_file(dir: &Path, name: &str, is_old: bool) {
    let path = dir.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, [b'x'; 100]).unwrap();
    if is_old {
        fs::File::open(&path).unwrap().set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    }
}

#[test]
fn logs_and_launch_files_of_retained_processes_are_removed() {
    let dir = ledger();
    // A later process has the name of one that is gone.
    let ledger = Ledger::open_with(dir.path(), &small_segments()).unwrap();
    ledger.append(stream(30), 0, vec![registered(stream(30), "p4")]).unwrap();
    ledger.close().unwrap();
    let launch = |number, extension| format!("launch/{}.{extension}", stream(number).process_id);
    let (removed, kept) = (
        ["logs/p1-0/stdout.log", "logs/p1-0/stdout.log.1", "logs/p1-7/stderr.log", &launch(2, "set-aside")],
        [
            "logs/p3-0/stdout.log",
            "logs/p4-0/stdout.log",
            "logs/p6-0/stdout.log",
            "logs/p1-x/stdout.log",
            "logs/p11-0/stdout.log",
            "logs/notes-0",
            &launch(3, "json"),
            &launch(6, "set-aside"),
        ],
    );
    for name in removed.iter().chain(&kept) {
        write_file(dir.path(), name, true);
    }
    // Written later than the events that move.
    write_file(dir.path(), "logs/p2-0/stdout.log", false);
    write_file(dir.path(), "logs/p2-0/stdout.log.1", true);
    let plan = retain_plan(dir.path(), at(50_000)).unwrap().unwrap();
    let paths: Vec<&str> = plan.files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(paths, [launch(2, "set-aside").as_str(), "logs/p1-0", "logs/p1-7"]);
    assert!(plan.files.iter().all(|file| file.bytes >= 100), "{:?}", plan.files);
    assert!(removed.iter().all(|name| dir.path().join(name).exists()), "a plan changes nothing");
    assert_eq!(retained(dir.path(), at(50_000)).unwrap(), plan);
    assert!(paths.iter().all(|name| !dir.path().join(name).exists()));
    let kept = kept.iter().chain(&["logs/p2-0/stdout.log", "logs/p2-0/stdout.log.1"]);
    kept.for_each(|name| assert!(dir.path().join(name).exists(), "{name}"));
    assert_sound(dir.path());
}

#[test]
fn a_process_with_a_later_instance_keeps_its_files() {
    let dir = ledger();
    let later = StreamId { instance: 1, ..stream(2) };
    let ledger = Ledger::open_with(dir.path(), &small_segments()).unwrap();
    let spec = ProcessSpec::builder().id(later.process_id).name("p2").command("true").instances(2).build();
    let begin = draft_at(later, 0, 0, EventKind::Registered { spec: RedactedSpec::new(&spec) });
    ledger.append(later, 0, vec![begin]).unwrap();
    ledger.close().unwrap();
    let launch = format!("launch/{}.json", stream(2).process_id);
    for name in ["logs/p2-1/stdout.log", &launch] {
        write_file(dir.path(), name, true);
    }
    let done = retained(dir.path(), at(50_000)).unwrap();
    assert!(!done.processes.is_empty() && !done.processes.contains(&later.process_id), "{:?}", done.processes);
    assert!(dir.path().join(launch).exists() && dir.path().join("logs/p2-1/stdout.log").exists());
    assert_sound(dir.path());
}

#[test]
fn a_retained_ledger_goes_on_and_is_retained_again() {
    let dir = ledger();
    let first = retained(dir.path(), at(50_000)).unwrap();
    // A kept process runs again, and a new one begins.
    add(
        dir.path(),
        &[
            Process { number: 3, from: 200_000, runs: 30, is_unregistered: true },
            Process { number: 9, from: 200_000, runs: 50, is_unregistered: false },
        ],
    );
    fs::remove_file(dir.path().join(format!("launch/{}.json", stream(3).process_id))).unwrap();
    let events = events_of(dir.path());
    assert_ledger(dir.path(), &events, &streams([1, 2, 4]), first.last_seq);
    let second = retained(dir.path(), at(250_000)).unwrap();
    assert_eq!(second.first_seq, first.last_seq + 1);
    assert_eq!(archives(dir.path()).len(), 2);
    let gone: BTreeSet<StreamId> = streams([1, 2, 4])
        .into_iter()
        .chain(second.processes.iter().map(|id| StreamId { process_id: *id, instance: 0 }))
        .collect();
    assert!(gone.contains(&stream(3)) && gone.contains(&stream(5)), "{gone:?}");
    assert_ledger(dir.path(), &events, &gone, second.last_seq);
    let ledger = Ledger::open_with(dir.path(), &small_segments()).unwrap();
    let refused = ledger.append(stream(1), 0, vec![registered(stream(1), "again")]).unwrap_err();
    assert!(matches!(refused, AppendError::Retained { stream: id } if id == stream(1)), "{refused}");
    let spec = apm2_core::process::ProcessSpec::builder().id(stream(2).process_id).name("p2").command("true").build();
    let version = events.iter().filter(|event| event.stream == stream(2)).count() as u64;
    let changed = draft_at(stream(2), 0, 300_000, EventKind::SpecChanged { spec: RedactedSpec::new(&spec) });
    let refused = ledger.append(stream(2), version, vec![changed]).unwrap_err();
    assert!(matches!(refused, AppendError::Retained { .. }), "{refused}");
    ledger.append(stream(100), 0, vec![registered(stream(100), "new")]).unwrap();
    ledger.append_system(EventKind::SupervisorStopped).unwrap();
    ledger.close().unwrap();
    assert_sound(dir.path());
}

#[test]
fn a_store_that_is_lost_is_built_again_without_the_retained_processes() {
    let dir = ledger();
    let done = retained(dir.path(), at(50_000)).unwrap();
    let events = events_of(dir.path());
    fs::remove_dir_all(dir.path().join("sled")).unwrap();
    let ledger = Ledger::open_with(dir.path(), &small_segments()).unwrap();
    let rebuilt = events_of(dir.path());
    assert_eq!(rebuilt.len(), events.len() + 1);
    assert_answers(&ledger.reader(), &rebuilt, &streams([1, 2, 4]), done.last_seq);
    ledger.close().unwrap();
    assert_ledger(dir.path(), &rebuilt, &streams([1, 2, 4]), done.last_seq);
}

#[test]
fn a_ledger_without_its_archive_opens_and_answers_what_does_not_need_it() {
    let dir = ledger();
    let done = retained(dir.path(), at(50_000)).unwrap();
    let events = events_of(dir.path());
    let archive = archives(dir.path()).remove(0);
    let moved = dir.path().join("moved");
    fs::rename(&archive, &moved).unwrap();
    let is_missing = |error: &ReadError| matches!(error, ReadError::ArchiveMissing { first_seq: 1, last_seq, path } if *last_seq == done.last_seq && path.ends_with(&done.archive));
    let report = verify(dir.path(), &mut |_| {}).unwrap();
    assert_eq!((report.findings, report.store, report.missing_archives.len()), (Vec::new(), StoreCheck::Done, 1));
    let check = |reader: &Reader| {
        let size = events.len() as u64;
        let later = ask(reader, &EventQuery::default(), (done.last_seq + 1, size), Direction::Forwards, u64::MAX);
        assert_eq!(later, events[usize::try_from(done.last_seq).unwrap()..]);
        assert_eq!(ask(reader, &EventQuery::default(), (1, size), Direction::Backwards, 20).len(), 20);
        let states = all_states(reader, size);
        assert_eq!(states.keys().copied().collect::<BTreeSet<_>>(), streams([3, 5, 6, 7, 8]));
        for (id, state) in states_after(&events, size) {
            if states.contains_key(&id) {
                assert_eq!(states[&id], state);
                assert_eq!(reader.stream(id).unwrap(), Some(state));
                assert_eq!(reader.find(&format!("p{}", id.process_id.as_bytes()[0])).unwrap(), [id]);
            } else {
                assert!(is_missing(&reader.stream(id).unwrap_err()));
                assert!(matches!(reader.find("p1"), Err(FindError::Read(error)) if is_missing(&error)));
            }
        }
        for number in [6, 7, 8] {
            let found: Vec<Event> = reader.stream_events(stream(number)).map(Result::unwrap).collect();
            assert!(events.iter().filter(|event| event.stream == stream(number)).eq(&found), "{number}");
        }
        for number in [1, 3] {
            assert!(is_missing(&reader.stream_events(stream(number)).next().unwrap().unwrap_err()), "{number}");
        }
        assert!(is_missing(&reader.events(1, u64::MAX).next().unwrap().unwrap_err()));
    };
    check(&Reader::open(dir.path()).unwrap());
    let ledger = Ledger::open_with(dir.path(), &small_segments()).unwrap();
    check(&ledger.reader());
    ledger.append(stream(3), 182, vec![draft_at(stream(3), 60, 300_000, EventKind::BudgetReset)]).unwrap_err();
    let version = events.iter().filter(|event| event.stream == stream(3)).count() as u64;
    ledger.append(stream(3), version, vec![draft_at(stream(3), 60, 300_000, EventKind::BudgetReset)]).unwrap();
    ledger.append(stream(100), 0, vec![registered(stream(100), "new")]).unwrap();
    // Together with the state of a stream in the base, the archive is missed by none of the others.
    let asked = [3, 100, 6, 3];
    let check = |reader: &Reader| {
        let expected: Vec<Stream> =
            asked.iter().map(|number| reader.stream(stream(*number)).unwrap().unwrap()).collect();
        assert_eq!(expected[1].version, 1);
        let question = StatesQuestion::Of(asked.map(|number| StreamAt { id: stream(number), seq: u64::MAX }).to_vec());
        let mut found = Vec::new();
        let visit = &mut |state| {
            found.push(state);
            ControlFlow::Continue(())
        };
        reader.states(&question, visit).unwrap();
        assert_eq!(found, expected);
    };
    check(&ledger.reader());
    ledger.close().unwrap();
    check(&Reader::open(dir.path()).unwrap());
    fs::rename(&moved, &archive).unwrap();
    assert_sound(dir.path());
    let events = events_of(dir.path());
    assert_ledger(dir.path(), &events, &streams([1, 2, 4]), done.last_seq);
}

#[test]
fn a_changed_bit_in_an_archive_or_in_the_base_is_found() {
    let dir = ledger();
    retained(dir.path(), at(50_000)).unwrap();
    for path in [archives(dir.path()).remove(0), dir.path().join("journal/base")] {
        let sound = fs::read(&path).unwrap();
        for at in (0..sound.len()).step_by(sound.len() / 150 + 1).chain([sound.len() - 1, sound.len() - 130]) {
            let mut bytes = sound.clone();
            bytes[at] ^= 1 << (at % 8);
            fs::write(&path, &bytes).unwrap();
            let found = verify(dir.path(), &mut |_| {});
            assert!(found.map_or(true, |report| !report.findings.is_empty()), "{path:?} at {at}");
        }
        fs::write(&path, &sound[..sound.len() - 1]).unwrap();
        assert!(!verify(dir.path(), &mut |_| {}).unwrap().findings.is_empty(), "{path:?}, short");
        fs::write(&path, sound).unwrap();
    }
    assert_sound(dir.path());
}

/// What a crash leaves between the writes is completed by the next opening.
#[test]
fn an_interrupted_call_is_completed_or_undone() {
    let dir = ledger();
    let events = events_of(dir.path());
    let before = copy_of(dir.path());
    let done = retained(dir.path(), at(50_000)).unwrap();
    let archive = dir.path().join("archive").join(&done.archive);
    let gone = streams([1, 2, 4]);

    // Before the base: the ledger is as it was, and the archive is written again.
    let copy = copy_of(before.path());
    fs::create_dir(copy.path().join("archive")).unwrap();
    let bytes = fs::read(&archive).unwrap();
    fs::write(copy.path().join("archive").join(&done.archive), &bytes[..bytes.len() / 2]).unwrap();
    fs::write(copy.path().join("archive/retaining.new"), &bytes[..77]).unwrap();
    assert_ledger(copy.path(), &events, &BTreeSet::new(), 0);
    assert_eq!(retained(copy.path(), at(50_000)).unwrap(), done);
    assert_ledger(copy.path(), &events, &gone, done.last_seq);

    // After the base: with all segments, catalogs and the old store.
    let copy = copy_of(before.path());
    fs::create_dir(copy.path().join("archive")).unwrap();
    fs::copy(&archive, copy.path().join("archive").join(&done.archive)).unwrap();
    fs::copy(dir.path().join("journal/base"), copy.path().join("journal/base")).unwrap();
    assert_answers(&Reader::open(copy.path()).unwrap(), &events, &gone, done.last_seq);
    let report = verify(copy.path(), &mut |_| {}).unwrap();
    assert_eq!(report.findings, []);
    let ledger = Ledger::open_with(copy.path(), &small_segments()).unwrap();
    assert_answers(&ledger.reader(), &events, &gone, done.last_seq);
    ledger.close().unwrap();
    assert_eq!(sealed(copy.path()).len(), sealed(dir.path()).len());
    assert_ledger(copy.path(), &events, &gone, done.last_seq);
}

#[test]
fn a_backup_of_a_retained_ledger_is_restored_with_its_archives() {
    let dir = ledger();
    let (events, gone) = (events_of(dir.path()), streams([1, 2, 4]));
    let parent = private_dir();
    let (to, first, second) = (parent.path().join("backup"), parent.path().join("first"), parent.path().join("second"));
    // One backup before, which is brought up to date, and a whole one.
    backup(dir.path(), &to, false, &mut |_| {}).unwrap();
    let done = retained(dir.path(), at(50_000)).unwrap();
    for round in 0..2 {
        let report = backup(dir.path(), &to, false, &mut |_| {}).unwrap();
        // All but the last segment is there after the first round.
        assert!(round == 0 || report.copied_files == 1, "{report:?}");
    }
    let whole = parent.path().join("whole");
    backup(dir.path(), &whole, false, &mut |_| {}).unwrap();
    assert_answers(&Reader::open(&to).unwrap(), &events, &gone, done.last_seq);
    for (from, restored) in [(&to, &first), (&whole, &second)] {
        restore_plan(from, restored, &mut |_| {}).unwrap();
        restore(from, restored, &small_segments(), &mut |_| {}).unwrap();
        assert_ledger(restored, &events, &gone, done.last_seq);
    }
    // An interrupted backup of the retained ledger leaves the one before.
    let interrupted = parent.path().join("interrupted");
    copy_dir(&whole, &interrupted);
    fs::set_permissions(&interrupted, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    add(dir.path(), &[Process { number: 20, from: 150_000, runs: 60, is_unregistered: true }]);
    retained(dir.path(), at(190_000)).unwrap();
    let newer = parent.path().join("newer");
    backup(dir.path(), &newer, false, &mut |_| {}).unwrap();
    for path in archives(&newer) {
        fs::copy(&path, interrupted.join("archive").join(path.file_name().unwrap())).unwrap();
    }
    for entry in fs::read_dir(newer.join("journal")).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name() != "base" {
            fs::copy(entry.path(), interrupted.join("journal").join(entry.file_name())).unwrap();
        }
    }
    let third = parent.path().join("third");
    restore(&interrupted, &third, &small_segments(), &mut |_| {}).unwrap();
    assert_ledger(&third, &events, &gone, done.last_seq);
    // An archive that is missing in the ledger stays in the backup, and one that is missing in both is no damage.
    fs::remove_file(archives(dir.path()).remove(0)).unwrap();
    backup(dir.path(), &interrupted, false, &mut |_| {}).unwrap();
    assert_eq!(archives(&interrupted).len(), 2);
    fs::remove_file(archives(&interrupted).remove(0)).unwrap();
    let fourth = parent.path().join("fourth");
    restore(&interrupted, &fourth, &small_segments(), &mut |_| {}).unwrap();
    let report = verify(&fourth, &mut |_| {}).unwrap();
    assert_eq!((report.findings, report.missing_archives.len()), (Vec::new(), 1));
}

/// Number of kills in a normal test run. `APM2_KILL_ROUNDS` sets another number.
const KILL_ROUNDS: u32 = 12;

/// Path of the example `durability`, which cargo builds together with the tests.
fn retaining(dir: &Path) -> Command {
    let test = std::env::current_exe().unwrap();
    let mut command = Command::new(test.parent().unwrap().parent().unwrap().join("examples/durability"));
    command.arg("retain").arg(dir).arg(at(50_000).to_rfc3339()).stdout(Stdio::null());
    command
}

#[test]
fn a_call_that_is_killed_at_any_moment_leaves_a_whole_ledger() {
    let rounds = std::env::var("APM2_KILL_ROUNDS").map_or(KILL_ROUNDS, |text| text.parse().unwrap());
    let original = ledger();
    let events = events_of(original.path());
    let began = Instant::now();
    let done = copy_of(original.path());
    assert!(retaining(done.path()).status().unwrap().success());
    let took = began.elapsed();
    let expected = retained(copy_of(original.path()).path(), at(50_000)).unwrap();
    let (mut before, mut between, mut after) = (0, 0, 0);
    for round in 0..rounds {
        let copy = copy_of(original.path());
        let mut child = retaining(copy.path()).spawn().unwrap();
        let random = uuid::Uuid::new_v4().as_u64_pair().0 % 1000;
        std::thread::sleep(took * u32::try_from(random).unwrap() / 1000);
        child.kill().unwrap();
        child.wait().unwrap();
        let has_base = copy.path().join("journal/base").exists();
        let is_finished = !sealed(copy.path()).iter().any(|path| path.ends_with("0000000001.sealed"));
        match (has_base, is_finished) {
            (false, _) => before += 1,
            (true, false) => between += 1,
            (true, true) => after += 1,
        }
        assert_eq!(verify(copy.path(), &mut |_| {}).unwrap().findings, [], "round {round}");
        let found = events_of(copy.path());
        assert_eq!(found, events, "round {round}");
        let ledger = Ledger::open_with(copy.path(), &small_segments()).unwrap();
        ledger.close().unwrap();
        assert_sound(copy.path());
        let again = retained(copy.path(), at(50_000));
        assert_eq!(again, (!has_base).then(|| expected.clone()), "round {round}");
        assert_sound(copy.path());
        let found = events_of(copy.path());
        assert!(found.len() <= events.len() + 1 && found[..events.len()] == events, "round {round}");
        let listed = all_states(&Reader::open(copy.path()).unwrap(), u64::MAX);
        assert!(streams([1, 2, 4]).iter().all(|id| !listed.contains_key(id)), "round {round}");
    }
    eprintln!(
        "{rounds} kills: {before} before the base was written, {between} after it, {after} in the last step or later"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, ..ProptestConfig::default() })]

    /// Ledgers of random processes, retained up to random times, with events in between.
    #[test]
    fn answers_are_the_same_before_and_after(
        rounds in prop::collection::vec(prop::collection::vec((1_u8..9, 1_u64..40, any::<bool>()), 1..6), 1..4),
        cuts in prop::collection::vec(0_i64..3000, 3),
    ) {
        let dir = private_dir();
        let mut now = 0;
        let mut ended = BTreeSet::new();
        let mut gone = BTreeSet::new();
        let mut base = 0;
        for (processes, cut) in rounds.into_iter().zip(cuts) {
            let mut added: Vec<Process> = Vec::new();
            for (number, runs, is_unregistered) in processes {
                if !ended.contains(&number) {
                    added.push(Process { number, from: now, runs, is_unregistered });
                    now += 500;
                    if is_unregistered {
                        ended.insert(number);
                    }
                }
            }
            add(dir.path(), &added);
            let events = events_of(dir.path());
            if let Some(done) = retained(dir.path(), at((now - cut).max(0))) {
                base = done.last_seq;
                gone.extend(done.processes.iter().map(|id| StreamId { process_id: *id, instance: 0 }));
                ended.extend(done.processes.iter().map(|id| id.as_bytes()[0]));
            }
            prop_assert_eq!(&events_of(dir.path()), &events);
            let size = events.len() as u64;
            for (id, state) in states_after(&events, size) {
                prop_assert!(!gone.contains(&id) || state.last_seq <= base && (state.unregistered || !state.wanted));
            }
            assert_ledger(dir.path(), &events, &gone, base);
        }
    }
}
