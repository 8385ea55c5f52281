//! The session of an agent in the run that is about to start.

use apm2_model::{
    event::agent::{event::AgentEvent, label::Label, report::AgentReport},
    policy::agent::next_session,
    spec::config::agent::SESSION,
};
use uuid::Uuid;

use crate::{adapter::agent::kind_of, run::start_env::StartEnv, supervisor::actor::InstanceActor};

impl InstanceActor {
    /// Begins to observe the output of the run that is about to start. For an agent, adds the arguments for its session, and the
    /// report that says which session was chosen and why.
    pub(super) fn with_session(&self, start_env: StartEnv) -> StartEnv {
        let recorded = self.runner.stream().and_then(|stream| stream.agent);
        let read_to = self.observer.as_ref().map(|observer| observer.begin(recorded.as_deref()));
        let spec = &self.launch.spec;
        let Some(config) = &spec.agent else { return start_env };
        let next = next_session(config, recorded.as_deref(), &self.clock.now());
        let is_resumed = next.resumed.is_some();
        let needs_id = config.first_args.iter().any(|arg| arg.contains(SESSION));
        let session_id = next.resumed.or_else(|| needs_id.then(|| Label::new(&Uuid::new_v4().to_string())).flatten());
        let args = config.args_of_run(&spec.args, session_id.as_ref().map_or("", Label::as_str), is_resumed);
        let event = AgentEvent::SessionChosen { session_id, is_resumed, reason: next.reason };
        let agent = kind_of(spec, recorded.as_deref());
        let report = AgentReport { agent, event, read_to: read_to.unwrap_or_default() };
        StartEnv { args: Some(args), report: Some(Box::new(report)), ..start_env }
    }
}
