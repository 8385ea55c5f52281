//! Serialization format of exits, process identities and restart decisions, version 1.

use apm2_model::{
    event::{
        exit::{Evidence, Exit, ExitOutcome, RunEnd, SpawnFailure, SpawnStage},
        identity::ProcessIdentity,
        kind::{OutputSource, RestartRule, SignalTarget, StartTrigger},
    },
    signal::Signal,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::record::{RecordError, agent_finding::FindingV5, agent_words::ClassV4, id::Id, mirrored::mirrored};

mirrored!(EvidenceV1, Evidence, Observed, Recovered, Unknown);

// Record version 2 added `Credentials`, and record version 3 added `Stdin`.
mirrored!(SpawnStageV1, SpawnStage, WorkingDirectory, Fork, Exec, Credentials, Stdin);

mirrored!(SignalTargetV1, SignalTarget, Process, Group);

mirrored!(OutputSourceV1, OutputSource, Stdout, Stderr);

#[derive(Clone, Copy, Serialize, Deserialize)]
enum OutcomeV1 {
    Code(i32),
    Signal { signal: u8, core_dumped: bool },
    Unknown,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) struct ExitV1 {
    outcome: OutcomeV1,
    evidence: EvidenceV1,
}

#[derive(Serialize, Deserialize)]
pub(crate) enum RunEndV1 {
    Exit(ExitV1),
    SpawnFailed { stage: SpawnStageV1, errno: Option<i32>, message: String },
    NeverConfirmed,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) struct IdentityV1 {
    boot_id: Id,
    pid: u32,
    start_ticks: u64,
}

/// A process identity with its PID namespace. Record version 3 added it.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) struct IdentityV3 {
    identity: IdentityV1,
    pid_namespace: u64,
}

/// The process identity in a stream snapshot, with its PID namespace if it is known.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) struct SnapshotIdentity {
    identity: IdentityV1,
    pid_namespace: Option<u64>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) enum TriggerV1 {
    Start,
    Restart {
        attempt: u32,
    },
    /// Added in record version 3.
    Boot,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) enum RestartRuleV1 {
    PolicyNever,
    Succeeded,
    BudgetSpent {
        restarts: u32,
        max_restarts: u32,
        window_ms: u64,
    },
    StopRequested,
    /// Added in record version 2, with all variants below.
    SpawnBudgetSpent {
        failures: u32,
        max_restarts: u32,
        window_ms: u64,
    },
    LaunchUnknown,
    /// Added in record version 4.
    AgentFailed {
        class: ClassV4,
    },
    /// Added in record version 5.
    AgentStopped {
        finding: FindingV5,
    },
}

/// The signal with this number. A number without a signal is an error, because no version of this program writes one.
pub(crate) fn signal(number: u8) -> Result<Signal, RecordError> {
    Signal::from_number(number).ok_or(RecordError::Range("signal"))
}

impl From<Exit> for ExitV1 {
    fn from(exit: Exit) -> Self {
        let outcome = match exit.outcome {
            ExitOutcome::Code(code) => OutcomeV1::Code(code),
            ExitOutcome::Signal { signal, core_dumped } => OutcomeV1::Signal { signal: signal.number(), core_dumped },
            ExitOutcome::Unknown => OutcomeV1::Unknown,
        };
        Self { outcome, evidence: exit.evidence.into() }
    }
}

impl ExitV1 {
    pub(crate) fn into_exit(self) -> Result<Exit, RecordError> {
        let outcome = match self.outcome {
            OutcomeV1::Code(code) => ExitOutcome::Code(code),
            OutcomeV1::Signal { signal: number, core_dumped } => {
                ExitOutcome::Signal { signal: signal(number)?, core_dumped }
            }
            OutcomeV1::Unknown => ExitOutcome::Unknown,
        };
        Ok(Exit { outcome, evidence: self.evidence.into() })
    }
}

impl From<&RunEnd> for RunEndV1 {
    fn from(end: &RunEnd) -> Self {
        match end {
            RunEnd::Exit(exit) => Self::Exit((*exit).into()),
            RunEnd::SpawnFailed(SpawnFailure { stage, errno, message }) => {
                Self::SpawnFailed { stage: (*stage).into(), errno: *errno, message: message.clone() }
            }
            RunEnd::NeverConfirmed => Self::NeverConfirmed,
        }
    }
}

impl RunEndV1 {
    pub(crate) fn into_end(self) -> Result<RunEnd, RecordError> {
        Ok(match self {
            Self::Exit(exit) => RunEnd::Exit(exit.into_exit()?),
            Self::SpawnFailed { stage, errno, message } => {
                RunEnd::SpawnFailed(SpawnFailure { stage: stage.into(), errno, message })
            }
            Self::NeverConfirmed => RunEnd::NeverConfirmed,
        })
    }
}

impl From<ProcessIdentity> for IdentityV1 {
    fn from(identity: ProcessIdentity) -> Self {
        let ProcessIdentity { boot_id, pid, start_ticks, pid_namespace: _ } = identity;
        Self { boot_id: Id(boot_id.into_bytes()), pid, start_ticks }
    }
}

impl From<IdentityV1> for ProcessIdentity {
    fn from(identity: IdentityV1) -> Self {
        let IdentityV1 { boot_id, pid, start_ticks } = identity;
        Self { boot_id: Uuid::from_bytes(boot_id.0), pid, start_ticks, pid_namespace: None }
    }
}

impl IdentityV3 {
    /// The record of an identity. `None` when its PID namespace is not known.
    pub(crate) fn of(identity: ProcessIdentity) -> Option<Self> {
        Some(Self { identity: identity.into(), pid_namespace: identity.pid_namespace? })
    }
}

impl From<IdentityV3> for ProcessIdentity {
    fn from(IdentityV3 { identity, pid_namespace }: IdentityV3) -> Self {
        Self { pid_namespace: Some(pid_namespace), ..identity.into() }
    }
}

impl From<ProcessIdentity> for SnapshotIdentity {
    fn from(identity: ProcessIdentity) -> Self {
        Self { identity: identity.into(), pid_namespace: identity.pid_namespace }
    }
}

impl From<SnapshotIdentity> for ProcessIdentity {
    fn from(SnapshotIdentity { identity, pid_namespace }: SnapshotIdentity) -> Self {
        Self { pid_namespace, ..identity.into() }
    }
}

impl From<StartTrigger> for TriggerV1 {
    fn from(trigger: StartTrigger) -> Self {
        match trigger {
            StartTrigger::Start => Self::Start,
            StartTrigger::Restart { attempt } => Self::Restart { attempt },
            StartTrigger::Boot => Self::Boot,
        }
    }
}

impl From<TriggerV1> for StartTrigger {
    fn from(trigger: TriggerV1) -> Self {
        match trigger {
            TriggerV1::Start => Self::Start,
            TriggerV1::Restart { attempt } => Self::Restart { attempt },
            TriggerV1::Boot => Self::Boot,
        }
    }
}

impl From<RestartRule> for RestartRuleV1 {
    fn from(rule: RestartRule) -> Self {
        match rule {
            RestartRule::PolicyNever => Self::PolicyNever,
            RestartRule::Succeeded => Self::Succeeded,
            RestartRule::BudgetSpent { restarts, max_restarts, window_ms } => {
                Self::BudgetSpent { restarts, max_restarts, window_ms }
            }
            RestartRule::SpawnBudgetSpent { failures, max_restarts, window_ms } => {
                Self::SpawnBudgetSpent { failures, max_restarts, window_ms }
            }
            RestartRule::LaunchUnknown => Self::LaunchUnknown,
            RestartRule::AgentFailed { class } => Self::AgentFailed { class: class.into() },
            RestartRule::AgentStopped { finding } => Self::AgentStopped { finding: finding.into() },
            RestartRule::StopRequested => Self::StopRequested,
        }
    }
}

impl From<RestartRuleV1> for RestartRule {
    fn from(rule: RestartRuleV1) -> Self {
        match rule {
            RestartRuleV1::PolicyNever => Self::PolicyNever,
            RestartRuleV1::Succeeded => Self::Succeeded,
            RestartRuleV1::BudgetSpent { restarts, max_restarts, window_ms } => {
                Self::BudgetSpent { restarts, max_restarts, window_ms }
            }
            RestartRuleV1::SpawnBudgetSpent { failures, max_restarts, window_ms } => {
                Self::SpawnBudgetSpent { failures, max_restarts, window_ms }
            }
            RestartRuleV1::LaunchUnknown => Self::LaunchUnknown,
            RestartRuleV1::AgentFailed { class } => Self::AgentFailed { class: class.into() },
            RestartRuleV1::AgentStopped { finding } => Self::AgentStopped { finding: finding.into() },
            RestartRuleV1::StopRequested => Self::StopRequested,
        }
    }
}
