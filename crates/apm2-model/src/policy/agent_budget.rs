//! Which budget of an agent is used up, and when the next limit of time is reached.

use std::time::Duration;

use crate::{
    duration::millis,
    event::{
        agent::breach::{BudgetBreach, BudgetKind, BudgetScope},
        timestamp::Timestamp,
    },
    spec::config::agent_budget::{AgentBudget, AgentBudgets},
    state::{
        agent::{AgentState, AgentTotals},
        agent_clock::AgentClock,
    },
};

const NANOS_PER_MILLI: u64 = 1_000_000;

/// The first budget of a run, a session or the day that is used up at `now`. A number may reach its limit, and time may not.
#[must_use]
pub fn breach(budgets: &AgentBudgets, agent: &AgentState, now: &Timestamp) -> Option<BudgetBreach> {
    of_scopes(budgets).into_iter().find_map(|(scope, budget)| {
        let mut spent = amounts(budget, agent.used(scope, now), scope).into_iter();
        spent.find(|breach| breach.used > breach.limit || (breach.kind == BudgetKind::WallTime && is_reached(breach)))
    })
}

/// The budget of `memory_bytes` if the processes of a run have more.
#[must_use]
pub fn memory_breach(budgets: &AgentBudgets, used: u64) -> Option<BudgetBreach> {
    let limit = budgets.memory_bytes.filter(|limit| used > *limit)?;
    Some(BudgetBreach { scope: BudgetScope::Run, kind: BudgetKind::Memory, limit, used })
}

/// The budget of which nothing is left in the session, so that a run cannot go on with it.
#[must_use]
pub fn spent_session(budgets: &AgentBudgets, agent: &AgentState, now: &Timestamp) -> Option<BudgetBreach> {
    amounts(&budgets.session, agent.session_used(now), BudgetScope::Session).into_iter().find(is_reached)
}

/// The budget of which nothing is left on the day of `now`, so that no run can begin.
#[must_use]
pub fn spent_day(budgets: &AgentBudgets, agent: &AgentState, now: &Timestamp) -> Option<BudgetBreach> {
    amounts(&budgets.day, agent.used(BudgetScope::Day, now), BudgetScope::Day).into_iter().find(is_reached)
}

/// The time until the next budget of time is used up by the run in progress. `None` if no budget limits it. The time of a day ends with
/// the day, and then has to be asked for again.
#[must_use]
pub fn time_left(budgets: &AgentBudgets, agent: &AgentState, now: &Timestamp) -> Option<Duration> {
    let left = of_scopes(budgets).into_iter().filter_map(|(scope, budget)| {
        let (_, used_ns) = agent.used(scope, now);
        let left = budget.wall_time?.saturating_sub(Duration::from_nanos(used_ns));
        Some(if scope == BudgetScope::Day { left.min(AgentClock::left_of_day(now)) } else { left })
    });
    left.min()
}

const fn of_scopes(budgets: &AgentBudgets) -> [(BudgetScope, &AgentBudget); 3] {
    let AgentBudgets { run, session, day, memory_bytes: _ } = budgets;
    [(BudgetScope::Run, run), (BudgetScope::Session, session), (BudgetScope::Day, day)]
}

const fn is_reached(breach: &BudgetBreach) -> bool {
    breach.used >= breach.limit
}

/// What is used of each limit in `budget`, of totals and a time in nanoseconds.
fn amounts(budget: &AgentBudget, used: (AgentTotals, u64), scope: BudgetScope) -> Vec<BudgetBreach> {
    let (AgentTotals { usage, cost_micros, turns, tool_calls, denials: _ }, time_ns) = used;
    let each = [
        (BudgetKind::Cost, budget.cost_micros, cost_micros),
        (BudgetKind::InputTokens, budget.input_tokens, usage.input),
        (BudgetKind::OutputTokens, budget.output_tokens, usage.output),
        (BudgetKind::TotalTokens, budget.total_tokens, usage.input.saturating_add(usage.output)),
        (BudgetKind::Turns, budget.turns, u64::from(turns)),
        (BudgetKind::ToolCalls, budget.tool_calls, u64::from(tool_calls)),
        (BudgetKind::WallTime, budget.wall_time.map(millis), time_ns / NANOS_PER_MILLI),
    ];
    let limited = each.into_iter().filter_map(|(kind, limit, used)| Some((kind, limit?, used)));
    limited.map(|(kind, limit, used)| BudgetBreach { scope, kind, limit, used }).collect()
}

#[cfg(test)]
mod tests;
