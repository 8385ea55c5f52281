//! The state of one agent while its reports are read without the other events of its stream.

use apm2_model::{
    event::{
        Event,
        agent::{event::AgentEvent, report::AgentReport},
    },
    state::{agent::AgentState, stream::Stream},
};

use crate::agents::Spent;

/// The state of one agent. What its reports add up to is defined by [`AgentState`].
#[derive(Default)]
pub(crate) struct AgentReplay {
    state: Option<AgentState>,
    run: u64,
}

impl AgentReplay {
    /// The state that goes on from `before`.
    pub(crate) fn new(before: Option<&Stream>) -> Self {
        let state = before.and_then(|stream| stream.agent.as_deref().cloned());
        Self { state, run: before.map_or(0, |stream| stream.run) }
    }

    /// Applies the report of `event`. Returns the state after it, and what it adds to the totals.
    pub(crate) fn apply(&mut self, event: &Event, report: &AgentReport) -> (&AgentState, Spent) {
        let state = self.state.get_or_insert_with(|| AgentState::new(report.agent, event.stamp));
        if event.run != self.run {
            state.begin_run();
            self.run = event.run;
        }
        let before = state.all;
        state.apply(report, event.stamp);
        let has_cost = matches!(
            report.event,
            AgentEvent::TurnEnded { cost_micros: Some(_), .. } | AgentEvent::Finished { cost_micros: Some(_), .. }
        );
        (state, Spent { totals: state.all.beyond(before), has_cost })
    }
}
