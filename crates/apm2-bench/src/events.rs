//! Benchmark events like those of a supervisor: starts, samples and exits.

use apm2_core::process::{
    Actor, Clock as _, EventKind, Evidence, Exit, ExitOutcome, NewEvent, ProcessId, ProcessIdentity, ProcessSpec,
    RedactedSpec, StartTrigger, StreamId, SystemClock,
};
use apm2_ledger::Ledger;

/// The stream ID of process `number`.
pub fn stream(number: u64) -> StreamId {
    let mut bytes = [0; 16];
    // The multiplication spreads the IDs evenly over the key space, like random IDs.
    bytes[..8].copy_from_slice(&number.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes());
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    bytes[15] |= 1;
    StreamId { process_id: ProcessId::from_bytes(bytes), instance: 0 }
}

pub fn draft(stream: StreamId, run: u64, kind: EventKind) -> NewEvent {
    let stamp = SystemClock.now();
    NewEvent { stream, run, actor: Actor::System, reason: None, cause: None, stamp, kind }
}

pub fn registered(stream: StreamId) -> NewEvent {
    let number = stream.process_id.to_string();
    let spec = ProcessSpec::builder().id(stream.process_id).name(format!("worker-{}", &number[..8])).command("agent");
    let spec = spec.args(["--session", "project"]).build();
    draft(stream, 0, EventKind::Registered { spec: RedactedSpec::new(&spec) })
}

pub fn sampled(stream: StreamId, run: u64, number: u64) -> NewEvent {
    let memory_bytes = 100_000_000 + number;
    draft(stream, run, EventKind::Sampled { cpu_centipercent: 1234, memory_bytes, processes: None })
}

/// A sample event with a reason text, about 150 bytes long, like the records of [`peers`](crate::peers).
pub fn sampled_with_reason(stream: StreamId, run: u64, number: u64) -> NewEvent {
    let mut draft = sampled(stream, run, number);
    draft.reason = Some("sampled by the supervisor every thirty seconds, as configured for this process".to_owned());
    draft
}

/// The commits that start run `run`.
pub fn start(stream: StreamId, run: u64) -> [Vec<NewEvent>; 2] {
    let trigger = StartTrigger::Start;
    let boot_id = uuid::Uuid::from_u128(7);
    let identity = Some(ProcessIdentity { boot_id, pid: 4242, start_ticks: 99, pid_namespace: None });
    [
        vec![draft(stream, run, EventKind::StartRequested { trigger })],
        vec![draft(stream, run, EventKind::Starting { identity, trigger }), draft(stream, run, EventKind::Running)],
    ]
}

/// How the samples of a run are appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Commits {
    /// All samples of a run in one commit.
    Bulk,
    /// Each sample in a commit of its own, as a supervisor does.
    Small,
}

/// When a process lived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// Its events are recent, and it is still registered.
    Recent,
    /// It ended and was unregistered long ago.
    Gone,
}

/// Age of the events of a process that is gone, in nanoseconds: 200 days.
const GONE_AGE_NS: i64 = 200 * 24 * 60 * 60 * 1_000_000_000;

/// Appends the complete history of one process.
pub struct Fill {
    stream: StreamId,
    version: u64,
    commits: Commits,
    lifetime: Lifetime,
}

impl Fill {
    const RUNS: u64 = 20;
    const SAMPLES: u64 = 46;
    /// Number of events for one process: a registration, and for each run a start request, a start, the change to
    /// running, samples and an exit. A process that is gone has one more.
    pub const EVENTS_A_STREAM: u64 = 1 + Self::RUNS * (4 + Self::SAMPLES);

    pub fn new(stream: StreamId, commits: Commits, lifetime: Lifetime) -> Self {
        Self { stream, version: 0, commits, lifetime }
    }

    fn append(&mut self, ledger: &Ledger, mut drafts: Vec<NewEvent>) {
        if self.lifetime == Lifetime::Gone {
            drafts.iter_mut().for_each(|draft| draft.stamp.wall_ns -= GONE_AGE_NS);
        }
        let events = ledger.append(self.stream, self.version, drafts).expect("append");
        self.version += events.len() as u64;
    }

    pub fn append_all(mut self, ledger: &Ledger) {
        let stream = self.stream;
        self.append(ledger, vec![registered(stream)]);
        for run in 1..=Self::RUNS {
            for drafts in start(stream, run) {
                self.append(ledger, drafts);
            }
            let samples: Vec<_> = (0..Self::SAMPLES).map(|number| sampled(stream, run, number)).collect();
            match self.commits {
                Commits::Bulk => self.append(ledger, samples),
                Commits::Small => samples.into_iter().for_each(|sample| self.append(ledger, vec![sample])),
            }
            let exit = Exit { outcome: ExitOutcome::Code(0), evidence: Evidence::Observed };
            self.append(ledger, vec![draft(stream, run, EventKind::Stopped { exit })]);
        }
        if self.lifetime == Lifetime::Gone {
            self.append(ledger, vec![draft(stream, Self::RUNS, EventKind::Unregistered)]);
        }
    }
}
