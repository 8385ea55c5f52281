//! When an agent is compared with its budgets, and with what was found of it.

use std::time::Duration;

use apm2_model::{
    policy::{agent_budget, plan::PlanInput},
    state::stream::Stream,
};

use crate::{supervisor::actor::InstanceActor, time::instant_in};

/// Shortest time until a budget of time is compared again. What is used up already is found in the present step; if that cannot be
/// recorded, it is found later.
const COMPARE_INTERVAL_MIN: Duration = Duration::from_secs(1);

impl InstanceActor {
    /// Compares the agent with its budgets. `memory_bytes` is the memory of its processes, if it was measured.
    pub(super) fn watch_agent(&mut self, memory_bytes: Option<u64>) {
        if self.launch.spec.agent.is_none() || !self.runner.state().is_running() {
            return;
        }
        self.budget_later();
        self.next_steps.push_back(PlanInput::Agent { memory_bytes });
    }

    /// Shares a usage limit that this agent has met with the other agents of its account. Returns when the limit of the account is
    /// reset, if that is to come.
    pub(super) fn share_limit(&self, stream: &Stream) -> Option<i64> {
        self.flags.accounts.note(stream);
        let account = stream.handle.spec.agent.as_ref()?.account.as_ref()?;
        self.flags.accounts.reset_of(account, &self.clock.now())
    }

    /// Schedules the next comparison: when a budget of time is used up.
    pub(super) fn budget_later(&mut self) {
        let stream = self.runner.stream();
        let agent = stream.as_ref().and_then(|stream| stream.agent.as_deref());
        let left = self
            .launch
            .spec
            .agent
            .as_ref()
            .zip(agent)
            .and_then(|(config, agent)| agent_budget::time_left(&config.budget, agent, &self.clock.now()));
        self.budget_at = left.map(|left| instant_in(left.max(COMPARE_INTERVAL_MIN)));
    }
}
