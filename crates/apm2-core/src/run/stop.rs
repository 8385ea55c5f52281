//! The stop of a run: pre-stop commands, stop signal, deadline, SIGKILL.

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

/// How long to wait for a process to end after SIGKILL. Only a process in uninterruptible sleep (state `D`, proc(5))
/// takes that long.
const KILL_WAIT: Duration = Duration::from_secs(5);

/// Largest number of surviving processes whose pids one event lists.
const SURVIVORS_NAMED_MAX: usize = 16;

/// The stop signal follows the first signal, if that is another one, after the stop timeout divided by this number.
const FIRST_SIGNAL_SHARE: u32 = 2;

/// The pre-stop commands may take the stop timeout divided by this number.
const PRE_STOP_SHARE: u32 = 2;

impl RunTask {
    /// Continues a stop that an earlier supervisor began. The signal is sent again, because it may not have been sent.
    pub(super) fn resume_stop(&mut self, stop: StopUnderWay) {
        self.cause = Some(stop.seq);
        let now = self.shared.facts().clock.now();
        // After a reboot, no process of the run is left, so the deadline is now.
        let spent = now.nanos_since(&stop.since).map_or(Duration::MAX, Duration::from_nanos);
        let timeout = Duration::from_millis(stop.timeout_ms);
        let left = timeout.saturating_sub(spent);
        let has_first_signal = stop.signal != self.shared.facts().spec.shutdown.signal;
        let left_of_first = (timeout / FIRST_SIGNAL_SHARE).saturating_sub(spent);
        let stop_at = has_first_signal.then(|| instant_in(left_of_first));
        self.phase = StopPhase::Asked { until: instant_in(left), force_kill: stop.force_kill, stop_at };
        if self.found_ended.is_some() {
            return;
        }
        if let Err(error) = self.signal(EventOrigin::of(Actor::Recovery), None, stop.signal) {
            tracing::warn!(%error, "the signal of a resumed stop could not be sent");
        }
    }

    pub(super) fn stop(&mut self, command: StopCommand) {
        let StopCommand { request, is_final, timeout, deadline, reply } = command;
        let (state, shutdown) = {
            let facts = self.shared.facts();
            (facts.state(), facts.spec.shutdown.clone())
        };
        let signal = if is_final { Signal::INT } else { shutdown.signal };
        let force_kill = is_final || shutdown.force_kill;
        // After the exit of the main process, only the remaining members of the group must be waited for.
        if state.is_running() && self.end.is_none() {
            let stopping = EventKind::Stopping { signal, timeout_ms: millis(timeout), force_kill };
            let asked = if shutdown.pre_stop.is_empty() {
                self.signal(EventOrigin::of(request), Some(stopping), signal)
            } else {
                self.begin_pre_stop(EventOrigin::of(request), stopping, shutdown.pre_stop, deadline)
            };
            match asked {
                Ok(()) => {
                    let stop_at = (signal != shutdown.signal).then(|| instant_in(timeout / FIRST_SIGNAL_SHARE));
                    self.phase = StopPhase::Asked { until: deadline, force_kill, stop_at };
                }
                // The stop is recorded and continues in spite of the error: SIGKILL may succeed where the stop signal
                // failed.
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

    /// Records the stop and starts the pre-stop commands.
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
        let signal = {
            let facts = self.shared.facts();
            let stop = facts.stream.as_ref().and_then(|stream| stream.stopping);
            stop.map_or(facts.spec.shutdown.signal, |stop| stop.signal)
        };
        if !kinds.is_empty()
            && let Err(error) = self.shared.lock().record(&origin, kinds)
        {
            tracing::warn!(%error, "the results of the pre-stop commands could not be recorded");
        }
        if self.end.is_none()
            && let Err(error) = self.signal(origin, None, signal)
        {
            tracing::warn!(%error, "the stop signal could not be sent");
        }
    }

    /// Takes the next step of the stop at its deadline.
    pub(super) fn escalate(&mut self) {
        match self.phase {
            StopPhase::Asked { until, force_kill, stop_at: Some(_) } if Instant::now() < until => {
                self.phase = StopPhase::Asked { until, force_kill, stop_at: None };
                self.send_stop_signal();
            }
            StopPhase::Asked { force_kill: true, .. } => self.kill(),
            StopPhase::Asked { force_kill: false, .. } => {
                self.phase = StopPhase::Spent;
                self.answer_all(&timed_out("still stopping, and must not be killed (force_kill is off)".to_owned()));
            }
            StopPhase::Killed { .. } => self.survived(),
            StopPhase::None | StopPhase::Spent => {}
        }
    }

    /// Sends the signal of the specification, after the first signal did not suffice.
    fn send_stop_signal(&mut self) {
        let signal = self.shared.facts().spec.shutdown.signal;
        if let Err(error) = self.signal(EventOrigin::default().caused_by(self.cause), None, signal) {
            tracing::warn!(%error, "the stop signal could not be sent");
        }
    }

    pub(super) fn kill(&mut self) {
        self.phase = StopPhase::Killed { until: instant_in(KILL_WAIT) };
        let origin = EventOrigin::default().caused_by(self.cause);
        if let Err(error) = self.signal(origin, None, Signal::KILL) {
            self.answer_all(&error);
        }
    }

    /// Handles processes that are still alive some time after SIGKILL. A stop fails, and the process group stays
    /// watched. If the main process ended by itself, the end is recorded in spite of these processes.
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
        self.is_over = self.end.is_some() && self.shared.facts().state().is_running();
        self.answer_all(&error);
    }

    pub(super) fn answer_all(&mut self, error: &ProcessError) {
        for reply in self.waiting.drain(..) {
            answer(reply, Err(error.copied()));
        }
    }
}

/// The deadline of the pre-stop commands. It leaves a part of the stop timeout for the process itself.
fn pre_stop_until(deadline: Instant) -> Instant {
    let now = Instant::now();
    now + deadline.saturating_duration_since(now) / PRE_STOP_SHARE
}

fn timed_out(what: String) -> ProcessError {
    ProcessError::Io(io::Error::new(io::ErrorKind::TimedOut, what))
}
