//! Serialization format of the settings of an agent, added in record version 4.

use std::time::Duration;

use apm2_model::{
    duration::millis,
    spec::config::agent::{AgentChoice, AgentConfig, OnContextFull},
};
use serde::{Deserialize, Serialize};

use crate::record::{agent::AgentKindV4, mirrored::mirrored};

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
        }
    }
}
