//! A ledger, the disk under it, and what it has promised.

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
use apm2_migrations::v1;
use arbitrary::Arbitrary;
use tempfile::TempDir;

use crate::{
    damage::{Damage, damage_journal, files},
    model::Model,
    script::{COMMIT_STEPS_MAX, Slip, Step},
    storage_backend::{Failure, FlakyDisk},
};

const STREAMS: [StreamId; 2] = [
    StreamId { process_id: ProcessId::from_bytes([1; 16]), instance: 0 },
    StreamId { process_id: ProcessId::from_bytes([2; 16]), instance: 1 },
];
/// One, so that heads are dropped and read again.
const HEADS_MAX: usize = 1;
/// A few commits each, so that a journal soon has several segments.
const SEGMENT_BYTES: u64 = 2048;
/// In memory, where there is such a place: the disk is no part of what is tested here.
const MEMORY: &str = "/dev/shm";

/// One thing to do.
#[derive(Debug, Clone, Arbitrary)]
pub enum Op {
    /// Append a commit.
    Append {
        /// Which of the streams.
        second: bool,
        /// What.
        steps: Vec<Step>,
    },
    /// Append a commit to a disk that fails, and go on from what it holds.
    AppendAndFail {
        /// Which of the streams.
        second: bool,
        /// What.
        steps: Vec<Step>,
        /// How it fails.
        failure: Failure,
    },
    /// Close it and open it again.
    Reopen,
    /// Go on from a copy of its files, as after a kill.
    Kill,
    /// Damage the journal in a copy, and look what is said about it.
    DamageJournal {
        /// Which segment.
        which: u8,
        /// How.
        damage: Damage,
        /// Who looks at it.
        look: Look,
    },
    /// Damage the store and go on: it has nothing that is not in the journal.
    DamageStore {
        /// Which file.
        which: u8,
        /// How.
        damage: Damage,
    },
}

/// Who looks at a damaged ledger. Only one does at a time: each takes a while, since it looks again at what could be a
/// commit in the making.
#[derive(Debug, Clone, Copy, Arbitrary)]
pub enum Look {
    /// A verification, which must find every single bit.
    Verify,
    /// A reader of the journal.
    Read,
    /// An opening, and a reader after it.
    Open,
}

/// The ledger under test.
pub struct World {
    root: TempDir,
    generation: u32,
    disk: Arc<FlakyDisk>,
    ledger: Option<Ledger>,
    /// Everything that was acknowledged or found at an opening, in order.
    events: Vec<Event>,
    models: [Option<Model>; 2],
    seconds: u64,
}

/// What an append should come to.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Accepted,
    Shape,
    Conflict,
    Illegal,
}

impl World {
    /// An empty ledger.
    ///
    /// # Panics
    /// When there is no place for it.
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

    /// Does one thing, and checks what follows from it.
    ///
    /// # Panics
    /// When the ledger breaks a promise.
    pub fn perform(&mut self, op: &Op) {
        match op {
            Op::Append { second, steps } => {
                self.append(usize::from(*second), steps, None);
            }
            Op::AppendAndFail { second, steps, failure } => {
                if let Some(unsure) = self.append(usize::from(*second), steps, Some(*failure)) {
                    self.recover(&unsure);
                }
            }
            Op::Reopen => {
                self.close();
                self.open(&[]);
            }
            Op::Kill => self.kill(),
            Op::DamageJournal { which, damage, look } => self.damage_copy(*which, *damage, *look),
            Op::DamageStore { which, damage } => self.damage_store(*which, *damage),
        }
    }

    /// Closes the ledger, and has everything in it verified, by the frozen reader too.
    ///
    /// # Panics
    /// When the ledger breaks a promise.
    pub fn finish(mut self) {
        self.check(&self.ledger().reader());
        self.close();
        let report = verify(&self.dir(), &mut |_| {}).expect("a sound ledger can be verified");
        assert!(report.findings.is_empty(), "{:?}", report.findings);
        assert_eq!(report.head.size, self.events.len() as u64);
        let frozen = v1::read_journal(&self.dir().join("journal"));
        if self.events.iter().any(is_newer) {
            return assert!(frozen.is_err(), "a frozen reader passes over what it does not know");
        }
        let frozen = frozen.expect("a sound journal of old events is one of version 1");
        assert!(frozen.events.get(self.events.len()..) == Some(&[]), "{:?}", frozen.events.last());
        assert_eq!(frozen.chain, report.head.chain.0);
    }

    fn dir(&self) -> PathBuf {
        self.root.path().join(self.generation.to_string())
    }

    fn ledger(&self) -> &Ledger {
        self.ledger.as_ref().expect("the ledger is open between two operations")
    }

    fn options(&self) -> Options {
        let (lock_wait, backend) = (Duration::ZERO, self.disk.clone());
        Options { segment_bytes: SEGMENT_BYTES, lock_wait, backend, stream_heads_max: HEADS_MAX }
    }

    /// Appends a commit. Where the disk failed the answer leaves open whether its events were written: they are
    /// returned.
    fn append(&mut self, place: usize, steps: &[Step], failure: Option<Failure>) -> Option<Vec<Event>> {
        let steps = &steps[..steps.len().min(COMMIT_STEPS_MAX)];
        let (verdict, events, next) = self.foresee(place, steps);
        let drafts = events.iter().cloned().map(|event| {
            let Event { stream, run, actor, reason, cause, stamp, kind, .. } = event;
            apm2_core::process::NewEvent { stream, run, actor, reason, cause, stamp, kind }
        });
        let slipped = steps.iter().any(|step| step.slip == Slip::Version);
        let version = self.version(place) + u64::from(slipped);
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

    /// What the model says of a commit, its events as they will be numbered, and the model after it.
    fn foresee(&mut self, place: usize, steps: &[Step]) -> (Verdict, Vec<Event>, Option<Model>) {
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
        } else if steps.iter().any(|step| step.slip == Slip::Version) {
            Verdict::Conflict
        } else if !is_legal || !model.as_ref().is_some_and(Model::may_rest) {
            Verdict::Illegal
        } else {
            Verdict::Accepted
        };
        (verdict, events, model)
    }

    /// After a failed write: nothing more is accepted, and what is opened next has all that was acknowledged and may
    /// have what was not.
    fn recover(&mut self, unsure: &[Event]) {
        let refused = self.ledger().append_system(EventKind::SupervisorStopped);
        assert!(matches!(refused, Err(AppendError::Poisoned(_))), "{refused:?}");
        assert!(self.ledger().poisoned().is_some());
        self.ledger = None;
        let ledger = Ledger::open_with(&self.dir(), &self.options()).expect("a torn commit is no damage");
        let found = whole(ledger.reader().events(1, u64::MAX));
        if found.get(self.events.len()..).is_some_and(|rest| rest.starts_with(unsure)) {
            for event in unsure {
                let place = usize::from(event.stream == STREAMS[1]);
                let model = &mut self.models[place];
                *model = model.as_ref().map_or_else(|| Model::begin(event), |model| model.after(event));
            }
            self.events.extend_from_slice(unsure);
        }
        // A store that was never fed cannot be told from one that lost all it had.
        self.adopt(ledger, &["tail_cut", "store_rebuilt"]);
    }

    /// Opens the ledger, which must have everything, and may find this.
    fn open(&mut self, findings: &[&str]) {
        let ledger = Ledger::open_with(&self.dir(), &self.options()).expect("a sound ledger can be opened");
        self.adopt(ledger, findings);
    }

    /// Takes an open ledger for the one under test: it has everything, and what the opening may have found.
    fn adopt(&mut self, ledger: Ledger, expected: &[&str]) {
        let mut found = whole(ledger.reader().events(1, u64::MAX));
        assert!(found.starts_with(&self.events), "lost or changed: {:?}", found.len());
        let findings = found.split_off(self.events.len());
        assert!(findings.iter().all(|event| expected.contains(&event.kind.name())), "from nowhere: {findings:?}");
        self.events.extend(findings);
        self.check(&ledger.reader());
        self.ledger = Some(ledger);
    }

    /// Holds all ways of reading against what is known.
    fn check(&self, reader: &Reader) {
        assert_eq!(whole(reader.events(1, u64::MAX)), self.events);
        assert_eq!(reader.head().map(|head| head.size), Some(self.events.len() as u64));
        let journal = Reader::open(&self.dir()).expect("a sound journal can be read");
        assert_eq!(whole(journal.events(1, u64::MAX)), self.events);
        let kept = reader.replay(u64::MAX, Origin::Snapshot).expect("a sound ledger can be replayed");
        let whole_replay = reader.replay(u64::MAX, Origin::Genesis).expect("a sound ledger can be replayed");
        assert_eq!(kept.streams, whole_replay.streams, "the kept folds are those of the events");
        for (id, model) in STREAMS.iter().zip(&self.models) {
            let of_stream: Vec<Event> = self.events.iter().filter(|event| event.stream == *id).cloned().collect();
            assert_eq!(whole(reader.stream_events(*id)), of_stream);
            let stream = reader.stream(*id).expect("a sound stream can be folded");
            assert_eq!(stream.is_some(), model.is_some());
            if let (Some(stream), Some(model)) = (&stream, model) {
                model.check(stream);
            }
        }
    }

    fn close(&mut self) {
        if let Some(ledger) = self.ledger.take() {
            ledger.close().expect("a sound ledger can be closed");
        }
    }

    /// Copies the files as they are at this moment, under the open ledger.
    fn copy(&self, name: &str) -> PathBuf {
        let to = self.root.path().join(name);
        copy_dir(&self.dir(), &to).expect("a ledger can be copied");
        to
    }

    fn kill(&mut self) {
        self.copy(&(self.generation + 1).to_string());
        self.ledger = None;
        fs::remove_dir_all(self.dir()).expect("what was killed can be removed");
        self.generation += 1;
        // The store was copied while it was written.
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

    /// Whatever is done to the journal: all that was acknowledged is there, or it is said that it is not.
    fn damage_copy(&self, which: u8, damage: Damage, look: Look) {
        let dir = self.copy("damaged");
        let kept = damage_journal(&dir, which, damage).expect("a journal can be damaged");
        let kept = usize::try_from(kept).unwrap_or(usize::MAX).min(self.events.len());
        let looked = match look {
            Look::Verify => verify(&dir, &mut |_| {}).map(|report| {
                assert!(!damage.is_one_bit() || !report.findings.is_empty(), "an unnoticed bit");
            }),
            Look::Read => Reader::open(&dir).map(|reader| self.check_damaged(reader.events(1, u64::MAX), kept)),
            Look::Open => Ledger::open_with(&dir, &self.options())
                .map(|ledger| self.check_damaged(ledger.reader().events(1, u64::MAX), kept)),
        };
        if let Err(error) = looked {
            assert!(is_loud(&error), "{error}");
        }
        fs::remove_dir_all(dir).expect("a copy can be removed");
    }

    fn check_damaged(&self, events: Events, kept: usize) {
        let mut count = 0;
        for (found, place) in events.zip(0..) {
            let Ok(found) = found else { return };
            match self.events.get(place) {
                Some(expected) if found == *expected => count += 1,
                _ => assert!(count >= kept && is_finding(&found), "changed, or from nowhere: {found:?}"),
            }
        }
        assert!(count >= kept, "{count} of {} events, in silence", self.events.len());
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

fn whole(events: Events) -> Vec<Event> {
    events.collect::<Result<_, _>>().expect("a sound ledger can be read")
}

/// Whether an event holds what version 1 of the records has no place for.
fn is_newer(event: &Event) -> bool {
    match &event.kind {
        EventKind::OutputTail { .. }
        | EventKind::OutputDropped { .. }
        | EventKind::PreStopEnded { .. }
        | EventKind::OrphansEnded { .. }
        | EventKind::EndUnobserved { .. } => true,
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

/// What an opening may add.
fn is_finding(event: &Event) -> bool {
    matches!(event.kind, EventKind::StoreRebuilt { .. } | EventKind::TailCut { .. })
}

/// Errors that say that the record is broken, or that there is none.
fn is_loud(error: &OpenError) -> bool {
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
            // A file of the moment: it was renamed or removed meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            copied => drop(copied?),
        }
    }
    Ok(())
}
