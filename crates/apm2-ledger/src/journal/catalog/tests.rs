use std::{
    fs,
    ops::{ControlFlow, Range},
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
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
    append::{
        catalog_writer::{remove_wrong_catalogs, write_missing_catalogs},
        segment_sealer::{FullSegment, SegmentSealer},
    },
    journal::{
        catalog::{group::Group, header::CATALOG_HEADER_LEN, reader::Catalog},
        segment_file::sealed_path,
        segment_walk::SegmentWalk,
        segments::Segments,
        wanted::Wanted,
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
fn fill(ledger: &Ledger, processes: &Range<u32>) {
    for number in processes.start..processes.end + 10 {
        if processes.contains(&number) {
            let spec =
                ProcessSpec::builder().id(id(number)).name(format!("worker-{}", number % 50)).command("c").build();
            let event = draft(number, EventKind::Registered { spec: RedactedSpec::new(&spec) });
            ledger.append(event.stream, 0, vec![event]).unwrap();
        }
        if let Some(before) = number.checked_sub(10).filter(|before| processes.contains(before)) {
            let event = draft(before, EventKind::Unregistered);
            ledger.append(event.stream, 1, vec![event]).unwrap();
        }
    }
}

/// A closed ledger whose full segments are sealed, all plain files of them removed, and all catalogs written.
fn sealed_ledger(processes: u32) -> (TempDir, PathBuf) {
    sealed_ledger_of(&(0..processes))
}

fn sealed_ledger_of(processes: &Range<u32>) -> (TempDir, PathBuf) {
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
    let dir = LedgerDir::open(journal.parent().unwrap()).unwrap();
    let segments = Segments::list(&dir, &wanted, (1, u64::MAX)).unwrap();
    SegmentWalk::new(&segments, (1, 1000), Direction::Forwards, wanted).collect()
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
        for at in [9, CATALOG_HEADER_LEN + 10] {
            let mut bytes = sound.clone();
            bytes[at] ^= 0x10;
            fs::write(path, bytes).unwrap();
            if at > 9 && path.ends_with("0000000001-0000000256.catalog") {
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

/// All events of the ledger in `dir` by each stream, kind and name, which catalogs are used for.
fn answers(dir: &Path, processes: u32) -> (Vec<Vec<Event>>, Vec<String>) {
    let reader = Reader::open(dir).unwrap();
    let streams =
        (0..processes).map(|number| EventQuery::stream(StreamId { process_id: id(number), instance: 0 })).chain([
            EventQuery { kinds: Some(KindSet::named(["unregistered"])), ..EventQuery::default() },
            EventQuery { kinds: Some(KindSet::named(["budget_reset"])), ..EventQuery::default() },
        ]);
    let events = streams.map(|query| {
        let mut backwards = ask(&reader, &query, Direction::Backwards);
        backwards.reverse();
        assert_eq!(backwards, ask(&reader, &query, Direction::Forwards));
        backwards
    });
    (events.collect(), (0..50).map(|name| format!("{:?}", reader.find(&format!("worker-{name}")))).collect())
}

/// The answers with the catalogs of the journal, which must be those without them. Removes all catalogs.
fn assert_same_without_catalogs(journal: &Path, processes: u32) {
    let dir = journal.parent().unwrap();
    let with = answers(dir, processes);
    for path in files_with(journal, "catalog") {
        fs::remove_file(path).unwrap();
    }
    assert!(answers(dir, processes) == with);
}

#[test]
fn a_sound_catalog_of_other_segments_is_found_and_not_used() {
    let (parent, journal) = sealed_ledger(30);
    let dir = parent.path().join("ledger");
    let group = Group { level: 1, first: 1 };
    assert!(Catalog::of_group(&journal, group).is_ok());
    // Sound, and with the right number, but of another ledger, with other processes.
    let (_other, other_journal) = sealed_ledger_of(&(500..530));
    fs::copy(group.path(&other_journal), group.path(&journal)).unwrap();
    let findings = verify(&dir, &mut |_| {}).unwrap().findings;
    assert!(findings.iter().any(|finding| finding.message.contains("not that of its segments")), "{findings:?}");
    assert_same_without_catalogs(&journal, 40);
}

#[test]
fn a_catalog_of_the_older_version_is_no_damage_and_is_replaced() {
    let (parent, journal) = sealed_ledger(30);
    let (dir, path) = (parent.path().join("ledger"), Group { level: 1, first: 1 }.path(&journal));
    let sound = fs::read(&path).unwrap();
    let mut older = sound.clone();
    older[8] = 1;
    fs::write(&path, older).unwrap();
    assert!(verify(&dir, &mut |_| {}).unwrap().findings.is_empty());
    let lock = LedgerDir::open(&dir).unwrap();
    remove_wrong_catalogs(&lock, &Cancel::default()).unwrap();
    write_missing_catalogs(&lock, &Cancel::default()).unwrap();
    assert_eq!(fs::read(&path).unwrap(), sound);
}

/// A copy of a ledger without its last segments, which is continued in another way, may still have their catalogs.
#[test]
fn a_catalog_of_segments_that_were_removed_is_replaced() {
    const BEFORE: u64 = 20;
    let (parent, original) = sealed_ledger(60);
    let before = files_with(&original, "catalog").len();
    assert!(before >= 3, "{before}");
    let copy = parent.path().join("copy");
    let journal = copy.join(JOURNAL_DIR);
    for dir in [&copy, &journal] {
        fs::DirBuilder::new().mode(0o700).create(dir).unwrap();
    }
    for entry in fs::read_dir(&original).unwrap() {
        let path = entry.unwrap().path();
        let number: Option<u64> = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
        if number.is_none_or(|number| number <= BEFORE) {
            fs::copy(&path, journal.join(path.file_name().unwrap())).unwrap();
        }
    }
    let options = Options { segment_bytes: SEGMENT_BYTES, seal: false, ..Options::default() };
    let ledger = Ledger::open_with(&copy, &options).unwrap();
    for number in 100..140 {
        let spec = ProcessSpec::builder().id(id(number)).name(format!("worker-{}", number % 50)).command("c").build();
        let event = draft(number, EventKind::Registered { spec: RedactedSpec::new(&spec) });
        ledger.append(event.stream, 0, vec![event]).unwrap();
    }
    ledger.close().unwrap();
    // The segments are sealed by a program that does not look at the catalogs.
    let lock = Arc::new(LedgerDir::open(&copy).unwrap());
    let mut sealer = SegmentSealer::new(Arc::clone(&lock), Cancel::default());
    for full in FullSegment::all(&journal).unwrap() {
        sealer.seal(full.read().unwrap()).unwrap();
        fs::remove_file(&full.plain.path).unwrap();
    }
    assert!(files_with(&journal, "sealed").len() > 50);
    let left = files_with(&journal, "catalog");
    assert_eq!(left.len(), before);
    let saved: Vec<_> = left.iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    assert_same_without_catalogs(&journal, 150);
    for (path, bytes) in saved {
        fs::write(path, bytes).unwrap();
    }
    assert!(!verify(&copy, &mut |_| {}).unwrap().findings.is_empty());

    remove_wrong_catalogs(&lock, &Cancel::default()).unwrap();
    assert_eq!(files_with(&journal, "catalog").len(), 1);
    write_missing_catalogs(&lock, &Cancel::default()).unwrap();
    let findings = verify(&copy, &mut |_| {}).unwrap().findings;
    assert!(findings.is_empty(), "{findings:?}");
    assert!(Catalog::of_group(&journal, Group { level: 1, first: 17 }).is_ok());
    assert_same_without_catalogs(&journal, 150);
}

/// A catalog makes the reader go on from segment 1 to a later one. That one is then of another ledger.
#[test]
fn no_event_of_another_ledger_is_returned_after_segments_that_were_left_out() {
    let (parent, journal) = sealed_ledger(60);
    let (_other, other_journal) = sealed_ledger(60);
    let dir = parent.path().join("ledger");
    // The last process of the catalogs was registered in a late segment, and no event of its kind is before that.
    let query = EventQuery { kinds: Some(KindSet::named(["unregistered"])), ..EventQuery::default() };
    let number = numbers(&journal, Wanted::Query(query.clone())).into_iter().next().unwrap();
    assert!(number > 3, "{number}");
    let path = sealed_path(&journal, number);
    let sound = fs::read(&path).unwrap();
    for bytes in [fs::read(sealed_path(&other_journal, number)).unwrap(), fs::read(sealed_path(&journal, 2)).unwrap()] {
        fs::write(&path, bytes).unwrap();
        let mut found = Vec::new();
        let question =
            EventsQuestion { query: query.clone(), first: 1, last: u64::MAX, direction: Direction::Forwards, max: 100 };
        let visit = &mut |event: Event| {
            found.push(event.seq);
            ControlFlow::Continue(())
        };
        ReadLedger::events(&Reader::open(&dir).unwrap(), &question, visit).unwrap_err();
        assert_eq!(found, [0; 0]);
    }
    fs::write(&path, sound).unwrap();
}

/// The states of all streams are read with few open files, whatever the number of segments is.
#[test]
fn the_sealed_segments_of_a_ledger_are_not_open_all_at_once() {
    let (parent, journal) = sealed_ledger(40);
    let reader = Reader::open(&parent.path().join("ledger")).unwrap();
    let (mut visited, mut open_max) = (0, 0);
    let sealed = reader.leading_sealed(u64::MAX).unwrap().unwrap();
    let whole = sealed.each(&mut |_| {
        let links =
            fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
        open_max = open_max.max(links.filter(|path| path.starts_with(&journal)).count());
        visited += 1;
        Some(())
    });
    assert_eq!(whole.unwrap(), Some(()));
    assert_eq!(visited, files_with(&journal, "sealed").len());
    assert!(visited > 30 && open_max == 1, "{open_max} of {visited}");
}

/// Damages a catalog in one of many ways. Returns what was done.
fn damage(path: &Path, other: &[u8], random: &mut impl FnMut(usize) -> usize) -> String {
    let sound = fs::read(path).unwrap();
    let at = random(sound.len());
    let mut bytes = sound.clone();
    let kind = random(9);
    match kind {
        0..=2 => bytes[at] ^= 1 << random(8),
        3 => bytes.truncate(at),
        4 => bytes[at..].fill(0),
        5 => bytes.extend_from_slice(&sound[at..]),
        6 => bytes = other.to_vec(),
        _ => {}
    }
    fs::remove_file(path).unwrap();
    match kind {
        7 => fs::create_dir(path).unwrap(),
        8 => std::os::unix::fs::symlink(sealed_path(path.parent().unwrap(), 1), path).unwrap(),
        _ => fs::write(path, bytes).unwrap(),
    }
    format!("damage {kind} at byte {at} of {}", path.display())
}

/// More rounds: `APM2_CATALOG_ROUNDS=1000`.
#[test]
fn damaged_catalogs_change_no_answer_and_are_found() {
    const PROCESSES: u32 = 60;
    let rounds = std::env::var("APM2_CATALOG_ROUNDS").map_or(12, |rounds| rounds.parse().unwrap());
    let (parent, journal) = sealed_ledger(PROCESSES);
    let dir = parent.path().join("ledger");
    let expected = answers(&dir, PROCESSES + 1);
    let catalogs = files_with(&journal, "catalog");
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % below
    };
    for round in 0..rounds {
        let path = &catalogs[random(catalogs.len())];
        let sound = fs::read(path).unwrap();
        let other = fs::read(&catalogs[random(catalogs.len())]).unwrap();
        let what = damage(path, &other, &mut random);
        assert!(answers(&dir, PROCESSES + 1) == expected, "round {round}: {what}");
        let is_same = fs::symlink_metadata(path).unwrap().is_file() && fs::read(path).unwrap() == sound;
        assert_eq!(verify(&dir, &mut |_| {}).unwrap().findings.is_empty(), is_same, "round {round}: {what}");
        if path.is_dir() { fs::remove_dir(path) } else { fs::remove_file(path) }.unwrap();
        fs::write(path, sound).unwrap();
    }
}
