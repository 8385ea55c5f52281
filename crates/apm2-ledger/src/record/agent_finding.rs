//! Serialization format of the findings of agents and of the reports about them, added in record version 5.

use apm2_model::{
    event::agent::{
        breach::{BudgetBreach, BudgetKind, BudgetScope},
        event::{AgentEvent, SessionReason},
        finding::AgentFinding,
        report::{AgentReport, OutputPosition},
    },
    spec::config::reaction::Reaction,
};
use serde::{Deserialize, Serialize};

use crate::record::{
    RecordError,
    agent_words::{AgentKindV4, PhaseV4, UsageV4, label, labels},
    mirrored::mirrored,
};

mirrored!(ScopeV5, BudgetScope, Run, Session, Day);

mirrored!(BudgetKindV5, BudgetKind, InputTokens, OutputTokens, TotalTokens, Cost, Turns, ToolCalls, WallTime, Memory);

mirrored!(ReactionV5, Reaction, Record, Stop, Restart);

#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) struct BreachV5 {
    scope: ScopeV5,
    kind: BudgetKindV5,
    limit: u64,
    used: u64,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) enum FindingV5 {
    Budget(BreachV5),
    Loop { calls: u32 },
    Silence { phase: PhaseV4, silent_ms: u64 },
}

/// A report that version 4 cannot represent.
#[derive(Serialize, Deserialize)]
pub(crate) struct ReportV5 {
    agent: AgentKindV4,
    generation: u64,
    offset: u64,
    event: AgentEventV5,
}

#[derive(Serialize, Deserialize)]
pub(crate) enum AgentEventV5 {
    /// The session was chosen because the budget of the latest one is used up.
    SessionAfterBudget {
        session_id: Option<String>,
        is_resumed: bool,
    },
    /// A silence with a reaction other than to record it.
    Stalled {
        phase: PhaseV4,
        tool: Option<String>,
        silent_ms: u64,
        reaction: ReactionV5,
    },
    UsageSoFar {
        usage: UsageV4,
    },
    BudgetSpent(BreachV5),
    LoopDetected {
        tool: Option<String>,
        calls: u32,
        reaction: ReactionV5,
    },
    AccountLimited {
        account: String,
        resets_at: i64,
    },
}

impl From<BudgetBreach> for BreachV5 {
    fn from(breach: BudgetBreach) -> Self {
        let BudgetBreach { scope, kind, limit, used } = breach;
        Self { scope: scope.into(), kind: kind.into(), limit, used }
    }
}

impl From<BreachV5> for BudgetBreach {
    fn from(record: BreachV5) -> Self {
        let BreachV5 { scope, kind, limit, used } = record;
        Self { scope: scope.into(), kind: kind.into(), limit, used }
    }
}

impl From<AgentFinding> for FindingV5 {
    fn from(finding: AgentFinding) -> Self {
        match finding {
            AgentFinding::Budget(breach) => Self::Budget(breach.into()),
            AgentFinding::Loop { calls } => Self::Loop { calls },
            AgentFinding::Silence { phase, silent_ms } => Self::Silence { phase: phase.into(), silent_ms },
        }
    }
}

impl From<FindingV5> for AgentFinding {
    fn from(record: FindingV5) -> Self {
        match record {
            FindingV5::Budget(breach) => Self::Budget(breach.into()),
            FindingV5::Loop { calls } => Self::Loop { calls },
            FindingV5::Silence { phase, silent_ms } => Self::Silence { phase: phase.into(), silent_ms },
        }
    }
}

impl ReportV5 {
    pub(crate) const fn new(agent: AgentKindV4, read_to: OutputPosition, event: AgentEventV5) -> Self {
        Self { agent, generation: read_to.generation, offset: read_to.offset, event }
    }

    pub(crate) fn into_report(self) -> Result<AgentReport, RecordError> {
        let read_to = OutputPosition { generation: self.generation, offset: self.offset };
        Ok(AgentReport { agent: self.agent.into(), event: self.event.into_event()?, read_to })
    }
}

impl AgentEventV5 {
    fn into_event(self) -> Result<AgentEvent, RecordError> {
        use AgentEvent as E;
        Ok(match self {
            Self::SessionAfterBudget { session_id, is_resumed } => {
                E::SessionChosen { session_id: labels(session_id)?, is_resumed, reason: SessionReason::BudgetSpent }
            }
            Self::Stalled { phase, tool, silent_ms, reaction } => {
                E::Stalled { phase: phase.into(), tool: labels(tool)?, silent_ms, reaction: reaction.into() }
            }
            Self::UsageSoFar { usage } => E::UsageSoFar { usage: usage.into() },
            Self::BudgetSpent(breach) => E::BudgetSpent(breach.into()),
            Self::LoopDetected { tool, calls, reaction } => {
                E::LoopDetected { tool: labels(tool)?, calls, reaction: reaction.into() }
            }
            Self::AccountLimited { account, resets_at } => E::AccountLimited { account: label(&account)?, resets_at },
        })
    }
}
