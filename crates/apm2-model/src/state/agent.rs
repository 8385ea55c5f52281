//! The state of an AI agent, computed from its recorded reports: its session, what it does, what it has used, and how it
//! ended its latest run.

use std::time::Duration;

use crate::{
    event::{
        agent::{
            breach::BudgetScope,
            class::FailureClass,
            event::{AgentEvent, AgentPhase, LimitStatus, SkippedLines, ToolCall},
            finding::AgentFinding,
            label::Label,
            outcome::AgentOutcome,
            report::{AgentReport, OutputPosition},
            usage::TokenUsage,
        },
        timestamp::Timestamp,
    },
    spec::{agent_kind::AgentKind, config::reaction::Reaction},
    state::agent_clock::{AgentClock, day_of},
};

/// Largest number of tool calls in progress that are kept.
pub const OPEN_CALLS_MAX: usize = 64;

/// Length of a run below which its failure is quick.
pub const QUICK_RUN: Duration = Duration::from_secs(10);

/// What an agent has used and done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AgentTotals {
    /// The tokens.
    pub usage: TokenUsage,
    /// The cost in millionths of a US dollar, as far as the agent said it.
    pub cost_micros: u64,
    /// The number of turns that ended.
    pub turns: u32,
    /// The number of tool calls that ended.
    pub tool_calls: u32,
    /// The number of tool calls that were not permitted.
    pub denials: u32,
}

/// A session of an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentSession {
    /// The identifier of the session.
    pub id: Label,
    /// The model, where the agent says it.
    pub model: Option<Label>,
    /// The version of the agent program, where it says it.
    pub agent_version: Option<Label>,
    /// Whether the latest run went on with a session of an earlier run.
    pub is_resumed: bool,
    /// What was used and done in the session, over all its runs.
    pub totals: AgentTotals,
    /// What its turns reported. An agent's own totals of a later run contain this, and nothing of a turn that was interrupted.
    pub reported: ReportedTurns,
}

/// What the turns of a run or of a session reported.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReportedTurns {
    /// The number of turns.
    pub turns: u32,
    /// Their tokens.
    pub usage: TokenUsage,
    /// Their cost in millionths of a US dollar; `None` if none has a cost.
    pub cost_micros: Option<u64>,
}

/// A limit that the agent reported last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentLimit {
    /// Whether requests are refused.
    pub status: LimitStatus,
    /// The class of the limit.
    pub class: FailureClass,
    /// The name of the limit.
    pub window: Option<Label>,
    /// When the limit is reset, in seconds since the epoch.
    pub resets_at: Option<i64>,
}

/// How an agent ended a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AgentEnd {
    /// The outcome.
    pub outcome: AgentOutcome,
    /// Why it failed; `None` after a success.
    pub class: Option<FailureClass>,
    /// Whether another run with the same arguments would fail in the same way.
    pub is_permanent: bool,
}

/// The state of an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentState {
    /// The kind of the agent.
    pub kind: AgentKind,
    /// The latest session.
    pub session: Option<AgentSession>,
    /// What the agent did at its latest report.
    pub phase: AgentPhase,
    /// The tool calls in progress, with their begin, oldest first; [`OPEN_CALLS_MAX`] at most.
    pub open_calls: Vec<(ToolCall, Timestamp)>,
    /// Whether the latest run has reported its session.
    pub is_session_started: bool,
    /// The totals of the latest run.
    pub run: AgentTotals,
    /// What the turns of the latest run reported.
    pub reported: ReportedTurns,
    /// The number of turns of the latest run as the agent counts them.
    pub agent_turns: u32,
    /// Whether the agent has reported the result of its latest run, and began nothing after that.
    pub is_finished: bool,
    /// The totals of all runs.
    pub all: AgentTotals,
    /// The totals of the day of the latest event, as its clock has it.
    pub day: AgentTotals,
    /// The tokens of the turn in progress, as far as they are known. They are in no total yet.
    pub in_turn: TokenUsage,
    /// The time for which the agent has run.
    pub clock: AgentClock,
    /// What was found in the latest run, if it is a reason to stop the agent, and what follows the stop.
    pub found: Option<(AgentFinding, Reaction)>,
    /// Whether the next start waits for a usage limit that another agent of the account has met.
    pub waits_for_account: bool,
    /// The number of tasks in the background.
    pub background_tasks: u32,
    /// How the latest run ended by the agent's account; `None` as long as it has not ended.
    pub end: Option<AgentEnd>,
    /// The HTTP status of the failure that ended the latest run, where the agent said it.
    pub http_status: Option<u16>,
    /// A failure that the agent reported and that no end of a turn or of the run has followed.
    pub open_failure: Option<(FailureClass, Option<u16>)>,
    /// The limit that was reported last in the latest run.
    pub limit: Option<AgentLimit>,
    /// Whether the latest run was started to go on with a session.
    pub goes_on: bool,
    /// The number of quick failures in a row of runs that went on with a session.
    pub quick_failures: u32,
    /// The number of runs in a row that a limit ended, since the model last answered. Gives the wait before the next run where no reset
    /// time is known.
    pub limited_runs: u32,
    /// Lines that were not used, over all runs.
    pub skipped: SkippedLines,
    /// Where the next line of its standard output begins.
    pub read_to: OutputPosition,
    /// When the latest report was made.
    pub reported_at: Timestamp,
}

impl AgentTotals {
    /// Adds other totals.
    pub fn add(&mut self, other: Self) {
        self.usage = self.usage.plus(other.usage);
        self.cost_micros = self.cost_micros.saturating_add(other.cost_micros);
        self.turns = self.turns.saturating_add(other.turns);
        self.tool_calls = self.tool_calls.saturating_add(other.tool_calls);
        self.denials = self.denials.saturating_add(other.denials);
    }

    /// What these totals have more than `earlier`, class by class.
    #[must_use]
    pub fn beyond(self, earlier: Self) -> Self {
        let (now, before) = (self.usage, earlier.usage);
        Self {
            usage: TokenUsage {
                input: now.input.saturating_sub(before.input),
                output: now.output.saturating_sub(before.output),
                cache_read: now.cache_read.saturating_sub(before.cache_read),
                cache_creation: now.cache_creation.saturating_sub(before.cache_creation),
                reasoning: now.reasoning.saturating_sub(before.reasoning),
            },
            cost_micros: self.cost_micros.saturating_sub(earlier.cost_micros),
            turns: self.turns.saturating_sub(earlier.turns),
            tool_calls: self.tool_calls.saturating_sub(earlier.tool_calls),
            denials: self.denials.saturating_sub(earlier.denials),
        }
    }
}

impl ReportedTurns {
    fn add(&mut self, usage: TokenUsage, cost_micros: Option<u64>) {
        self.turns = self.turns.saturating_add(1);
        self.usage = self.usage.plus(usage);
        self.cost_micros = match (self.cost_micros, cost_micros) {
            (Some(before), Some(more)) => Some(before.saturating_add(more)),
            (before, more) => before.or(more),
        };
    }
}

impl AgentEnd {
    /// Whether a limit of the account or of the server ended the run, so that waiting helps.
    #[must_use]
    pub const fn is_limited(&self) -> bool {
        matches!(self.class, Some(FailureClass::RateLimit | FailureClass::Overloaded))
    }
}

impl AgentState {
    /// When the limit is reset that ended the latest run, in seconds since the epoch. `None` if no limit ended it, or if the agent did not
    /// say when that limit is reset: a limit of another class has another reset.
    #[must_use]
    pub fn reset_of_limit(&self) -> Option<i64> {
        let class = self.end.filter(AgentEnd::is_limited)?.class?;
        let limit = self.limit.as_ref().filter(|limit| limit.status == LimitStatus::Rejected && limit.class == class);
        limit.and_then(|limit| limit.resets_at)
    }

    /// Whether the latest run ended in success by the agent's account.
    #[must_use]
    pub fn has_succeeded(&self) -> bool {
        self.end.is_some_and(|end| end.outcome == AgentOutcome::Success)
    }

    /// The state of an agent that has reported nothing yet.
    #[must_use]
    pub fn new(kind: AgentKind, now: Timestamp) -> Self {
        Self {
            kind,
            session: None,
            phase: AgentPhase::Starting,
            open_calls: Vec::new(),
            is_session_started: false,
            run: AgentTotals::default(),
            reported: ReportedTurns::default(),
            agent_turns: 0,
            is_finished: false,
            all: AgentTotals::default(),
            day: AgentTotals::default(),
            in_turn: TokenUsage::default(),
            clock: AgentClock { day: day_of(&now), ..AgentClock::default() },
            found: None,
            waits_for_account: false,
            background_tasks: 0,
            end: None,
            http_status: None,
            open_failure: None,
            limit: None,
            goes_on: false,
            quick_failures: 0,
            limited_runs: 0,
            skipped: SkippedLines::default(),
            read_to: OutputPosition::default(),
            reported_at: now,
        }
    }

    /// The tool call in progress; of several, the one that began last.
    #[must_use]
    pub fn tool(&self) -> Option<&ToolCall> {
        self.open_calls.last().map(|(call, _)| call)
    }

    /// Begins a run: what is known of the latest run is reset. The session and all totals stay. For readers that apply the reports
    /// alone, before the first report of each run; a [`Stream`](crate::state::stream::Stream) does it itself.
    pub fn begin_run(&mut self) {
        self.phase = AgentPhase::Starting;
        self.open_calls.clear();
        self.is_session_started = false;
        self.run = AgentTotals::default();
        self.in_turn = TokenUsage::default();
        self.clock.run_ns = 0;
        self.clock.counted_to = None;
        self.found = None;
        self.waits_for_account = false;
        self.reported = ReportedTurns::default();
        self.agent_turns = 0;
        self.is_finished = false;
        self.background_tasks = 0;
        self.end = None;
        self.http_status = None;
        self.open_failure = None;
        self.limit = None;
    }

    /// The process of a run was spawned: its time counts from `now` on.
    pub(crate) fn process_started(&mut self, now: Timestamp) {
        self.clock.counted_to = Some(now);
    }

    /// Ends a run that lasted for `uptime`, if that is known. Counts quick failures of runs that went on with a session.
    pub(crate) fn end_run(&mut self, uptime: Option<Duration>, now: Timestamp) {
        self.count_to(now);
        self.clock.counted_to = None;
        let has_failed = self.end.is_none_or(|end| end.outcome == AgentOutcome::Failure && !end.is_limited());
        let is_quick = has_failed && self.goes_on && uptime.is_some_and(|uptime| uptime < QUICK_RUN);
        self.quick_failures = if is_quick { self.quick_failures.saturating_add(1) } else { 0 };
    }

    /// Applies one report.
    pub fn apply(&mut self, report: &AgentReport, now: Timestamp) {
        self.count_to(now);
        self.kind = report.agent;
        self.read_to = report.read_to;
        self.reported_at = now;
        self.fold(&report.event, now);
    }

    /// Whether the agent was stopped for good, or is about to be.
    #[must_use]
    pub fn stopped_for(&self) -> Option<AgentFinding> {
        let is_final =
            |(finding, reaction): &(AgentFinding, Reaction)| *reaction == Reaction::Stop && !finding.is_after_result();
        self.found.filter(is_final).map(|(finding, _)| finding)
    }

    /// What counts for the budgets of `scope` at `now`, with the turn in progress, and the time in nanoseconds.
    #[must_use]
    pub fn used(&self, scope: BudgetScope, now: &Timestamp) -> (AgentTotals, u64) {
        let clock = self.clock.at(now);
        let (mut totals, time_ns) = match scope {
            BudgetScope::Run => (self.run, clock.run_ns),
            // The new session of the run has not started yet: the one on record is over.
            BudgetScope::Session if !self.goes_on && !self.is_session_started => (self.run, clock.run_ns),
            BudgetScope::Session => return self.session_used(now),
            BudgetScope::Day if clock.day == self.clock.day => (self.day, clock.day_ns),
            BudgetScope::Day => (AgentTotals::default(), clock.day_ns),
        };
        totals.usage = totals.usage.plus(self.in_turn);
        (totals, time_ns)
    }

    /// What counts for the budget of the latest session at `now`, whether or not the latest run goes on with it.
    #[must_use]
    pub fn session_used(&self, now: &Timestamp) -> (AgentTotals, u64) {
        let mut totals = self.session.as_ref().map(|session| session.totals).unwrap_or_default();
        totals.usage = totals.usage.plus(self.in_turn);
        (totals, self.clock.at(now).session_ns)
    }

    /// Counts the time up to `now`. A new day has used nothing.
    fn count_to(&mut self, now: Timestamp) {
        let clock = self.clock.at(&now);
        if clock.day != self.clock.day {
            self.day = AgentTotals::default();
        }
        self.clock = clock;
    }

    fn fold(&mut self, event: &AgentEvent, now: Timestamp) {
        match event {
            AgentEvent::SessionStarted { session_id, model, agent_version, is_resumed, .. } => {
                let earlier = self.session.take().filter(|session| session.id == *session_id);
                if earlier.is_none() {
                    self.clock.session_ns = 0;
                }
                let (totals, reported) = earlier.map(|session| (session.totals, session.reported)).unwrap_or_default();
                self.session = Some(AgentSession {
                    id: session_id.clone(),
                    model: model.clone(),
                    agent_version: agent_version.clone(),
                    is_resumed: *is_resumed,
                    totals,
                    reported,
                });
                self.is_session_started = true;
                self.is_finished = false;
                self.phase = AgentPhase::Model;
            }
            AgentEvent::TurnEnded { usage, cost_micros, .. } => {
                self.open_failure = None;
                self.in_turn = TokenUsage::default();
                self.reported.add(*usage, *cost_micros);
                if let Some(session) = &mut self.session {
                    session.reported.add(*usage, *cost_micros);
                }
                let cost_micros = cost_micros.unwrap_or(0);
                self.add(AgentTotals { usage: *usage, cost_micros, turns: 1, ..AgentTotals::default() });
                self.phase = AgentPhase::Model;
            }
            AgentEvent::ToolStarted { call, .. } => {
                self.add(AgentTotals { tool_calls: 1, ..AgentTotals::default() });
                if self.open_calls.len() < OPEN_CALLS_MAX {
                    self.open_calls.push((call.clone(), now));
                }
                self.is_finished = false;
                self.phase = AgentPhase::Tool;
            }
            AgentEvent::ToolEnded { call, .. } => {
                let open = self.open_calls.len();
                self.open_calls.retain(|(open, _)| open.call_id != call.call_id);
                if open == self.open_calls.len() {
                    self.add(AgentTotals { tool_calls: 1, ..AgentTotals::default() });
                }
                self.phase = if self.open_calls.is_empty() { AgentPhase::Model } else { AgentPhase::Tool };
            }
            AgentEvent::ToolsSummarized { tools, .. } => {
                let calls = tools.iter().fold(0_u32, |sum, count| sum.saturating_add(count.calls));
                self.add(AgentTotals { tool_calls: calls, ..AgentTotals::default() });
            }
            AgentEvent::PermissionDenied { .. } => self.add(AgentTotals { denials: 1, ..AgentTotals::default() }),
            AgentEvent::RateLimited { status, class, window, resets_at, .. } => {
                self.limit =
                    Some(AgentLimit { status: *status, class: *class, window: window.clone(), resets_at: *resets_at });
            }
            AgentEvent::Failed { class, http_status } => {
                self.http_status = *http_status;
                self.open_failure = Some((*class, *http_status));
            }
            AgentEvent::Finished {
                outcome,
                class,
                is_permanent,
                usage,
                cost_micros,
                turns,
                tool_calls,
                denials,
                background_tasks,
                is_reported,
            } => {
                let (usage, cost_micros) = (*usage, cost_micros.unwrap_or(0));
                let of_run =
                    AgentTotals { usage, cost_micros, turns: *turns, tool_calls: *tool_calls, denials: *denials };
                // What the turns did not report, for example of a turn that was interrupted.
                self.add(of_run.beyond(self.run));
                self.in_turn = TokenUsage::default();
                self.background_tasks = *background_tasks;
                self.end = Some(AgentEnd { outcome: *outcome, class: *class, is_permanent: *is_permanent });
                let is_limited = self.end.is_some_and(|end| end.is_limited());
                // Limits that end runs in which the model has answered are no sign that a limit lasts.
                let in_a_row = if self.run.usage.output > 0 { 0 } else { self.limited_runs };
                self.limited_runs = if is_limited { in_a_row.saturating_add(1) } else { 0 };
                self.open_failure = None;
                self.agent_turns = *turns;
                self.is_finished = *is_reported;
                self.open_calls.clear();
                self.phase = AgentPhase::Finished;
            }
            AgentEvent::BackgroundChanged { tasks } => self.background_tasks = *tasks,
            AgentEvent::LinesSkipped(lines) => {
                self.skipped.unknown = self.skipped.unknown.saturating_add(lines.unknown);
                self.skipped.invalid = self.skipped.invalid.saturating_add(lines.invalid);
                self.skipped.cut = self.skipped.cut.saturating_add(lines.cut);
            }
            AgentEvent::SessionChosen { is_resumed, .. } => {
                self.goes_on = *is_resumed;
                if !is_resumed {
                    self.quick_failures = 0;
                }
            }
            AgentEvent::UsageSoFar { usage } => self.in_turn = *usage,
            AgentEvent::BudgetSpent(breach) => self.find(AgentFinding::Budget(*breach), Reaction::Stop),
            AgentEvent::LoopDetected { calls, reaction, .. } => {
                self.find(AgentFinding::Loop { calls: *calls }, *reaction);
            }
            AgentEvent::Stalled { phase, silent_ms, reaction, .. } => {
                self.find(AgentFinding::Silence { phase: *phase, silent_ms: *silent_ms }, *reaction);
            }
            AgentEvent::AccountLimited { .. } => self.waits_for_account = true,
            AgentEvent::Retrying { .. } | AgentEvent::Compacted => {}
        }
    }

    /// Keeps a finding that is a reason to stop the agent. The first one decides.
    fn find(&mut self, finding: AgentFinding, reaction: Reaction) {
        if reaction != Reaction::Record {
            self.found.get_or_insert((finding, reaction));
        }
    }

    /// Adds to the totals of the run, of the session, of the day and of all runs.
    fn add(&mut self, more: AgentTotals) {
        self.run.add(more);
        self.day.add(more);
        self.all.add(more);
        if let Some(session) = &mut self.session {
            session.totals.add(more);
        }
    }
}

#[cfg(test)]
mod tests;
