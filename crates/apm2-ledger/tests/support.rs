//! Ledgers and events for the tests.

use std::{collections::BTreeMap, fs, path::Path};

use apm2_core::process::{
    Actor, Event, EventKind, Evidence, Exit, ExitOutcome, NewEvent, ProcessId, ProcessIdentity, ProcessSpec,
    RedactedSpec, RunEnd, StartTrigger, StreamId, Timestamp,
};
use apm2_ledger::{Ledger, Options};
use apm2_model::state::stream::Stream;
use tempfile::TempDir;

pub(crate) fn stream(number: u8) -> StreamId {
    StreamId { process_id: ProcessId::from_bytes([number; 16]), instance: 0 }
}

/// The timestamp `seconds` after a fixed moment.
pub(crate) fn stamp(seconds: i64) -> Timestamp {
    let boot_ns = u64::try_from(seconds).unwrap() * 1_000_000_000;
    Timestamp {
        wall_ns: 1_700_000_000_000_000_000 + seconds * 1_000_000_000,
        boot_ns,
        boot_id: uuid::Uuid::from_u128(7),
    }
}

pub(crate) fn draft_at(stream: StreamId, run: u64, seconds: i64, kind: EventKind) -> NewEvent {
    NewEvent { stream, run, actor: Actor::System, reason: None, cause: None, stamp: stamp(seconds), kind }
}

pub(crate) fn registered(stream: StreamId, name: &str) -> NewEvent {
    let spec = ProcessSpec::builder().id(stream.process_id).name(name).command("true").build();
    draft_at(stream, 0, 0, EventKind::Registered { spec: RedactedSpec::new(&spec) })
}

/// The events of one run that exits with `code`, as a runner records them in three commits. The first has the time
/// `seconds`.
pub(crate) fn run_commits(stream: StreamId, run: u64, seconds: i64, code: i32) -> [Vec<NewEvent>; 3] {
    let trigger = StartTrigger::Start;
    let identity =
        Some(ProcessIdentity { boot_id: uuid::Uuid::from_u128(7), pid: 4242, start_ticks: 99, pid_namespace: None });
    let exit = Exit { outcome: ExitOutcome::Code(code), evidence: Evidence::Observed };
    let end = if code == 0 { EventKind::Stopped { exit } } else { EventKind::Crashed { cause: RunEnd::Exit(exit) } };
    [
        vec![draft_at(stream, run, seconds, EventKind::StartRequested { trigger })],
        vec![
            draft_at(stream, run, seconds + 1, EventKind::Starting { identity, trigger }),
            draft_at(stream, run, seconds + 1, EventKind::Running),
        ],
        vec![draft_at(stream, run, seconds + 2, end)],
    ]
}

/// Appends a registration and `runs` runs of a process. Returns all appended events.
pub(crate) fn fill(ledger: &Ledger, stream: StreamId, runs: u64) -> Vec<Event> {
    let mut events =
        ledger.append(stream, 0, vec![registered(stream, &format!("p{}", stream.process_id.as_bytes()[0]))]).unwrap();
    for run in 1..=runs {
        for commit in run_commits(stream, run, i64::try_from(run).unwrap() * 60, i32::try_from(run % 2).unwrap()) {
            let version = events.last().unwrap().version;
            events.extend(ledger.append(stream, version, commit).unwrap());
        }
    }
    events
}

pub(crate) fn small_segments() -> Options {
    // A small cache of stream heads, so that streams are read again between appends.
    Options {
        segment_bytes: 16 * 1024,
        lock_wait: std::time::Duration::ZERO,
        stream_heads_max: 2,
        seal: false,
        ..Options::default()
    }
}

/// Segments that are full after some dozens of events.
pub(crate) fn tiny_segments() -> Options {
    Options { segment_bytes: 8 * 1024, ..small_segments() }
}

/// Small segments, which are sealed once they are full.
pub(crate) fn sealed_segments() -> Options {
    Options { seal: true, ..small_segments() }
}

pub(crate) fn all_events(ledger: &Ledger) -> Vec<Event> {
    ledger.reader().events(1, u64::MAX).map(Result::unwrap).collect()
}

/// The states of all process streams after event `upto`.
pub(crate) fn states_after(events: &[Event], upto: u64) -> BTreeMap<StreamId, Stream> {
    let mut states: BTreeMap<StreamId, Stream> = BTreeMap::new();
    for event in events.iter().filter(|event| event.seq <= upto && !event.stream.is_system()) {
        match states.get_mut(&event.stream) {
            Some(state) => state.apply(event).unwrap(),
            None => drop(states.insert(event.stream, Stream::begin(event).unwrap())),
        }
    }
    states
}

/// Creates a closed ledger with several segments. Returns its directory and its events.
pub(crate) fn closed_ledger() -> (TempDir, Vec<Event>) {
    let dir = private_dir();
    let ledger = Ledger::open_with(dir.path(), &small_segments()).unwrap();
    for number in 1..=3 {
        fill(&ledger, stream(number), 30);
    }
    let events = all_events(&ledger);
    ledger.close().unwrap();
    (dir, events)
}

pub(crate) fn private_dir() -> TempDir {
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    tempfile::Builder::new().prefix("apm2-ledger-test").permissions(mode).tempdir().unwrap()
}

pub(crate) fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Copies a ledger directory, in the state after a crash of the process that had it open.
pub(crate) fn copy_of(dir: &Path) -> TempDir {
    let copy = private_dir();
    copy_dir(dir, copy.path());
    copy
}

pub(crate) fn segments(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut found: Vec<_> = fs::read_dir(dir.join("journal")).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.extension().is_some_and(|extension| extension == "seg"));
    found.sort();
    found
}

/// The sealed segment files of a ledger, in order.
pub(crate) fn sealed(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut found: Vec<_> = fs::read_dir(dir.join("journal")).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.extension().is_some_and(|extension| extension == "sealed"));
    found.sort();
    found
}

/// Removes the plain files of all segments but the last, which are sealed.
pub(crate) fn remove_plain(dir: &Path) {
    let mut plain = segments(dir);
    plain.pop();
    plain.into_iter().for_each(|path| fs::remove_file(path).unwrap());
}

/// Makes a closed ledger one of format 1, as the program of that format wrote it: its plain segments differ in the version.
pub(crate) fn make_format_1(dir: &Path) {
    for path in segments(dir) {
        let mut bytes = fs::read(&path).unwrap();
        bytes[8..12].copy_from_slice(&1_u32.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..88]);
        bytes[88..92].copy_from_slice(&crc.to_le_bytes());
        fs::write(&path, bytes).unwrap();
    }
}

/// Describes every file below a directory by path, type, size, inode, times and content, so that any write is detected.
pub(crate) fn state_of(dir: &Path) -> Vec<String> {
    use std::os::unix::fs::MetadataExt as _;
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let metadata = fs::symlink_metadata(&path).unwrap();
        let (ino, len, mode) = (metadata.ino(), metadata.len(), metadata.mode());
        let (mtime, ctime) = ((metadata.mtime(), metadata.mtime_nsec()), (metadata.ctime(), metadata.ctime_nsec()));
        let bytes = if metadata.is_file() { crc32c::crc32c(&fs::read(&path).unwrap()) } else { 0 };
        found.push(format!("{} {ino} {len} {mode:o} {mtime:?} {ctime:?} {bytes:x}", path.display()));
        if metadata.is_dir() {
            found.extend(state_of(&path));
        }
    }
    found.sort();
    found
}

/// Time after which [`wait_until`] fails.
const WAIT_MAX: std::time::Duration = std::time::Duration::from_secs(60);

/// Waits until the condition holds.
pub(crate) fn wait_until(is_done: impl Fn() -> bool) {
    let began = std::time::Instant::now();
    while !is_done() {
        assert!(began.elapsed() < WAIT_MAX, "the condition does not hold");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}

/// Random numbers from a seed (splitmix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// A number from 0 to before `limit`.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}
