//! The history in the golden ledger of version 1. It contains every event kind and every variant, in a valid order.
//!
//! The history is frozen like the golden ledger. A change of this file would describe a different ledger.

pub(crate) mod records_v2;
pub(crate) mod records_v3;
pub(crate) mod records_v4;
pub(crate) mod records_v5;
mod specs;

use apm2_core::process::{
    Actor, Event, EventKind, Evidence, Exit, ExitOutcome, NewEvent, OutputSource, ProcessId, ProcessIdentity,
    RestartRule, RunEnd, Signal, SignalTarget, SpawnFailure, SpawnStage, StartTrigger, StreamId, Timestamp,
};
use uuid::Uuid;

use self::specs::{task, task_changed, worker, worker_changed};

/// The time 2026-01-01T00:00:00Z.
const BEGAN_NS: i64 = 1_767_225_600_000_000_000;
const NANOS_PER_SEC: u64 = 1_000_000_000;
const BOOT_ID: Uuid = Uuid::from_u128(0x0b00_7000_0000_4000_8000_0000_0000_0001);

const WORKER: StreamId = StreamId { process_id: ProcessId::from_bytes([0x11; 16]), instance: 1 };
const TASK: StreamId = StreamId { process_id: ProcessId::from_bytes([0x22; 16]), instance: 0 };

/// Collects commits. The events of one commit are appended together and are in one frame.
#[derive(Default)]
struct Script {
    commits: Vec<Vec<NewEvent>>,
    runs: [u64; 2],
    seconds: u64,
}

impl Script {
    fn commit(&mut self, stream: StreamId, actor: Actor, reason: Option<&str>, kinds: Vec<EventKind>) {
        let drafts = kinds.into_iter().map(|kind| self.draft(stream, actor.clone(), reason, kind)).collect();
        self.commits.push(drafts);
    }

    fn draft(&mut self, stream: StreamId, actor: Actor, reason: Option<&str>, kind: EventKind) -> NewEvent {
        self.seconds += 1;
        let run = match stream {
            WORKER => &mut self.runs[0],
            TASK => &mut self.runs[1],
            _ => &mut 0,
        };
        *run += u64::from(matches!(kind, EventKind::StartRequested { .. }));
        // The `observed` event has a time before 1970, as from a wrong clock.
        let wall_ns = if matches!(kind, EventKind::Observed { .. }) {
            -1
        } else {
            BEGAN_NS + i64::try_from(self.seconds).unwrap()
        };
        let stamp = Timestamp { wall_ns, boot_ns: self.seconds * NANOS_PER_SEC, boot_id: BOOT_ID };
        let cause = matches!(kind, EventKind::SignalSent { .. }).then_some(self.seconds - 1);
        NewEvent { stream, run: *run, actor, reason: reason.map(str::to_owned), cause, stamp, kind }
    }

    fn system(&mut self, kind: EventKind) {
        self.commit(StreamId::SYSTEM, Actor::System, None, vec![kind]);
    }

    fn worker(&mut self, actor: Actor, kinds: Vec<EventKind>) {
        self.commit(WORKER, actor, None, kinds);
    }

    fn task(&mut self, kinds: Vec<EventKind>) {
        self.commit(TASK, Actor::System, None, kinds);
    }
}

fn identity(pid: u32) -> ProcessIdentity {
    ProcessIdentity { boot_id: BOOT_ID, pid, start_ticks: u64::from(pid) * 100, pid_namespace: None }
}

const fn observed(outcome: ExitOutcome) -> Exit {
    Exit { outcome, evidence: Evidence::Observed }
}

fn spawned(pid: u32, trigger: StartTrigger) -> Vec<EventKind> {
    vec![EventKind::Starting { identity: Some(identity(pid)), trigger }, EventKind::Running]
}

fn never_spawned(trigger: StartTrigger, cause: RunEnd) -> Vec<EventKind> {
    vec![EventKind::Starting { identity: None, trigger }, EventKind::Crashed { cause }]
}

/// The commits of the history, in order.
pub(crate) fn commits() -> Vec<Vec<NewEvent>> {
    let mut script = Script::default();
    script.system(EventKind::SupervisorStarted { pid: 4_000_000_000, version: "0.1.0".to_owned() });
    run_that_is_killed(&mut script);
    restart_that_cannot_be_spawned(&mut script);
    runs_that_end_by_themselves(&mut script);
    run_of_unknown_end(&mut script);
    script.system(EventKind::Checkpointed { size: 47, chain: [0xc5; 32] });
    script.system(EventKind::StoreRebuilt { cause: "it is missing".to_owned(), set_aside: None });
    let set_aside = Some("sled.set-aside.00000000000000000001".to_owned());
    script.system(EventKind::StoreRebuilt { cause: "it holds nothing".to_owned(), set_aside });
    script.system(EventKind::TailCut { segment: 2, offset: 65_536 });
    script.system(EventKind::SupervisorStopped);
    script.commits
}

fn run_that_is_killed(script: &mut Script) {
    let operator = || Actor::Operator { uid: 1000, user: Some("ada".to_owned()), terminal: Some("pts/0".to_owned()) };
    script.commit(
        WORKER,
        operator(),
        Some("first start, naïve"),
        vec![
            EventKind::Registered { spec: worker(WORKER.process_id) },
            EventKind::StartRequested { trigger: StartTrigger::Start },
        ],
    );
    script.worker(Actor::System, spawned(4242, StartTrigger::Start));
    script.worker(Actor::Health, vec![EventKind::HealthChanged { healthy: false, detail: "no answer".to_owned() }]);
    script.worker(
        Actor::System,
        vec![EventKind::Sampled { cpu_centipercent: 12_345, memory_bytes: 5 << 30, processes: None }],
    );
    script.worker(Actor::Health, vec![EventKind::Unhealthy { failures: 3 }]);
    let variables = vec!["API_KEY".to_owned(), "TOKEN".to_owned()];
    script.worker(Actor::System, vec![EventKind::CredentialRotated { profile: "prod".to_owned(), variables }]);
    let (adapter, detail) = ("shell".to_owned(), "a prompt\u{1b}[0m".to_owned());
    script.worker(Actor::System, vec![EventKind::Observed { adapter, detail }]);
    script.worker(Actor::Recovery, vec![EventKind::Adopted { identity: identity(4242) }]);
    script.worker(
        operator(),
        vec![
            EventKind::Stopping { signal: Signal::TERM, timeout_ms: 10_000, force_kill: true },
            EventKind::SignalSent { signal: Signal::TERM, target: SignalTarget::Group },
        ],
    );
    script.worker(Actor::System, vec![EventKind::SignalFailed { signal: Signal::TERM, errno: 1 }]);
    script.worker(Actor::System, vec![EventKind::SignalSent { signal: Signal::KILL, target: SignalTarget::Process }]);
    script.worker(Actor::System, vec![EventKind::GroupSurvived { pids: vec![4243, 70_000] }]);
    let exit = observed(ExitOutcome::Signal { signal: Signal::KILL, core_dumped: false });
    script.worker(Actor::System, vec![EventKind::Terminated { exit }]);
    script.worker(
        Actor::System,
        vec![
            EventKind::OutputLeaked { source: OutputSource::Stdout },
            EventKind::OutputLeaked { source: OutputSource::Stderr },
        ],
    );
}

fn restart_that_cannot_be_spawned(script: &mut Script) {
    script.worker(Actor::Policy, vec![EventKind::RestartScheduled { attempt: 1, delay_ms: 500 }]);
    let trigger = StartTrigger::Restart { attempt: 1 };
    for (stage, errno, message) in [
        (SpawnStage::Exec, Some(2), "no such program"),
        (SpawnStage::WorkingDirectory, Some(20), "no such directory"),
        (SpawnStage::Fork, None, "no more processes"),
    ] {
        script.worker(Actor::Policy, vec![EventKind::StartRequested { trigger }]);
        let failure = SpawnFailure { stage, errno, message: message.to_owned() };
        script.worker(Actor::System, never_spawned(trigger, RunEnd::SpawnFailed(failure)));
    }
    for rule in [
        RestartRule::BudgetSpent { restarts: 5, max_restarts: 5, window_ms: 600_000 },
        RestartRule::PolicyNever,
        RestartRule::Succeeded,
        RestartRule::StopRequested,
    ] {
        script.worker(Actor::Policy, vec![EventKind::RestartRefused { rule }]);
    }
    script.worker(
        Actor::Operator { uid: 0, user: None, terminal: None },
        vec![EventKind::BudgetReset, EventKind::SpecChanged { spec: worker_changed(WORKER.process_id) }],
    );
    script.worker(Actor::System, vec![EventKind::Unregistered]);
}

fn runs_that_end_by_themselves(script: &mut Script) {
    script.task(vec![
        EventKind::Registered { spec: task(TASK.process_id) },
        EventKind::StartRequested { trigger: StartTrigger::Start },
    ]);
    script.task(spawned(300, StartTrigger::Start));
    script.task(vec![EventKind::Stopped { exit: observed(ExitOutcome::Code(0)) }]);
    let trigger = StartTrigger::Restart { attempt: 300 };
    script.task(vec![EventKind::StartRequested { trigger }]);
    script.task(spawned(301, trigger));
    script.task(vec![EventKind::Crashed { cause: RunEnd::Exit(observed(ExitOutcome::Code(-7))) }]);
    script.task(vec![EventKind::StartRequested { trigger }]);
    script.task(spawned(302, trigger));
    let segv = Signal::from_number(11).unwrap();
    let outcome = ExitOutcome::Signal { signal: segv, core_dumped: true };
    script.task(vec![EventKind::Crashed { cause: RunEnd::Exit(Exit { outcome, evidence: Evidence::Recovered }) }]);
}

fn run_of_unknown_end(script: &mut Script) {
    script.task(vec![EventKind::SpecChanged { spec: task_changed(TASK.process_id) }]);
    script.task(vec![EventKind::StartRequested { trigger: StartTrigger::Start }]);
    script.task(never_spawned(StartTrigger::Start, RunEnd::NeverConfirmed));
    script.task(vec![EventKind::StartRequested { trigger: StartTrigger::Start }]);
    script.task(spawned(303, StartTrigger::Start));
    script.task(vec![EventKind::Stopping { signal: Signal::INT, timeout_ms: u64::MAX, force_kill: false }]);
    script.task(vec![EventKind::Stopped { exit: Exit::UNKNOWN }]);
}

/// The events with the sequence numbers that the ledger gives to them.
pub(crate) fn events() -> Vec<Event> {
    let mut versions = std::collections::HashMap::new();
    let drafts = commits().into_iter().flatten();
    drafts
        .zip(1..)
        .map(|(draft, seq)| {
            let version = versions.entry(draft.stream).and_modify(|version| *version += 1).or_insert(1);
            draft.numbered(seq, *version)
        })
        .collect()
}
