//! Serialization format of event kinds. The position of a variant in the enum is part of the format, so new variants
//! are added at the end.

use apm2_model::{
    event::{
        exit::{RunEnd, SpawnStage},
        kind::{EventKind, RestartRule, StartTrigger},
    },
    spec::redact::spec::RedactedSpec,
};
use serde::{Deserialize, Serialize};

use crate::record::{
    RecordError,
    agent::ReportV4,
    agent_finding::ReportV5,
    exit::{
        ExitV1, IdentityV1, IdentityV3, OutputSourceV1, RestartRuleV1, RunEndV1, SignalTargetV1, TriggerV1, signal,
    },
    spec::{SpecV1, SpecV3, SpecV4, SpecV5, agent::needs_version_5, needs_version_3},
    stamp::StampV1,
};

#[derive(Serialize, Deserialize)]
pub(crate) enum KindV1 {
    Registered { spec: Box<SpecV1> },
    SpecChanged { spec: Box<SpecV1> },
    Unregistered,
    StartRequested { trigger: TriggerV1 },
    Starting { identity: Option<IdentityV1>, trigger: TriggerV1 },
    Running,
    Unhealthy { failures: u32 },
    Stopping { signal: u8, timeout_ms: u64, force_kill: bool },
    Stopped { exit: ExitV1 },
    Crashed { cause: RunEndV1 },
    Terminated { exit: ExitV1 },
    SignalSent { signal: u8, target: SignalTargetV1 },
    SignalFailed { signal: u8, errno: i32 },
    GroupSurvived { pids: Vec<u32> },
    RestartScheduled { attempt: u32, delay_ms: u64 },
    RestartRefused { rule: RestartRuleV1 },
    BudgetReset,
    HealthChanged { healthy: bool, detail: String },
    Adopted { identity: IdentityV1 },
    OutputLeaked { source: OutputSourceV1 },
    Sampled { cpu_centipercent: u32, memory_bytes: u64 },
    CredentialRotated { profile: String, variables: Vec<String> },
    Observed { adapter: String, detail: String },
    SupervisorStarted { pid: u32, version: String },
    SupervisorStopped,
    Checkpointed { size: u64, chain: [u8; 32] },
    StoreRebuilt { cause: String, set_aside: Option<String> },
    TailCut { segment: u64, offset: u64 },
    // Added in record version 2.
    OutputTail { stdout: Vec<String>, stderr: Vec<String> },
    OutputDropped { source: OutputSourceV1, bytes: u64, cause: String },
    PreStopEnded { command: String, succeeded: bool, detail: String },
    // Added in record version 3.
    RegisteredV3 { spec: Box<SpecV3> },
    SpecChangedV3 { spec: Box<SpecV3> },
    StartingV3 { identity: IdentityV3, trigger: TriggerV1 },
    AdoptedV3 { identity: IdentityV3 },
    SampledV3 { cpu_centipercent: u32, memory_bytes: u64, processes: u32 },
    OrphansEnded { processes: u32 },
    EndUnobserved { not_before: StampV1, not_after: StampV1 },
    // Added in record version 4.
    Agent { report: Box<ReportV4> },
    RegisteredV4 { spec: Box<SpecV4> },
    SpecChangedV4 { spec: Box<SpecV4> },
    // Added in record version 5.
    AgentV5 { report: Box<ReportV5> },
    RegisteredV5 { spec: Box<SpecV5> },
    SpecChangedV5 { spec: Box<SpecV5> },
}

impl From<&EventKind> for KindV1 {
    fn from(kind: &EventKind) -> Self {
        use EventKind as K;
        if let Some(agent_spec) = of_agent(kind) {
            return agent_spec;
        }
        match kind {
            K::Registered { spec } if needs_version_3(spec) => Self::RegisteredV3 { spec: Box::new(spec.into()) },
            K::Registered { spec } => Self::Registered { spec: Box::new(spec.into()) },
            K::SpecChanged { spec } if needs_version_3(spec) => Self::SpecChangedV3 { spec: Box::new(spec.into()) },
            K::SpecChanged { spec } => Self::SpecChanged { spec: Box::new(spec.into()) },
            K::Unregistered => Self::Unregistered,
            K::StartRequested { trigger } => Self::StartRequested { trigger: (*trigger).into() },
            K::Starting { identity, trigger } => match identity.and_then(IdentityV3::of) {
                Some(identity) => Self::StartingV3 { identity, trigger: (*trigger).into() },
                None => Self::Starting { identity: identity.map(Into::into), trigger: (*trigger).into() },
            },
            K::Running => Self::Running,
            K::Unhealthy { failures } => Self::Unhealthy { failures: *failures },
            K::Stopping { signal, timeout_ms, force_kill } => {
                Self::Stopping { signal: signal.number(), timeout_ms: *timeout_ms, force_kill: *force_kill }
            }
            K::Stopped { exit } => Self::Stopped { exit: (*exit).into() },
            K::Crashed { cause } => Self::Crashed { cause: cause.into() },
            K::Terminated { exit } => Self::Terminated { exit: (*exit).into() },
            K::SignalSent { signal, target } => Self::SignalSent { signal: signal.number(), target: (*target).into() },
            K::SignalFailed { signal, errno } => Self::SignalFailed { signal: signal.number(), errno: *errno },
            K::GroupSurvived { pids } => Self::GroupSurvived { pids: pids.clone() },
            K::RestartScheduled { attempt, delay_ms } => {
                Self::RestartScheduled { attempt: *attempt, delay_ms: *delay_ms }
            }
            K::RestartRefused { rule } => Self::RestartRefused { rule: (*rule).into() },
            K::BudgetReset => Self::BudgetReset,
            K::HealthChanged { healthy, detail } => Self::HealthChanged { healthy: *healthy, detail: detail.clone() },
            K::Adopted { identity } => match IdentityV3::of(*identity) {
                Some(identity) => Self::AdoptedV3 { identity },
                None => Self::Adopted { identity: (*identity).into() },
            },
            K::OutputLeaked { source } => Self::OutputLeaked { source: (*source).into() },
            K::Sampled { cpu_centipercent, memory_bytes, processes } => {
                let (cpu_centipercent, memory_bytes) = (*cpu_centipercent, *memory_bytes);
                match *processes {
                    Some(processes) => Self::SampledV3 { cpu_centipercent, memory_bytes, processes },
                    None => Self::Sampled { cpu_centipercent, memory_bytes },
                }
            }
            K::CredentialRotated { profile, variables } => {
                Self::CredentialRotated { profile: profile.clone(), variables: variables.clone() }
            }
            K::Observed { adapter, detail } => Self::Observed { adapter: adapter.clone(), detail: detail.clone() },
            K::SupervisorStarted { pid, version } => Self::SupervisorStarted { pid: *pid, version: version.clone() },
            K::Checkpointed { size, chain } => Self::Checkpointed { size: *size, chain: *chain },
            K::StoreRebuilt { cause, set_aside } => {
                Self::StoreRebuilt { cause: cause.clone(), set_aside: set_aside.clone() }
            }
            K::TailCut { segment, offset } => Self::TailCut { segment: *segment, offset: *offset },
            K::SupervisorStopped => Self::SupervisorStopped,
            K::Agent { report } => match ReportV4::or_later(report) {
                Ok(report) => Self::Agent { report: Box::new(report) },
                Err(report) => Self::AgentV5 { report: Box::new(report) },
            },
            K::OutputTail { stdout, stderr } => Self::OutputTail { stdout: stdout.clone(), stderr: stderr.clone() },
            K::OutputDropped { source, bytes, cause } => {
                Self::OutputDropped { source: (*source).into(), bytes: *bytes, cause: cause.clone() }
            }
            K::PreStopEnded { command, succeeded, detail } => {
                Self::PreStopEnded { command: command.clone(), succeeded: *succeeded, detail: detail.clone() }
            }
            K::OrphansEnded { processes } => Self::OrphansEnded { processes: *processes },
            K::EndUnobserved { not_before, not_after } => {
                Self::EndUnobserved { not_before: (*not_before).into(), not_after: (*not_after).into() }
            }
        }
    }
}

/// The record of a specification of an agent; `None` for any other event.
fn of_agent(kind: &EventKind) -> Option<KindV1> {
    match kind {
        EventKind::Registered { spec } => Some(match AgentSpec::of(spec)? {
            AgentSpec::V4(spec) => KindV1::RegisteredV4 { spec },
            AgentSpec::V5(spec) => KindV1::RegisteredV5 { spec },
        }),
        EventKind::SpecChanged { spec } => Some(match AgentSpec::of(spec)? {
            AgentSpec::V4(spec) => KindV1::SpecChangedV4 { spec },
            AgentSpec::V5(spec) => KindV1::SpecChangedV5 { spec },
        }),
        _ => None,
    }
}

/// The record of the specification of an agent, in the lowest version that can represent it.
enum AgentSpec {
    V4(Box<SpecV4>),
    V5(Box<SpecV5>),
}

impl AgentSpec {
    fn of(spec: &RedactedSpec) -> Option<Self> {
        let agent = spec.agent.as_ref()?;
        Some(if needs_version_5(agent) {
            Self::V5(Box::new(SpecV5::new(spec, agent)))
        } else {
            Self::V4(Box::new(SpecV4::new(spec, agent)))
        })
    }
}

impl KindV1 {
    pub(crate) fn into_kind(self) -> Result<EventKind, RecordError> {
        use EventKind as K;
        Ok(match self {
            Self::Registered { spec } => K::Registered { spec: spec.into_spec()? },
            Self::SpecChanged { spec } => K::SpecChanged { spec: spec.into_spec()? },
            Self::RegisteredV3 { spec } => K::Registered { spec: spec.into_spec()? },
            Self::SpecChangedV3 { spec } => K::SpecChanged { spec: spec.into_spec()? },
            Self::RegisteredV4 { spec } => K::Registered { spec: spec.into_spec()? },
            Self::SpecChangedV4 { spec } => K::SpecChanged { spec: spec.into_spec()? },
            Self::RegisteredV5 { spec } => K::Registered { spec: spec.into_spec()? },
            Self::SpecChangedV5 { spec } => K::SpecChanged { spec: spec.into_spec()? },
            Self::Unregistered => K::Unregistered,
            Self::StartRequested { trigger } => K::StartRequested { trigger: trigger.into() },
            Self::Starting { identity, trigger } => {
                K::Starting { identity: identity.map(Into::into), trigger: trigger.into() }
            }
            Self::StartingV3 { identity, trigger } => {
                K::Starting { identity: Some(identity.into()), trigger: trigger.into() }
            }
            Self::Running => K::Running,
            Self::Unhealthy { failures } => K::Unhealthy { failures },
            Self::Stopping { signal: number, timeout_ms, force_kill } => {
                K::Stopping { signal: signal(number)?, timeout_ms, force_kill }
            }
            Self::Stopped { exit } => K::Stopped { exit: exit.into_exit()? },
            Self::Crashed { cause } => K::Crashed { cause: cause.into_end()? },
            Self::Terminated { exit } => K::Terminated { exit: exit.into_exit()? },
            Self::SignalSent { signal: number, target } => {
                K::SignalSent { signal: signal(number)?, target: target.into() }
            }
            Self::SignalFailed { signal: number, errno } => K::SignalFailed { signal: signal(number)?, errno },
            Self::GroupSurvived { pids } => K::GroupSurvived { pids },
            Self::RestartScheduled { attempt, delay_ms } => K::RestartScheduled { attempt, delay_ms },
            Self::RestartRefused { rule } => K::RestartRefused { rule: rule.into() },
            Self::BudgetReset => K::BudgetReset,
            Self::HealthChanged { healthy, detail } => K::HealthChanged { healthy, detail },
            Self::Adopted { identity } => K::Adopted { identity: identity.into() },
            Self::AdoptedV3 { identity } => K::Adopted { identity: identity.into() },
            Self::OutputLeaked { source } => K::OutputLeaked { source: source.into() },
            Self::Sampled { cpu_centipercent, memory_bytes } => {
                K::Sampled { cpu_centipercent, memory_bytes, processes: None }
            }
            Self::SampledV3 { cpu_centipercent, memory_bytes, processes } => {
                K::Sampled { cpu_centipercent, memory_bytes, processes: Some(processes) }
            }
            Self::CredentialRotated { profile, variables } => K::CredentialRotated { profile, variables },
            Self::Observed { adapter, detail } => K::Observed { adapter, detail },
            Self::SupervisorStarted { pid, version } => K::SupervisorStarted { pid, version },
            Self::SupervisorStopped => K::SupervisorStopped,
            Self::Checkpointed { size, chain } => K::Checkpointed { size, chain },
            Self::StoreRebuilt { cause, set_aside } => K::StoreRebuilt { cause, set_aside },
            Self::TailCut { segment, offset } => K::TailCut { segment, offset },
            Self::Agent { report } => K::Agent { report: Box::new(report.into_report()?) },
            Self::AgentV5 { report } => K::Agent { report: Box::new(report.into_report()?) },
            Self::OutputTail { stdout, stderr } => K::OutputTail { stdout, stderr },
            Self::OutputDropped { source, bytes, cause } => K::OutputDropped { source: source.into(), bytes, cause },
            Self::PreStopEnded { command, succeeded, detail } => K::PreStopEnded { command, succeeded, detail },
            Self::OrphansEnded { processes } => K::OrphansEnded { processes },
            Self::EndUnobserved { not_before, not_after } => {
                K::EndUnobserved { not_before: not_before.into(), not_after: not_after.into() }
            }
        })
    }
}

/// The lowest record version that can represent this event kind.
pub(crate) fn first_version(kind: &EventKind) -> u8 {
    use EventKind as K;
    match kind {
        K::Agent { report } if ReportV4::or_later(report).is_err() => 5,
        K::RestartRefused { rule: RestartRule::AgentStopped { .. } } => 5,
        K::Registered { spec } | K::SpecChanged { spec } if spec.agent.as_deref().is_some_and(needs_version_5) => 5,
        K::Agent { .. } | K::RestartRefused { rule: RestartRule::AgentFailed { .. } } => 4,
        K::Registered { spec } | K::SpecChanged { spec } if spec.agent.is_some() => 4,
        K::OrphansEnded { .. } | K::EndUnobserved { .. } | K::Sampled { processes: Some(_), .. } => 3,
        K::Registered { spec } | K::SpecChanged { spec } if needs_version_3(spec) => 3,
        K::StartRequested { trigger: StartTrigger::Boot } | K::Starting { trigger: StartTrigger::Boot, .. } => 3,
        K::Starting { identity: Some(identity), .. } | K::Adopted { identity } if identity.pid_namespace.is_some() => 3,
        K::Crashed { cause: RunEnd::SpawnFailed(failure) } if failure.stage == SpawnStage::Stdin => 3,
        K::OutputTail { .. } | K::OutputDropped { .. } | K::PreStopEnded { .. } => 2,
        K::RestartRefused { rule: RestartRule::SpawnBudgetSpent { .. } | RestartRule::LaunchUnknown } => 2,
        K::Crashed { cause: RunEnd::SpawnFailed(failure) } if failure.stage == SpawnStage::Credentials => 2,
        K::Registered { spec } | K::SpecChanged { spec } if spec.restart.jitter_percent > 0 => 2,
        _ => 1,
    }
}
