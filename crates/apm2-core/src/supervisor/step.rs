//! One step of an instance actor: computes the effects of an input with the plan, and carries them out.

use std::time::Duration;

use apm2_model::{
    duration::millis,
    event::{
        actor::Actor,
        kind::{EventKind, RestartRule},
        origin::EventOrigin,
    },
    policy::{
        joined::{Joined, JoinedRequest},
        plan::{Effect, PlanContext, PlanInput},
    },
};

use crate::{
    error::ProcessError,
    supervisor::{actor::InstanceActor, command::answer_all},
    time::instant_in,
};

/// Delay before a start that could not be recorded is attempted again.
const START_RETRY: Duration = Duration::from_secs(10);

impl InstanceActor {
    /// Takes a step for which no command waits.
    pub(super) fn step_unattended(&mut self, input: PlanInput) {
        let is_restart = matches!(input, PlanInput::RestartDue | PlanInput::RunOver);
        let stepped = self.step(input);
        self.retry_later(&stepped, is_restart);
        if stepped.is_err() {
            self.joined.clear();
        }
        // The stop of this restart is still in progress, so the restart is not complete.
        let is_restarted = self.is_up && !self.plan.awaits_start();
        if is_restart && !self.restarts_waiting.is_empty() && (is_restarted || stepped.is_err()) {
            answer_all(&mut self.restarts_waiting, &stepped);
        }
    }

    /// Takes one step. Updates the busy flag before it returns, so that the flag is current when a command completes.
    pub(super) fn step(&mut self, input: PlanInput) -> Result<(), ProcessError> {
        let stepped = self.carry_out(input);
        self.update_busy();
        stepped
    }

    fn carry_out(&mut self, input: PlanInput) -> Result<(), ProcessError> {
        let Some(stream) = self.runner.stream() else {
            return Err(ProcessError::NotFound("a process that has no events".to_owned()));
        };
        let (is_up, end_seq) = (self.is_up, self.runner.end_seq());
        let seen = PlanContext {
            stream: &stream,
            is_up,
            end_seq,
            account_reset: self.share_limit(&stream),
            now: self.clock.now(),
            random: crate::supervisor::random::random(),
        };
        let before = self.plan.clone();
        for effect in self.plan.step(input, &seen) {
            match self.perform(effect, &seen) {
                Ok(()) => {}
                // Both are recorded, so the effects before are carried out.
                Err(error @ (ProcessError::SpawnFailed(_) | ProcessError::BudgetSpent(_))) => return Err(error),
                Err(error) => {
                    // An effect that failed was not carried out. The plan is restored, so that a step without a client
                    // can be tried again.
                    self.plan = before;
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    pub(super) fn perform(&mut self, effect: Effect, seen: &PlanContext<'_>) -> Result<(), ProcessError> {
        match effect {
            Effect::Start { origin, trigger } => self.start(&origin, trigger),
            Effect::Stop { request, timeout } => {
                let timeout = timeout.unwrap_or(self.launch.spec.shutdown.timeout);
                self.stop_answer = Some(self.runner.begin_stop(timeout, request, false)?);
                Ok(())
            }
            Effect::StopAgent { request } => {
                let timeout = self.launch.spec.shutdown.timeout;
                self.stop_answer = Some(self.runner.begin_stop(timeout, request, true)?);
                Ok(())
            }
            Effect::Join(joined) => self.record_joined(joined, seen),
            Effect::Deny(breach) => Err(ProcessError::BudgetSpent(breach.to_string())),
            Effect::Record { origin, kind } => {
                if matches!(kind, EventKind::RestartRefused { .. }) {
                    self.restart_at = None;
                }
                self.runner.record(&origin, vec![kind]).map(drop)
            }
            Effect::Schedule { .. } if !self.is_launchable => self.refuse_unlaunchable(seen.end_seq),
            Effect::Schedule { attempt, delay } => {
                let origin = EventOrigin::of(Actor::Policy).caused_by(seen.end_seq).at(seen.now);
                let scheduled = EventKind::RestartScheduled { attempt, delay_ms: millis(delay) };
                self.runner.record(&origin, vec![scheduled])?;
                self.restart_at = Some(instant_in(delay));
                Ok(())
            }
            Effect::Refuse(operation) => Err(self.runner.refusal(operation)),
        }
    }

    /// Records a request that joined a stop or a start. A request for a start is recorded later if there is no process now.
    fn record_joined(&mut self, request: JoinedRequest, seen: &PlanContext<'_>) -> Result<(), ProcessError> {
        let is_of_start = matches!(request.joined, Joined::Start | Joined::Restart);
        let (origin, kind) = request.clone().event(seen.stream.stopping.map(|stop| stop.seq));
        match self.runner.record(&origin, vec![kind]) {
            Err(ProcessError::InvalidState(_)) if is_of_start => self.join_start(request),
            recorded => recorded.map(drop),
        }
    }

    pub(super) fn refuse_unlaunchable(&mut self, cause: Option<u64>) -> Result<(), ProcessError> {
        let origin = EventOrigin::of(Actor::Policy).caused_by(cause);
        self.runner.record(&origin, vec![EventKind::RestartRefused { rule: RestartRule::LaunchUnknown }]).map(drop)
    }

    /// Schedules another attempt of a restart that could not be recorded. The disk may have space by then.
    pub(super) fn retry_later(&mut self, stepped: &Result<(), ProcessError>, is_restart: bool) {
        match stepped {
            // A failed spawn is recorded like any other end of a run.
            Ok(()) | Err(ProcessError::SpawnFailed(_)) => {}
            // The refusal is recorded.
            Err(ProcessError::BudgetSpent(_)) => {}
            Err(error) => {
                tracing::error!(name = %self.launch.spec.name, %error, "a step has failed");
                if is_restart {
                    self.restart_at = Some(instant_in(START_RETRY));
                }
            }
        }
    }
}
