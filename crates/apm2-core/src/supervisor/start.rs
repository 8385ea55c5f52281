//! The start of an instance by its actor: first the credentials are fetched, then the run begins.

use std::sync::Arc;

use apm2_model::{
    event::{
        actor::Actor,
        exit::{SpawnFailure, SpawnStage},
        kind::StartTrigger,
        origin::EventOrigin,
        requester::Requester,
    },
    policy::plan::PlanInput,
};

use crate::{
    credentials::{self, profile::CredentialError},
    error::ProcessError,
    run::start_env::StartEnv,
    supervisor::{actor::InstanceActor, command::answer_all, error::LEAVING, pending_start::PendingStart},
};

impl InstanceActor {
    pub(super) fn start(&mut self, origin: &EventOrigin, trigger: StartTrigger) -> Result<(), ProcessError> {
        if self.flags.starts.is_closed() {
            return self.refuse_leaving(trigger);
        }
        if !self.is_launchable {
            self.refuse_unlaunchable(origin.cause)?;
            let command =
                format!("{} cannot be started: the values it was launched with are not known", self.launch.spec.name);
            return Err(ProcessError::InvalidState(command));
        }
        self.restart_at = None;
        let (base_env, umask) = (self.launch.base_env.clone(), self.launch.umask);
        let start_env = StartEnv { base_env, umask, stdin: self.next_stdin.take(), ..StartEnv::default() };
        let Some(config) = self.launch.spec.credentials.clone() else {
            return self.start_with(origin, trigger, start_env);
        };
        // The credentials are fetched in a task of their own: a credential command may take long, and a stop must not
        // wait for it.
        let (source, cwd) = (self.launch.credential_source.clone(), self.launch.spec.cwd.clone());
        let start_env = tokio::spawn(async move {
            let resolved = credentials::resolve(source.as_ref(), &config, cwd.as_deref()).await?;
            Ok(StartEnv { credentials: resolved.into_variables(), ..start_env })
        });
        self.pending_start = Some(PendingStart { origin: origin.clone(), trigger, start_env });
        Ok(())
    }

    /// Refuses a start because the supervisor is shutting down. Records that the instance should run; for a scheduled
    /// restart, this is already recorded.
    pub(super) fn refuse_leaving(&mut self, trigger: StartTrigger) -> Result<(), ProcessError> {
        if trigger == StartTrigger::Start && self.is_launchable {
            let reason = Some("it was to be started".to_owned());
            self.cancel_start(Requester { actor: Actor::System, reason })?;
        }
        Err(ProcessError::InvalidState(LEAVING.to_owned()))
    }

    /// Continues a start when its credentials are fetched. If they could not be fetched, records that the start has
    /// failed.
    pub(super) fn fetched(&mut self, start_env: Result<StartEnv, CredentialError>) {
        let Some(pending) = self.pending_start.take() else { return };
        let (origin, trigger) = (&pending.origin, pending.trigger);
        let started = match start_env {
            Ok(start_env) => self.start_with(origin, trigger, start_env),
            Err(error) => {
                let message = error.to_string();
                let failure = SpawnFailure { stage: SpawnStage::Credentials, errno: None, message: message.clone() };
                self.joined.clear();
                let recorded = self.runner.fail_start(origin, trigger, failure);
                self.started(recorded.and(Err(ProcessError::SpawnFailed(message))))
            }
        };
        self.retry_later(&started, matches!(trigger, StartTrigger::Restart { .. }));
        answer_all(&mut self.starts_waiting, &started);
        answer_all(&mut self.restarts_waiting, &started);
    }

    pub(super) fn start_with(
        &mut self,
        origin: &EventOrigin,
        trigger: StartTrigger,
        start_env: StartEnv,
    ) -> Result<(), ProcessError> {
        let starts = Arc::clone(&self.flags.starts);
        let Some(_under_way) = starts.begin() else { return self.refuse_leaving(trigger) };
        let start_env = StartEnv { joined: std::mem::take(&mut self.joined), ..self.with_session(start_env) };
        self.observe_later();
        let started = self.runner.start_as(origin, trigger, start_env);
        self.started(started)
    }

    /// Updates the state of the actor after a successful or failed start.
    pub(super) fn started(&mut self, started: Result<(), ProcessError>) -> Result<(), ProcessError> {
        match &started {
            Ok(()) => self.up(),
            Err(error) => {
                self.observed_at = None;
                if matches!(error, ProcessError::SpawnFailed(_)) {
                    self.next_steps.push_back(PlanInput::RunOver);
                }
            }
        }
        started
    }
}
