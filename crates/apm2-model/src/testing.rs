//! Events and streams for the tests of this crate.

use std::time::Duration;

use uuid::Uuid;

use crate::{
    event::{
        Event, NewEvent,
        actor::Actor,
        agent::{
            event::AgentEvent,
            report::{AgentReport, OutputPosition},
        },
        exit::{Evidence, Exit, ExitOutcome, RunEnd, SpawnFailure, SpawnStage},
        identity::ProcessIdentity,
        kind::{EventKind, OutputSource, RestartRule, SignalTarget, StartTrigger},
        stream_id::StreamId,
        timestamp::Timestamp,
    },
    signal::Signal,
    spec::{
        ProcessSpec, agent_kind::AgentKind, config::restart::RestartConfig, id::ProcessId, redact::spec::RedactedSpec,
    },
    state::stream::{IllegalEvent, Stream},
};

/// The process id that all tests of this crate use.
pub(crate) const ID: ProcessId = ProcessId::from_bytes([7; 16]);

/// The run time from which a run counts as sustained (`min_uptime`).
pub(crate) const MIN_UPTIME_SECS: u64 = 10;

/// A time on the boot with number 1, in seconds.
pub(crate) fn at(seconds: u64) -> Timestamp {
    at_boot(1, seconds)
}

/// A time on the boot with this number, in seconds.
pub(crate) fn at_boot(boot: u128, seconds: u64) -> Timestamp {
    let boot_ns = seconds * 1_000_000_000;
    Timestamp { boot_id: Uuid::from_u128(boot), boot_ns, wall_ns: i64::try_from(boot_ns).unwrap() }
}

/// A specification with these restart settings.
pub(crate) fn spec(restart: RestartConfig) -> ProcessSpec {
    let restart = RestartConfig { min_uptime: Duration::from_secs(MIN_UPTIME_SECS), ..restart };
    ProcessSpec::builder().id(ID).name("web").command("server").instances(2).restart(restart).build()
}

pub(crate) fn operator() -> Actor {
    Actor::Operator { uid: 1000, user: None, terminal: None }
}

pub(crate) fn identity(pid: u32) -> ProcessIdentity {
    ProcessIdentity { boot_id: Uuid::from_u128(1), pid, start_ticks: 9, pid_namespace: None }
}

/// An exit with this code. The supervisor observed the exit.
pub(crate) const fn exit(code: i32) -> Exit {
    Exit { outcome: ExitOutcome::Code(code), evidence: Evidence::Observed }
}

/// An end by SIGKILL. The supervisor observed the end.
pub(crate) const fn killed() -> Exit {
    let outcome = ExitOutcome::Signal { signal: Signal::KILL, core_dumped: false };
    Exit { outcome, evidence: Evidence::Observed }
}

pub(crate) const fn crashed(code: i32) -> EventKind {
    EventKind::Crashed { cause: RunEnd::Exit(exit(code)) }
}

pub(crate) fn spawn_failed() -> RunEnd {
    RunEnd::SpawnFailed(SpawnFailure { stage: SpawnStage::Exec, errno: Some(2), message: "no such file".to_owned() })
}

pub(crate) const STOPPING: EventKind = EventKind::Stopping { signal: Signal::TERM, timeout_ms: 5000, force_kill: true };

pub(crate) const SCHEDULED: EventKind = EventKind::RestartScheduled { attempt: 1, delay_ms: 3000 };

/// One event of each kind, in the order in which the kinds are declared.
pub(crate) fn kinds() -> Vec<EventKind> {
    let spec = || RedactedSpec::new(&spec(RestartConfig::default()));
    let trigger = StartTrigger::Start;
    vec![
        EventKind::Registered { spec: spec() },
        EventKind::SpecChanged { spec: spec() },
        EventKind::Unregistered,
        EventKind::StartRequested { trigger },
        EventKind::Starting { identity: Some(identity(7)), trigger },
        EventKind::Running,
        EventKind::Unhealthy { failures: 3 },
        STOPPING,
        EventKind::Stopped { exit: exit(0) },
        crashed(1),
        EventKind::Terminated { exit: killed() },
        EventKind::SignalSent { signal: Signal::TERM, target: SignalTarget::Group },
        EventKind::SignalFailed { signal: Signal::TERM, errno: 1 },
        EventKind::GroupSurvived { pids: vec![8] },
        SCHEDULED,
        EventKind::RestartRefused { rule: RestartRule::StopRequested },
        EventKind::BudgetReset,
        EventKind::HealthChanged { healthy: true, detail: "HTTP 200".to_owned() },
        EventKind::Adopted { identity: identity(8) },
        EventKind::OutputLeaked { source: OutputSource::Stdout },
        EventKind::Sampled { cpu_centipercent: 100, memory_bytes: 1, processes: Some(2) },
        EventKind::CredentialRotated { profile: "p".to_owned(), variables: Vec::new() },
        EventKind::Observed { adapter: "a".to_owned(), detail: "d".to_owned() },
        EventKind::Agent {
            report: Box::new(AgentReport {
                agent: AgentKind::ClaudeCode,
                event: AgentEvent::Compacted,
                read_to: OutputPosition { generation: 1, offset: 2 },
            }),
        },
        EventKind::OutputTail { stdout: Vec::new(), stderr: Vec::new() },
        EventKind::OutputDropped { source: OutputSource::Stderr, bytes: 0, cause: "c".to_owned() },
        EventKind::PreStopEnded { command: "c".to_owned(), succeeded: true, detail: "d".to_owned() },
        EventKind::OrphansEnded { processes: 1 },
        EventKind::EndUnobserved { not_before: at(1), not_after: at(2) },
        EventKind::SupervisorStarted { pid: 1, version: "0".to_owned() },
        EventKind::SupervisorStopped,
        EventKind::Checkpointed { size: 1, chain: [0; 32] },
        EventKind::StoreRebuilt { cause: "c".to_owned(), set_aside: None },
        EventKind::TailCut { segment: 1, offset: 1 },
    ]
}

/// A stream and functions that append events to it.
#[derive(Debug, Clone)]
pub(crate) struct History {
    pub(crate) stream: Stream,
    actor: Actor,
    now: Timestamp,
}

impl History {
    /// An instance that was registered with this specification and never started.
    pub(crate) fn of(spec: &ProcessSpec) -> Self {
        let kind = EventKind::Registered { spec: RedactedSpec::new(spec) };
        let stream = StreamId { process_id: spec.id, instance: 0 };
        let event = NewEvent { stream, run: 0, actor: operator(), reason: None, cause: None, stamp: at(0), kind };
        Self { stream: Stream::begin(&event.numbered(1, 1)).unwrap(), actor: Actor::System, now: at(0) }
    }

    /// An instance that was registered with these restart settings and never started.
    pub(crate) fn under(restart: RestartConfig) -> Self {
        Self::of(&spec(restart))
    }

    /// Sets the time of the next events.
    pub(crate) fn at(mut self, now: Timestamp) -> Self {
        self.now = now;
        self
    }

    /// Sets the actor that causes the next events.
    pub(crate) fn by(mut self, actor: Actor) -> Self {
        self.actor = actor;
        self
    }

    /// The next event of this kind. Its seq is 10 times its version.
    pub(crate) fn next(&self, kind: &EventKind) -> Event {
        let version = self.stream.version + 1;
        let (run, actor, kind) = (self.stream.run_of(kind), self.actor.clone(), kind.clone());
        let draft = NewEvent { stream: self.stream.id, run, actor, reason: None, cause: None, stamp: self.now, kind };
        draft.numbered(version * 10, version)
    }

    /// Applies events of these kinds. Panics if one is refused, or if an invariant does not hold after the last event.
    pub(crate) fn then(mut self, kinds: impl IntoIterator<Item = EventKind>) -> Self {
        for kind in kinds {
            let event = self.next(&kind);
            self.stream.apply(&event).unwrap_or_else(|error| panic!("{}: {error}", kind.name()));
        }
        assert_eq!(self.stream.broken_invariant(), None);
        self
    }

    /// Returns why the next event of this kind is refused. Does not change the stream.
    pub(crate) fn refusal(&self, kind: &EventKind) -> Option<IllegalEvent> {
        self.refusal_of(&self.next(kind))
    }

    /// Returns why this event is refused. Does not change the stream.
    pub(crate) fn refusal_of(&self, event: &Event) -> Option<IllegalEvent> {
        let mut stream = self.stream.clone();
        let refusal = stream.apply(event).err();
        assert!(refusal.is_none() || stream == self.stream, "a refused event changed the stream");
        refusal
    }

    /// Starts the instance successfully.
    pub(crate) fn started(self) -> Self {
        self.started_by(StartTrigger::Start)
    }

    /// Starts the instance successfully with this trigger.
    pub(crate) fn started_by(self, trigger: StartTrigger) -> Self {
        let identity = Some(identity(7));
        self.then([
            EventKind::StartRequested { trigger },
            EventKind::Starting { identity, trigger },
            EventKind::Running,
        ])
    }

    /// Starts the instance without success: no process is spawned.
    pub(crate) fn start_failed(self) -> Self {
        let trigger = StartTrigger::Start;
        self.then([
            EventKind::StartRequested { trigger },
            EventKind::Starting { identity: None, trigger },
            EventKind::Crashed { cause: spawn_failed() },
        ])
    }
}
