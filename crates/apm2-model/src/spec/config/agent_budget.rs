//! The budgets of an agent: what a run, a session and a day may use.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The budgets of an agent. Default: none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AgentBudgets {
    /// What each run may use.
    pub run: AgentBudget,
    /// What each session may use, over all runs that go on with it.
    pub session: AgentBudget,
    /// What each day of UTC may use, over all runs and sessions.
    pub day: AgentBudget,
    /// The resident memory that all processes of a run may have at a time, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
}

/// What may be used in one scope. `None` is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AgentBudget {
    /// Input tokens, those of both caches included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_tokens: Option<u64>,
    /// Output tokens, those of the reasoning included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_tokens: Option<u64>,
    /// Input and output tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_tokens: Option<u64>,
    /// The cost, in millionths of a US dollar. In text it is a number of US dollars.
    #[serde(rename = "cost_usd", with = "usd", skip_serializing_if = "Option::is_none")]
    pub cost_micros: Option<u64>,
    /// Turns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turns: Option<u64>,
    /// Tool calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_calls: Option<u64>,
    /// The time for which the process runs.
    #[serde(with = "crate::duration::option", skip_serializing_if = "Option::is_none")]
    pub wall_time: Option<Duration>,
}

impl AgentBudgets {
    /// The budgets of the three scopes.
    #[must_use]
    pub const fn scopes(&self) -> [&AgentBudget; 3] {
        [&self.run, &self.session, &self.day]
    }

    /// Whether a budget limits tokens, so that those of a turn in progress count.
    #[must_use]
    pub fn limit_tokens(&self) -> bool {
        self.scopes().iter().any(|budget| {
            budget.input_tokens.is_some() || budget.output_tokens.is_some() || budget.total_tokens.is_some()
        })
    }
}

/// A number of US dollars, which is held in millionths.
mod usd {
    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    /// Millionths of a US dollar.
    const MICROS: f64 = 1e6;

    /// The largest budget, in US dollars. Up to here, each number of millionths is exact.
    const USD_MAX: f64 = 1e9;

    #[expect(clippy::cast_precision_loss, reason = "exact up to USD_MAX")]
    pub(super) fn serialize<S: Serializer>(micros: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
        match micros {
            Some(micros) => serializer.serialize_f64(*micros as f64 / MICROS),
            None => serializer.serialize_none(),
        }
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked")]
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
        match Option::<f64>::deserialize(deserializer)? {
            Some(usd) if (0.0..=USD_MAX).contains(&usd) => Ok(Some((usd * MICROS).round() as u64)),
            Some(usd) => Err(D::Error::custom(format!("{usd} is not a number of US dollars from 0 to {USD_MAX}"))),
            None => Ok(None),
        }
    }
}
