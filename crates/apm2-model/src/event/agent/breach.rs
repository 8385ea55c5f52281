//! A budget of an agent that is used up, with the numbers.

use std::{fmt, time::Duration};

/// Millionths of a US dollar in a cent.
const MICROS_OF_CENT: u64 = 10_000;

/// What a budget applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BudgetScope {
    /// One run, from its start to its exit.
    Run,
    /// One session, over all runs that went on with it.
    Session,
    /// One day of UTC, over all runs and sessions.
    Day,
}

/// What a budget limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BudgetKind {
    /// Input tokens, those of both caches included.
    InputTokens,
    /// Output tokens, those of the reasoning included.
    OutputTokens,
    /// Input and output tokens.
    TotalTokens,
    /// The cost, in millionths of a US dollar.
    Cost,
    /// Turns.
    Turns,
    /// Tool calls.
    ToolCalls,
    /// The time for which the process has run, in milliseconds.
    WallTime,
    /// The resident memory of all processes of the run, in bytes.
    Memory,
}

/// A budget that is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BudgetBreach {
    /// What the budget applies to.
    pub scope: BudgetScope,
    /// What the budget limits, which gives the unit of both numbers.
    pub kind: BudgetKind,
    /// The limit in the settings.
    pub limit: u64,
    /// What was used when the breach was found.
    pub used: u64,
}

impl BudgetScope {
    /// The name of the scope in `snake_case`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Session => "session",
            Self::Day => "day",
        }
    }
}

impl BudgetKind {
    /// The name of the kind in `snake_case`, with its unit where it has one.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::InputTokens => "input_tokens",
            Self::OutputTokens => "output_tokens",
            Self::TotalTokens => "total_tokens",
            Self::Cost => "cost_micros",
            Self::Turns => "turns",
            Self::ToolCalls => "tool_calls",
            Self::WallTime => "wall_time_ms",
            Self::Memory => "memory_bytes",
        }
    }

    /// `amount` with its unit, for a person.
    fn amount(self, amount: u64) -> String {
        match self {
            Self::InputTokens => format!("{amount} input tokens"),
            Self::OutputTokens => format!("{amount} output tokens"),
            Self::TotalTokens => format!("{amount} tokens"),
            Self::Cost => usd(amount),
            Self::Turns => format!("{amount} turns"),
            Self::ToolCalls => format!("{amount} tool calls"),
            Self::WallTime => humantime::format_duration(whole_seconds(amount)).to_string(),
            Self::Memory => format!("{} MiB of memory", amount >> 20),
        }
    }
}

/// `micros` millionths of a US dollar in US dollars: rounded to a cent, or exact below one.
fn usd(micros: u64) -> String {
    if micros > 0 && micros < MICROS_OF_CENT {
        return format!("0.{micros:06} USD");
    }
    let cents = micros.saturating_add(MICROS_OF_CENT / 2) / MICROS_OF_CENT;
    format!("{}.{:02} USD", cents / 100, cents % 100)
}

/// The duration of `millis` in whole seconds, but for one below a second.
const fn whole_seconds(millis: u64) -> Duration {
    if millis < 1000 { Duration::from_millis(millis) } else { Duration::from_secs(millis / 1000) }
}

impl fmt::Display for BudgetBreach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (used, limit) = (self.kind.amount(self.used), self.kind.amount(self.limit));
        let scope = self.scope.name();
        match self.kind {
            BudgetKind::Memory => write!(f, "{used} of {limit} were used"),
            BudgetKind::WallTime => write!(f, "it ran for {used} of {limit} a {scope}"),
            BudgetKind::Cost => write!(f, "{used} of {limit} a {scope} were spent"),
            _ => write!(f, "{used} of {limit} a {scope} were used"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_breach_is_said_with_both_numbers() {
        let breach = |scope, kind, limit, used| BudgetBreach { scope, kind, limit, used }.to_string();
        let (run, session, day) = (BudgetScope::Run, BudgetScope::Session, BudgetScope::Day);
        assert_eq!(breach(day, BudgetKind::Cost, 2_000_000, 2_130_000), "2.13 USD of 2.00 USD a day were spent");
        assert_eq!(breach(run, BudgetKind::Turns, 3, 4), "4 turns of 3 turns a run were used");
        assert_eq!(breach(session, BudgetKind::WallTime, 7_200_000, 7_200_450), "it ran for 2h of 2h a session");
        assert_eq!(
            breach(run, BudgetKind::Memory, 1 << 30, 3 << 29),
            "1536 MiB of memory of 1024 MiB of memory were used"
        );
    }
}
