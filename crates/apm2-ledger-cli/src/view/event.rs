//! JSON view of an event: the common fields, and the fields of its type.

use apm2_model::{
    event::{
        Event,
        actor::Actor,
        exit::RunEnd,
        identity::ProcessIdentity,
        kind::{EventKind, OutputSource, RestartRule, SignalTarget, StartTrigger},
    },
    signal::Signal,
};
use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::{
    render::words::hex,
    steps::{Step, Transition},
    view::{
        agent::{AgentView, FindingView},
        exit::{ExitView, SpawnFailureView},
        run::trigger,
        spec::SpecView,
    },
};

/// The JSON object for one event.
#[derive(Debug, Serialize)]
pub(crate) struct EventView<'a> {
    seq: u64,
    #[serde(serialize_with = "crate::view::time")]
    at: DateTime<Utc>,
    process_id: String,
    instance: u32,
    run: u64,
    version: u64,
    #[serde(rename = "type")]
    kind: &'static str,
    /// The states before and after the event, if the event is a transition.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<&'static str>,
    actor: ActorView<'a>,
    reason: Option<&'a str>,
    /// The sequence number of the event that caused this event.
    cause: Option<u64>,
    #[serde(flatten)]
    detail: Detail<'a>,
}

impl<'a> EventView<'a> {
    pub(crate) fn new(step: &'a Step) -> Self {
        Self::of(&step.event, step.transition)
    }

    pub(crate) fn of(event: &'a Event, transition: Transition) -> Self {
        Self {
            seq: event.seq,
            at: event.stamp.wall(),
            process_id: event.stream.process_id.to_string(),
            instance: event.stream.instance,
            run: event.run,
            version: event.version,
            kind: event.kind.name(),
            from: transition.map(|(from, _)| from),
            to: transition.map(|(_, to)| to),
            actor: (&event.actor).into(),
            reason: event.reason.as_deref(),
            cause: event.cause,
            detail: Detail::new(&event.kind),
        }
    }
}

/// The actor that caused an event: a user, the daemon, or a policy.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum ActorView<'a> {
    Operator { uid: u32, user: Option<&'a str>, terminal: Option<&'a str> },
    Policy,
    Health,
    Recovery,
    System,
}

impl<'a> From<&'a Actor> for ActorView<'a> {
    fn from(actor: &'a Actor) -> Self {
        match actor {
            Actor::Operator { uid, user, terminal } => {
                Self::Operator { uid: *uid, user: user.as_deref(), terminal: terminal.as_deref() }
            }
            Actor::Policy => Self::Policy,
            Actor::Health => Self::Health,
            Actor::Recovery => Self::Recovery,
            Actor::System => Self::System,
        }
    }
}

/// The fields of each event type. Their names differ from the field names of [`EventView`], with which they are
/// combined.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Detail<'a> {
    Empty {},
    Spec {
        spec: SpecView<'a>,
    },
    Start {
        trigger: &'static str,
        attempt: Option<u32>,
    },
    Starting {
        trigger: &'static str,
        attempt: Option<u32>,
        #[serde(flatten)]
        identity: IdentityView,
    },
    Adopted(IdentityView),
    Unhealthy {
        failures: u32,
    },
    Stopping {
        signal: Signal,
        timeout_ms: u64,
        force_kill: bool,
    },
    Exit {
        exit: ExitView,
    },
    Crashed {
        end: &'static str,
        exit: Option<ExitView>,
        spawn_failure: Option<SpawnFailureView<'a>>,
    },
    SignalSent {
        signal: Signal,
        target: &'static str,
    },
    SignalFailed {
        signal: Signal,
        errno: i32,
    },
    GroupSurvived {
        pids: &'a [u32],
    },
    RestartScheduled {
        attempt: u32,
        delay_ms: u64,
    },
    RestartRefused(RuleView),
    HealthChanged {
        healthy: bool,
        detail: &'a str,
    },
    OutputLeaked {
        source: &'static str,
    },
    Sampled {
        cpu_percent: f64,
        memory_bytes: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        processes: Option<u32>,
    },
    CredentialRotated {
        profile: &'a str,
        variables: &'a [String],
    },
    Observed {
        adapter: &'a str,
        detail: &'a str,
    },
    Agent(AgentView<'a>),
    SupervisorStarted {
        pid: u32,
        supervisor_version: &'a str,
    },
    Checkpointed {
        size: u64,
        chain: String,
    },
    StoreRebuilt {
        problem: &'a str,
        set_aside: Option<&'a str>,
    },
    TailCut {
        segment: u64,
        offset: u64,
    },
    OutputTail {
        stdout: &'a [String],
        stderr: &'a [String],
    },
    OutputDropped {
        source: &'static str,
        bytes: u64,
        problem: &'a str,
    },
    PreStopEnded {
        command: &'a str,
        succeeded: bool,
        detail: &'a str,
    },
    OrphansEnded {
        processes: u32,
    },
    EndUnobserved {
        #[serde(serialize_with = "crate::view::time")]
        not_before: DateTime<Utc>,
        #[serde(serialize_with = "crate::view::time")]
        not_after: DateTime<Utc>,
    },
}

impl<'a> Detail<'a> {
    fn new(kind: &'a EventKind) -> Self {
        use EventKind as K;
        match kind {
            K::Unregistered | K::Running | K::BudgetReset | K::SupervisorStopped => Self::Empty {},
            K::Registered { spec } | K::SpecChanged { spec } => Self::Spec { spec: SpecView::new(spec) },
            K::StartRequested { trigger } => Self::start(*trigger),
            K::Starting { identity, trigger } => Self::starting(*trigger, identity.as_ref()),
            K::Adopted { identity } => Self::Adopted(IdentityView::new(Some(identity))),
            K::Unhealthy { failures } => Self::Unhealthy { failures: *failures },
            K::Stopping { signal, timeout_ms, force_kill } => {
                Self::Stopping { signal: *signal, timeout_ms: *timeout_ms, force_kill: *force_kill }
            }
            K::Stopped { exit } | K::Terminated { exit } => Self::Exit { exit: exit.into() },
            K::Crashed { cause } => Self::crashed(cause),
            K::SignalSent { signal, target } => Self::SignalSent { signal: *signal, target: target_name(*target) },
            K::SignalFailed { signal, errno } => Self::SignalFailed { signal: *signal, errno: *errno },
            K::GroupSurvived { pids } => Self::GroupSurvived { pids },
            K::RestartScheduled { attempt, delay_ms } => {
                Self::RestartScheduled { attempt: *attempt, delay_ms: *delay_ms }
            }
            K::RestartRefused { rule } => Self::RestartRefused(rule.into()),
            K::HealthChanged { healthy, detail } => Self::HealthChanged { healthy: *healthy, detail },
            K::OutputLeaked { source } => Self::OutputLeaked { source: source_name(*source) },
            K::Sampled { cpu_centipercent, memory_bytes, processes } => Self::Sampled {
                cpu_percent: f64::from(*cpu_centipercent) / 100.0,
                memory_bytes: *memory_bytes,
                processes: *processes,
            },
            K::CredentialRotated { profile, variables } => Self::CredentialRotated { profile, variables },
            K::Observed { adapter, detail } => Self::Observed { adapter, detail },
            K::Agent { report } => Self::Agent(AgentView::new(report)),
            K::SupervisorStarted { pid, version } => Self::SupervisorStarted { pid: *pid, supervisor_version: version },
            K::Checkpointed { size, chain } => Self::Checkpointed { size: *size, chain: hex(chain) },
            K::StoreRebuilt { cause, set_aside } => {
                Self::StoreRebuilt { problem: cause, set_aside: set_aside.as_deref() }
            }
            K::TailCut { segment, offset } => Self::TailCut { segment: *segment, offset: *offset },
            K::OutputTail { stdout, stderr } => Self::OutputTail { stdout, stderr },
            K::OutputDropped { source, bytes, cause } => {
                Self::OutputDropped { source: source_name(*source), bytes: *bytes, problem: cause }
            }
            K::PreStopEnded { command, succeeded, detail } => {
                Self::PreStopEnded { command, succeeded: *succeeded, detail }
            }
            K::OrphansEnded { processes } => Self::OrphansEnded { processes: *processes },
            K::EndUnobserved { not_before, not_after } => {
                Self::EndUnobserved { not_before: not_before.wall(), not_after: not_after.wall() }
            }
        }
    }

    const fn start(start: StartTrigger) -> Self {
        let (trigger, attempt) = trigger(start);
        Self::Start { trigger, attempt }
    }

    fn starting(start: StartTrigger, identity: Option<&ProcessIdentity>) -> Self {
        let (trigger, attempt) = trigger(start);
        Self::Starting { trigger, attempt, identity: IdentityView::new(identity) }
    }

    fn crashed(cause: &'a RunEnd) -> Self {
        let (end, exit, spawn_failure) = match cause {
            RunEnd::Exit(exit) => ("exit", Some(exit.into()), None),
            RunEnd::SpawnFailed(failure) => ("spawn_failed", None, Some(failure.into())),
            RunEnd::NeverConfirmed => ("never_confirmed", None, None),
        };
        Self::Crashed { end, exit, spawn_failure }
    }
}

const fn target_name(target: SignalTarget) -> &'static str {
    match target {
        SignalTarget::Process => "process",
        SignalTarget::Group => "group",
    }
}

const fn source_name(source: OutputSource) -> &'static str {
    match source {
        OutputSource::Stdout => "stdout",
        OutputSource::Stderr => "stderr",
    }
}

/// The identity of the process with this pid. All fields are null when no process was created.
#[derive(Debug, Serialize)]
struct IdentityView {
    pid: Option<u32>,
    start_ticks: Option<u64>,
    boot_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid_namespace: Option<u64>,
}

impl IdentityView {
    fn new(identity: Option<&ProcessIdentity>) -> Self {
        Self {
            pid: identity.map(|identity| identity.pid),
            start_ticks: identity.map(|identity| identity.start_ticks),
            boot_id: identity.map(|identity| identity.boot_id.to_string()),
            pid_namespace: identity.and_then(|identity| identity.pid_namespace),
        }
    }
}

/// The rule that refused a restart, with its numbers.
#[derive(Debug, Serialize)]
#[serde(tag = "rule", rename_all = "snake_case")]
pub(crate) enum RuleView {
    PolicyNever,
    Succeeded,
    BudgetSpent { restarts: u32, max_restarts: u32, window_ms: u64 },
    StopRequested,
    SpawnBudgetSpent { failures: u32, max_restarts: u32, window_ms: u64 },
    LaunchUnknown,
    AgentFailed { class: &'static str },
    AgentStopped(FindingView),
}

impl From<&RestartRule> for RuleView {
    fn from(rule: &RestartRule) -> Self {
        match *rule {
            RestartRule::PolicyNever => Self::PolicyNever,
            RestartRule::Succeeded => Self::Succeeded,
            RestartRule::BudgetSpent { restarts, max_restarts, window_ms } => {
                Self::BudgetSpent { restarts, max_restarts, window_ms }
            }
            RestartRule::StopRequested => Self::StopRequested,
            RestartRule::SpawnBudgetSpent { failures, max_restarts, window_ms } => {
                Self::SpawnBudgetSpent { failures, max_restarts, window_ms }
            }
            RestartRule::LaunchUnknown => Self::LaunchUnknown,
            RestartRule::AgentFailed { class } => Self::AgentFailed { class: class.name() },
            RestartRule::AgentStopped { finding } => Self::AgentStopped(finding.into()),
        }
    }
}
