//! Serialization format of the settings of an agent, added in record version 4, and the additions of version 5.

use std::time::Duration;

use apm2_model::{
    duration::millis,
    spec::config::{
        agent::{AgentChoice, AgentConfig, OnContextFull},
        agent_budget::{AgentBudget, AgentBudgets},
        agent_loop::AgentLoop,
        agent_silence::AgentSilence,
    },
};
use serde::{Deserialize, Serialize};

use crate::record::{agent_finding::ReactionV5, agent_words::AgentKindV4, mirrored::mirrored};

mirrored!(OnContextFullV4, OnContextFull, Fresh, Stop);

#[derive(Serialize, Deserialize)]
pub(crate) struct AgentV4 {
    /// `None` for the choice by the name of the program.
    kind: Option<AgentKindV4>,
    first_args: Vec<String>,
    resume_args: Vec<String>,
    on_context_full: OnContextFullV4,
    limit_wait_max_ms: u64,
}

impl From<&AgentConfig> for AgentV4 {
    fn from(config: &AgentConfig) -> Self {
        Self {
            kind: match config.kind {
                AgentChoice::Auto => None,
                AgentChoice::Kind(kind) => Some(kind.into()),
            },
            first_args: config.first_args.clone(),
            resume_args: config.resume_args.clone(),
            on_context_full: config.on_context_full.into(),
            limit_wait_max_ms: millis(config.limit_wait_max),
        }
    }
}

impl From<AgentV4> for AgentConfig {
    fn from(record: AgentV4) -> Self {
        Self {
            kind: record.kind.map_or(AgentChoice::Auto, |kind| AgentChoice::Kind(kind.into())),
            first_args: record.first_args,
            resume_args: record.resume_args,
            on_context_full: record.on_context_full.into(),
            limit_wait_max: Duration::from_millis(record.limit_wait_max_ms),
            ..Self::default()
        }
    }
}

/// Whether the settings are such that version 4 cannot represent them.
pub(crate) fn needs_version_5(config: &AgentConfig) -> bool {
    let AgentConfig { account, budget, silence, repetition, .. } = config;
    account.is_some()
        || *budget != AgentBudgets::default()
        || *silence != AgentSilence::default()
        || *repetition != AgentLoop::default()
}

#[derive(Serialize, Deserialize)]
struct BudgetV5 {
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    total_tokens: Option<u64>,
    cost_micros: Option<u64>,
    turns: Option<u64>,
    tool_calls: Option<u64>,
    wall_time_ms: Option<u64>,
}

/// The settings of an agent with those that version 5 added.
#[derive(Serialize, Deserialize)]
pub(crate) struct AgentV5 {
    base: AgentV4,
    account: Option<String>,
    run: BudgetV5,
    session: BudgetV5,
    day: BudgetV5,
    memory_bytes: Option<u64>,
    /// The limits before the session starts, for the model, for a tool and after the result.
    silence_ms: [u64; 4],
    on_silence: ReactionV5,
    loop_calls: u32,
    on_loop: ReactionV5,
}

impl From<AgentBudget> for BudgetV5 {
    fn from(budget: AgentBudget) -> Self {
        let AgentBudget { input_tokens, output_tokens, total_tokens, cost_micros, turns, tool_calls, wall_time } =
            budget;
        let wall_time_ms = wall_time.map(millis);
        Self { input_tokens, output_tokens, total_tokens, cost_micros, turns, tool_calls, wall_time_ms }
    }
}

impl From<BudgetV5> for AgentBudget {
    fn from(record: BudgetV5) -> Self {
        let BudgetV5 { input_tokens, output_tokens, total_tokens, cost_micros, turns, tool_calls, wall_time_ms } =
            record;
        let wall_time = wall_time_ms.map(Duration::from_millis);
        Self { input_tokens, output_tokens, total_tokens, cost_micros, turns, tool_calls, wall_time }
    }
}

impl From<&AgentConfig> for AgentV5 {
    fn from(config: &AgentConfig) -> Self {
        let AgentBudgets { run, session, day, memory_bytes } = config.budget;
        let AgentSilence { start, model, tool, result, reaction } = config.silence;
        let AgentLoop { calls, reaction: on_loop } = config.repetition;
        Self {
            base: config.into(),
            account: config.account.clone(),
            run: run.into(),
            session: session.into(),
            day: day.into(),
            memory_bytes,
            silence_ms: [start, model, tool, result].map(millis),
            on_silence: reaction.into(),
            loop_calls: calls,
            on_loop: on_loop.into(),
        }
    }
}

impl From<AgentV5> for AgentConfig {
    fn from(record: AgentV5) -> Self {
        let [start, model, tool, result] = record.silence_ms.map(Duration::from_millis);
        Self {
            account: record.account,
            budget: AgentBudgets {
                run: record.run.into(),
                session: record.session.into(),
                day: record.day.into(),
                memory_bytes: record.memory_bytes,
            },
            silence: AgentSilence { start, model, tool, result, reaction: record.on_silence.into() },
            repetition: AgentLoop { calls: record.loop_calls, reaction: record.on_loop.into() },
            ..record.base.into()
        }
    }
}
