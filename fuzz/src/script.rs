//! Generates events from arbitrary bytes. Most of the events are valid, so that long sequences are reached.

use apm2_core::agent::{
    AgentEvent, AgentKind, AgentOutcome, AgentReport, FailureClass, Label, OutputPosition, TokenUsage, ToolCall,
};
use apm2_core::process::{
    Actor, EventKind, Evidence, Exit, ExitOutcome, NewEvent, OutputSource, ProcessId, ProcessIdentity, ProcessSpec,
    RedactedSpec, RestartRule, RunEnd, Signal, SignalTarget, SpawnFailure, SpawnStage, StartTrigger, StreamId,
    Timestamp,
};
use apm2_core::shutdown::ShutdownConfig;
use arbitrary::Arbitrary;
use uuid::Uuid;

/// The highest number of events in one commit. Further steps are ignored.
pub const COMMIT_STEPS_MAX: usize = 4;

/// The highest length of a text or a list. A longer one could contain more zero bytes in a row than an event may have,
/// which these targets do not test.
const LENGTH_MAX: usize = 64;

const NANOS_PER_SEC: u64 = 1_000_000_000;
const BOOT_ID: Uuid = Uuid::from_u128(1);

/// One event to append.
#[derive(Debug, Clone, Arbitrary)]
pub struct Step {
    /// The kind of the event.
    pub action: Action,
    /// Seconds since the previous step.
    pub seconds: u8,
    /// The number of the event that is made wrong, if any.
    pub mistake: Mistake,
}

/// A wrong number in an event. Most events have none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mistake {
    /// All numbers are right.
    None,
    /// The event has a wrong run number.
    Run,
    /// The append has a wrong stream version.
    Version,
    /// The event belongs to another stream.
    Stream,
}

impl<'a> Arbitrary<'a> for Mistake {
    fn arbitrary(bytes: &mut arbitrary::Unstructured<'a>) -> arbitrary::Result<Self> {
        Ok(match u8::arbitrary(bytes)? {
            253 => Self::Run,
            254 => Self::Version,
            255 => Self::Stream,
            _ => Self::None,
        })
    }
}

/// How a run ends.
#[derive(Debug, Clone, Copy, Arbitrary)]
#[expect(missing_docs, reason = "as apm2_core::process::ExitOutcome")]
pub enum End {
    Success,
    Code(i32),
    Signal(u8),
    Unknown,
}

/// The event kinds, with their arbitrary values.
#[derive(Debug, Clone, Arbitrary)]
#[expect(missing_docs, reason = "as apm2_core::process::EventKind")]
pub enum Action {
    Register { instances: u8, argument: String },
    ChangeSpec { instances: u8, argument: String },
    Unregister,
    RequestStart { attempt: u8 },
    Spawned { attempt: u8, pid: u16 },
    NotSpawned { attempt: u8 },
    Run,
    Sicken,
    Stop,
    StopEnd(End),
    Crash(End),
    CrashUnspawned { never_confirmed: bool },
    Terminate(End),
    Signal(u8),
    SignalFail,
    GroupSurvive { pids: Vec<u32> },
    ScheduleRestart,
    RefuseRestart,
    ResetBudget,
    ChangeHealth { healthy: bool, detail: String },
    Adopt,
    LeakOutput,
    Sample { cpu_centipercent: u32, memory_bytes: u64 },
    RotateCredential { variable: String },
    Observe { detail: String },
    System,
    Tail { line: String },
    DropOutput { bytes: u64, cause: String },
    EndPreStop { succeeded: bool, detail: String },
}

impl Step {
    /// The event of this step in run `run`, or in a wrong run or stream as [`mistake`](Self::mistake) says.
    #[must_use]
    pub fn draft(&self, stream: StreamId, run: u64, seconds: u64) -> NewEvent {
        let stream = match self.mistake {
            Mistake::Stream => StreamId { instance: stream.instance + 1, ..stream },
            _ => stream,
        };
        let run = if self.mistake == Mistake::Run { run + 1 } else { run };
        let boot_ns = seconds * NANOS_PER_SEC;
        let stamp = Timestamp { wall_ns: boot_ns.cast_signed(), boot_ns, boot_id: BOOT_ID };
        let kind = self.action.kind(stream.process_id);
        NewEvent { stream, run, actor: Actor::System, reason: None, cause: None, stamp, kind }
    }
}

impl Action {
    fn kind(&self, id: ProcessId) -> EventKind {
        match self.clone() {
            Self::Register { instances, argument } => EventKind::Registered { spec: spec(id, instances, &argument) },
            Self::ChangeSpec { instances, argument } => EventKind::SpecChanged { spec: spec(id, instances, &argument) },
            Self::Unregister => EventKind::Unregistered,
            Self::RequestStart { attempt } => EventKind::StartRequested { trigger: trigger(attempt) },
            Self::Spawned { attempt, pid } => {
                EventKind::Starting { identity: Some(identity(pid)), trigger: trigger(attempt) }
            }
            Self::NotSpawned { attempt } => EventKind::Starting { identity: None, trigger: trigger(attempt) },
            Self::Run => EventKind::Running,
            Self::Sicken => EventKind::Unhealthy { failures: 3 },
            Self::Stop => EventKind::Stopping { signal: Signal::TERM, timeout_ms: 10_000, force_kill: true },
            Self::StopEnd(end) => EventKind::Stopped { exit: end.exit() },
            Self::Crash(end) => EventKind::Crashed { cause: RunEnd::Exit(end.exit()) },
            Self::CrashUnspawned { never_confirmed: true } => EventKind::Crashed { cause: RunEnd::NeverConfirmed },
            Self::CrashUnspawned { never_confirmed: false } => {
                let failure =
                    SpawnFailure { stage: SpawnStage::Exec, errno: Some(2), message: "no such file".to_owned() };
                EventKind::Crashed { cause: RunEnd::SpawnFailed(failure) }
            }
            Self::Terminate(end) => EventKind::Terminated { exit: end.exit() },
            Self::Signal(number) => EventKind::SignalSent { signal: signal(number), target: SignalTarget::Group },
            Self::SignalFail => EventKind::SignalFailed { signal: Signal::TERM, errno: 1 },
            Self::GroupSurvive { mut pids } => {
                pids.truncate(LENGTH_MAX);
                EventKind::GroupSurvived { pids }
            }
            Self::ScheduleRestart => EventKind::RestartScheduled { attempt: 1, delay_ms: 1000 },
            Self::RefuseRestart => EventKind::RestartRefused { rule: RestartRule::PolicyNever },
            Self::ResetBudget => EventKind::BudgetReset,
            Self::ChangeHealth { healthy, detail } => EventKind::HealthChanged { healthy, detail: short(&detail) },
            Self::Adopt => EventKind::Adopted { identity: identity(1) },
            Self::LeakOutput => EventKind::OutputLeaked { source: OutputSource::Stdout },
            Self::Sample { cpu_centipercent, memory_bytes } => {
                // Values that need a newer record version are selected by inputs that the existing corpus does not
                // contain, so that the corpus files keep their meaning.
                let processes = (memory_bytes >> 63 == 1).then_some(cpu_centipercent);
                EventKind::Sampled { cpu_centipercent, memory_bytes, processes }
            }
            Self::RotateCredential { variable } => {
                EventKind::CredentialRotated { profile: "p".to_owned(), variables: vec![short(&variable)] }
            }
            // As with `Sample`, selected by inputs that the existing corpus does not contain.
            Self::Observe { detail } if detail.starts_with('\u{1}') => {
                EventKind::Agent { report: Box::new(report(&detail)) }
            }
            Self::Observe { detail } => EventKind::Observed { adapter: "a".to_owned(), detail: short(&detail) },
            Self::System => EventKind::SupervisorStopped,
            Self::Tail { line } if line.is_empty() => EventKind::OrphansEnded { processes: 1 },
            Self::Tail { line } => EventKind::OutputTail { stdout: vec![short(&line)], stderr: Vec::new() },
            Self::DropOutput { bytes, cause } => {
                EventKind::OutputDropped { source: OutputSource::Stderr, bytes, cause: short(&cause) }
            }
            Self::EndPreStop { detail, .. } if detail.is_empty() => {
                let not_before = Timestamp { wall_ns: 0, boot_ns: 0, boot_id: BOOT_ID };
                EventKind::EndUnobserved { not_before, not_after: Timestamp { boot_ns: 1, ..not_before } }
            }
            Self::EndPreStop { succeeded, detail } => {
                EventKind::PreStopEnded { command: "c".to_owned(), succeeded, detail: short(&detail) }
            }
        }
    }
}

/// A report of an agent, selected by the length of `text`.
fn report(text: &str) -> AgentReport {
    let label = Label::new(text).or_else(|| Label::new("l"));
    let usage = TokenUsage { input: text.len() as u64, output: u64::MAX, ..TokenUsage::default() };
    let call = label.clone().map(|label| ToolCall {
        call_id: label.clone(),
        tool: label,
        mcp_server: None,
        parent_call_id: None,
    });
    let event = match (text.len() % 6, label, call) {
        (0, Some(session_id), _) => AgentEvent::SessionStarted {
            session_id,
            model: None,
            agent_version: None,
            permission_mode: None,
            is_resumed: false,
            mcp_servers: Vec::new(),
        },
        (1, ..) => AgentEvent::TurnEnded {
            turn: 1,
            usage,
            cost_micros: Some(u64::MAX),
            duration_ms: None,
            outcome: AgentOutcome::Success,
        },
        (2, _, Some(call)) => AgentEvent::ToolStarted { call, input_bytes: 1 },
        (3, _, Some(call)) => {
            AgentEvent::ToolEnded { call, is_ok: true, exit_code: None, duration_ms: None, output_bytes: 1 }
        }
        (4, ..) => AgentEvent::Finished {
            outcome: AgentOutcome::Failure,
            class: Some(FailureClass::RateLimit),
            is_permanent: false,
            usage,
            cost_micros: None,
            turns: 1,
            tool_calls: u32::MAX,
            denials: 0,
            background_tasks: 0,
            is_reported: true,
        },
        _ => AgentEvent::Compacted,
    };
    let read_to = OutputPosition { generation: 1, offset: text.len() as u64 };
    AgentReport { agent: AgentKind::Custom, event, read_to }
}

impl End {
    fn exit(self) -> Exit {
        let outcome = match self {
            Self::Success => ExitOutcome::Code(0),
            Self::Code(code) => ExitOutcome::Code(code),
            Self::Signal(number) => ExitOutcome::Signal { signal: signal(number), core_dumped: number > 64 },
            Self::Unknown => return Exit::UNKNOWN,
        };
        Exit { outcome, evidence: Evidence::Observed }
    }
}

fn spec(id: ProcessId, instances: u8, argument: &str) -> RedactedSpec {
    let spec = ProcessSpec::builder()
        .id(id)
        .name("p")
        .command("c")
        .args([short(argument)])
        .instances(u32::from(instances % 4))
        .shutdown(ShutdownConfig { end_orphans: instances < 192, ..ShutdownConfig::default() });
    // The builder refuses an argument with a NUL byte. Then a specification without the argument is used.
    let spec = spec.try_build().unwrap_or_else(|_| ProcessSpec::builder().id(id).name("p").command("c").build());
    RedactedSpec::new(&spec)
}

fn short(text: &str) -> String {
    text.chars().take(LENGTH_MAX).collect()
}

fn trigger(attempt: u8) -> StartTrigger {
    match (attempt, attempt % 3) {
        (192.., _) => StartTrigger::Boot,
        (_, 0) => StartTrigger::Start,
        (_, attempt) => StartTrigger::Restart { attempt: u32::from(attempt) },
    }
}

fn identity(pid: u16) -> ProcessIdentity {
    let pid_namespace = (pid >= 1 << 15).then_some(u64::MAX);
    ProcessIdentity { boot_id: BOOT_ID, pid: u32::from(pid) + 1, start_ticks: 1, pid_namespace }
}

/// The lower numbers select SIGKILL and SIGTERM, the signals that the state machine treats differently.
fn signal(number: u8) -> Signal {
    match number {
        0..128 => Signal::KILL,
        128..192 => Signal::TERM,
        _ => Signal::from_number(number - 191).unwrap_or(Signal::CONT),
    }
}
