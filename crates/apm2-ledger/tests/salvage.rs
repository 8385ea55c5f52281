//! A damaged ledger is salvaged with every intact event, and the events that are lost are named.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    io::{self, Write},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use apm2_core::process::{Event, EventKind, NewEvent, StreamId};
use apm2_ledger::{
    Ledger, OpenError, Options, Reader, SalvageError, SalvageForm, SalvageReport, StagedDirError, StoreCheck,
    UnplacedEvent, UnplacedReason, frame::Frame, journal::sealed::block::Block, retain, salvage, salvage_plan, verify,
};
use tempfile::TempDir;

use crate::support::{
    all_events, closed_ledger, copy_of, draft_at, private_dir, registered, run_commits, sealed, segments,
    small_segments, state_of, stream, wait_until,
};

/// Streams of a ledger that is damaged, and commits that are recorded in each of its parts.
const STREAMS: u8 = 9;
const COMMITS: u64 = 500;

/// Pseudo-random numbers.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `limit`, or 0.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit.max(1)
    }

    pub(crate) fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap()
    }
}

/// The forms of the files beside the ledger: the numbers of the events that it cannot have, and of the gaps.
#[derive(Default)]
struct Unplaced {
    events: BTreeMap<u64, (UnplacedReason, Vec<u8>)>,
}

impl SalvageForm for Unplaced {
    fn begin_unplaced(&mut self, out: &mut dyn Write, _: Option<uuid::Uuid>, last_seq: u64) -> io::Result<()> {
        writeln!(out, "unplaced of {last_seq}")
    }

    fn unplaced(&mut self, out: &mut dyn Write, event: UnplacedEvent<'_>) -> io::Result<()> {
        self.events.insert(event.seq, (event.reason, event.record.to_vec()));
        writeln!(out, "{}", event.seq)
    }

    fn report(&mut self, out: &mut dyn Write, report: &SalvageReport) -> io::Result<()> {
        writeln!(out, "{} placed", report.placed_events)
    }
}

fn salvaged(dir: &Path, to: &Path) -> Result<(SalvageReport, Unplaced), SalvageError> {
    let mut form = Unplaced::default();
    let report = salvage(dir, to, false, &small_segments(), &mut form, &mut |_| {})?;
    Ok((report, form))
}

/// Appends commits of random streams. Some events name the event that caused them.
fn append(ledger: &Ledger, random: &mut Random, next: &mut BTreeMap<u8, (u64, Vec<Vec<NewEvent>>, u64)>, commits: u64) {
    for _ in 0..commits {
        let number = u8::try_from(random.below(u64::from(STREAMS))).unwrap() + 1;
        let id = stream(number);
        let (version, waiting, run) = next.entry(number).or_insert_with(|| (0, vec![vec![registered(id, "p")]], 0));
        if waiting.is_empty() {
            *run += 1;
            let code = i32::try_from(random.below(2)).unwrap();
            waiting.extend(run_commits(id, *run, i64::try_from(*run).unwrap() * 10, code));
            if random.below(3) == 0 {
                let detail = "x".repeat(random.index(300));
                let seen = EventKind::Observed { adapter: "a".to_owned(), detail };
                waiting.insert(2, vec![draft_at(id, *run, 1, seen)]);
            }
        }
        let mut commit = waiting.remove(0);
        let size = ledger.reader().head().map_or(0, |head| head.size);
        if size > 2 && random.below(4) == 0 {
            commit[0].cause = Some(1 + random.below(size - 1));
        }
        *version = ledger.append(id, *version, commit).unwrap().last().unwrap().version;
    }
}

/// A ledger, and the records of its events.
type Sample = (TempDir, Vec<Vec<u8>>);

/// A closed ledger with sealed and plain segments, and the records of its events.
pub(crate) fn sample(seed: u64, segment_bytes: u64) -> Sample {
    sample_with(seed, segment_bytes, &|_| {})
}

/// The same. `after_sealing` is called whenever all full segments of the closed ledger are sealed.
fn sample_with(seed: u64, segment_bytes: u64, after_sealing: &dyn Fn(&Path)) -> Sample {
    let (dir, mut random, mut next) = (private_dir(), Random::new(seed), BTreeMap::new());
    let plain = Options { segment_bytes, ..small_segments() };
    let sealing = Options { seal: true, ..plain.clone() };
    for options in [&sealing, &sealing, &plain] {
        let ledger = Ledger::open_with(dir.path(), options).unwrap();
        ledger.append_system(EventKind::SupervisorStarted { pid: 7, version: "1".to_owned() }).unwrap();
        append(&ledger, &mut random, &mut next, COMMITS);
        if options.seal {
            let full = segments(dir.path()).len() - 1;
            wait_until(|| sealed(dir.path()).len() == full);
        }
        ledger.append_system(EventKind::SupervisorStopped).unwrap();
        ledger.close().unwrap();
        if options.seal {
            after_sealing(dir.path());
        }
    }
    for path in sealed(dir.path()) {
        if random.below(4) > 0 {
            fs::remove_file(path.with_extension("seg")).unwrap();
        }
    }
    let records = records_of(dir.path());
    (dir, records)
}

fn records_of(dir: &Path) -> Vec<Vec<u8>> {
    let reader = Reader::open(dir).unwrap();
    let mut records = Vec::new();
    reader
        .each_record(reader.head().unwrap().size, |_, record| {
            records.push(record.to_vec());
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
    records
}

/// All regular files below a directory.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// The commits and blocks in the files of a sound ledger, by their first bytes: the events, and all bytes.
type Pieces = HashMap<Vec<u8>, Vec<((u64, u64), Vec<u8>)>>;

const KEY_LEN: usize = 64;

fn positions(bytes: &[u8]) -> impl Iterator<Item = usize> {
    (0..bytes.len().saturating_sub(KEY_LEN)).filter(|at| bytes[*at..].starts_with(b"a2"))
}

fn pieces_of(dir: &Path) -> Pieces {
    let mut found = Pieces::new();
    for path in files(dir) {
        let bytes = fs::read(path).unwrap();
        for at in positions(&bytes) {
            let rest = &bytes[at..];
            let piece = match Frame::parse(rest) {
                Ok(frame) => Some(((frame.header().first_seq, frame.header().last_seq()), frame.header().frame_len())),
                Err(_) => apm2_ledger::journal::sealed::block::BlockHeader::parse(rest).ok().and_then(|header| {
                    let len = header.block_len();
                    let block = Block::parse(rest.get(..len)?).ok()?;
                    Some(((header.first_seq, block.header().last_seq()), len))
                }),
            };
            if let Some((seqs, len)) = piece {
                let same = found.entry(rest[..KEY_LEN].to_vec()).or_default();
                if !same.iter().any(|(_, bytes)| *bytes == rest[..len]) {
                    same.push((seqs, rest[..len].to_vec()));
                }
            }
        }
    }
    found
}

/// The events of the sound ledger that some file of the damaged one has in an unchanged commit or block.
fn intact_events(pieces: &Pieces, damaged: &Path) -> BTreeSet<u64> {
    let mut intact = BTreeSet::new();
    for path in files(damaged) {
        let bytes = fs::read(path).unwrap();
        for at in positions(&bytes) {
            for ((first, last), piece) in pieces.get(&bytes[at..at + KEY_LEN]).into_iter().flatten() {
                if bytes[at..].starts_with(piece) {
                    intact.extend(*first..=*last);
                }
            }
        }
    }
    intact
}

/// Damages some files of the ledger. Returns a description.
fn damage(dir: &Path, random: &mut Random) -> String {
    let mut done = Vec::new();
    // In many of the ledgers the store is gone, so that it does not have all that the journal lacks.
    match random.below(6) {
        0..3 => {
            fs::remove_dir_all(dir.join("sled")).unwrap();
            done.push("no store".to_owned());
        }
        3 => {
            for path in files(&dir.join("sled")) {
                let mut bytes = fs::read(&path).unwrap();
                for _ in 0..30 {
                    zero(&mut bytes, random, 60_000);
                }
                fs::write(&path, bytes).unwrap();
            }
            done.push("store zeroed in places".to_owned());
        }
        _ => {}
    }
    for _ in 0..=random.below(8) {
        let all = files(dir);
        let is_of_journal = |path: &&PathBuf| {
            let parent = path.parent().unwrap();
            parent.ends_with("journal") || parent.ends_with("archive")
        };
        let of_journal: Vec<_> = all.iter().filter(is_of_journal).collect();
        let path = if random.below(5) == 0 {
            &all[random.index(all.len())]
        } else {
            of_journal[random.index(of_journal.len())]
        };
        let mut bytes = fs::read(path).unwrap();
        let len = bytes.len();
        let what = match random.below(8) {
            0 => {
                fs::remove_file(path).unwrap();
                done.push(format!("removed {}", path.display()));
                continue;
            }
            1 => {
                bytes.truncate(random.index(len));
                "truncated"
            }
            2 if is_of_journal(&path) => {
                let other = of_journal[random.index(of_journal.len())];
                let others = fs::read(other).unwrap();
                fs::write(other, &bytes).unwrap();
                bytes = others;
                "exchanged"
            }
            2..5 => {
                for _ in 0..=random.below(3) {
                    zero(&mut bytes, random, 2000);
                }
                "zeroed in places"
            }
            5 => {
                // The header.
                for byte in bytes.iter_mut().take(100) {
                    *byte ^= 0x5a;
                }
                "without header"
            }
            6 => {
                // The footer.
                for byte in bytes.iter_mut().rev().take(200) {
                    *byte ^= 0x5a;
                }
                "without footer"
            }
            _ => {
                for _ in 0..=random.below(6) {
                    if len > 0 {
                        bytes[random.index(len)] ^= 1 << random.below(8);
                    }
                }
                "flipped bits"
            }
        };
        fs::write(path, bytes).unwrap();
        done.push(format!("{what} {}", path.file_name().unwrap().display()));
    }
    done.join(", ")
}

fn zero(bytes: &mut [u8], random: &mut Random, most: u64) {
    let at = random.index(bytes.len()) / 512 * 512;
    let end = (at + 512 + random.index(usize::try_from(most).unwrap())).min(bytes.len());
    bytes[at..end].fill(0);
}

/// What the new ledger must have of a process: the events before the first that is lost.
fn expected_placed(events: &[Event], intact: &BTreeSet<u64>) -> BTreeSet<u64> {
    let mut whole: HashMap<StreamId, bool> = HashMap::new();
    let mut placed = BTreeSet::new();
    for event in events {
        let is_whole = whole.entry(event.stream).or_insert(true);
        *is_whole &= intact.contains(&event.seq);
        if (*is_whole || event.stream.is_system()) && intact.contains(&event.seq) {
            placed.insert(event.seq);
        }
    }
    placed
}

fn range_set<'a, T: 'a>(ranges: &'a [T], of: impl Fn(&'a T) -> (u64, u64)) -> BTreeSet<u64> {
    ranges.iter().flat_map(|range| of(range).0..=of(range).1).collect()
}

/// Salvages the damaged ledger, and compares the result with the events that must be intact. Returns the report.
fn check(damaged: &Path, records: &[Vec<u8>], intact: &BTreeSet<u64>, what: &str) -> SalvageReport {
    let place = private_dir();
    let to = place.path().join("new");
    let before = state_of(damaged);
    let planned = salvage_plan(damaged, &to, &small_segments(), &mut |_| {});
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0, "{what}");
    let made = salvaged(damaged, &to);
    assert_eq!(state_of(damaged), before, "the damaged ledger was changed: {what}");
    let (report, unplaced) = made.map_err(|error| format!("{what}: {error}")).unwrap();
    let planned = planned.unwrap();
    assert_eq!((&planned.placed, &planned.unplaced, &planned.gaps), (&report.placed, &report.unplaced, &report.gaps));
    if report.is_sound {
        assert!(!to.exists(), "{what}");
        // A missing archive is no damage.
        if Reader::open(damaged).is_ok_and(|reader| !reader.missing_archives().unwrap().is_empty()) {
            return report;
        }
        // The last segments of a copy may be missing without a trace, as the mark `extent` is not valid in a copy.
        assert!(intact.len() == records.len() || !damaged.join("clean").exists(), "{what}");
        assert_eq!(*intact, (1..=report.last_seq).collect(), "{what}");
        return report;
    }
    let placed = range_set(&report.placed, |placed| (placed.first_seq, placed.last_seq));
    let left: BTreeSet<u64> = unplaced.events.keys().copied().collect();
    let found: BTreeSet<u64> = placed.union(&left).copied().collect();
    let missing: Vec<_> = intact.difference(&found).collect();
    let invented: Vec<_> = found.difference(intact).collect();
    assert!(missing.is_empty() && invented.is_empty(), "{missing:?} {invented:?}\n{report:#?}\n{what}");
    assert!(placed.is_disjoint(&left), "{what}");
    assert_eq!(left, range_set(&report.unplaced, |events| (events.first_seq, events.last_seq)), "{what}");
    let gaps = range_set(&report.gaps, |gap| (gap.first_seq, gap.last_seq));
    let all: BTreeSet<u64> = (1..=report.last_seq).collect();
    assert_eq!(gaps, all.difference(&found).copied().collect(), "{what}");
    assert_eq!(report.lost_events(), gaps.len() as u64);
    assert_eq!(range_set(&report.parts, |part| (part.first_seq, part.last_seq)), found, "{what}");
    check_ledger(&to, records, &report, &unplaced, intact, what);
    report
}

fn check_ledger(
    to: &Path,
    records: &[Vec<u8>],
    report: &SalvageReport,
    unplaced: &Unplaced,
    intact: &BTreeSet<u64>,
    what: &str,
) {
    let verified = verify(to, &mut |_| {}).unwrap();
    assert_eq!((verified.findings, verified.store_note, verified.store), (vec![], None, StoreCheck::Done), "{what}");
    assert_eq!((verified.head.size, Some(verified.head)), (report.placed_events, report.ledger.map(|(_, head)| head)));
    for (seq, (_, record)) in &unplaced.events {
        assert_eq!(*record, records[usize::try_from(*seq).unwrap() - 1], "{seq}: {what}");
    }
    let decode =
        |seq: u64| apm2_ledger::record::decode_event(seq, &records[usize::try_from(seq).unwrap() - 1]).unwrap();
    let events: Vec<Event> = (1..=records.len() as u64).map(decode).collect();
    let mut expected = expected_placed(&events, intact);
    // The last events of a stream that are no whole commit are not in the ledger.
    expected
        .retain(|seq| unplaced.events.get(seq).is_none_or(|(reason, _)| *reason != UnplacedReason::CommitIncomplete));
    let new_seqs: HashMap<u64, u64> = report
        .placed
        .iter()
        .flat_map(|placed| (placed.first_seq..=placed.last_seq).zip(placed.new_first_seq..))
        .collect();
    assert_eq!(new_seqs.keys().copied().collect::<BTreeSet<_>>(), expected, "{what}");
    let ledger = Ledger::open_with(to, &small_segments()).unwrap();
    let mut system_version = 0;
    let mut old: Vec<_> = new_seqs.iter().map(|(old, new)| (*new, *old)).collect();
    old.sort_unstable();
    let renumbered = old.into_iter().map(|(new, old)| {
        let mut event = decode(old);
        event.seq = new;
        event.cause = event.cause.and_then(|cause| new_seqs.get(&cause).copied().filter(|cause| *cause < new));
        if event.stream.is_system() {
            system_version += 1;
            event.version = system_version;
        }
        event
    });
    assert_eq!(all_events(&ledger), renumbered.collect::<Vec<_>>(), "{what}");
    assert!(ledger.reader().replay(u64::MAX, apm2_ledger::Origin::Genesis).is_ok(), "{what}");
    ledger.close().unwrap();
}

/// Rounds of random damage. `SALVAGE_ROUNDS` sets another number.
const ROUNDS: u64 = 24;

/// The same, with sealed segments in archives, and with retained processes.
fn archived_sample(seed: u64, segment_bytes: u64) -> Sample {
    let (dir, records) = sample_with(seed, segment_bytes, &|dir| {
        // A process with a launch file is supervised, so that it goes on.
        let launches = dir.join("launch");
        fs::create_dir_all(&launches).unwrap();
        for number in 1..=STREAMS {
            fs::write(launches.join(format!("{}.json", stream(number).process_id)), "{}").unwrap();
        }
        retain_all(dir);
        fs::remove_dir_all(launches).unwrap();
    });
    assert_eq!(fs::read_dir(dir.path().join("archive")).unwrap().count(), 2);
    (dir, records)
}

/// Moves all sealed segments but the last into an archive.
fn retain_all(dir: &Path) {
    retain(dir, chrono::DateTime::<chrono::Utc>::MAX_UTC, &small_segments(), &mut |_| {}).unwrap();
}

#[test]
fn a_ledger_with_random_damage_is_salvaged_with_every_intact_event() {
    println!("{}", check_random_damage(sample));
}

#[test]
fn a_ledger_with_archives_and_random_damage_is_salvaged_with_every_intact_event() {
    println!("{}", check_random_damage(archived_sample));
}

/// Salvages ledgers with random damage. Returns how many of them had which damage.
fn check_random_damage(sample: fn(u64, u64) -> Sample) -> String {
    let rounds = std::env::var("SALVAGE_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(ROUNDS);
    let seed = std::env::var("SALVAGE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let samples: Vec<_> = [16 * 1024, 90 * 1024]
        .into_iter()
        .zip(seed..)
        .map(|(segment_bytes, seed)| {
            let (dir, records) = sample(seed, segment_bytes);
            (pieces_of(dir.path()), dir, records)
        })
        .collect();
    let mut random = Random::new(seed);
    let (mut lost, mut left, mut sound, mut from_store) = (0, 0, 0, 0);
    for round in 0..rounds {
        let (pieces, dir, records) = &samples[random.index(samples.len())];
        let damaged = copy_of(dir.path());
        let what = format!("round {round}: {}", damage(damaged.path(), &mut random));
        let intact = intact_events(pieces, damaged.path());
        let report = check(damaged.path(), records, &intact, &what);
        lost += u64::from(report.lost_events() > 0);
        left += u64::from(report.unplaced_events > 0);
        sound += u64::from(report.is_sound);
        from_store += u64::from(report.store_events() > 0);
    }
    assert!(lost > rounds / 5 && left > rounds / 10 && from_store > rounds / 8, "{lost} {left} {from_store} {sound}");
    format!("{rounds} rounds: {lost} lost events, {left} unplaced, {from_store} from the store, {sound} undamaged")
}

#[test]
fn nothing_is_made_of_a_ledger_without_damage() {
    let (ledger, events) = closed_ledger();
    let place = private_dir();
    let to = place.path().join("new");
    let (report, _) = salvaged(ledger.path(), &to).unwrap();
    assert!(report.is_sound && !to.exists() && report.gaps.is_empty());
    assert_eq!(report.last_seq, events.len() as u64);
    // The store is not the journal.
    fs::write(ledger.path().join("sled/db"), "damage").unwrap();
    assert!(salvaged(ledger.path(), &to).unwrap().0.is_sound);
    // A torn commit was never acknowledged.
    let last = segments(ledger.path()).pop().unwrap();
    let mut bytes = fs::read(&last).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    bytes[used - 60..used].fill(0);
    fs::write(&last, &bytes).unwrap();
    for name in ["clean", "extent"] {
        drop(fs::remove_file(ledger.path().join(name)));
    }
    assert!(salvaged(ledger.path(), &to).unwrap().0.is_sound);
}

#[test]
fn events_of_the_store_are_proven_where_the_hash_chain_goes_on() {
    let (source, events) = closed_ledger();
    let place = private_dir();
    let size = events.len() as u64;
    // A segment in the middle, and the end.
    let damaged = copy_of(source.path());
    let all = segments(damaged.path());
    fs::remove_file(&all[1]).unwrap();
    fs::remove_file(all.last().unwrap()).unwrap();
    for name in ["clean", "extent"] {
        drop(fs::remove_file(damaged.path().join(name)));
    }
    let to = place.path().join("new");
    let (report, _) = salvaged(damaged.path(), &to).unwrap();
    assert_eq!((report.placed_events, report.lost_events(), report.last_seq), (size, 0, size));
    let store: Vec<_> = report.parts.iter().filter(|part| part.source.is_store()).collect();
    assert_eq!(store.iter().map(|part| part.is_proven).collect::<Vec<_>>(), [true, false], "{:?}", report.parts);
    assert!(report.parts.iter().all(|part| !part.breaks));
    let ledger = Ledger::open_with(&to, &small_segments()).unwrap();
    assert_eq!(all_events(&ledger), events);
    ledger.close().unwrap();
    // The mark of the last close proves the end, too.
    fs::copy(source.path().join("extent"), damaged.path().join("extent")).unwrap();
    let (report, _) = salvaged(damaged.path(), &place.path().join("other")).unwrap();
    assert!(report.parts.iter().all(|part| part.is_proven), "{:?}", report.parts);
}

#[test]
fn a_file_of_another_ledger_is_named_and_not_used() {
    let (ledger, _) = closed_ledger();
    let (other, _) = closed_ledger();
    let damaged = copy_of(ledger.path());
    let path = &segments(damaged.path())[1];
    fs::copy(&segments(other.path())[1], path).unwrap();
    fs::remove_dir_all(damaged.path().join("sled")).unwrap();
    crate::support::copy_dir(&other.path().join("sled"), &damaged.path().join("sled"));
    let place = private_dir();
    let (report, _) = salvaged(damaged.path(), &place.path().join("new")).unwrap();
    assert_eq!(report.store_events(), 0, "{:?}", report.parts);
    assert!(report.lost_events() > 0);
    let named = |name: &str| report.unused.iter().any(|file| file.path.ends_with(name));
    assert!(named("journal/0000000002.seg") && named("sled/db"), "{:?}", report.unused);
}

#[test]
fn a_commit_that_was_changed_together_with_its_checksum_is_read_from_the_store() {
    let (ledger, events) = closed_ledger();
    let damaged = copy_of(ledger.path());
    let path = &segments(damaged.path())[1];
    let mut bytes = fs::read(path).unwrap();
    let at = (96..bytes.len()).step_by(8).filter(|at| bytes[*at..].starts_with(b"a2fr")).nth(3).unwrap();
    let frame = Frame::parse(&bytes[at..]).unwrap();
    let (first, len) = (frame.header().first_seq, frame.header().frame_len());
    let byte = at + frame.events()[0].start + 1;
    bytes[byte] ^= 1;
    let crc = crc32c::crc32c(&bytes[at..at + len - 4]);
    bytes[at + len - 4..at + len].copy_from_slice(&crc.to_le_bytes());
    fs::write(path, &bytes).unwrap();
    let place = private_dir();
    let to = place.path().join("new");
    let (report, _) = salvaged(damaged.path(), &to).unwrap();
    let part = report.parts.iter().find(|part| (part.first_seq..=part.last_seq).contains(&first)).unwrap();
    assert!(part.source.is_store() && part.is_proven, "{part:?}");
    let made = Ledger::open_with(&to, &small_segments()).unwrap();
    assert_eq!(all_events(&made), events);
    made.close().unwrap();
    // Without a store the changed events are kept, and the report says that they do not match.
    fs::remove_dir_all(damaged.path().join("sled")).unwrap();
    let (report, _) = salvaged(damaged.path(), &place.path().join("other")).unwrap();
    let part = report.parts.iter().find(|part| (part.first_seq..=part.last_seq).contains(&first)).unwrap();
    assert!(!part.source.is_store() && !part.is_proven, "{:?}", report.parts);
    assert_eq!(report.lost_events(), 0);
}

#[test]
fn what_cannot_be_salvaged_is_refused_and_nothing_is_overwritten() {
    let (ledger, _) = closed_ledger();
    let place = private_dir();
    let to = place.path().join("new");
    let refused = |dir: &Path, to: &Path| {
        let before = state_of(dir);
        let error = salvaged(dir, to).err().unwrap();
        let planned = salvage_plan(dir, to, &small_segments(), &mut |_| {}).err().unwrap();
        assert_eq!(error.to_string(), planned.to_string());
        assert_eq!(state_of(dir), before, "{error}");
        error
    };
    let nothing = private_dir();
    assert!(matches!(refused(nothing.path(), &to), SalvageError::Open(OpenError::Missing { .. })));
    assert!(matches!(refused(ledger.path(), &ledger.path().join("new")), SalvageError::SameDirectory { .. }));
    let exists = refused(ledger.path(), place.path().parent().unwrap());
    assert!(matches!(exists, SalvageError::Directory(StagedDirError::Exists { .. })), "{exists:?}");
    let opened = Ledger::open_with(ledger.path(), &small_segments()).unwrap();
    assert!(matches!(refused(ledger.path(), &to), SalvageError::Open(OpenError::Locked { .. })));
    opened.close().unwrap();
    // No segment and no store is left.
    let damaged = copy_of(ledger.path());
    fs::remove_dir_all(damaged.path().join("sled")).unwrap();
    for path in segments(damaged.path()) {
        fs::remove_file(path).unwrap();
    }
    let error = salvaged(damaged.path(), &to).err().unwrap();
    assert!(matches!(error, SalvageError::Nothing), "{error:?}");
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
}

#[test]
fn a_salvage_that_is_interrupted_leaves_nothing_and_can_be_repeated() {
    let (ledger, _) = closed_ledger();
    let damaged = copy_of(ledger.path());
    fs::remove_dir_all(damaged.path().join("sled")).unwrap();
    fs::remove_file(&segments(damaged.path())[1]).unwrap();
    fs::create_dir(damaged.path().join("launch")).unwrap();
    fs::write(damaged.path().join("launch/a.json"), "1").unwrap();
    let place = private_dir();
    let mut steps = 0;
    let to = place.path().join("whole");
    let whole = salvage(damaged.path(), &to, true, &small_segments(), &mut Unplaced::default(), &mut |_| steps += 1);
    assert_eq!(fs::read_to_string(to.join("launch/a.json")).unwrap(), "1");
    assert!(whole.unwrap().ledger.is_some() && steps > 3, "{steps}");
    let (before, to) = (state_of(damaged.path()), place.path().join("new"));
    for end in 0..steps {
        let mut step = 0;
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            salvage(damaged.path(), &to, true, &small_segments(), &mut Unplaced::default(), &mut |_| {
                assert!(step < end, "it ends here");
                step += 1;
            })
        }));
        assert!(outcome.is_err() && !to.exists(), "{end}");
    }
    assert_eq!(state_of(damaged.path()), before);
    salvaged(damaged.path(), &to).unwrap();
    assert_eq!(verify(&to, &mut |_| {}).unwrap().findings, []);
}
