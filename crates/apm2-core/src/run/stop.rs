//! A stop of a run: commands before it, its signal, its deadline, SIGKILL.

use std::{io, time::Duration};

use apm2_model::{
    duration::millis,
    event::{actor::Actor, kind::EventKind, origin::EventOrigin},
    signal::Signal,
    state::stream::StopUnderWay,
};
use tokio::time::Instant;

use crate::{
    error::ProcessError,
    run::{
        command::{StopCommand, answer},
        pre_stop::{PreStop, PreStopResult},
        run_task::RunTask,
        stop_phase::StopPhase,
    },
    time::instant_in,
};

/// How long SIGKILL may take to work. It only ever does in uninterruptible sleep.
const KILL_WAIT: Duration = Duration::from_secs(5);

/// Survivors that are named in an event.
const SURVIVORS_NAMED_MAX: usize = 16;

/// What part of the time for a stop the commands before it may take: one of so many.
const PRE_STOP_SHARE: u32 = 2;

impl RunTask {
    /// Goes on with a stop that an earlier supervisor began: nobody knows whether its signal was sent.
    pub(super) fn resume_stop(&mut self, stop: StopUnderWay) {
        self.cause = Some(stop.seq);
        let now = self.shared.facts().clock.now();
        // Of another boot nothing is left that could be waited for.
        let spent = now.nanos_since(&stop.since).map_or(Duration::MAX, Duration::from_nanos);
        let left = Duration::from_millis(stop.timeout_ms).saturating_sub(spent);
        self.phase = StopPhase::Asked { until: instant_in(left), force_kill: stop.force_kill };
        if self.found_ended.is_some() {
            return;
        }
        if let Err(error) = self.signal(EventOrigin::of(Actor::Recovery), None, stop.signal) {
            tracing::warn!(%error, "a stop could not be taken up again");
        }
    }

    pub(super) fn stop(&mut self, command: StopCommand) {
        let StopCommand { request, timeout, deadline, reply } = command;
        let (state, shutdown) = {
            let facts = self.shared.facts();
            (facts.state(), facts.spec.shutdown.clone())
        };
        let (signal, force_kill) = (shutdown.signal, shutdown.force_kill);
        // After the exit there is nothing left to stop, only something to wait for.
        if state.is_running() && self.end.is_none() {
            let stopping = EventKind::Stopping { signal, timeout_ms: millis(timeout), force_kill };
            let asked = if shutdown.pre_stop.is_empty() {
                self.signal(EventOrigin::of(request), Some(stopping), signal)
            } else {
                self.begin_pre_stop(EventOrigin::of(request), stopping, shutdown.pre_stop, deadline)
            };
            match asked {
                Ok(()) => {}
                // The stop is on record and goes on: SIGKILL may be allowed where the signal was not.
                Err(error @ ProcessError::SignalFailed(_)) => {
                    self.phase = self.phase.tightened(deadline, force_kill);
                    return answer(reply, Err(error));
                }
                Err(error) => return answer(reply, Err(error)),
            }
        }
        self.phase = self.phase.tightened(deadline, force_kill);
        if let Some(pre_stop) = &self.pre_stop {
            pre_stop.shorten_deadline(pre_stop_until(deadline));
        }
        self.waiting.retain(|waiting| !waiting.is_closed());
        self.waiting.push(reply);
    }

    /// Records the stop, and runs what comes before its signal.
    pub(super) fn begin_pre_stop(
        &mut self,
        origin: EventOrigin,
        stopping: EventKind,
        commands: Vec<Vec<String>>,
        deadline: Instant,
    ) -> Result<(), ProcessError> {
        self.cause = Some(self.shared.lock().record(&origin, vec![stopping])?);
        let cwd = self.shared.facts().spec.cwd.clone();
        let known = self.shared.lock().known();
        self.pre_stop = Some(PreStop::begin(commands, cwd, self.main_process.group(), known, pre_stop_until(deadline)));
        Ok(())
    }

    pub(super) fn pre_stop_done(&mut self, results: Vec<PreStopResult>) {
        self.pre_stop = None;
        let origin = EventOrigin::default().caused_by(self.cause);
        let kinds: Vec<EventKind> = results
            .into_iter()
            .map(|PreStopResult { command, succeeded, detail }| EventKind::PreStopEnded { command, succeeded, detail })
            .collect();
        let signal = self.shared.facts().spec.shutdown.signal;
        if !kinds.is_empty()
            && let Err(error) = self.shared.lock().record(&origin, kinds)
        {
            tracing::warn!(%error, "what came before a stop could not be recorded");
        }
        if self.end.is_none()
            && let Err(error) = self.signal(origin, None, signal)
        {
            tracing::warn!(%error, "a process could not be asked to stop");
        }
    }

    /// The time that was given is over.
    pub(super) fn escalate(&mut self) {
        match self.phase {
            StopPhase::Asked { force_kill: true, .. } => self.kill(),
            StopPhase::Asked { force_kill: false, .. } => {
                self.phase = StopPhase::Spent;
                self.answer_all(&timed_out("still stopping, and must not be killed (force_kill is off)".to_owned()));
            }
            StopPhase::Killed { .. } => self.survived(),
            StopPhase::None | StopPhase::Spent => {}
        }
    }

    pub(super) fn kill(&mut self) {
        self.phase = StopPhase::Killed { until: instant_in(KILL_WAIT) };
        let origin = EventOrigin::default().caused_by(self.cause);
        if let Err(error) = self.signal(origin, None, Signal::KILL) {
            self.answer_all(&error);
        }
    }

    /// SIGKILL did not work in time: a stop has failed and is watched on; a natural exit is recorded all the same.
    pub(super) fn survived(&mut self) {
        let pids: Vec<u32> =
            self.members().unwrap_or_default().iter().map(|member| member.pid).take(SURVIVORS_NAMED_MAX).collect();
        let error = timed_out(format!("processes outlived SIGKILL: {pids:?}"));
        let origin = EventOrigin::default().caused_by(self.cause);
        let recorded = self.shared.lock().record(&origin, vec![EventKind::GroupSurvived { pids }]);
        if let Err(error) = recorded {
            tracing::error!(%error, "survivors of SIGKILL could not be recorded");
        }
        self.phase = StopPhase::Spent;
        self.over = self.end.is_some() && self.shared.facts().state().is_running();
        self.answer_all(&error);
    }

    pub(super) fn answer_all(&mut self, error: &ProcessError) {
        for reply in self.waiting.drain(..) {
            answer(reply, Err(error.copied()));
        }
    }
}

/// Until when the commands before a stop may take: the process itself is to have some of the time.
fn pre_stop_until(deadline: Instant) -> Instant {
    let now = Instant::now();
    now + deadline.saturating_duration_since(now) / PRE_STOP_SHARE
}

fn timed_out(what: String) -> ProcessError {
    ProcessError::Io(io::Error::new(io::ErrorKind::TimedOut, what))
}
