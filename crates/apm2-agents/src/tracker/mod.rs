//! What is known of a run: its session, turns, tools, limits and totals. The dialects report to it; it decides what is an event.

mod background;
pub(crate) mod limits;
mod messages;
mod sampler;
pub(crate) mod tools;
pub(crate) mod totals;

use std::mem;

use apm2_model::event::{
    agent::{
        class::FailureClass,
        event::{AgentEvent, AgentPhase, LimitStatus, McpServer, SkippedLines},
        label::Label,
        outcome::AgentOutcome,
        usage::TokenUsage,
    },
    timestamp::Timestamp,
};

use crate::{
    classify::Failure,
    record::{OnRecord, SessionOnRecord},
    tracker::{
        background::Background,
        limits::{Limit, Limits},
        messages::Messages,
        tools::{Call, CallEnd, Tools},
        totals::{Figures, Totals},
    },
};

/// Tool calls whose refusal is remembered, so that it is recorded once.
const DENIED_CALLS_MAX: usize = 64;

/// What an agent says of its session.
#[derive(Debug, Default)]
pub(crate) struct SessionFacts {
    pub(crate) model: Option<Label>,
    pub(crate) agent_version: Option<Label>,
    pub(crate) permission_mode: Option<Label>,
    pub(crate) mcp_servers: Vec<McpServer>,
}

/// What an agent says at the end of a turn.
#[derive(Debug)]
pub(crate) struct TurnEnd {
    pub(crate) outcome: AgentOutcome,
    /// Why it failed; used unless the outcome is a success.
    pub(crate) failure: Failure,
    pub(crate) figures: Figures,
    pub(crate) duration_ms: Option<u64>,
    /// The turns as the agent counts them.
    pub(crate) agent_turns: u32,
    /// The tool calls of the run as the agent counts them.
    pub(crate) tool_calls: u32,
}

/// A request to the model that is sent again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Retry {
    /// The number of the attempt; `None` where the agent does not count.
    pub(crate) attempt: Option<u32>,
    pub(crate) attempts_max: Option<u32>,
    pub(crate) delay_ms: Option<u64>,
    pub(crate) http_status: Option<u16>,
    pub(crate) class: FailureClass,
}

/// Retries of one request.
#[derive(Debug, Clone, Copy)]
struct RetrySeries {
    attempts: u32,
    class: FailureClass,
    /// Whether the agent has printed something since. The series goes on if the next attempt has the next number: a request may
    /// break off after a part of its answer.
    is_interrupted: bool,
}

/// The state of one run.
#[derive(Debug, Default)]
pub(crate) struct Tracker {
    /// The session on record, until the run has one of its own.
    resume: Option<SessionOnRecord>,
    session: Option<Label>,
    is_finished: bool,
    /// Whether the run has printed a line of its dialect.
    pub(crate) is_known: bool,
    pub(crate) tools: Tools,
    pub(crate) totals: Totals,
    pub(crate) messages: Messages,
    pub(crate) background: Background,
    limits: Limits,
    retry: Option<RetrySeries>,
    denied: Vec<Label>,
    denials: u32,
    /// Refusals of before a supervisor took over the run, whose calls are not known.
    restored_denials: u32,
    pub(crate) skipped: SkippedLines,
    /// The last error that did not end the run by itself; it explains an end without a result.
    pub(crate) pending: Option<Failure>,
    /// The failure that is recorded already, before the end of the turn.
    reported: Option<Failure>,
    out: Vec<AgentEvent>,
}

impl Tracker {
    /// The state of a run at its beginning, or where a supervisor takes it over.
    pub(crate) fn new(record: OnRecord) -> Self {
        let mut tracker = Self { resume: record.session, ..Self::default() };
        if let Some(run) = record.run {
            if run.is_session_started {
                tracker.session = tracker.resume.as_ref().map(|session| session.id.clone());
                tracker.totals.begin_session(tracker.resume.as_ref());
            }
            tracker.is_known = run.is_session_started;
            tracker.is_finished = run.is_finished;
            tracker.reported = run.failed.map(|(class, http_status)| Failure::new(class, http_status));
            tracker.pending = tracker.reported;
            tracker.denials = run.denials;
            tracker.restored_denials = run.denials;
            tracker.totals.restore(run.turns, run.agent_turns, run.usage, run.cost_micros);
            tracker.messages.restore(run.in_turn);
            tracker.background.restore(run.background_tasks);
            tracker.tools.restore(run.tool_calls, run.open_calls);
        }
        tracker
    }

    /// The events since the last call.
    pub(crate) fn take(&mut self) -> Vec<AgentEvent> {
        mem::take(&mut self.out)
    }

    pub(crate) fn push(&mut self, event: AgentEvent) {
        self.out.push(event);
    }

    pub(crate) const fn is_finished(&self) -> bool {
        self.is_finished
    }

    pub(crate) const fn is_session_started(&self) -> bool {
        self.session.is_some()
    }

    /// What the agent does.
    pub(crate) fn phase(&self) -> AgentPhase {
        if self.is_finished {
            AgentPhase::Finished
        } else if self.tools.in_progress().is_some() {
            AgentPhase::Tool
        } else if self.session.is_some() {
            AgentPhase::Model
        } else {
            AgentPhase::Starting
        }
    }

    /// A session begins or goes on. Recorded once in a run, and for each change of the session.
    pub(crate) fn session(&mut self, id: Option<Label>, facts: SessionFacts) {
        let Some(id) = id else { return };
        if self.session.as_ref() == Some(&id) {
            return;
        }
        let on_record = self.resume.take_if(|session| session.id == id);
        self.totals.begin_session(on_record.as_ref());
        self.session = Some(id.clone());
        self.push(AgentEvent::SessionStarted {
            session_id: id,
            model: facts.model,
            agent_version: facts.agent_version,
            permission_mode: facts.permission_mode,
            is_resumed: on_record.is_some(),
            mcp_servers: facts.mcp_servers,
        });
    }

    /// The agent works: a series of retries is over, and so is the end of an earlier turn.
    pub(crate) fn progress(&mut self) {
        if let Some(series) = &mut self.retry {
            series.is_interrupted = true;
        }
        self.pending = None;
        self.reported = None;
        self.is_finished = false;
    }

    /// The agent reported a failure before the end of its turn.
    pub(crate) fn failed(&mut self, failure: Failure) {
        self.pending = Some(failure);
        self.reported = Some(failure);
        self.push(AgentEvent::Failed { class: failure.class, http_status: failure.http_status });
    }

    /// The failure that the agent reported since it last worked.
    pub(crate) const fn reported(&self) -> Option<Failure> {
        self.reported
    }

    /// A request is sent again. Recorded for the first attempt of a series, and when a known class changes.
    pub(crate) fn retry(&mut self, retry: Retry) {
        let is_next = |series: &RetrySeries| retry.attempt == Some(series.attempts.saturating_add(1));
        let before = self.retry.filter(|series| !series.is_interrupted || is_next(series));
        let attempts = retry.attempt.unwrap_or_else(|| before.map_or(1, |series| series.attempts.saturating_add(1)));
        let class = match before {
            Some(series) if retry.class == FailureClass::Unknown => series.class,
            _ => retry.class,
        };
        self.retry = Some(RetrySeries { attempts, class, is_interrupted: false });
        self.pending = Some(Failure::new(class, retry.http_status));
        if before.is_none_or(|series| series.class != class) {
            let Retry { attempts_max, delay_ms, http_status, .. } = retry;
            self.push(AgentEvent::Retrying { attempt: attempts.max(1), attempts_max, delay_ms, http_status, class });
        }
    }

    /// The state of a limit; recorded if it has changed.
    pub(crate) fn limit(&mut self, limit: Limit) {
        if let Some(event) = self.limits.changed(limit) {
            self.push(event);
        }
    }

    /// A tool was not permitted. Recorded once for each call.
    pub(crate) fn denied(&mut self, call: Option<Label>, tool: Label, reason: Option<Label>) {
        if call.as_ref().is_some_and(|call| self.denied.contains(call)) {
            return;
        }
        self.remember_denied(call);
        self.denials = self.denials.saturating_add(1);
        self.push(AgentEvent::PermissionDenied { tool, reason });
    }

    /// A line repeats the refusals so far. Each that is not on record yet is recorded.
    pub(crate) fn denied_as_repeated(&mut self, call: Option<Label>, tool: Label, reason: Option<Label>) {
        let is_known = call.as_ref().is_some_and(|call| self.denied.contains(call));
        if !is_known && self.restored_denials > 0 {
            self.restored_denials -= 1;
            self.remember_denied(call);
            return;
        }
        self.denied(call, tool, reason);
    }

    fn remember_denied(&mut self, call: Option<Label>) {
        if self.denied.len() >= DENIED_CALLS_MAX {
            self.denied.remove(0);
        }
        self.denied.extend(call);
    }

    /// A tool was called.
    pub(crate) fn tool_started(&mut self, call: Call, now: Timestamp) {
        if let Some(event) = self.tools.started(call, now) {
            self.push(event);
        }
    }

    /// A call of a tool ended.
    pub(crate) fn tool_ended(&mut self, end: CallEnd, now: Timestamp) {
        if let Some(event) = self.tools.ended(end, now) {
            self.push(event);
        }
    }

    /// A call of a tool ended in a line that is cut. Where the identifier of the call is behind the cut it is that of the only call in
    /// progress. The size is that of the part that was read.
    pub(crate) fn cut_tool_ended(&mut self, call_id: Option<Label>, read_bytes: usize, now: Timestamp) {
        let Some(call_id) = call_id.or_else(|| self.tools.only_call().cloned()) else { return };
        let output_bytes = u64::try_from(read_bytes).unwrap_or(u64::MAX);
        let end =
            CallEnd { call_id, tool: None, is_ok: true, exit_code: None, duration_ms: None, output_bytes, hash: None };
        self.tool_ended(end, now);
    }

    /// The number of tasks in the background may have changed.
    pub(crate) fn background_changed(&mut self, before: u32) {
        let tasks = self.background.count();
        if tasks != before {
            self.push(AgentEvent::BackgroundChanged { tasks });
        }
    }

    /// A time has passed: a summary of tools may be due.
    pub(crate) fn tick(&mut self, now: Timestamp) {
        if let Some(event) = self.tools.summary_if_due(now) {
            self.push(event);
        }
    }

    /// A turn ended by the account of the agent. With it the run has its result, until the agent works again.
    pub(crate) fn turn_ended(&mut self, end: TurnEnd, now: Timestamp) {
        let TurnEnd { outcome, failure, figures, duration_ms, agent_turns, tool_calls } = end;
        let figures = if figures.usage == TokenUsage::default() {
            Figures { usage: self.messages.sum(), cost_micros: figures.cost_micros }
        } else {
            figures
        };
        self.messages.clear();
        self.tools.close(tool_calls);
        if outcome == AgentOutcome::Failure {
            self.report_limit(failure.class);
            if self.reported.is_none() {
                self.push(AgentEvent::Failed { class: failure.class, http_status: failure.http_status });
            }
        }
        // A session that could not be resumed has a result without a turn.
        if agent_turns > 0 || figures.usage != TokenUsage::default() {
            let turn = self.totals.add_turn(figures, agent_turns);
            let Figures { usage, cost_micros } = figures;
            self.push(AgentEvent::TurnEnded { turn, usage, cost_micros, duration_ms, outcome });
        }
        self.finish(outcome, failure, true, now);
    }

    /// The run has its result, or ended without one.
    pub(crate) fn finish(&mut self, outcome: AgentOutcome, failure: Failure, is_reported: bool, now: Timestamp) {
        let is_success = outcome == AgentOutcome::Success;
        if let Some(event) = self.tools.summary(now) {
            self.push(event);
        }
        self.is_finished = true;
        self.retry = None;
        self.pending = None;
        self.reported = None;
        self.push(AgentEvent::Finished {
            outcome,
            class: (!is_success).then_some(failure.class),
            is_permanent: !is_success && failure.is_permanent,
            usage: self.totals.usage.plus(self.messages.sum()),
            cost_micros: self.totals.cost_micros,
            turns: self.totals.agent_turns,
            tool_calls: self.tools.calls(),
            denials: self.denials,
            background_tasks: self.background.count(),
            is_reported,
        });
    }

    /// A turn failed because of a limit. A limit that is on record as rejected has its window and reset time there.
    fn report_limit(&mut self, class: FailureClass) {
        let is_limit = matches!(class, FailureClass::RateLimit | FailureClass::Overloaded | FailureClass::Billing);
        if is_limit && !self.limits.is_rejected(class) {
            self.limit(Limit {
                status: LimitStatus::Rejected,
                class,
                window: None,
                used_percent: None,
                resets_at: None,
            });
        }
    }
}
