//! The first action of an instance actor: it recovers the run that an earlier supervisor left.

use std::{sync::Arc, time::Duration};

use apm2_model::{
    event::origin::EventOrigin,
    policy::{
        boot::{AtBoot, Boot, at_boot},
        plan::PlanInput,
    },
    state::stream::FollowUp,
};

use crate::{
    error::ProcessError,
    run::resume::{Rest, Resumed},
    supervisor::actor::InstanceActor,
    time::instant_in,
};

impl InstanceActor {
    /// Recovers the run that an earlier supervisor left open.
    ///
    /// # Errors
    /// The outcome of the run cannot be recorded, or `/proc` cannot be read.
    pub(crate) fn resume(&mut self, boot: Boot) -> Result<Resumed, ProcessError> {
        let span = self.span.clone();
        let _in_span = span.enter();
        let left = self.runner.stream();
        // Before the task of a run that has ended calls it.
        if let (Some(observer), Some(left)) = (&self.observer, &left)
            && left.is_open()
        {
            observer.adopt(left.agent.as_deref());
        }
        let resumed = self.runner.resume(boot.watched_until)?;
        self.has_output_rest = matches!(resumed, Resumed::Nothing | Resumed::NeverStarted);
        match resumed {
            Resumed::Adopted => {
                self.observe_later();
                self.up();
                self.next_steps.push_back(PlanInput::Resumed);
            }
            Resumed::Ended => self.is_up = true,
            Resumed::NeverStarted => self.next_steps.push_back(PlanInput::RunOver),
            Resumed::Nothing => match self.runner.stream().map(|stream| stream.follow_up) {
                Some(FollowUp::Undecided { .. }) => self.next_steps.push_back(PlanInput::RunOver),
                Some(FollowUp::Restart { since, delay_ms, .. }) if self.is_launchable => {
                    let delay = Duration::from_millis(delay_ms);
                    let spent = self.clock.now().nanos_since(&since).map_or(Duration::ZERO, Duration::from_nanos);
                    self.restart_at = Some(instant_in(delay.saturating_sub(spent)));
                }
                Some(FollowUp::Restart { seq, .. }) => self.refuse_unlaunchable(Some(seq))?,
                Some(FollowUp::Nothing) | None => {}
            },
        }
        if let Some(left) = left.filter(|_| self.is_launchable) {
            self.boot(at_boot(&left, boot.on_boot(&self.launch), &self.clock.now()), boot.cause);
        }
        self.update_busy();
        Ok(resumed)
    }

    /// Queues the inputs that follow from the start of the supervisor, before any other step.
    pub(super) fn boot(&mut self, command: AtBoot, cause: Option<u64>) {
        let input = match command {
            AtBoot::Nothing => return,
            AtBoot::Start => PlanInput::Boot(cause),
            AtBoot::Stay => PlanInput::Stay,
        };
        self.restart_at = None;
        self.next_steps.clear();
        self.next_steps.push_back(input);
        if command == AtBoot::Start && !self.is_up {
            self.next_steps.push_back(PlanInput::RunOver);
        }
    }

    /// Records the registration of an instance without a stream.
    ///
    /// # Errors
    /// The registration cannot be recorded.
    pub(crate) fn register(&mut self, origin: &EventOrigin) -> Result<(), ProcessError> {
        if self.runner.stream().is_some() {
            return Ok(());
        }
        self.runner.update_spec(Arc::clone(&self.launch).into(), origin)
    }

    /// Starts to write the output that an earlier run has left in the pipes.
    pub(super) fn begin_output_rest(&mut self) -> Option<Rest> {
        if !std::mem::take(&mut self.has_output_rest) {
            return None;
        }
        self.runner.begin_rest().unwrap_or_else(|error| {
            tracing::warn!(name = %self.launch.spec.name, %error, "the rest of the output of an earlier run is lost");
            None
        })
    }
}
