//! Whether an agent is silent for too long for what it does, and what follows.

use std::time::Duration;

use crate::{
    event::agent::event::AgentPhase,
    spec::config::{agent_silence::AgentSilence, reaction::Reaction},
};

/// The limit of the time without output in this phase; `None` for no limit. With tasks in the background, an agent may be silent after
/// its result.
#[must_use]
pub fn limit_of(config: &AgentSilence, phase: AgentPhase, background_tasks: u32) -> Option<Duration> {
    let limit = match phase {
        AgentPhase::Starting => config.start,
        AgentPhase::Model => config.model,
        AgentPhase::Tool => config.tool,
        AgentPhase::Finished if background_tasks > 0 => return None,
        AgentPhase::Finished => config.result,
    };
    (!limit.is_zero()).then_some(limit)
}

/// What follows from such a silence. An agent that has reported its result is ended.
#[must_use]
pub const fn reaction(config: &AgentSilence, phase: AgentPhase) -> Reaction {
    match phase {
        AgentPhase::Starting | AgentPhase::Model | AgentPhase::Tool => config.reaction,
        AgentPhase::Finished => Reaction::Stop,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_phase_has_its_limit_and_zero_is_none() {
        let config = AgentSilence { tool: Duration::ZERO, ..AgentSilence::default() };
        let limit = |phase, tasks| limit_of(&config, phase, tasks).map(|limit| limit.as_secs());
        assert_eq!(limit(AgentPhase::Starting, 0), Some(60));
        assert_eq!(limit(AgentPhase::Model, 2), Some(600));
        assert_eq!(limit(AgentPhase::Tool, 0), None);
        assert_eq!((limit(AgentPhase::Finished, 0), limit(AgentPhase::Finished, 1)), (Some(30), None));
    }

    #[test]
    fn an_agent_is_ended_after_its_result_whatever_follows_other_silences() {
        for chosen in [Reaction::Record, Reaction::Stop, Reaction::Restart] {
            let config = AgentSilence { reaction: chosen, ..AgentSilence::default() };
            assert_eq!(reaction(&config, AgentPhase::Model), chosen);
            assert_eq!(reaction(&config, AgentPhase::Finished), Reaction::Stop);
        }
    }
}
