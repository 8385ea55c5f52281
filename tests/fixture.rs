//! A ledger with fixed times and ids, written through the library, with every kind of event of a process.

use std::path::Path;

use apm2_core::{
    process::{
        Actor, EventKind, Evidence, Exit, ExitOutcome, NewEvent, OutputSource, ProcessId, ProcessIdentity, ProcessSpec,
        RedactedSpec, RestartRule, RunEnd, Signal, SignalTarget, SpawnFailure, SpawnStage, StartTrigger, StreamId,
        Timestamp,
    },
    restart::{RestartConfig, RestartPolicy},
};
use apm2_ledger::Ledger;
use uuid::Uuid;

use crate::support::is_so_in_time;

/// 2026-01-31T12:00:00Z.
const BEGINNING_NS: i64 = 1_769_860_800_000_000_000;
const BOOT: Uuid = Uuid::from_u128(0x0b00_0000_0000_4000_8000_0000_0000_0001);
const SECOND_NS: u64 = 1_000_000_000;

/// Writes the ledger into `dir`. Returns the number of its events.
pub(crate) fn write(dir: &Path) -> u64 {
    let ledger = Ledger::open(dir).unwrap();
    let mut script = Script { ledger: &ledger, seconds: 0 };
    build(&mut script);
    web(&mut script);
    hostile(&mut script);
    let size = ledger.reader().head().unwrap().size;
    ledger.close().unwrap();
    size
}

/// Writes a ledger whose only process, `long`, has more events than fit into a pipe.
pub(crate) fn write_long(dir: &Path) {
    let ledger = Ledger::open(dir).unwrap();
    let mut script = Script { ledger: &ledger, seconds: 0 };
    let mut pen = pen(0x0404_0404_0404_4404_8404_0404_0404_0404, 0);
    let spec = ProcessSpec::builder().id(pen.stream.process_id).name("long").command("true").build();
    script.by_system(&mut pen, vec![registered(&spec), EventKind::StartRequested { trigger: StartTrigger::Start }]);
    script.by_system(&mut pen, up(7000, StartTrigger::Start));
    script
        .by_system(&mut pen, vec![EventKind::Sampled { cpu_centipercent: 1, memory_bytes: 1, processes: None }; 1000]);
    ledger.close().unwrap();
}

/// Writes a ledger of small sealed segments: processes that were unregistered, then one that was not.
pub(crate) fn write_sealed(dir: &Path) {
    let options = apm2_ledger::Options { segment_bytes: 8 * 1024, ..apm2_ledger::Options::default() };
    let ledger = Ledger::open_with(dir, &options).unwrap();
    let mut script = Script { ledger: &ledger, seconds: 0 };
    for number in 1..=4_u128 {
        let mut pen = pen(0x0606_0606_0606_4606_8606_0606_0606_0600 + (number << 120), 0);
        let name = format!("old-{number}");
        let spec = ProcessSpec::builder().id(pen.stream.process_id).name(&name).command("true").build();
        script.by_system(&mut pen, vec![registered(&spec)]);
        for _ in 0..30 {
            script.by_system(&mut pen, vec![EventKind::BudgetReset]);
        }
        if number < 4 {
            script.by_system(&mut pen, vec![EventKind::Unregistered]);
        }
    }
    wait_until_sealed(dir);
    ledger.close().unwrap();
}

/// Writes a ledger of so many sealed segments that a second thread reads their states: 80 processes that were registered.
pub(crate) fn write_many_sealed(dir: &Path) {
    let options = apm2_ledger::Options { segment_bytes: 2 * 1024, ..apm2_ledger::Options::default() };
    let ledger = Ledger::open_with(dir, &options).unwrap();
    let mut script = Script { ledger: &ledger, seconds: 0 };
    for number in 1..=80_u128 {
        let mut pen = pen(0x0707_0707_0707_4707_8707_0707_0707_0700 + (number << 120), 0);
        // The argument fills half of a segment.
        let argument = "word ".repeat(180);
        let named = ProcessSpec::builder().id(pen.stream.process_id).name(format!("p{number}"));
        script.by_system(&mut pen, vec![registered(&named.command("true").args([argument]).build())]);
    }
    let sealed = wait_until_sealed(dir);
    assert!(sealed >= 32, "{sealed} segments");
    ledger.close().unwrap();
}

/// Waits until every segment but the last is sealed. Returns their number.
fn wait_until_sealed(dir: &Path) -> usize {
    let files = |extension: &str| {
        let names = std::fs::read_dir(dir.join("journal")).unwrap().map(|entry| entry.unwrap().path());
        names.filter(|path| path.extension().is_some_and(|found| found == extension)).count()
    };
    assert!(is_so_in_time(|| files("sealed") + 1 >= files("seg")), "the full segments are not sealed");
    files("sealed")
}

/// Writes a ledger whose only process, `unseen`, ended without a supervisor.
pub(crate) fn write_unobserved(dir: &Path) {
    let ledger = Ledger::open(dir).unwrap();
    let mut script = Script { ledger: &ledger, seconds: 0 };
    let mut pen = pen(0x0505_0505_0505_4505_8505_0505_0505_0505, 0);
    let spec = ProcessSpec::builder().id(pen.stream.process_id).name("unseen").command("true").build();
    script.by_system(&mut pen, vec![registered(&spec), EventKind::StartRequested { trigger: StartTrigger::Start }]);
    script.by_system(&mut pen, up(8000, StartTrigger::Start));
    let not_before = script.stamp();
    script.seconds += 3600;
    let not_after = Timestamp { wall_ns: script.stamp().wall_ns - 1_000_000_000, ..script.stamp() };
    let exit = Exit { outcome: ExitOutcome::Code(7), evidence: Evidence::Recovered };
    let end = EventKind::Crashed { cause: RunEnd::Exit(exit) };
    script.append(&mut pen, Actor::Recovery, None, vec![end, EventKind::EndUnobserved { not_before, not_after }]);
    ledger.close().unwrap();
}

/// Appends events with a second between them.
struct Script<'a> {
    ledger: &'a Ledger,
    seconds: u64,
}

/// The stream, the actor and the cause of appended events.
struct Pen {
    stream: StreamId,
    version: u64,
    run: u64,
}

impl Script<'_> {
    /// The current second.
    fn stamp(&self) -> Timestamp {
        let wall_ns = BEGINNING_NS + i64::try_from(self.seconds * SECOND_NS).unwrap();
        Timestamp { wall_ns, boot_ns: self.seconds * SECOND_NS, boot_id: BOOT }
    }

    fn append(&mut self, pen: &mut Pen, actor: Actor, cause: Option<u64>, kinds: Vec<EventKind>) {
        self.seconds += 1;
        let stamp = self.stamp();
        let drafts = kinds.into_iter().map(|kind| {
            pen.run += u64::from(matches!(kind, EventKind::StartRequested { .. }));
            let reason = matches!(kind, EventKind::StartRequested { .. }).then(|| "nightly".to_owned());
            let reason = reason.filter(|_| matches!(actor, Actor::Operator { .. }));
            NewEvent { stream: pen.stream, run: pen.run, actor: actor.clone(), reason, cause, stamp, kind }
        });
        let drafts: Vec<_> = drafts.collect();
        let appended = u64::try_from(drafts.len()).unwrap();
        self.ledger.append(pen.stream, pen.version, drafts).unwrap();
        pen.version += appended;
    }

    fn by_operator(&mut self, pen: &mut Pen, kinds: Vec<EventKind>) {
        let ada = Actor::Operator { uid: 1000, user: Some("ada".to_owned()), terminal: Some("pts/0".to_owned()) };
        self.append(pen, ada, None, kinds);
    }

    fn by_system(&mut self, pen: &mut Pen, kinds: Vec<EventKind>) {
        self.append(pen, Actor::System, None, kinds);
    }
}

fn pen(process: u128, instance: u32) -> Pen {
    let process_id = ProcessId::from_bytes(*Uuid::from_u128(process).as_bytes());
    Pen { stream: StreamId { process_id, instance }, version: 0, run: 0 }
}

fn registered(spec: &ProcessSpec) -> EventKind {
    EventKind::Registered { spec: RedactedSpec::new(spec) }
}

fn up(pid: u32, trigger: StartTrigger) -> Vec<EventKind> {
    let identity = ProcessIdentity { boot_id: BOOT, pid, start_ticks: u64::from(pid) * 10, pid_namespace: None };
    vec![EventKind::Starting { identity: Some(identity), trigger }, EventKind::Running]
}

const fn exit(outcome: ExitOutcome) -> Exit {
    Exit { outcome, evidence: Evidence::Observed }
}

/// A process that cannot be spawned, fails, is restarted, is killed by a signal, and gives up.
fn build(script: &mut Script<'_>) {
    let mut pen = pen(0x0101_0101_0101_4101_8101_0101_0101_0101, 0);
    let restart = RestartConfig { policy: RestartPolicy::OnFailure, max_restarts: 2, ..RestartConfig::default() };
    let spec = ProcessSpec::builder()
        .id(pen.stream.process_id)
        .name("build")
        .command("make")
        .args(["-j4", "--token=hunter2", "all targets"])
        .cwd("/srv/build")
        .env("MODE", "hunter2")
        .env("API_TOKEN", "hunter2")
        .restart(restart)
        .build();
    let start = StartTrigger::Start;
    script.by_operator(&mut pen, vec![registered(&spec), EventKind::StartRequested { trigger: start }]);
    let message = "make: No such file or directory (os error 2)".to_owned();
    let failure = SpawnFailure { stage: SpawnStage::Exec, errno: Some(2), message };
    let failed = EventKind::Crashed { cause: RunEnd::SpawnFailed(failure) };
    script.append(
        &mut pen,
        Actor::System,
        Some(2),
        vec![EventKind::Starting { identity: None, trigger: start }, failed],
    );
    let ends =
        [ExitOutcome::Code(2), ExitOutcome::Signal { signal: Signal::from_number(11).unwrap(), core_dumped: true }];
    for ((attempt, outcome), delay_ms) in (1..).zip(ends).zip([1000, 2000]) {
        let trigger = StartTrigger::Restart { attempt };
        let scheduled = EventKind::RestartScheduled { attempt, delay_ms };
        script.append(&mut pen, Actor::Policy, Some(4), vec![scheduled]);
        script.append(&mut pen, Actor::Policy, Some(5), vec![EventKind::StartRequested { trigger }]);
        script.by_system(&mut pen, up(4000 + attempt, trigger));
        script.by_system(&mut pen, vec![EventKind::Crashed { cause: RunEnd::Exit(exit(outcome)) }]);
    }
    let rule = RestartRule::BudgetSpent { restarts: 2, max_restarts: 2, window_ms: 600_000 };
    script.append(&mut pen, Actor::Policy, Some(14), vec![EventKind::RestartRefused { rule }]);
}

/// Two instances: one with every kind of event, and one that keeps running.
fn web(script: &mut Script<'_>) {
    let id = 0x0202_0202_0202_4202_8202_0202_0202_0202;
    let (mut first, mut second) = (pen(id, 0), pen(id, 1));
    let spec = ProcessSpec::builder().id(first.stream.process_id).name("web").command("serve").instances(2).build();
    let start = StartTrigger::Start;
    for pen in [&mut first, &mut second] {
        script.by_operator(pen, vec![registered(&spec), EventKind::StartRequested { trigger: start }]);
        script.by_system(pen, up(5000 + pen.stream.instance, start));
    }
    script.by_system(
        &mut second,
        vec![EventKind::Sampled { cpu_centipercent: 1250, memory_bytes: 73_400_320, processes: None }],
    );
    eventful(script, &mut first);
    let signal = Signal::TERM;
    script.by_operator(
        &mut first,
        vec![
            EventKind::Stopping { signal, timeout_ms: 10_000, force_kill: true },
            EventKind::SignalSent { signal, target: SignalTarget::Group },
            EventKind::SignalFailed { signal, errno: 1 },
            EventKind::SignalSent { signal: Signal::KILL, target: SignalTarget::Group },
        ],
    );
    let killed = exit(ExitOutcome::Signal { signal: Signal::KILL, core_dumped: false });
    script.by_system(&mut first, vec![EventKind::Terminated { exit: killed }]);
    script.by_system(
        &mut first,
        vec![
            EventKind::GroupSurvived { pids: vec![5002, 5003] },
            EventKind::OutputLeaked { source: OutputSource::Stdout },
            EventKind::SpecChanged { spec: RedactedSpec::new(&spec) },
            EventKind::BudgetReset,
            EventKind::RestartRefused { rule: RestartRule::StopRequested },
        ],
    );
    script.append(&mut first, Actor::Policy, None, vec![EventKind::StartRequested { trigger: start }]);
    let never =
        [EventKind::Starting { identity: None, trigger: start }, EventKind::Crashed { cause: RunEnd::NeverConfirmed }];
    script.append(&mut first, Actor::Recovery, None, never.to_vec());
    script.by_operator(&mut first, vec![EventKind::Unregistered]);
}

fn eventful(script: &mut Script<'_>, pen: &mut Pen) {
    let adopted = ProcessIdentity { boot_id: BOOT, pid: 5000, start_ticks: 50_000, pid_namespace: None };
    script.by_system(
        pen,
        vec![
            EventKind::Sampled { cpu_centipercent: 150, memory_bytes: 1_048_576, processes: None },
            EventKind::Observed { adapter: "claude".to_owned(), detail: "session began".to_owned() },
            EventKind::CredentialRotated { profile: "work".to_owned(), variables: vec!["API_TOKEN".to_owned()] },
        ],
    );
    script.append(pen, Actor::Recovery, None, vec![EventKind::Adopted { identity: adopted }]);
    script.append(
        pen,
        Actor::Health,
        None,
        vec![
            EventKind::HealthChanged { healthy: false, detail: "status 503".to_owned() },
            EventKind::Unhealthy { failures: 3 },
        ],
    );
}

/// A process whose recorded text contains control and invisible characters.
fn hostile(script: &mut Script<'_>) {
    let mut pen = pen(0x0202_0303_0303_4303_8303_0303_0303_0303, 0);
    let spec = ProcessSpec::builder()
        .id(pen.stream.process_id)
        .name("hostile\x1b[2J")
        .command("./\x1b]0;owned\x07")
        .args(["\u{202e}gnp.exe", "line\nbreak", "it's"])
        .cwd("/tmp/\r\u{9b}31m")
        .env("\x1b[31mRED", "x")
        .build();
    let actor = Actor::Operator { uid: 7, user: Some("eve\x1b[8m".to_owned()), terminal: None };
    script.append(&mut pen, actor, None, vec![registered(&spec)]);
    script.by_system(&mut pen, vec![EventKind::StartRequested { trigger: StartTrigger::Start }]);
    script.by_system(&mut pen, up(6000, StartTrigger::Start));
    let detail = "\u{200b}\u{feff}invisible\u{2028}".to_owned();
    script.by_system(&mut pen, vec![EventKind::Observed { adapter: "\x08".to_owned(), detail }]);
    let exit = exit(ExitOutcome::Code(0));
    script.by_system(&mut pen, vec![EventKind::Stopped { exit }]);
}
