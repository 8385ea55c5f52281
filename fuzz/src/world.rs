//! A ledger with injected I/O errors, and the events that it must contain.

use std::{
    fs::{self, Permissions},
    io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use apm2_core::process::{Event, EventKind, ProcessId, StartTrigger, StreamId};
use apm2_ledger::{AppendError, Events, Ledger, OpenError, Options, Origin, Reader, verify};
use apm2_migrations::{v1, v2};
use arbitrary::Arbitrary;
use tempfile::TempDir;

use crate::{
    damage::{Damage, damage_journal, files},
    model::Model,
    script::{COMMIT_STEPS_MAX, Mistake, Step},
    storage_backend::{Failure, FlakyDisk},
};

const STREAMS: [StreamId; 2] = [
    StreamId { process_id: ProcessId::from_bytes([1; 16]), instance: 0 },
    StreamId { process_id: ProcessId::from_bytes([2; 16]), instance: 1 },
];
/// The cache has one entry, so that stream heads are dropped and read again.
const HEADS_MAX: usize = 1;
/// A segment contains only a few commits, so that the journal has several segments after a few operations.
const SEGMENT_BYTES: u64 = 2048;
/// Directory of a memory file system, which is used if it exists. The fuzz targets do not test the disk.
const MEMORY: &str = "/dev/shm";

/// One operation on the ledger.
#[derive(Debug, Clone, Arbitrary)]
pub enum Op {
    /// Appends a commit.
    Append {
        /// Selects one of the two streams.
        second: bool,
        /// The events of the commit.
        steps: Vec<Step>,
    },
    /// Appends a commit with an I/O error, and opens the ledger again.
    AppendAndFail {
        /// Selects one of the two streams.
        second: bool,
        /// The events of the commit.
        steps: Vec<Step>,
        /// The I/O error.
        failure: Failure,
    },
    /// Closes the ledger and opens it again.
    Reopen,
    /// Continues with a copy of the files of the open ledger, as after SIGKILL.
    Kill,
    /// Damages the journal in a copy, and checks that the damage is reported.
    DamageJournal {
        /// Selects the segment.
        which: u8,
        /// The damage.
        damage: Damage,
        /// The operation that must report the damage.
        access: Access,
        /// Whether the copy is opened and closed before it is damaged. Then it counts as an original.
        is_closed: bool,
    },
    /// Damages the store and opens the ledger again. No event is lost, because the journal contains all events.
    DamageStore {
        /// Selects the file.
        which: u8,
        /// The damage.
        damage: Damage,
    },
}

/// The operation on a damaged copy. Only one is executed for each copy, because each takes some time: it retries when
/// the damage looks like a commit that is being written.
#[derive(Debug, Clone, Copy, Arbitrary)]
pub enum Access {
    /// Verifies the ledger. Verification must report every flipped bit.
    Verify,
    /// Reads the journal.
    Read,
    /// Opens the ledger and reads it.
    Open,
}

/// The ledger under test.
pub struct World {
    root: TempDir,
    generation: u32,
    disk: Arc<FlakyDisk>,
    ledger: Option<Ledger>,
    /// All events that the ledger must contain, in order: acknowledged events, and events that were recorded at an
    /// opening.
    events: Vec<Event>,
    models: [Option<Model>; 2],
    seconds: u64,
}

/// The expected result of an append.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Accepted,
    Shape,
    Conflict,
    Illegal,
}

impl World {
    /// Creates an empty ledger.
    ///
    /// # Panics
    /// When the temporary directory cannot be created.
    #[must_use]
    pub fn new() -> Self {
        let memory = Path::new(MEMORY);
        let place = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let root = tempfile::Builder::new().prefix("apm2-fuzz-").tempdir_in(place).expect("a place for ledgers");
        let disk = Arc::new(FlakyDisk::default());
        let mut world =
            Self { root, generation: 0, disk, ledger: None, events: Vec::new(), models: [None, None], seconds: 0 };
        world.open(&[]);
        world
    }

    /// Executes one operation, and checks its result.
    ///
    /// # Panics
    /// When the ledger behaves wrongly.
    pub fn perform(&mut self, op: &Op) {
        match op {
            Op::Append { second, steps } => {
                self.append(usize::from(*second), steps, None);
            }
            Op::AppendAndFail { second, steps, failure } => {
                if let Some(unconfirmed) = self.append(usize::from(*second), steps, Some(*failure)) {
                    self.recover(&unconfirmed);
                }
            }
            Op::Reopen => {
                self.close();
                self.open(&[]);
            }
            Op::Kill => self.kill(),
            Op::DamageJournal { which, damage, access, is_closed } => {
                self.damage_copy(*which, *damage, *access, *is_closed);
            }
            Op::DamageStore { which, damage } => self.damage_store(*which, *damage),
        }
    }

    /// Closes the ledger, and verifies it. Also reads it with the frozen reader of format 2.
    ///
    /// # Panics
    /// When the ledger behaves wrongly.
    pub fn finish(mut self) {
        self.check(&self.ledger().reader());
        self.close();
        let report = verify(&self.dir(), &mut |_| {}).expect("a valid ledger can be verified");
        assert!(report.findings.is_empty(), "{:?}", report.findings);
        assert_eq!(report.head.size, self.events.len() as u64);
        let frozen = v2::read_journal(&self.dir().join("journal")).expect("a valid journal is one of version 2");
        assert_eq!((frozen.events.len(), frozen.chain()), (self.events.len(), report.head.chain.0));
        for (slot, event) in frozen.events.iter().zip(&self.events) {
            let v2::Slot::Event(bytes) = slot else { unreachable!("an event was erased") };
            assert_eq!(v1::decode_event(bytes).is_err(), is_newer(event), "the frozen reader of records: {event:?}");
        }
    }

    fn dir(&self) -> PathBuf {
        self.root.path().join(self.generation.to_string())
    }

    fn ledger(&self) -> &Ledger {
        self.ledger.as_ref().expect("the ledger is open between two operations")
    }

    fn options(&self) -> Options {
        let (lock_wait, backend) = (Duration::ZERO, self.disk.clone());
        Options { segment_bytes: SEGMENT_BYTES, lock_wait, backend, stream_heads_max: HEADS_MAX, seal: true }
    }

    /// Appends a commit. Returns the events of the commit when an I/O error was injected, because then the commit may
    /// or may not be in the journal.
    fn append(&mut self, place: usize, steps: &[Step], failure: Option<Failure>) -> Option<Vec<Event>> {
        let steps = &steps[..steps.len().min(COMMIT_STEPS_MAX)];
        let (verdict, events, next) = self.predict(place, steps);
        let drafts = events.iter().cloned().map(|event| {
            let Event { stream, run, actor, reason, cause, stamp, kind, .. } = event;
            apm2_core::process::NewEvent { stream, run, actor, reason, cause, stamp, kind }
        });
        let has_wrong_version = steps.iter().any(|step| step.mistake == Mistake::Version);
        let version = self.version(place) + u64::from(has_wrong_version);
        self.disk.plan(failure);
        let answer = self.ledger().append(STREAMS[place], version, drafts.collect());
        self.disk.plan(None);
        match (answer, verdict) {
            (Ok(appended), Verdict::Accepted) if failure.is_none() => {
                assert_eq!(appended, events);
                self.events.extend(appended);
                self.models[place] = next;
                None
            }
            (Err(AppendError::Poisoned(_)), Verdict::Accepted) if failure.is_some() => Some(events),
            (Err(AppendError::Shape(_)), Verdict::Shape)
            | (Err(AppendError::Conflict { .. }), Verdict::Conflict)
            | (Err(AppendError::Illegal { .. } | AppendError::Invariant(_)), Verdict::Illegal) => None,
            (answer, verdict) => panic!("{answer:?} where {verdict:?} was expected of {events:?}"),
        }
    }

    fn version(&self, place: usize) -> u64 {
        self.events.iter().filter(|event| event.stream == STREAMS[place]).count() as u64
    }

    /// Computes the expected result of an append, its events with their numbers, and the model after them.
    fn predict(&mut self, place: usize, steps: &[Step]) -> (Verdict, Vec<Event>, Option<Model>) {
        let mut model = self.models[place].clone();
        let mut is_legal = true;
        let mut events = Vec::new();
        for (step, number) in steps.iter().zip(1..) {
            self.seconds += u64::from(step.seconds);
            let draft = step.draft(STREAMS[place], 0, self.seconds);
            let run = model.as_ref().map_or(0, |model| model.run_of(&draft.kind));
            let draft = step.draft(STREAMS[place], run, self.seconds);
            let event = draft.numbered(self.events.len() as u64 + number, self.version(place) + number);
            let next = model.as_ref().map_or_else(|| Model::begin(&event), |model| model.after(&event));
            is_legal &= next.is_some();
            model = next.or(model);
            events.push(event);
        }
        let fits = |event: &Event| event.stream == STREAMS[place] && !event.kind.is_system();
        let verdict = if events.is_empty() || !events.iter().all(fits) {
            Verdict::Shape
        } else if steps.iter().any(|step| step.mistake == Mistake::Version) {
            Verdict::Conflict
        } else if !is_legal || !model.as_ref().is_some_and(Model::may_end_commit) {
            Verdict::Illegal
        } else {
            Verdict::Accepted
        };
        (verdict, events, model)
    }

    /// Checks the ledger after an I/O error: it refuses further appends. After it was opened again, it contains all
    /// acknowledged events, and possibly the events in `unconfirmed`.
    fn recover(&mut self, unconfirmed: &[Event]) {
        let refused = self.ledger().append_system(EventKind::SupervisorStopped);
        assert!(matches!(refused, Err(AppendError::Poisoned(_))), "{refused:?}");
        assert!(self.ledger().poisoned().is_some());
        self.ledger = None;
        let ledger = Ledger::open_with(&self.dir(), &self.options()).expect("a torn commit is no damage");
        let found = read_all(ledger.reader().events(1, u64::MAX));
        if found.get(self.events.len()..).is_some_and(|rest| rest.starts_with(unconfirmed)) {
            for event in unconfirmed {
                let place = usize::from(event.stream == STREAMS[1]);
                let model = &mut self.models[place];
                *model = model.as_ref().map_or_else(|| Model::begin(event), |model| model.after(event));
            }
            self.events.extend_from_slice(unconfirmed);
        }
        // A store that never received an event looks like a store that lost all events, so a rebuild is accepted.
        self.continue_with(ledger, &["tail_cut", "store_rebuilt"]);
    }

    /// Opens the ledger, and checks that it contains all events. The opening may record events of the kinds in
    /// `findings`.
    fn open(&mut self, findings: &[&str]) {
        let ledger = Ledger::open_with(&self.dir(), &self.options()).expect("a valid ledger can be opened");
        self.continue_with(ledger, findings);
    }

    /// Continues with the open ledger `ledger`. Checks that it contains all events, and then only events of the kinds
    /// in `expected`.
    fn continue_with(&mut self, ledger: Ledger, expected: &[&str]) {
        let mut found = read_all(ledger.reader().events(1, u64::MAX));
        assert!(found.starts_with(&self.events), "lost or changed: {:?}", found.len());
        let findings = found.split_off(self.events.len());
        assert!(findings.iter().all(|event| expected.contains(&event.kind.name())), "unexpected: {findings:?}");
        self.events.extend(findings);
        self.check(&ledger.reader());
        self.ledger = Some(ledger);
    }

    /// Compares the results of all ways of reading with the expected events.
    fn check(&self, reader: &Reader) {
        assert_eq!(read_all(reader.events(1, u64::MAX)), self.events);
        assert_eq!(reader.head().map(|head| head.size), Some(self.events.len() as u64));
        let journal = Reader::open(&self.dir()).expect("a valid journal can be read");
        assert_eq!(read_all(journal.events(1, u64::MAX)), self.events);
        let from_snapshots = reader.replay(u64::MAX, Origin::Snapshot).expect("a valid ledger can be replayed");
        let from_events = reader.replay(u64::MAX, Origin::Genesis).expect("a valid ledger can be replayed");
        assert_eq!(from_snapshots.streams, from_events.streams, "the snapshots differ from the replayed events");
        for (id, model) in STREAMS.iter().zip(&self.models) {
            let of_stream: Vec<Event> = self.events.iter().filter(|event| event.stream == *id).cloned().collect();
            assert_eq!(read_all(reader.stream_events(*id)), of_stream);
            let stream = reader.stream(*id).expect("a valid stream can be folded");
            assert_eq!(stream.is_some(), model.is_some());
            if let (Some(stream), Some(model)) = (&stream, model) {
                model.check(stream);
            }
        }
    }

    fn close(&mut self) {
        if let Some(ledger) = self.ledger.take() {
            ledger.close().expect("a valid ledger can be closed");
        }
    }

    /// Copies the files of the open ledger.
    fn copy(&self, name: &str) -> PathBuf {
        let to = self.root.path().join(name);
        copy_dir(&self.dir(), &to).expect("a ledger can be copied");
        to
    }

    fn kill(&mut self) {
        self.copy(&(self.generation + 1).to_string());
        self.ledger = None;
        fs::remove_dir_all(self.dir()).expect("the directory can be removed");
        self.generation += 1;
        // The store may be rebuilt, because it was copied while it was written.
        self.open(&["store_rebuilt"]);
    }

    fn damage_store(&mut self, which: u8, damage: Damage) {
        self.close();
        let store = self.dir().join("sled");
        let all = files(&store, &|_| true).expect("a store has files");
        match all.get(usize::from(which)) {
            Some(file) => drop(damage.inflict(file).expect("a file can be damaged")),
            None => fs::remove_dir_all(store).expect("a store can be removed"),
        }
        self.open(&["store_rebuilt"]);
    }

    /// Damages the journal in a copy, and checks that either all acknowledged events can be read, or an error is
    /// reported.
    fn damage_copy(&self, which: u8, damage: Damage, access: Access, is_closed: bool) {
        let dir = self.copy("damaged");
        if is_closed {
            let ledger = Ledger::open_with(&dir, &self.options()).expect("a copy can be opened");
            ledger.close().expect("a valid ledger can be closed");
        }
        let readable = damage_journal(&dir, which, damage, !is_closed).expect("a journal can be damaged");
        let readable = usize::try_from(readable).unwrap_or(usize::MAX).min(self.events.len());
        let result = match access {
            Access::Verify => verify(&dir, &mut |_| {}).map(|report| {
                assert!(!damage.is_one_bit() || !report.findings.is_empty(), "an undetected flipped bit");
            }),
            Access::Read => Reader::open(&dir).map(|reader| self.check_damaged(reader.events(1, u64::MAX), readable)),
            Access::Open => Ledger::open_with(&dir, &self.options())
                .map(|ledger| self.check_damaged(ledger.reader().events(1, u64::MAX), readable)),
        };
        if let Err(error) = result {
            assert!(reports_damage(&error), "{error}");
        }
        fs::remove_dir_all(dir).expect("a copy can be removed");
    }

    fn check_damaged(&self, events: Events, readable: usize) {
        let mut count = 0;
        for (found, place) in events.zip(0..) {
            let Ok(found) = found else { return };
            match self.events.get(place) {
                Some(expected) if found == *expected => count += 1,
                _ => assert!(count >= readable && is_finding(&found), "changed, or unexpected: {found:?}"),
            }
        }
        assert!(count >= readable, "{count} of {} events, without an error", self.events.len());
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

fn read_all(events: Events) -> Vec<Event> {
    events.collect::<Result<_, _>>().expect("a valid ledger can be read")
}

/// Whether version 1 of the records cannot represent the event.
fn is_newer(event: &Event) -> bool {
    match &event.kind {
        EventKind::OutputTail { .. }
        | EventKind::OutputDropped { .. }
        | EventKind::PreStopEnded { .. }
        | EventKind::OrphansEnded { .. }
        | EventKind::EndUnobserved { .. }
        | EventKind::Agent { .. } => true,
        EventKind::Sampled { processes, .. } => processes.is_some(),
        EventKind::Registered { spec } | EventKind::SpecChanged { spec } => !spec.shutdown.end_orphans,
        EventKind::StartRequested { trigger } => *trigger == StartTrigger::Boot,
        EventKind::Starting { identity, trigger } => {
            *trigger == StartTrigger::Boot || identity.is_some_and(|identity| identity.pid_namespace.is_some())
        }
        EventKind::Adopted { identity } => identity.pid_namespace.is_some(),
        _ => false,
    }
}

/// Whether opening a ledger may record this event.
fn is_finding(event: &Event) -> bool {
    matches!(event.kind, EventKind::StoreRebuilt { .. } | EventKind::TailCut { .. })
}

/// Whether the error reports a damaged or missing ledger.
fn reports_damage(error: &OpenError) -> bool {
    error.is_integrity() || matches!(error, OpenError::Newer { .. } | OpenError::Missing { .. })
}

fn copy_dir(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    fs::set_permissions(to, Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_dir(&entry.path(), &target)?;
            continue;
        }
        match fs::copy(entry.path(), target) {
            // The store or the journal renamed or removed this file during the copy.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            copied => drop(copied?),
        }
    }
    Ok(())
}
