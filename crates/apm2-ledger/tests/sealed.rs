//! Full segments are sealed in the background, and a ledger of sealed segments gives the same answers.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use apm2_ledger::{
    EventQuery, FindError, KindSet, Ledger, Origin, Reader, StoreCheck,
    journal::{
        sealed::{block::Slot, builder::SealedBuilder, header::SealedHeader, reader::SealedSegment},
        segment::{FORMAT_VERSION, SegmentHeader},
    },
    rebuild,
    record::{decode_event, encode_stream},
    verify,
};
use apm2_model::event::{Event, kind::EventKind, stream_id::StreamId};
use chrono::{DateTime, Utc};
use tempfile::TempDir;

use crate::support::{
    all_events, closed_ledger, copy_dir, copy_of, draft_at, fill, make_format_1, private_dir, registered, remove_plain,
    run_commits, sealed, sealed_segments, segments, states_after, stream,
};

const SEALED_WITHIN: Duration = Duration::from_secs(60);

const STREAMS: u8 = 6;

/// Waits until `is_done`, which concerns the sealed segments of the ledger in `dir`.
fn wait_until(dir: &Path, is_done: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_done() {
        let (sealed, all) = (sealed(dir).len(), segments(dir).len());
        assert!(began.elapsed() < SEALED_WITHIN, "{sealed} of {all} segments are sealed");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until every segment but the last is sealed.
pub(crate) fn wait_until_sealed(dir: &Path) {
    wait_until(dir, || sealed(dir).len() + 1 >= segments(dir).len());
}

/// A closed ledger whose segments are sealed but for the last, without the plain files of the sealed ones; and its events.
fn sealed_ledger() -> (TempDir, Vec<Event>) {
    let dir = private_dir();
    let ledger = Ledger::open_with(dir.path(), &sealed_segments()).unwrap();
    for number in 1..=STREAMS {
        fill(&ledger, stream(number), 40);
    }
    let events = all_events(&ledger);
    wait_until_sealed(dir.path());
    ledger.close().unwrap();
    remove_plain(dir.path());
    assert!(sealed(dir.path()).len() > 5);
    (dir, events)
}

/// Compares every question with the answer that the events give.
fn assert_answers(reader: &Reader, events: &[Event]) {
    let read: Vec<Event> = reader.events(1, u64::MAX).map(Result::unwrap).collect();
    assert_eq!(read, events);
    let size = events.len() as u64;
    assert_eq!(reader.head().unwrap().size, size);
    for (first, last) in [(1, 1), (size / 3, size / 2), (size, u64::MAX), (size + 1, u64::MAX)] {
        let read: Vec<u64> = reader.events(first, last).map(|event| event.unwrap().seq).collect();
        assert_eq!(read, (first..=last.min(size)).collect::<Vec<_>>());
    }
    for number in 1..=STREAMS + 1 {
        let id = stream(number);
        let of_stream: Vec<&Event> = events.iter().filter(|event| event.stream == id).collect();
        let read: Vec<Event> = reader.stream_events(id).map(Result::unwrap).collect();
        assert_eq!(read.iter().collect::<Vec<_>>(), of_stream);
        assert_eq!(reader.stream(id).unwrap(), states_after(events, u64::MAX).remove(&id));
        for seq in (0..=size).step_by(97) {
            assert_eq!(reader.stream_at(id, seq).unwrap(), states_after(events, seq).remove(&id), "{number} at {seq}");
        }
        if let Some(first) = of_stream.first() {
            let text = id.process_id.to_string();
            assert_eq!(reader.find(&text[..13]).unwrap(), [id]);
            assert_eq!(reader.find(&format!("p{}", id.process_id.as_bytes()[0])).unwrap(), [id]);
            assert_eq!(first.version, 1);
        }
    }
    assert!(reader.find("nothing-has-this-name").is_err());
    for seq in [0, 1, size / 4, size / 2, size - 1, size, u64::MAX] {
        for origin in [Origin::Genesis, Origin::Snapshot] {
            assert_eq!(reader.replay(seq, origin).unwrap().streams, states_after(events, seq), "{origin:?} at {seq}");
        }
    }
    assert_last_events(reader, events);
    assert_times(reader, events);
}

fn assert_last_events(reader: &Reader, events: &[Event]) {
    let size = events.len() as u64;
    let crashed = Some(KindSet::named(["crashed"]));
    let queries = [
        EventQuery::default(),
        EventQuery::stream(stream(2)),
        EventQuery { kinds: crashed, ..EventQuery::default() },
        EventQuery { streams: vec![stream(1), stream(5)], kinds: crashed, ..EventQuery::default() },
        EventQuery { streams: vec![stream(STREAMS + 1)], ..EventQuery::default() },
    ];
    for query in queries {
        for (last, max) in [(u64::MAX, 1), (u64::MAX, 20), (size / 2, 7), (3, 100), (u64::MAX, usize::MAX), (size, 0)] {
            let mut expected: Vec<&Event> =
                events.iter().filter(|event| event.seq <= last && query.accepts(event)).rev().take(max).collect();
            expected.reverse();
            let found = reader.last_events(&query, last, max).unwrap();
            assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{query:?} up to {last}, {max} at most");
        }
    }
}

fn assert_times(reader: &Reader, events: &[Event]) {
    let walls: Vec<DateTime<Utc>> = events.iter().step_by(53).map(|event| event.stamp.wall()).collect();
    for wall in &walls {
        let expected = events.iter().rev().find(|event| event.stamp.wall() <= *wall).map_or(0, |event| event.seq);
        assert_eq!(reader.seq_at(*wall).unwrap(), expected);
    }
    for pair in walls.windows(2) {
        let (from, to) = (pair[0].min(pair[1]), pair[0].max(pair[1]));
        let expected: Vec<&Event> = events.iter().filter(|event| (from..=to).contains(&event.stamp.wall())).collect();
        let read: Vec<Event> = reader.between(from, to).unwrap().map(Result::unwrap).collect();
        assert_eq!(read.iter().collect::<Vec<_>>(), expected);
    }
}

#[test]
fn a_sealed_ledger_gives_the_same_answers() {
    let (dir, events) = sealed_ledger();
    assert_answers(&Reader::open(dir.path()).unwrap(), &events);
    let report = verify(dir.path(), &mut |_| {}).unwrap();
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    assert_eq!((report.events, report.head.size), (events.len() as u64, events.len() as u64));
}

#[test]
fn a_sealed_ledger_is_opened_and_goes_on() {
    let (dir, events) = sealed_ledger();
    let ledger = Ledger::open_with(dir.path(), &sealed_segments()).unwrap();
    assert_answers(&ledger.reader(), &events);
    fill(&ledger, stream(STREAMS + 1), 40);
    let more = all_events(&ledger);
    assert_eq!(more[..events.len()], events);
    wait_until_sealed_after(dir.path());
    assert_answers(&ledger.reader(), &more);
    ledger.close().unwrap();
    // The store is built again from sealed segments.
    fs::remove_dir_all(dir.path().join("sled")).unwrap();
    let ledger = Ledger::open_with(dir.path(), &sealed_segments()).unwrap();
    let rebuilt = all_events(&ledger);
    assert_eq!(rebuilt[..more.len()], more);
    ledger.close().unwrap();
    assert!(verify(dir.path(), &mut |_| {}).unwrap().findings.is_empty());
}

/// Waits until the plain segments before the last have a sealed file.
fn wait_until_sealed_after(dir: &Path) {
    wait_until(dir, || {
        let (plain, all) = (segments(dir), sealed(dir));
        let is_sealed = |path: &PathBuf| all.contains(&path.with_extension("sealed"));
        plain.split_last().is_some_and(|(_, full)| full.iter().all(is_sealed))
    });
}

#[test]
fn a_reader_beside_the_writer_and_the_sealing_thread_misses_no_event() {
    let dir = private_dir();
    let ledger = Ledger::open_with(dir.path(), &sealed_segments()).unwrap();
    fill(&ledger, stream(1), 1);
    let (writer, path) = (ledger.clone(), dir.path().to_owned());
    let writing = std::thread::spawn(move || (2..=STREAMS).for_each(|number| drop(fill(&writer, stream(number), 40))));
    let mut last = 0;
    while !writing.is_finished() {
        // The plain files go as soon as they may, as they do some minutes after the sealing.
        for path in sealed(&path) {
            drop(fs::remove_file(path.with_extension("seg")));
        }
        let reader = Reader::open(&path).unwrap();
        let read: Vec<u64> = reader.events(1, u64::MAX).map(|event| event.unwrap().seq).collect();
        assert!(read.iter().copied().eq(1..=read.len() as u64), "a gap");
        assert!(read.len() as u64 >= last);
        last = read.len() as u64;
        let newest = reader.last_events(&EventQuery::default(), u64::MAX, 5).unwrap();
        assert!(newest.last().unwrap().seq >= last);
        assert!(reader.stream(stream(1)).unwrap().is_some());
    }
    writing.join().unwrap();
    ledger.close().unwrap();
}

#[test]
fn every_flipped_byte_of_sealed_segments_is_found_and_no_answer_is_wrong() {
    let (dir, events) = sealed_ledger();
    for (at, path) in sealed(dir.path()).into_iter().enumerate().take(2) {
        let bytes = fs::read(&path).unwrap();
        for place in (at..bytes.len()).step_by(61) {
            let mut flipped = bytes.clone();
            flipped[place] ^= 1 << (place % 8);
            fs::write(&path, &flipped).unwrap();
            let report = verify(dir.path(), &mut |_| {}).unwrap();
            assert!(!report.findings.is_empty(), "byte {place} of {}", path.display());
            let reader = Reader::open(dir.path()).unwrap();
            let read: Vec<_> = reader.events(1, u64::MAX).map_while(Result::ok).collect();
            assert_eq!(read, events[..read.len()]);
            if let Ok(state) = reader.stream(stream(2)) {
                assert_eq!(state, states_after(&events, u64::MAX).remove(&stream(2)));
            }
            if let Ok(last) = reader.last_events(&EventQuery::stream(stream(1)), u64::MAX, 10) {
                let mut expected: Vec<_> =
                    events.iter().filter(|event| event.stream == stream(1)).rev().take(10).collect();
                expected.reverse();
                assert_eq!(last.iter().collect::<Vec<_>>(), expected);
            }
        }
        fs::write(&path, &bytes).unwrap();
    }
}

/// While the plain file of a segment is kept, damage to its sealed file hides no event.
#[test]
fn the_plain_file_is_read_in_the_place_of_a_damaged_sealed_file() {
    let dir = private_dir();
    let ledger = Ledger::open_with(dir.path(), &sealed_segments()).unwrap();
    for number in 1..=STREAMS {
        fill(&ledger, stream(number), 40);
    }
    let events = all_events(&ledger);
    wait_until_sealed(dir.path());
    ledger.close().unwrap();
    let all = sealed(dir.path());
    for path in [&all[0], &all[2], all.last().unwrap()] {
        assert!(path.with_extension("seg").exists());
        let bytes = fs::read(path).unwrap();
        let len = bytes.len();
        let flips = [20, 100, 150, len / 4, len / 2, len - 200, len - 20].map(|at| {
            let mut flipped = bytes.clone();
            flipped[at] ^= 4;
            flipped
        });
        let cuts = [0, 50, 100, len / 3, len - 1].map(|end| bytes[..end].to_vec());
        for damaged in flips.into_iter().chain(cuts) {
            fs::write(path, &damaged).unwrap();
            assert_answers(&Reader::open(dir.path()).unwrap(), &events);
            assert!(!verify(dir.path(), &mut |_| {}).unwrap().findings.is_empty());
        }
        // The owner of the ledger reads it as well, with a store that has to be built again.
        let copy = copy_of(dir.path());
        fs::remove_dir_all(copy.path().join("sled")).unwrap();
        let ledger = Ledger::open_with(copy.path(), &sealed_segments()).unwrap();
        let read = all_events(&ledger);
        assert_eq!(read[..events.len()], events);
        ledger.close().unwrap();
        fs::write(path, &bytes).unwrap();
    }
}

/// The store lags behind the journal when the process that has the ledger open is killed.
#[test]
fn a_store_that_ends_before_the_last_sealed_segment_is_sound() {
    let (dir, _) = sealed_ledger();
    // A store without snapshots, as before the first one is written.
    let earlier = copy_of(dir.path());
    rebuild(earlier.path(), &sealed_segments(), &mut |_| {}).unwrap();
    let ledger = Ledger::open_with(dir.path(), &sealed_segments()).unwrap();
    let before = sealed(dir.path()).len();
    for run in 0..40 {
        let id = stream(1);
        let version = ledger.reader().stream(id).unwrap().unwrap().version;
        for (commit, version) in
            run_commits(id, 41 + run, 1_000, 0).into_iter().zip([version, version + 1, version + 3])
        {
            ledger.append(id, version, commit).unwrap();
        }
    }
    wait_until(dir.path(), || sealed(dir.path()).len() > before + 1);
    ledger.close().unwrap();
    let store = dir.path().join("sled");
    fs::remove_dir_all(&store).unwrap();
    fs::remove_file(dir.path().join("clean")).unwrap();
    copy_dir(&earlier.path().join("sled"), &store);
    let report = verify(dir.path(), &mut |_| {}).unwrap();
    assert_eq!((report.findings, report.store), (vec![], StoreCheck::Done));
}

#[test]
fn a_missing_sealed_segment_is_damage() {
    let (dir, _) = sealed_ledger();
    let all = sealed(dir.path());
    for missing in [&all[0], &all[2], all.last().unwrap()] {
        let copy = copy_of(dir.path());
        fs::remove_file(copy.path().join("journal").join(missing.file_name().unwrap())).unwrap();
        assert!(Ledger::open_with(copy.path(), &sealed_segments()).err().unwrap().is_integrity());
        assert!(!verify(copy.path(), &mut |_| {}).unwrap().findings.is_empty());
    }
    // Without the segment that is appended to.
    let copy = copy_of(dir.path());
    fs::remove_file(segments(copy.path()).pop().unwrap()).unwrap();
    assert!(Ledger::open_with(copy.path(), &sealed_segments()).err().unwrap().is_integrity());
    assert!(!verify(copy.path(), &mut |_| {}).unwrap().findings.is_empty());
}

/// The header of the plain file that a sealed segment was made from.
fn plain_header_of(sealed: &SealedHeader) -> SegmentHeader {
    let SealedHeader { ledger, number, first_seq, chain_before, .. } = *sealed;
    SegmentHeader {
        version: FORMAT_VERSION,
        ledger,
        number,
        first_seq,
        chain_before,
        len: sealed_segments().segment_bytes,
    }
}

#[test]
fn a_copy_that_ends_with_a_sealed_segment_goes_on_after_it() {
    let (dir, events) = sealed_ledger();
    for has_plain in [false, true] {
        let copy = private_dir();
        copy_dir(&dir.path().join("journal"), &copy.path().join("journal"));
        fs::remove_file(segments(copy.path()).pop().unwrap()).unwrap();
        let last = sealed(copy.path()).pop().unwrap();
        let header = *SealedSegment::open(&last).unwrap().header();
        if has_plain {
            // As a program leaves it that copied the plain file when it had no commit yet.
            let mut plain = plain_header_of(&header).to_bytes().to_vec();
            plain.resize(usize::try_from(sealed_segments().segment_bytes).unwrap(), 0);
            fs::write(last.with_extension("seg"), plain).unwrap();
        }
        let kept = usize::try_from(header.last_seq()).unwrap();
        for _ in 0..2 {
            let ledger = Ledger::open_with(copy.path(), &sealed_segments()).unwrap();
            assert_eq!(all_events(&ledger)[..kept], events[..kept]);
            let id = stream(STREAMS + 1);
            let version = ledger.reader().stream(id).unwrap().map_or(0, |stream| stream.version);
            let event =
                if version == 0 { registered(id, "later") } else { draft_at(id, 0, 9999, EventKind::BudgetReset) };
            ledger.append(id, version, vec![event]).unwrap();
            ledger.close().unwrap();
        }
        assert_eq!(Reader::open(copy.path()).unwrap().stream(stream(STREAMS + 1)).unwrap().unwrap().version, 2);
        assert!(verify(copy.path(), &mut |_| {}).unwrap().findings.is_empty());
        assert!(segments(copy.path()).contains(&last.with_file_name(format!("{:010}.seg", header.number + 1))));
    }
}

#[test]
fn a_segment_that_is_missing_cut_off_or_of_another_ledger_is_damage_for_every_question() {
    let ((dir, events), (other, _)) = (sealed_ledger(), sealed_ledger());
    let all = sealed(dir.path());
    let (path, size) = (&all[2], events.len() as u64);
    let sound = fs::read(path).unwrap();
    let header = *SealedSegment::open(path).unwrap().header();
    let of_other = fs::read(&sealed(other.path())[2]).unwrap();
    let of_next = fs::read(&all[3]).unwrap();
    // The header alone, without a block.
    let cut = sound.split_at(96).0;
    for content in [None, Some(cut), Some(of_other.as_slice()), Some(of_next.as_slice())] {
        match content {
            None => fs::remove_file(path).unwrap(),
            Some(bytes) => fs::write(path, bytes).unwrap(),
        }
        let reader = Reader::open(dir.path()).unwrap();
        let last_events = |query: &EventQuery, last, max| reader.last_events(query, last, max);
        let crashed = EventQuery { kinds: Some(KindSet::named(["crashed"])), ..EventQuery::default() };
        assert!(last_events(&EventQuery::default(), u64::MAX, usize::MAX).is_err());
        assert!(last_events(&EventQuery::stream(stream(2)), u64::MAX, usize::MAX).is_err());
        assert!(last_events(&crashed, u64::MAX, usize::MAX).is_err());
        assert!(reader.events(header.first_seq + 1, header.first_seq + 3).any(|event| event.is_err()));
        assert!(reader.each_stream(|_| std::ops::ControlFlow::Continue(())).is_err());
        for origin in [Origin::Genesis, Origin::Snapshot] {
            assert!(reader.replay(u64::MAX, origin).is_err());
        }
        // What is not in the segment can be read.
        assert_eq!(last_events(&EventQuery::default(), u64::MAX, 20).unwrap(), events[events.len() - 20..]);
        assert_eq!(last_events(&EventQuery::default(), 20, 20).unwrap(), events[..20]);
        assert_eq!(reader.events(size - 5, size).filter_map(Result::ok).count(), 6);
        assert!(!verify(dir.path(), &mut |_| {}).unwrap().findings.is_empty());
        if content.is_none() {
            let found = reader.find("no process has this name");
            assert!(matches!(found, Err(FindError::Read(_))), "{found:?}");
        }
        if content != Some(cut) {
            assert!(Ledger::open_with(dir.path(), &sealed_segments()).err().unwrap().is_integrity());
        }
    }
}

#[test]
fn what_an_interrupted_sealing_leaves_does_no_harm() {
    let dir = private_dir();
    let ledger = Ledger::open_with(dir.path(), &sealed_segments()).unwrap();
    for number in 1..=STREAMS {
        fill(&ledger, stream(number), 40);
    }
    let events = all_events(&ledger);
    wait_until_sealed(dir.path());
    ledger.close().unwrap();
    let all = sealed(dir.path());
    // A file that was not finished, a segment that was not sealed, and plain files beside sealed ones.
    fs::write(dir.path().join("journal/sealing.new"), fs::read(&all[1]).unwrap().split_at(1000).0).unwrap();
    fs::remove_file(&all[1]).unwrap();
    assert_answers(&Reader::open(dir.path()).unwrap(), &events);
    assert!(verify(dir.path(), &mut |_| {}).unwrap().findings.is_empty());
    let ledger = Ledger::open_with(dir.path(), &sealed_segments()).unwrap();
    wait_until_sealed(dir.path());
    ledger.close().unwrap();
    assert_answers(&Reader::open(dir.path()).unwrap(), &events);
    assert!(all[1].exists());
}

#[test]
fn the_plain_file_is_removed_some_time_after_the_sealing() {
    let dir = private_dir();
    let ledger = Ledger::open_with(dir.path(), &sealed_segments()).unwrap();
    for number in 1..=STREAMS {
        fill(&ledger, stream(number), 40);
    }
    wait_until_sealed(dir.path());
    ledger.close().unwrap();
    let all = sealed(dir.path());
    let old = fs::metadata(&all[0]).unwrap().modified().unwrap() - Duration::from_secs(600);
    let damaged = &all[3];
    for path in &all {
        fs::File::options().append(true).open(path).unwrap().set_modified(old).unwrap();
    }
    let mut bytes = fs::read(damaged).unwrap();
    bytes[200] ^= 1;
    fs::write(damaged, bytes).unwrap();
    fs::File::options().append(true).open(damaged).unwrap().set_modified(old).unwrap();
    let ledger = Ledger::open_with(dir.path(), &sealed_segments()).unwrap();
    let began = Instant::now();
    let sound = || all.iter().filter(|path| *path != damaged);
    while sound().any(|path| path.with_extension("seg").exists()) {
        assert!(began.elapsed() < SEALED_WITHIN);
        std::thread::sleep(Duration::from_millis(5));
    }
    ledger.close().unwrap();
    assert!(damaged.with_extension("seg").exists(), "the plain file of a damaged sealed segment was removed");
    let findings = verify(dir.path(), &mut |_| {}).unwrap().findings;
    assert!(findings.is_empty(), "the segment was not sealed again: {findings:?}");
}

/// Waits until the segments with these numbers are sealed.
fn wait_for_sealed(dir: &Path, numbers: impl Iterator<Item = usize> + Clone) {
    let is_sealed = |number| dir.join(format!("journal/{number:010}.sealed")).exists();
    wait_until(dir, || numbers.clone().all(is_sealed));
}

#[test]
fn segments_have_states_also_after_one_that_was_sealed_before() {
    let dir = private_dir();
    let ledger = Ledger::open_with(dir.path(), &sealed_segments()).unwrap();
    for number in 1..=STREAMS {
        fill(&ledger, stream(number), 40);
    }
    wait_until_sealed(dir.path());
    ledger.close().unwrap();
    fs::remove_file(&sealed(dir.path())[1]).unwrap();
    // The second segment is sealed, and then one in which the state of this stream is a later one.
    let ledger = Ledger::open_with(dir.path(), &sealed_segments()).unwrap();
    wait_until_sealed(dir.path());
    let version = ledger.reader().stream(stream(2)).unwrap().unwrap().version;
    for version in version..version + 300 {
        ledger.append(stream(2), version, vec![draft_at(stream(2), 40, 9999, EventKind::BudgetReset)]).unwrap();
    }
    wait_until_sealed(dir.path());
    ledger.close().unwrap();
    for path in sealed(dir.path()) {
        assert!(SealedSegment::open(&path).unwrap().has_states().unwrap(), "{}", path.display());
    }
}

#[test]
fn a_damaged_segment_does_not_keep_the_others_from_being_sealed() {
    let (dir, _) = closed_ledger();
    let all = segments(dir.path());
    let mut bytes = fs::read(&all[1]).unwrap();
    bytes[500] ^= 1;
    fs::write(&all[1], bytes).unwrap();
    let ledger = Ledger::open_with(dir.path(), &sealed_segments()).unwrap();
    wait_for_sealed(dir.path(), (1..all.len()).filter(|number| *number != 2));
    ledger.close().unwrap();
    assert!(!all[1].with_extension("sealed").exists());
}

#[test]
fn segments_of_format_1_stay_plain_and_later_ones_are_sealed() {
    let (dir, events) = closed_ledger();
    make_format_1(dir.path());
    let old = segments(dir.path()).len();
    let ledger = Ledger::open_with(dir.path(), &sealed_segments()).unwrap();
    fill(&ledger, stream(STREAMS + 1), 60);
    let last = segments(dir.path()).len();
    wait_for_sealed(dir.path(), old + 1..last);
    ledger.close().unwrap();
    assert_eq!(sealed(dir.path()).len(), last - old - 1);
    let read: Vec<Event> =
        Reader::open(dir.path()).unwrap().events(1, u64::MAX).map(Result::unwrap).take(events.len()).collect();
    assert_eq!(read, events);
}

#[test]
fn the_states_of_streams_that_began_in_format_1_are_in_the_first_sealed_segment() {
    let (dir, _) = closed_ledger();
    make_format_1(dir.path());
    let old = segments(dir.path()).len();
    let ledger = Ledger::open_with(dir.path(), &sealed_segments()).unwrap();
    let versions: Vec<u64> =
        (1..=3).map(|number| ledger.reader().stream(stream(number)).unwrap().unwrap().version).collect();
    let mut added = 0;
    while segments(dir.path()).len() < old + 3 {
        for (number, version) in (1..=3).zip(&versions) {
            let event = draft_at(stream(number), 30, 9999, EventKind::BudgetReset);
            ledger.append(stream(number), version + added, vec![event]).unwrap();
        }
        added += 1;
    }
    let last = segments(dir.path()).len();
    wait_for_sealed(dir.path(), old + 1..last);
    let events = all_events(&ledger);
    ledger.close().unwrap();
    for path in sealed(dir.path()) {
        let segment = SealedSegment::open(&path).unwrap();
        for number in 1..=3 {
            let state = states_after(&events, segment.header().last_seq()).remove(&stream(number)).unwrap();
            assert_eq!(segment.state(stream(number)).unwrap().unwrap(), encode_stream(&state).unwrap());
        }
    }
}

/// Writes a sealed segment again with other states.
fn with_states(path: &Path, change: impl FnOnce(&mut Vec<(StreamId, Vec<u8>)>)) {
    let segment = SealedSegment::open(path).unwrap();
    let SealedHeader { ledger, number, first_seq, chain_before, .. } = *segment.header();
    let mut builder = SealedBuilder::new(ledger, number, first_seq, chain_before).unwrap();
    for block in 0..segment.blocks().unwrap().entries().len() {
        for (seq, slot) in segment.block(block).unwrap().unwrap().iter() {
            let Slot::Event(bytes) = slot else { unreachable!("no event was erased") };
            builder.push(&decode_event(seq, bytes).unwrap(), bytes).unwrap();
        }
    }
    let mut states: Vec<_> = segment.states().unwrap().map(Result::unwrap).collect();
    change(&mut states);
    fs::write(path, builder.finish_with_states(states).unwrap()).unwrap();
}

#[test]
fn states_in_a_footer_that_are_not_those_of_the_events_are_found() {
    let (dir, events) = sealed_ledger();
    let path = &sealed(dir.path())[2];
    let sound = fs::read(path).unwrap();
    with_states(path, |_| {});
    assert_eq!(fs::read(path).unwrap(), sound);
    let (stream, _) = SealedSegment::open(path).unwrap().states().unwrap().next().unwrap().unwrap();
    // The state as it was after an earlier event, and no state.
    let earlier =
        states_after(&events, SealedSegment::open(path).unwrap().header().last_seq() - 60).remove(&stream).unwrap();
    with_states(path, |states| states[0].1 = encode_stream(&earlier).unwrap());
    let findings = verify(dir.path(), &mut |_| {}).unwrap().findings;
    assert!(findings.len() == 1 && findings[0].message.contains("segment 3: the state of stream"), "{findings:?}");
    fs::write(path, &sound).unwrap();
    with_states(path, |states| drop(states.remove(0)));
    let findings = verify(dir.path(), &mut |_| {}).unwrap().findings;
    assert!(findings.len() == 1 && findings[0].message.contains("segment 3: the state of stream"), "{findings:?}");
}
