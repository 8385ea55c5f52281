//! What follows from the report with which an agent ended its run: a wait for a limit, a refusal, or an ordinary end. Which
//! session the next run has.

use std::time::Duration;

use uuid::Uuid;

use crate::{
    event::{
        agent::{
            class::FailureClass,
            event::{LimitStatus, SessionReason},
            finding::AgentFinding,
            label::Label,
        },
        timestamp::Timestamp,
    },
    policy::agent_budget::spent_session,
    spec::{
        agent_kind::AgentKind,
        config::agent::{AgentConfig, OnContextFull},
    },
    state::agent::{AgentEnd, AgentLimit, AgentState},
};

/// The wait after the first run that a limit without a known reset time ended. It doubles with each further such run.
pub const LIMIT_WAIT: Duration = Duration::from_secs(15 * 60);

/// The shortest wait after the first run that a limit ended whose reset time has passed already: the reset may be a little late. It
/// doubles with each further such run. Each further run in a row waits as long at least, for waits use nothing of the restart budget.
pub const PASSED_RESET_WAIT: Duration = Duration::from_secs(30);

/// The greatest random addition to a wait for a reset time, so that the processes of one account do not all start at once. For a
/// short wait, it is at most a quarter of the wait.
pub const RESET_JITTER_MAX: Duration = Duration::from_secs(60);

/// Number of quick failures of resumed runs in a row after which the next run has a new session.
pub const QUICK_FAILURES_MAX: u32 = 2;

/// What an agent's report about its end means for the restart policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgentVerdict {
    /// The agent did what it was asked, whatever its exit code.
    Succeeded,
    /// The agent failed, whatever its exit code.
    Failed,
    /// A limit ended the run. The next run is started after this wait, and uses nothing of the restart budget.
    Wait(Duration),
    /// Another run would fail in the same way.
    Refuse(FailureClass),
    /// The agent was stopped for good.
    Halt(AgentFinding),
}

/// The verdict about the latest run of an agent. `None` if the agent has not reported an end.
#[must_use]
pub fn verdict(config: &AgentConfig, agent: &AgentState, now: &Timestamp, random: u32) -> Option<AgentVerdict> {
    if let Some(finding) = agent.stopped_for() {
        return Some(AgentVerdict::Halt(finding));
    }
    let end = agent.end?;
    Some(match end.class {
        None => AgentVerdict::Succeeded,
        Some(FailureClass::RateLimit | FailureClass::Overloaded) => {
            AgentVerdict::Wait(limit_wait(config, agent, now, random))
        }
        Some(class) if is_refused(config, &end, class) => AgentVerdict::Refuse(class),
        Some(_) => AgentVerdict::Failed,
    })
}

fn is_refused(config: &AgentConfig, end: &AgentEnd, class: FailureClass) -> bool {
    match class {
        FailureClass::Context => config.on_context_full == OnContextFull::Stop,
        // The next run has a new session.
        FailureClass::ResumeInvalid if !config.resume_args.is_empty() => false,
        _ => end.is_permanent,
    }
}

/// The wait until a limit is reset: until its reset time with a random addition, else 30 s doubling if that time has passed and 15 min
/// doubling if it is not known. It is never longer than the settings allow.
fn limit_wait(config: &AgentConfig, agent: &AgentState, now: &Timestamp, random: u32) -> Duration {
    let doublings = agent.limited_runs.saturating_sub(1).min(16);
    let wait = match agent.reset_of_limit().map(|reset| wait_until(reset, now, random)) {
        Some(Some(wait)) if doublings == 0 => wait,
        Some(Some(wait)) => wait.max(PASSED_RESET_WAIT),
        Some(None) => PASSED_RESET_WAIT.saturating_mul(1 << doublings),
        None => LIMIT_WAIT.saturating_mul(1 << doublings),
    };
    wait.min(config.limit_wait_max)
}

/// The wait for the reset of the limit that ended the latest run. `None` if no limit did, or if the reset is over or not known.
#[must_use]
pub fn wait_for_own_limit(config: &AgentConfig, agent: &AgentState, now: &Timestamp, random: u32) -> Option<Duration> {
    let wait = wait_until(agent.reset_of_limit()?, now, random)?;
    Some(wait.min(config.limit_wait_max))
}

/// The wait until a reset time, in seconds since the epoch, with a random addition. `None` if the time has passed.
#[must_use]
pub fn wait_until(reset: i64, now: &Timestamp, random: u32) -> Option<Duration> {
    let left_ns = i128::from(reset) * 1_000_000_000 - i128::from(now.wall_ns);
    let left = (left_ns > 0).then(|| Duration::from_nanos(u64::try_from(left_ns).unwrap_or(u64::MAX)))?;
    Some(left.saturating_add(share(RESET_JITTER_MAX.min(left / 4), random)))
}

/// When the usage limit is reset that the agent has met, for all agents of its account, in seconds since the epoch. It is at most
/// `limit_wait_max` after the report. `None` if the run ended in success: its later requests were answered.
#[must_use]
pub fn reset_for_account(config: &AgentConfig, agent: &AgentState) -> Option<i64> {
    if agent.has_succeeded() {
        return None;
    }
    let is_met = |limit: &&AgentLimit| limit.status == LimitStatus::Rejected && limit.class == FailureClass::RateLimit;
    let reset = agent.limit.as_ref().filter(is_met)?.resets_at?;
    let wait_max_secs = i64::try_from(config.limit_wait_max.as_secs()).unwrap_or(i64::MAX);
    Some(reset.min((agent.reported_at.wall_ns / 1_000_000_000).saturating_add(wait_max_secs)))
}

/// The part `random / 2^32` of `max`.
fn share(max: Duration, random: u32) -> Duration {
    let nanos = (max.as_nanos() * u128::from(random)) >> u32::BITS;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// The session of the next run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NextSession {
    /// The session to go on with; `None` for a new one.
    pub resumed: Option<Label>,
    /// Why this session was chosen.
    pub reason: SessionReason,
}

/// Which session the next run has. Going on needs the settings for it, a known session, and no sign that going on fails.
#[must_use]
pub fn next_session(config: &AgentConfig, agent: Option<&AgentState>, now: &Timestamp) -> NextSession {
    let fresh = |reason| NextSession { resumed: None, reason };
    let session = agent.and_then(|agent| agent.session.as_ref());
    let (Some(agent), Some(session)) = (agent, session) else { return fresh(SessionReason::First) };
    if config.resume_args.is_empty() {
        return fresh(SessionReason::NotConfigured);
    }
    match agent.end.and_then(|end| end.class) {
        Some(FailureClass::Context) => return fresh(SessionReason::ContextFull),
        Some(FailureClass::ResumeInvalid) => return fresh(SessionReason::ResumeInvalid),
        _ => {}
    }
    if spent_session(&config.budget, agent, now).is_some() {
        return fresh(SessionReason::BudgetSpent);
    }
    if agent.quick_failures >= QUICK_FAILURES_MAX {
        return fresh(SessionReason::QuickFailures);
    }
    // `codex exec resume` with any other text begins a new session without a word.
    if agent.kind == AgentKind::Codex && Uuid::parse_str(session.id.as_str()).is_err() {
        return fresh(SessionReason::ResumeInvalid);
    }
    NextSession { resumed: Some(session.id.clone()), reason: SessionReason::Resume }
}

#[cfg(test)]
mod tests;
