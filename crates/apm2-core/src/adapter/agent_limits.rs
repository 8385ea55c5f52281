//! What the supervisor itself reports about a run of an agent: silence, loops and the tokens of the turn in progress.

use std::time::Duration;

use apm2_agents::reader::AgentReader;
use apm2_model::{
    duration::millis,
    event::{
        agent::{event::AgentEvent, usage::TokenUsage},
        timestamp::Timestamp,
    },
    policy::agent_silence,
    spec::config::agent::AgentConfig,
};

use crate::adapter::AdapterContext;

/// Shortest time between two reports of the tokens of the turn in progress.
const USAGE_INTERVAL: Duration = Duration::from_secs(10);

/// The settings of an agent, and what was reported about its present run.
pub(crate) struct AgentLimits {
    config: AgentConfig,
    /// When this supervisor first looked at the run. A silence before is not measured.
    since: Option<Timestamp>,
    /// Whether the present silence is reported.
    is_silent: bool,
    /// Whether the present series of equal tool calls is reported.
    is_loop: bool,
    /// The tokens of the turn in progress that were reported last, and when.
    reported: Option<(Timestamp, TokenUsage)>,
}

impl AgentLimits {
    pub(crate) const fn new(config: AgentConfig) -> Self {
        Self { config, since: None, is_silent: false, is_loop: false, reported: None }
    }

    /// A run begins, or is taken over.
    pub(crate) fn begin(&mut self) {
        self.since = None;
        self.is_silent = false;
        self.is_loop = false;
        self.reported = None;
    }

    /// What follows from a line of output.
    pub(crate) fn line(&mut self, reader: &AgentReader) -> Option<AgentEvent> {
        let (limit, calls) = (self.config.repetition.calls, reader.loop_count());
        let was_loop = std::mem::replace(&mut self.is_loop, limit > 0 && calls >= limit);
        (self.is_loop && !was_loop).then(|| AgentEvent::LoopDetected {
            tool: reader.tool_in_progress().cloned(),
            calls,
            reaction: self.config.repetition.reaction,
        })
    }

    /// What follows from the time that has passed.
    pub(crate) fn tick(&mut self, reader: &AgentReader, context: &AdapterContext<'_>) -> Vec<AgentEvent> {
        let since = *self.since.get_or_insert(context.now);
        let watched = context.now.nanos_since(&since).map_or(Duration::ZERO, Duration::from_nanos);
        let silence = self.silence(reader, context.meter.silent.min(watched));
        self.usage(reader, context.now).into_iter().chain(silence).collect()
    }

    fn silence(&mut self, reader: &AgentReader, silent: Duration) -> Option<AgentEvent> {
        let phase = reader.phase();
        let limit = agent_silence::limit_of(&self.config.silence, phase, reader.background_tasks());
        let was_silent = std::mem::replace(&mut self.is_silent, limit.is_some_and(|limit| silent >= limit));
        (self.is_silent && !was_silent).then(|| AgentEvent::Stalled {
            phase,
            tool: reader.tool_in_progress().cloned(),
            silent_ms: millis(silent),
            reaction: agent_silence::reaction(&self.config.silence, phase),
        })
    }

    /// The tokens of the turn in progress, if they have changed and a budget limits tokens.
    fn usage(&mut self, reader: &AgentReader, now: Timestamp) -> Option<AgentEvent> {
        let usage = reader.usage_in_turn();
        if usage == TokenUsage::default() || !self.config.budget.limit_tokens() {
            return None;
        }
        let is_due = self.reported.is_none_or(|(at, before)| {
            let passed = now.nanos_since(&at).map_or(USAGE_INTERVAL, Duration::from_nanos);
            before != usage && passed >= USAGE_INTERVAL
        });
        is_due.then(|| {
            self.reported = Some((now, usage));
            AgentEvent::UsageSoFar { usage }
        })
    }
}

#[cfg(test)]
mod tests;
