//! The task that owns one run, from the spawn until the process is reaped. It repeatedly waits for one input and takes
//! one step.
//!
//! The steps are synchronous: an event is durable before the step acts on it, and a dropped future cannot interrupt a
//! step. Each step runs on a blocking thread: the state of the task moves there and back, and the task itself only
//! waits. A run is over when the main process **and** all members of its process group are gone. The group is signalled
//! only while the main process is running or an unreaped zombie, because the kernel may reuse the group's id after
//! that.

use std::{collections::HashSet, sync::Arc, time::Duration};

use apm2_model::{
    event::{exit::Exit, kind::EventKind, origin::EventOrigin, requester::Requester},
    state::ProcessState,
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, sleep_until},
};

use crate::{
    adapter::ObservedEnd,
    blocking,
    error::ProcessError,
    os::{group::Member, main_process::MainProcess, marker::Marker},
    output::{
        drain::{Drained, OutputDrain},
        fd_store::{FdStore, release_run},
        notice::OutputNotice,
        observer::SharedObserver,
    },
    run::{
        command::{ReplySender, RunCommand, answer},
        instance::{MainProcessEnd, SharedInstance},
        look::Look,
        output_events::{record_notice, record_outputs},
        pre_stop::{PreStop, PreStopResult},
        stop_phase::StopPhase,
    },
};

/// Interval between two checks of a process group that should end.
const SWEEP_INTERVAL: Duration = Duration::from_millis(20);

/// Interval between two checks of a process group that is only watched.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// The ends of the channels that the task of a run uses.
pub(crate) struct RunChannels {
    /// Receives the commands for the run.
    pub(crate) commands: mpsc::Receiver<Box<RunCommand>>,
    /// Set to `true` when the end of the run is recorded and all output is delivered.
    pub(crate) finished: watch::Sender<bool>,
    /// Receives notices about lost output.
    pub(crate) noticed: mpsc::Receiver<Box<OutputNotice>>,
}

/// An input that the task waits for.
pub(super) enum RunInput {
    MainProcessEnded(Exit),
    Command(RunCommand),
    Output(OutputNotice),
    PreStopDone(Vec<PreStopResult>),
    Deadline,
    Sweep,
}

/// The state of the task that owns one run.
pub(crate) struct RunTask {
    pub(super) shared: SharedInstance,
    pub(super) marker: Marker,
    pub(super) main_process: MainProcess,
    pub(super) channels: RunChannels,
    pub(super) fd_store: Option<Arc<dyn FdStore>>,
    /// The readers of the outputs, until their output is waited for.
    pub(super) drains: OutputDrain,
    /// The final state of the outputs, once it is known.
    drained: Option<Drained>,
    /// The observer that gets all lines before the end is recorded.
    end_observer: Option<SharedObserver>,
    pub(super) phase: StopPhase,
    /// What was found before the present step.
    pub(super) look: Look,
    /// The senders of the results for callers that wait for the stop.
    pub(super) waiting: Vec<ReplySender>,
    /// The seq of the event that caused the current actions. It is recorded as the cause of the following events.
    pub(super) cause: Option<u64>,
    /// The pre-stop commands that are running; `None` if none are running.
    pub(super) pre_stop: Option<PreStop>,
    pub(super) end: Option<MainProcessEnd>,
    /// The requester that is recorded with the end of the process, for a process that had ended before this task began.
    pub(super) found_ended: Option<Requester>,
    /// Whether a signal was sent to strays: processes of the run that left its process group and session.
    pub(super) strays_asked: bool,
    /// The strays (processes that left the group and the session) that the latest check found.
    pub(super) strays: Vec<Member>,
    /// The strays (processes that left the group and the session) that were sent a signal.
    pub(super) asked: Vec<Member>,
    /// All strays (processes that left the group and the session) found so far, by pid and start time.
    pub(super) orphans: HashSet<(u32, u64)>,
    /// Number of consecutive failed searches for strays (processes that left the group and the session).
    pub(super) unclear_looks: u32,
    /// Whether the main process and its process group are gone, or the group is no longer watched.
    pub(super) is_over: bool,
    /// The result of recording the end of the run; `None` before the first attempt.
    pub(super) recorded: Option<Result<(), ProcessError>>,
}

impl RunTask {
    pub(crate) fn new(
        shared: SharedInstance,
        main_process: MainProcess,
        drains: OutputDrain,
        channels: RunChannels,
        fd_store: Option<Arc<dyn FdStore>>,
    ) -> Self {
        let marker = shared.facts().marker();
        Self {
            shared,
            marker,
            main_process,
            channels,
            fd_store,
            drains,
            drained: None,
            end_observer: None,
            phase: StopPhase::None,
            look: Look::default(),
            waiting: Vec::new(),
            cause: None,
            pre_stop: None,
            end: None,
            found_ended: None,
            strays_asked: false,
            strays: Vec::new(),
            asked: Vec::new(),
            orphans: HashSet::new(),
            unclear_looks: 0,
            is_over: false,
            recorded: None,
        }
    }

    /// The same task, for a run of an earlier supervisor. `found_ended` is `Some` if the process has ended already.
    pub(crate) fn resumed(self, found_ended: Option<Requester>) -> Self {
        Self { found_ended, ..self }
    }

    /// The same task. `observer` gets all lines of the output before the end is recorded.
    pub(crate) fn heard_by(self, end_observer: Option<SharedObserver>) -> Self {
        Self { end_observer, ..self }
    }

    /// Runs the task until the end of the run is recorded.
    pub(crate) fn own(self) -> impl Future<Output = ()> + Send + 'static {
        // The state is boxed, because the future would otherwise contain a copy of it for each place to which it moves.
        Box::new(self).run_to_end()
    }

    async fn run_to_end(self: Box<Self>) {
        let stop = self.shared.facts().stream.as_ref().and_then(|stream| stream.stopping);
        let resumed = match stop {
            Some(stop) => self.off_worker(move |run| run.resume_stop(stop)).await,
            None => Some(self),
        };
        let Some(mut run) = resumed else { return };
        while run.recorded.is_none() {
            let input = run.next_input().await;
            // Boxed, because most of the time the task waits for an input.
            run.look = Box::pin(run.look_before(&input)).await;
            let Some(stepped) = run.off_worker(move |run| run.step(input)).await else { return };
            run = stepped;
            run.look = Look::default();
            if run.is_to_be_heard() {
                let Some(heard) = Box::pin(run.hear()).await else { return };
                run = heard;
            }
        }
        // Boxed, because the future of this function is in memory as long as the process runs.
        Box::pin(run.close()).await;
    }

    /// Runs a step on a blocking thread. Returns `None` when the step panicked: the state of the run is then lost.
    async fn off_worker(mut self: Box<Self>, step: impl FnOnce(&mut Self) + Send + 'static) -> Option<Box<Self>> {
        let stepped = blocking::step(move || {
            step(&mut self);
            self
        });
        let stepped = stepped.await;
        stepped
            .inspect_err(|error| tracing::error!(%error, "a step of a run panicked: the run is no longer watched"))
            .ok()
    }

    /// Waits for the next input. Cancel safe.
    async fn next_input(&mut self) -> RunInput {
        let has_ended = self.end.is_some();
        let deadline = self.phase.deadline();
        let is_pressing = deadline.is_some() || self.unclear_looks > 0;
        let interval = if is_pressing { SWEEP_INTERVAL } else { WATCH_INTERVAL };
        // The pre-stop commands have their own time limit, and the stop signal is sent after they end.
        let deadline = deadline.filter(|_| self.pre_stop.is_none());
        tokio::select! {
            biased;
            exit = self.main_process.ended(), if !has_ended => RunInput::MainProcessEnded(exit),
            Some(command) = self.channels.commands.recv() => RunInput::Command(*command),
            Some(notice) = self.channels.noticed.recv() => RunInput::Output(*notice),
            results = done(&mut self.pre_stop), if self.pre_stop.is_some() => RunInput::PreStopDone(results),
            () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => RunInput::Deadline,
            () = sleep(interval), if has_ended => RunInput::Sweep,
        }
    }

    fn step(&mut self, input: RunInput) {
        match input {
            RunInput::MainProcessEnded(exit) => self.main_process_ended(exit),
            RunInput::Command(RunCommand::Stop(command)) => self.stop(command),
            RunInput::Command(RunCommand::Rotate(command)) => self.rotate(command),
            RunInput::Command(RunCommand::Signal(command)) => self.pass_on(command),
            RunInput::Output(notice) => record_notice(&self.shared, self.marker.run, &notice),
            RunInput::PreStopDone(results) => self.pre_stop_done(results),
            RunInput::Sweep => self.sweep(),
            RunInput::Deadline => {
                self.sweep();
                if !self.is_over {
                    self.escalate();
                }
            }
        }
        if self.is_over && self.pre_stop.is_none() && self.end_observer.is_none() {
            self.record_end();
        }
    }

    /// Whether the run is over, and its end is recorded once the observer has got the rest of the output.
    const fn is_to_be_heard(&self) -> bool {
        self.is_over && self.pre_stop.is_none() && self.end_observer.is_some() && self.recorded.is_none()
    }

    /// Waits until all output is written, and records the end with what the observer says. Returns `None` after a panic.
    async fn hear(mut self: Box<Self>) -> Option<Box<Self>> {
        let drains = std::mem::replace(&mut self.drains, OutputDrain::none());
        self.drained = Some(drains.finish().await);
        self.off_worker(Self::hear_end).await
    }

    /// Passes the rest of the output to the observer, records what it observes, and then the end of the run.
    fn hear_end(&mut self) {
        let (Some(observer), Some(end)) = (&self.end_observer, &self.end) else { return };
        let (now, was_stopped) = {
            let facts = self.shared.facts();
            (facts.clock.now(), facts.state() == ProcessState::Stopping)
        };
        observer.end(&ObservedEnd { exit: end.exit, was_stopped }, now, |kinds| {
            if let Err(error) = self.shared.lock().record(&EventOrigin::default(), kinds) {
                tracing::warn!(%error, "the last reports of an agent could not be recorded");
            }
        });
        self.record_end();
    }

    fn main_process_ended(&mut self, exit: Exit) {
        let after_kill = self.shared.facts().stream.as_ref().is_some_and(|stream| stream.kill_sent);
        self.end = Some(MainProcessEnd { exit, after_kill });
        // Another part of this process has reaped the child. The kernel may have reused the id of the process group, so
        // no signal is sent to the group.
        self.is_over = self.main_process.has_lost_group(&exit);
        if let Some(pre_stop) = &self.pre_stop {
            // The process has ended, so the pre-stop commands are not needed any more.
            pre_stop.shorten_deadline(Instant::now());
        }
        self.sweep();
    }

    /// Records the end of the run, after the main process and its group have ended.
    fn record_end(&mut self) {
        let Some(end) = &self.end else { return };
        let survivors = self.strays.iter().filter(|stray| self.orphans.contains(&stray.id())).count();
        let ended = u32::try_from(self.orphans.len().saturating_sub(survivors)).unwrap_or(u32::MAX);
        if ended > 0 {
            let origin = EventOrigin::default().caused_by(self.cause);
            let recorded = self.shared.lock().record(&origin, vec![EventKind::OrphansEnded { processes: ended }]);
            if let Err(error) = recorded {
                tracing::warn!(%error, "the end of processes that left the group could not be recorded");
            }
        }
        // If the process ended by itself, the end is recorded without a cause, even if members of its group were
        // signalled later.
        let cause = self.cause.filter(|_| self.shared.facts().state() == ProcessState::Stopping);
        let origin = EventOrigin::of(self.found_ended.take().unwrap_or_default()).caused_by(cause);
        self.recorded = Some(self.shared.lock().record_end(end, &origin));
    }

    /// Sends the result to the waiting callers, waits until the remaining output is written, and publishes that the run
    /// is over.
    async fn close(self: Box<Self>) {
        let Self { shared, marker, main_process, channels, fd_store, drains, drained, waiting, recorded, .. } = *self;
        let RunChannels { commands, finished, mut noticed } = channels;
        // The process is reaped, so the pidfd is not needed any more. The command channel is closed, so that later
        // commands fail at once.
        drop((main_process, commands));
        let recorded = recorded.unwrap_or(Ok(()));
        for reply in waiting {
            answer(reply, recorded.as_ref().copied().map_err(ProcessError::copied));
        }
        let is_heard = drained.is_some();
        let mut drained = match drained {
            Some(drained) => drained,
            None => drains.finish().await,
        };
        if is_heard {
            // The lines of an agent can have prompts and answers. Its reports say how it ended.
            drained.tails.clear();
        }
        let closed = blocking::step(move || {
            while let Ok(notice) = noticed.try_recv() {
                record_notice(&shared, marker.run, &notice);
            }
            record_outputs(&shared, marker.run, drained);
            if recorded.is_ok() {
                release_run(fd_store.as_deref(), &marker.to_string());
            }
        });
        if let Err(error) = closed.await {
            tracing::error!(%error, "the output events of a run were not all recorded");
        }
        finished.send_replace(true);
    }
}

/// Waits for the results of the pre-stop commands. Never returns if no commands are running. Cancel safe.
async fn done(pre_stop: &mut Option<PreStop>) -> Vec<PreStopResult> {
    match pre_stop {
        Some(running) => running.done().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_future<F>(_: impl FnOnce(RunTask) -> F) -> usize {
        size_of::<F>()
    }

    /// Each instance has such a future in memory.
    #[test]
    fn the_future_of_a_run_task_contains_no_copy_of_its_state() {
        let (future, state) = (size_of_future(RunTask::own), size_of::<RunTask>());
        assert!(future < state + 2048, "{future} bytes, for {state}");
    }
}
