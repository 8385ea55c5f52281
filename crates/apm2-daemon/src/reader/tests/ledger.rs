//! Random ledgers: sealed segments, plain segments, and the last events in memory.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use apm2_ledger::{Ledger, Options};
use apm2_model::{
    event::{
        Event, NewEvent,
        actor::Actor,
        exit::{Evidence, Exit, ExitOutcome, RunEnd},
        identity::ProcessIdentity,
        kind::{EventKind, StartTrigger},
        stream_id::StreamId,
        timestamp::Timestamp,
    },
    spec::{ProcessSpec, id::ProcessId, redact::spec::RedactedSpec},
};
use proptest::prelude::*;
use tempfile::TempDir;
use uuid::Uuid;

/// Limit of the wait for the thread that seals segments.
const SEALED_WITHIN: Duration = Duration::from_secs(60);

/// Seconds since 1970 at which the first event is recorded.
const BEGINNING: i64 = 1_700_000_000;

/// Bytes of the longest event. A few of them fill a segment.
const DETAIL_BYTES: usize = 700;

/// Number of steps of a long ledger, each of three of the longest events.
const LONG_STEPS: usize = 500;

/// Bytes at the beginning of a sealed segment that stay when its blocks are damaged.
const HEADER_BYTES: usize = 160;

const BOOT: Uuid = Uuid::from_u128(7);

pub(super) const STREAMS: u8 = 5;

/// One of the streams. The first two are instances of one process; the ids of two others begin alike.
pub(super) fn stream(number: u8) -> StreamId {
    let first = [0xab, 0xab, 0xcd, 0xcd, 0xef][usize::from(number % STREAMS)];
    let rest = if number % STREAMS < 2 { 0 } else { number };
    let mut bytes = [rest; 16];
    bytes[..2].copy_from_slice(&[first, first]);
    StreamId { process_id: ProcessId::from_bytes(bytes), instance: u32::from(number % STREAMS == 1) }
}

/// What is appended: to a stream, with a clock that may go back.
#[derive(Debug, Clone)]
pub(super) struct Step {
    stream: u8,
    action: u8,
    seconds: i8,
}

pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step =
        (0..STREAMS, any::<u8>(), -20..40_i8).prop_map(|(stream, action, seconds)| Step { stream, action, seconds });
    prop::collection::vec(step, 30..120)
}

/// Appends steps. Those that the state of the stream does not allow append nothing.
struct Writer {
    ledger: Ledger,
    events: Vec<Event>,
    seconds: i64,
}

impl Writer {
    fn append(&mut self, step: &Step) {
        self.seconds += i64::from(step.seconds);
        let id = stream(step.stream);
        let kinds = kinds(id, step.action);
        if kinds.iter().any(EventKind::is_system) {
            self.events.extend(kinds.into_iter().map(|kind| self.ledger.append_system(kind).unwrap()));
            return;
        }
        let last = self.events.iter().rev().find(|event| event.stream == id);
        let (mut run, version) = last.map_or((0, 0), |event| (event.run, event.version));
        let wall_ns = (BEGINNING + self.seconds) * 1_000_000_000;
        let boot_ns = self.events.len() as u64 * 1_000_000;
        let stamp = Timestamp { wall_ns, boot_ns, boot_id: BOOT };
        let new_event = |kind: EventKind| {
            run = kind.run_after(run);
            NewEvent { stream: id, run, actor: actor(step.action), reason: None, cause: None, stamp, kind }
        };
        if let Ok(appended) = self.ledger.append(id, version, kinds.into_iter().map(new_event).collect()) {
            self.events.extend(appended);
        }
    }
}

fn actor(action: u8) -> Actor {
    let operator = |uid, user: &str| Actor::Operator { uid, user: Some(user.to_owned()), terminal: None };
    match action / 16 {
        0 => operator(1000, "ann"),
        1 => operator(1001, "bob"),
        2 | 3 => Actor::Policy,
        _ => Actor::System,
    }
}

fn kinds(id: StreamId, action: u8) -> Vec<EventKind> {
    let trigger = StartTrigger::Start;
    let identity = Some(ProcessIdentity { boot_id: BOOT, pid: 4242, start_ticks: 99, pid_namespace: None });
    let exit = Exit { outcome: ExitOutcome::Code(i32::from(action % 2)), evidence: Evidence::Observed };
    // The later name of one process is the earlier name of another.
    let name = format!("p{}", (id.process_id.as_bytes()[15] + u8::from(action > 200)) % 4);
    let spec = ProcessSpec::builder().id(id.process_id).name(name).command("true").instances(2).build();
    let spec = RedactedSpec::new(&spec);
    let detail = "x".repeat(usize::from(action) * DETAIL_BYTES / 255);
    match action % 12 {
        0 | 1 => vec![EventKind::Registered { spec }],
        2 => vec![EventKind::StartRequested { trigger }],
        3 | 4 => vec![EventKind::Starting { identity, trigger }, EventKind::Running],
        5 => vec![EventKind::Stopped { exit }],
        6 => vec![EventKind::Crashed { cause: RunEnd::Exit(exit) }],
        7 => vec![EventKind::SpecChanged { spec }],
        8 => vec![EventKind::SupervisorStopped],
        9 => vec![EventKind::BudgetReset; usize::from(action % 5) + 1],
        _ => vec![EventKind::Observed { adapter: "a".to_owned(), detail }; 3],
    }
}

/// A ledger in which the first events are in sealed segments, later ones in plain segments.
pub(super) struct RandomLedger {
    pub(super) dir: TempDir,
    pub(super) ledger: Ledger,
    pub(super) events: Vec<Event>,
}

impl RandomLedger {
    /// A ledger whose events do not fit into the buffers of a socket and of a call.
    pub(super) fn long() -> Self {
        // The longest events, of streams in turn.
        let step = |number| Step { stream: number % STREAMS, action: 251, seconds: 1 };
        Self::new(&[], &(0..200).cycle().map(step).take(LONG_STEPS).collect::<Vec<_>>(), false)
    }

    /// A ledger with many sealed segments.
    pub(super) fn sealed() -> Self {
        let step = |number| Step { stream: number % STREAMS, action: 251, seconds: 1 };
        let steps: Vec<_> = (0..200).map(step).collect();
        Self::new(&steps, &steps[..3], true)
    }

    /// Damages every block of the sealed segments but the last two. Their headers and indexes stay.
    pub(super) fn damage_older_segments(&self) {
        let sealed = files(self.dir.path(), "sealed");
        assert!(sealed.len() > 4, "{} sealed segments", sealed.len());
        for path in &sealed[..sealed.len() - 2] {
            let mut bytes = fs::read(path).unwrap();
            let block = bytes.len() / 4;
            bytes[HEADER_BYTES..block].fill(0xa5);
            fs::write(path, bytes).unwrap();
        }
    }

    /// Appends `sealed` and waits until the full segments are sealed; then appends `plain`. A rebuilt store has no snapshots
    /// of the first part.
    pub(super) fn new(sealed: &[Step], plain: &[Step], is_rebuilt: bool) -> Self {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        let dir = tempfile::Builder::new().prefix("apm2-reader-test").permissions(mode).tempdir().unwrap();
        let options = |seal| Options { segment_bytes: 16 * 1024, seal, stream_heads_max: 2, ..Options::default() };
        let ledger = Ledger::open_with(dir.path(), &options(true)).unwrap();
        let mut writer = Writer { ledger, events: Vec::new(), seconds: 0 };
        // All streams run, so that most steps are legal.
        for number in 0..STREAMS {
            for action in [0, 2, 3] {
                writer.append(&Step { stream: number, action, seconds: 1 });
            }
        }
        for _ in 0..2 {
            sealed.iter().for_each(|step| writer.append(step));
        }
        wait_until_sealed(dir.path());
        let Writer { ledger, events, seconds } = writer;
        ledger.close().unwrap();
        remove_sealed_plain_files(dir.path());
        if is_rebuilt {
            fs::remove_dir_all(dir.path().join("sled")).unwrap();
        }
        let ledger = Ledger::open_with(dir.path(), &options(false)).unwrap();
        let mut writer = Writer { ledger, events, seconds };
        // The rebuild of the store is recorded.
        let recorded = writer.ledger.reader().events(writer.events.len() as u64 + 1, u64::MAX);
        writer.events.extend(recorded.map(Result::unwrap));
        plain.iter().for_each(|step| writer.append(step));
        let Writer { ledger, events, .. } = writer;
        Self { dir, ledger, events }
    }
}

fn files(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found: Vec<_> = fs::read_dir(dir.join("journal")).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.extension().is_some_and(|found| found == extension));
    found.sort();
    found
}

/// Waits until every segment but the last is sealed.
fn wait_until_sealed(dir: &Path) {
    let began = Instant::now();
    while files(dir, "sealed").len() + 1 < files(dir, "seg").len() {
        assert!(began.elapsed() < SEALED_WITHIN);
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn remove_sealed_plain_files(dir: &Path) {
    for sealed in files(dir, "sealed") {
        drop(fs::remove_file(sealed.with_extension("seg")));
    }
}
