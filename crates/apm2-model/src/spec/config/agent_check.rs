//! Which settings of an agent are refused, because they cannot have the effect that they name.

use crate::spec::{
    agent_kind::AgentKind,
    config::{
        agent::{AgentChoice, AgentConfig, LIMIT_WAIT_MAX_MIN},
        reaction::Reaction,
        restart::RestartPolicy,
    },
    name::check_name,
};

impl AgentConfig {
    /// Refuses settings without the effect that they name. `policy` is the restart policy of the process.
    ///
    /// # Errors
    /// The refused setting, with the reason.
    pub fn validate(&self, policy: RestartPolicy) -> Result<(), String> {
        if self.limit_wait_max < LIMIT_WAIT_MAX_MIN {
            return Err(format!(
                "limit_wait_max is {}; it is {} at least, since waits for limits use nothing of the restart budget",
                humantime::format_duration(self.limit_wait_max),
                humantime::format_duration(LIMIT_WAIT_MAX_MIN)
            ));
        }
        if let Some(account) = &self.account {
            check_name(account).map_err(|error| format!("the account of an agent: {error}"))?;
        }
        self.validate_budget()?;
        if self.repetition.calls == 1 {
            return Err(
                "loop: calls is 1, with which each tool call would be a loop; it is 0 for no limit, or 2 at least"
                    .to_owned(),
            );
        }
        let reactions = [("silence", self.silence.reaction), ("loop", self.repetition.reaction)];
        match reactions.iter().find(|(_, reaction)| *reaction == Reaction::Restart && policy == RestartPolicy::Never) {
            Some((table, _)) => Err(format!(
                "{table}: the reaction is a restart, and the restart policy is never; choose stop, or another policy"
            )),
            None => Ok(()),
        }
    }

    fn validate_budget(&self) -> Result<(), String> {
        let budget = &self.budget;
        // These print no cost, see docs/agents.md.
        let silent = match self.kind {
            AgentChoice::Kind(kind @ (AgentKind::Codex | AgentKind::Gemini)) => Some(kind),
            AgentChoice::Kind(_) | AgentChoice::Auto => None,
        };
        if let Some(kind) = silent.filter(|_| budget.scopes().iter().any(|scope| scope.cost_micros.is_some())) {
            return Err(format!(
                "budget: {kind} does not report its cost, so cost_usd would never be used up; choose total_tokens"
            ));
        }
        if budget.scopes().iter().any(|scope| scope.wall_time.is_some_and(|time| time.is_zero())) {
            return Err("budget: a wall_time of zero would end each run at its start".to_owned());
        }
        if budget.memory_bytes == Some(0) {
            return Err("budget: memory_bytes of zero would end each run at its start".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn settings_that_cannot_have_their_effect_are_refused() {
        let refused = |policy, change: &dyn Fn(&mut AgentConfig)| {
            let mut config = AgentConfig { kind: AgentChoice::Kind(AgentKind::ClaudeCode), ..AgentConfig::default() };
            change(&mut config);
            config.validate(policy).err().unwrap_or_default()
        };
        let on_failure = |change: &dyn Fn(&mut AgentConfig)| refused(RestartPolicy::OnFailure, change);
        let cost = |config: &mut AgentConfig| config.budget.day.cost_micros = Some(1);
        let of_codex = |config: &mut AgentConfig| config.kind = AgentChoice::Kind(AgentKind::Codex);
        let restart = |config: &mut AgentConfig| config.silence.reaction = Reaction::Restart;
        let loops = |config: &mut AgentConfig| config.repetition.reaction = Reaction::Restart;
        for accepted in [&cost as &dyn Fn(&mut AgentConfig), &of_codex, &restart, &loops, &|_| {}] {
            assert_eq!(on_failure(accepted), "");
        }
        let messages = [
            on_failure(&|config| {
                of_codex(config);
                cost(config);
            }),
            on_failure(&|config| config.budget.run.wall_time = Some(Duration::ZERO)),
            on_failure(&|config| config.budget.memory_bytes = Some(0)),
            on_failure(&|config| config.repetition.calls = 1),
            on_failure(&|config| config.limit_wait_max = Duration::ZERO),
            on_failure(&|config| config.account = Some(String::new())),
            refused(RestartPolicy::Never, &restart),
            refused(RestartPolicy::Never, &loops),
        ];
        let words = [
            "codex does not report",
            "wall_time",
            "memory_bytes",
            "each tool call",
            "limit_wait_max",
            "account",
            "silence: ",
            "loop: ",
        ];
        for (message, words) in messages.iter().zip(words) {
            assert!(message.contains(words), "{words}: {message}");
        }
    }
}
