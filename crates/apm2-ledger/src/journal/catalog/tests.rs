use std::{
    fs,
    ops::ControlFlow,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use apm2_model::{
    clock::SystemClock,
    event::{Event, NewEvent, actor::Actor, kind::EventKind, stream_id::StreamId, timestamp::Clock as _},
    spec::{ProcessSpec, id::ProcessId, redact::spec::RedactedSpec},
};
use tempfile::TempDir;

use crate::{
    Direction, EventQuery, EventsQuestion, JOURNAL_DIR, KindSet, Ledger, LedgerDir, Options, ReadLedger, Reader,
    StatesQuestion, StreamAt,
    append::catalog_writer::write_missing_catalogs,
    journal::{
        catalog::{group::Group, reader::Catalog},
        segment_file::sealed_path,
        segment_walk::{SegmentWalk, Wanted},
    },
    read::cancel::Cancel,
    verify,
};

/// So small that each segment contains a few events.
const SEGMENT_BYTES: u64 = 2048;
/// Words in the reason of each event, so that few events fill a segment.
const REASON_WORDS: usize = 180;
const SEALING_WAIT: Duration = Duration::from_secs(60);

fn id(number: u32) -> ProcessId {
    let mut bytes = [7; 16];
    bytes[..4].copy_from_slice(&number.wrapping_mul(0x9E37_79B1).to_be_bytes());
    ProcessId::from_bytes(bytes)
}

fn draft(process: u32, kind: EventKind) -> NewEvent {
    let stream = StreamId { process_id: id(process), instance: 0 };
    let (actor, stamp) = (Actor::System, SystemClock.now());
    let reason = Some("word ".repeat(REASON_WORDS));
    NewEvent { stream, run: 0, actor, reason, cause: None, stamp, kind }
}

/// Each process is registered, and unregistered after the next nine processes were registered.
fn fill(ledger: &Ledger, processes: u32) {
    for number in 0..processes + 10 {
        if number < processes {
            let spec =
                ProcessSpec::builder().id(id(number)).name(format!("worker-{}", number % 50)).command("c").build();
            let event = draft(number, EventKind::Registered { spec: RedactedSpec::new(&spec) });
            ledger.append(event.stream, 0, vec![event]).unwrap();
        }
        if let Some(before) = number.checked_sub(10) {
            let event = draft(before, EventKind::Unregistered);
            ledger.append(event.stream, 1, vec![event]).unwrap();
        }
    }
}

/// A closed ledger whose full segments are sealed, all plain files of them removed, and all catalogs written.
fn sealed_ledger(processes: u32) -> (TempDir, PathBuf) {
    // These tests sync a thousand files, and do not test the disk.
    let memory =
        Some(Path::new("/dev/shm")).filter(|path| path.is_dir()).map_or_else(std::env::temp_dir, Path::to_owned);
    let parent = tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o700)).tempdir_in(memory).unwrap();
    let dir = parent.path().join("ledger");
    let ledger = Ledger::open_with(&dir, &Options { segment_bytes: SEGMENT_BYTES, ..Options::default() }).unwrap();
    fill(&ledger, processes);
    let journal = dir.join(JOURNAL_DIR);
    let began = Instant::now();
    while plain_and_sealed(&journal).is_none() {
        assert!(began.elapsed() < SEALING_WAIT, "the segments are not sealed");
        thread::sleep(Duration::from_millis(20));
    }
    ledger.close().unwrap();
    for path in plain_and_sealed(&journal).unwrap() {
        fs::remove_file(path).unwrap();
    }
    write_missing_catalogs(&LedgerDir::open(&dir).unwrap(), &Cancel::default()).unwrap();
    (parent, journal)
}

/// The plain files of sealed segments, once all segments but the last are sealed.
fn plain_and_sealed(journal: &Path) -> Option<Vec<PathBuf>> {
    let mut plain = files_with(journal, "seg");
    plain.pop();
    plain.iter().all(|path| path.with_extension("sealed").exists()).then_some(plain)
}

/// The files in the journal with this extension, sorted.
fn files_with(journal: &Path, wanted: &str) -> Vec<PathBuf> {
    let mut found: Vec<_> = fs::read_dir(journal).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.extension().is_some_and(|extension| extension == wanted));
    found.sort();
    found
}

fn numbers(journal: &Path, wanted: Wanted) -> Vec<u64> {
    SegmentWalk::new(journal.to_owned(), (1, 1000), Direction::Forwards, wanted).collect()
}

fn ask(reader: &Reader, query: &EventQuery, direction: Direction) -> Vec<Event> {
    let question = EventsQuestion { query: query.clone(), first: 1, last: u64::MAX, direction, max: u64::MAX };
    let mut found = Vec::new();
    let visit = &mut |event| {
        found.push(event);
        ControlFlow::Continue(())
    };
    ReadLedger::events(reader, &question, visit).unwrap();
    found
}

#[test]
fn groups_are_aligned_and_named_by_their_segments() {
    assert_eq!(Group::containing(1, 16), Group { level: 1, first: 1 });
    assert_eq!(Group::containing(1, 17), Group { level: 1, first: 17 });
    assert_eq!(Group::containing(2, 300), Group { level: 2, first: 257 });
    assert_eq!(Group { level: 2, first: 257 }.file_name(), "0000000257-0000000512.catalog");
    let members: Vec<_> = Group { level: 2, first: 257 }.members().map(|member| member.first).collect();
    assert_eq!(members, (0..16).map(|at| 257 + 16 * at).collect::<Vec<_>>());
    assert_eq!(Group { level: 0, first: 5 }.members().len(), 0);
}

/// All questions have the same answers with catalogs, without, and with damaged ones, and a question opens only the segments that
/// can answer it.
#[test]
fn a_catalog_changes_the_cost_of_a_question_and_not_its_answer() {
    // Enough for one catalog of level 2, of 256 segments.
    let (parent, journal) = sealed_ledger(420);
    let dir = parent.path().join("ledger");
    let all = files_with(&journal, "catalog");
    assert!(all.iter().any(|path| path.ends_with("0000000001-0000000256.catalog")), "{all:?}");
    let everything = ask(&Reader::open(&dir).unwrap(), &EventQuery::default(), Direction::Forwards);
    let queries: Vec<EventQuery> = [0, 1, 200, 333, 419, 5000]
        .into_iter()
        .map(|number| EventQuery::stream(StreamId { process_id: id(number), instance: 0 }))
        .chain([
            EventQuery { kinds: Some(KindSet::named(["unregistered"])), ..EventQuery::default() },
            EventQuery { kinds: Some(KindSet::named(["crashed"])), ..EventQuery::default() },
            EventQuery {
                wall_ns: Some((everything[300].stamp.wall_ns, everything[320].stamp.wall_ns)),
                ..EventQuery::default()
            },
        ])
        .collect();
    let texts = ["worker-7", "worker-77", &id(300).to_string()[..8], "zzz"];
    let answers = || {
        let reader = Reader::open(&dir).unwrap();
        let mut states = Vec::new();
        for event in everything.iter().step_by(97) {
            let of = StatesQuestion::Of(vec![StreamAt { id: event.stream, seq: event.seq }]);
            reader
                .states(&of, &mut |state| {
                    states.push(state);
                    ControlFlow::Continue(())
                })
                .unwrap();
        }
        let found: Vec<_> = texts.iter().map(|text| format!("{:?}", reader.find(text))).collect();
        let seqs: Vec<_> = everything
            .iter()
            .step_by(131)
            .map(|event| reader.events(event.seq, event.seq).next().unwrap().unwrap())
            .collect();
        let events = queries.iter().map(|query| {
            let forwards = ask(&reader, query, Direction::Forwards);
            let mut backwards = ask(&reader, query, Direction::Backwards);
            backwards.reverse();
            assert_eq!(forwards, backwards);
            let expected: Vec<_> = everything.iter().filter(|event| query.accepts(event)).cloned().collect();
            assert_eq!(forwards, expected);
            forwards
        });
        (events.collect::<Vec<_>>(), states, found, seqs)
    };
    let with = answers();
    assert!(verify(&dir, &mut |_| {}).unwrap().findings.is_empty());

    // Only the segments with events of the stream, and those after the last catalog.
    let stream = StreamId { process_id: id(200), instance: 0 };
    let visited = numbers(&journal, Wanted::Query(EventQuery::stream(stream)));
    assert!(visited.iter().filter(|number| **number <= 256).count() <= 2, "{visited:?}");
    assert!(visited.iter().all(|number| *number <= 256 || *number > 256 + 16 || all.len() < 18), "{visited:?}");

    // A segment that is missing is found also by a question that does not need it.
    let left_out = sealed_path(&journal, 250);
    assert!(!visited.contains(&250), "{visited:?}");
    let sound = fs::read(&left_out).unwrap();
    fs::remove_file(&left_out).unwrap();
    let reader = Reader::open(&dir).unwrap();
    for direction in [Direction::Forwards, Direction::Backwards] {
        let query = EventQuery::stream(stream);
        let question = EventsQuestion { query, first: 1, last: u64::MAX, direction, max: u64::MAX };
        ReadLedger::events(&reader, &question, &mut |_| ControlFlow::Continue(())).unwrap_err();
    }
    fs::write(&left_out, sound).unwrap();

    let damaged = [all.first(), all.get(1)].map(Option::unwrap);
    for path in damaged {
        let sound = fs::read(path).unwrap();
        for at in [9, 870] {
            let mut bytes = sound.clone();
            bytes[at] ^= 0x10;
            fs::write(path, bytes).unwrap();
            if at == 870 && path.ends_with("0000000001-0000000256.catalog") {
                assert!(answers() == with, "{path:?} at {at}");
            }
            let findings = verify(&dir, &mut |_| {}).unwrap().findings;
            assert!(!findings.is_empty(), "{path:?} at {at}");
        }
        fs::write(path, sound).unwrap();
    }
    for path in &all {
        fs::remove_file(path).unwrap();
    }
    assert!(answers() == with);
    assert!(verify(&dir, &mut |_| {}).unwrap().findings.is_empty());
}

#[test]
fn a_sound_catalog_of_other_segments_is_found() {
    let (parent, journal) = sealed_ledger(30);
    let first = Group { level: 1, first: 1 }.path(&journal);
    assert!(Catalog::open(&first).is_ok());
    // Sound, and with the right number, but of another ledger.
    let (_other, other_journal) = sealed_ledger(29);
    fs::copy(Group { level: 1, first: 1 }.path(&other_journal), &first).unwrap();
    let findings = verify(&parent.path().join("ledger"), &mut |_| {}).unwrap().findings;
    assert!(findings.iter().any(|finding| finding.message.contains("not that of its segments")), "{findings:?}");
}
