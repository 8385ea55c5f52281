//! How an instance actor carries out commands and completes them.

use std::{sync::Arc, time::Duration};

use apm2_model::{
    event::{
        kind::{EventKind, RestartRule},
        origin::EventOrigin,
        requester::Requester,
    },
    policy::{
        joined::{Joined, JoinedRequest, is_person},
        plan::{PlanInput, changes_mind, is_own},
    },
    spec::launch::LaunchSpec,
    state::stream::FollowUp,
};

use crate::{
    error::ProcessError,
    output::observer::SharedObserver,
    run::command::{ReplySender, answer},
    supervisor::{
        actor::InstanceActor,
        command::{InstanceCommand, PendingCommand, answer_all, answer_later},
        error::{LEAVING, values_unknown},
    },
};

/// Largest number of requests that join one start before it is recorded. Further ones are refused.
const JOINED_MAX: usize = 64;

impl InstanceActor {
    pub(super) fn handle_command(&mut self, command: PendingCommand) -> std::ops::ControlFlow<()> {
        let PendingCommand { command, reply } = command;
        match command {
            // A start is already in progress. This command waits for the same start.
            InstanceCommand::Start(request) | InstanceCommand::BringUp(request) if self.pending_start.is_some() => {
                self.wait_for_start(request, Joined::Start, reply);
            }
            InstanceCommand::Restart(request) if self.pending_start.is_some() => {
                self.wait_for_start(request, Joined::Restart, reply);
            }
            InstanceCommand::Start(request) => self.start_asked(PlanInput::Start(request), reply),
            InstanceCommand::BringUp(request) => self.start_asked(PlanInput::BringUp(request), reply),
            InstanceCommand::Stop(request, timeout) => {
                let stopped = self.stop(request, timeout);
                match stopped {
                    Ok(()) if self.is_up => self.stops_waiting.push(reply),
                    stopped => answer(reply, stopped),
                }
            }
            // Without the values of environment variables, the process could not be started again. It is therefore not
            // stopped.
            InstanceCommand::Restart(_) if !self.is_launchable => answer(reply, Err(values_unknown(&self.launch))),
            InstanceCommand::Restart(request) => match self.step(PlanInput::Restart(request)) {
                Ok(()) if self.plan.awaits_start() => self.restarts_waiting.push(reply),
                Ok(()) if self.pending_start.is_some() => self.starts_waiting.push(reply),
                restarted => answer(reply, restarted),
            },
            InstanceCommand::Rotate(request) => self.rotate(request, reply),
            InstanceCommand::Input(stdin) => {
                self.next_stdin = Some(stdin);
                answer(reply, Ok(()));
            }
            InstanceCommand::Signal(request, signal) => answer_later(reply, self.runner.begin_signal(request, signal)),
            InstanceCommand::UpdateSpec { launch, is_launchable, request } => {
                answer(reply, self.update_spec(launch, is_launchable, request));
            }
            InstanceCommand::Unregister(_) | InstanceCommand::Release => {
                let request = if let InstanceCommand::Unregister(request) = command { Some(request) } else { None };
                let taken_out = self.end_supervision(request);
                let is_out = taken_out.is_ok();
                answer(reply, taken_out);
                if is_out {
                    return std::ops::ControlFlow::Break(());
                }
            }
            InstanceCommand::WaitIdle => self.idle_waiting.push(reply),
            InstanceCommand::Over(told) => {
                self.idle_waiting.push(reply);
                self.ends_waiting.push(told);
            }
        }
        std::ops::ControlFlow::Continue(())
    }

    fn wait_for_start(&mut self, request: Requester, joined: Joined, reply: ReplySender) {
        let joined = JoinedRequest::of(request, joined).map_or(Ok(()), |joined| self.join_start(joined));
        match joined {
            Ok(()) => self.starts_waiting.push(reply),
            Err(error) => answer(reply, Err(error)),
        }
    }

    /// Adds a request to those that are recorded with the next start.
    pub(super) fn join_start(&mut self, joined: JoinedRequest) -> Result<(), ProcessError> {
        if self.joined.len() >= JOINED_MAX {
            return Err(ProcessError::InvalidState(format!("{JOINED_MAX} requests wait for its start already")));
        }
        self.joined.push(joined);
        Ok(())
    }

    /// Completes the commands that wait for a restart which is not made.
    pub(super) fn refuse_restarts(&mut self, refused: &Result<(), ProcessError>) {
        self.joined.clear();
        answer_all(&mut self.restarts_waiting, refused);
    }

    fn start_asked(&mut self, input: PlanInput, reply: ReplySender) {
        match self.step(input) {
            Ok(()) if self.pending_start.is_some() => self.starts_waiting.push(reply),
            Ok(()) if self.plan.awaits_start() => self.restarts_waiting.push(reply),
            started => answer(reply, started),
        }
    }

    /// Uses `launch` from the next start on. Changes nothing if the change cannot be recorded.
    pub(super) fn update_spec(
        &mut self,
        launch: Arc<LaunchSpec>,
        is_launchable: bool,
        request: Requester,
    ) -> Result<(), ProcessError> {
        self.runner.update_spec(Arc::clone(&launch).into(), &EventOrigin::of(request))?;
        // The task of a run in progress has the observer of an agent, too, so that one stays until the next start.
        let is_kept = self.is_up && self.runner.end_observer.is_some();
        if !is_kept {
            self.observer = SharedObserver::new(&launch, (self.adapters)(&launch), self.runner.captured_output());
            self.runner.end_observer = self.observer.clone().filter(SharedObserver::hears_end);
        }
        self.launch = launch;
        if self.is_up && !is_kept {
            if let Some(observer) = &self.observer {
                observer.adopt(None);
            }
            self.observe_later();
        }
        self.is_launchable = is_launchable;
        Ok(())
    }

    /// Stops the instance, or cancels its start. Commands that wait for the instance to run fail.
    pub(super) fn stop(&mut self, request: Requester, timeout: Option<Duration>) -> Result<(), ProcessError> {
        let was_fetching = self.pending_start.take().is_some();
        let is_due = self.runner.stream().is_some_and(|stream| matches!(stream.follow_up, FollowUp::Restart { .. }));
        let why = if is_own(&request) { LEAVING } else { "a stop was asked for" };
        let stopped = if was_fetching && !is_due {
            self.cancel_start(request)
        } else {
            self.step(PlanInput::Stop(request, timeout))
        };
        if stopped.is_ok() {
            let cancelled = Err(ProcessError::InvalidState(why.to_owned()));
            answer_all(&mut self.starts_waiting, &cancelled);
            self.refuse_restarts(&cancelled);
        }
        stopped
    }

    /// Cancels a start of which no event is recorded yet. Records the cancellation if a person requested it, or if it changes
    /// whether the instance should run.
    pub(super) fn cancel_start(&mut self, request: Requester) -> Result<(), ProcessError> {
        let is_news = self.runner.stream().is_some_and(|stream| changes_mind(&request, true, &stream));
        if !is_news && !is_person(&request) {
            return Ok(());
        }
        let kind = EventKind::RestartRefused { rule: RestartRule::StopRequested };
        self.runner.record(&EventOrigin::of(request), vec![kind]).map(drop)
    }

    pub(super) fn rotate(&mut self, request: Requester, reply: ReplySender) {
        let (signal, config) = match &self.launch.spec.credentials {
            Some(config) => (config.reload_signal, config),
            None => return answer(reply, Err(ProcessError::InvalidState("it has no credentials".to_owned()))),
        };
        let Some(signal) = signal else {
            return answer(reply, Err(ProcessError::InvalidState("its credentials name no reload_signal".to_owned())));
        };
        let variables = config.variables.keys().cloned().collect();
        answer_later(reply, self.runner.begin_rotation(request, config.profile.clone(), variables, signal));
    }

    pub(super) fn end_supervision(&mut self, request: Option<Requester>) -> Result<(), ProcessError> {
        if self.is_busy() {
            return Err(self.runner.refusal("unregister"));
        }
        match request {
            // An instance that was never registered has no stream, so there is nothing to record.
            Some(request) if self.runner.stream().is_some_and(|stream| !stream.unregistered) => {
                self.runner.record(&EventOrigin::of(request), vec![EventKind::Unregistered]).map(drop)
            }
            Some(_) | None => Ok(()),
        }
    }

    pub(super) fn complete_idle(&mut self) {
        if !self.is_busy() {
            for told in self.ends_waiting.drain(..) {
                if let Some(stream) = self.runner.stream() {
                    // The receiver of the result may be gone.
                    drop(told.send(stream));
                }
            }
            answer_all(&mut self.idle_waiting, &self.runner.check_recording());
        }
    }
}
