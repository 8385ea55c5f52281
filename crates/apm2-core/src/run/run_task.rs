//! One run, from the spawn until the process is reaped: a task that waits for one input and takes one step.
//!
//! The steps are synchronous: what they record is durable before they act, and nothing that is dropped half-way can
//! come between. Each is taken on a blocking thread, which the task's state moves to and back from; the task itself only
//! waits. A run is over when the process **and** its group are gone, members that it left behind included. The
//! group is cleared while the process is an unreaped zombie, so the group's id cannot be a stranger's.

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
    blocking,
    error::ProcessError,
    os::{
        group::{Marker, Member},
        main_process::MainProcess,
    },
    output::{
        drain::OutputDrain,
        fd_store::{FdStore, let_go},
        notice::OutputNotice,
    },
    run::{
        command::{Reply, RunCommand, answer},
        instance::{MainProcessEnd, Shared},
        output_events::{record_notice, record_outputs},
        pre_stop::{PreStop, PreStopResult},
        stop_phase::StopPhase,
    },
};

/// How often a group that should go is looked at.
const SWEEP_INTERVAL: Duration = Duration::from_millis(20);

/// How often a group is looked at that nothing more can be done about.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// The task's ends of what connects it with others.
pub(crate) struct RunChannels {
    /// What it is asked for.
    pub(crate) commands: mpsc::Receiver<RunCommand>,
    /// Told once the end is recorded and all output is handed on.
    pub(crate) finished: watch::Sender<bool>,
    /// What the outputs have to say.
    pub(crate) noticed: mpsc::Receiver<OutputNotice>,
}

/// All that can happen to a run.
enum RunInput {
    MainProcessEnded(Exit),
    Command(RunCommand),
    Output(OutputNotice),
    PreStopDone(Vec<PreStopResult>),
    Deadline,
    Sweep,
}

/// The task's own state.
pub(crate) struct RunTask {
    pub(super) shared: Shared,
    pub(super) marker: Marker,
    pub(super) main_process: MainProcess,
    pub(super) channels: RunChannels,
    pub(super) holder: Option<Arc<dyn FdStore>>,
    pub(super) drains: OutputDrain,
    pub(super) phase: StopPhase,
    /// Everybody who waits for the stop.
    pub(super) waiting: Vec<Reply>,
    /// The seq of the event that everything after it is done because of.
    pub(super) cause: Option<u64>,
    /// The commands that come before the stop signal, while they run.
    pub(super) pre_stop: Option<PreStop>,
    pub(super) end: Option<MainProcessEnd>,
    /// Who tells of the end of a process that had ended before this task began.
    pub(super) found_ended: Option<Requester>,
    /// Whether those that left the group and the session were asked to go.
    pub(super) strays_asked: bool,
    /// Those of them that were last seen.
    pub(super) strays: Vec<Member>,
    /// Those of them that were sent a signal.
    pub(super) asked: Vec<Member>,
    /// All of them that were ever seen, by pid and start time.
    pub(super) orphans: HashSet<(u32, u64)>,
    /// Looks for them in a row that could not tell whether there are any.
    pub(super) unclear_looks: u32,
    pub(super) over: bool,
    /// Whether the end is on record, once that was tried.
    pub(super) recorded: Option<Result<(), ProcessError>>,
}

impl RunTask {
    pub(crate) fn new(
        shared: Shared,
        main_process: MainProcess,
        drains: OutputDrain,
        channels: RunChannels,
        holder: Option<Arc<dyn FdStore>>,
    ) -> Self {
        let marker = shared.facts().marker();
        Self {
            shared,
            marker,
            main_process,
            channels,
            holder,
            drains,
            phase: StopPhase::None,
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
            over: false,
            recorded: None,
        }
    }

    /// The same for a run that an earlier supervisor began: its process may be alive, or gone.
    pub(crate) fn resumed(self, found_ended: Option<Requester>) -> Self {
        Self { found_ended, ..self }
    }

    /// Owns the run until its end.
    pub(crate) async fn own(self) {
        let stop = self.shared.facts().stream.as_ref().and_then(|stream| stream.stopping);
        let resumed = match stop {
            Some(stop) => self.off_worker(move |run| run.resume_stop(stop)).await,
            None => Some(self),
        };
        let Some(mut run) = resumed else { return };
        while run.recorded.is_none() {
            let input = run.next_input().await;
            let Some(stepped) = run.off_worker(move |run| run.step(input)).await else { return };
            run = stepped;
        }
        run.close().await;
    }

    /// Takes a step on a blocking thread. `None` when it broke off, and with it what was known of the run.
    async fn off_worker(mut self, step: impl FnOnce(&mut Self) + Send + 'static) -> Option<Self> {
        let stepped = blocking::step(move || {
            step(&mut self);
            self
        });
        let stepped = stepped.await;
        stepped.inspect_err(|error| tracing::error!(%error, "a step broke off: the run is not watched any more")).ok()
    }

    /// The next thing that happens. Loses nothing when dropped.
    async fn next_input(&mut self) -> RunInput {
        let has_ended = self.end.is_some();
        let deadline = self.phase.deadline();
        let is_pressing = deadline.is_some() || self.unclear_looks > 0;
        let interval = if is_pressing { SWEEP_INTERVAL } else { WATCH_INTERVAL };
        // The commands have a limit of their own, and the signal comes after them.
        let deadline = deadline.filter(|_| self.pre_stop.is_none());
        tokio::select! {
            biased;
            exit = self.main_process.ended(), if !has_ended => RunInput::MainProcessEnded(exit),
            Some(command) = self.channels.commands.recv() => RunInput::Command(command),
            Some(notice) = self.channels.noticed.recv() => RunInput::Output(notice),
            results = done(&mut self.pre_stop), if self.pre_stop.is_some() => RunInput::PreStopDone(results),
            () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => RunInput::Deadline,
            () = sleep(interval), if has_ended => RunInput::Sweep,
        }
    }

    fn step(&mut self, input: RunInput) {
        match input {
            RunInput::MainProcessEnded(exit) => self.leader_ended(exit),
            RunInput::Command(RunCommand::Stop(command)) => self.stop(command),
            RunInput::Command(RunCommand::Rotate(command)) => self.rotate(command),
            RunInput::Command(RunCommand::Signal(command)) => self.pass_on(command),
            RunInput::Output(notice) => record_notice(&self.shared, self.marker.run, &notice),
            RunInput::PreStopDone(results) => self.pre_stop_done(results),
            RunInput::Sweep => self.sweep(),
            RunInput::Deadline => {
                self.sweep();
                if !self.over {
                    self.escalate();
                }
            }
        }
        if self.over && self.pre_stop.is_none() {
            self.record_end();
        }
    }

    fn leader_ended(&mut self, exit: Exit) {
        let after_kill = self.shared.facts().stream.as_ref().is_some_and(|stream| stream.kill_sent);
        self.end = Some(MainProcessEnd { exit, after_kill });
        // A child that somebody else reaped: the group's id may be a stranger's by now, so it is left alone (law 6).
        self.over = self.main_process.has_lost_group(&exit);
        if let Some(pre_stop) = &self.pre_stop {
            // There is nothing left to prepare, and its end is to be on record.
            pre_stop.shorten_deadline(Instant::now());
        }
        self.sweep();
    }

    /// Records the end, now that process and group are gone.
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
        // A natural exit has no cause on record, whatever was done about what it left behind.
        let cause = self.cause.filter(|_| self.shared.facts().state() == ProcessState::Stopping);
        let origin = EventOrigin::of(self.found_ended.take().unwrap_or_default()).caused_by(cause);
        self.recorded = Some(self.shared.lock().record_end(end, &origin));
    }

    /// Tells the end, and sees the output through.
    async fn close(self) {
        let Self { shared, marker, main_process, channels, holder, drains, waiting, recorded, .. } = self;
        let RunChannels { commands, finished, mut noticed } = channels;
        // Reaped: neither its pid nor its pidfd is of use any more, and whoever asks now is told so at once.
        drop((main_process, commands));
        let recorded = recorded.unwrap_or(Ok(()));
        for reply in waiting {
            answer(reply, recorded.as_ref().copied().map_err(ProcessError::copied));
        }
        let drained = drains.finish().await;
        let seen_through = blocking::step(move || {
            while let Ok(notice) = noticed.try_recv() {
                record_notice(&shared, marker.run, &notice);
            }
            record_outputs(&shared, marker.run, drained);
            if recorded.is_ok() {
                let_go(holder.as_deref(), &marker.to_string());
            }
        });
        if let Err(error) = seen_through.await {
            tracing::error!(%error, "the rest of a run was not seen through");
        }
        finished.send_replace(true);
    }
}

/// The results of the commands before a stop. To be asked while they run; loses nothing when dropped.
async fn done(pre_stop: &mut Option<PreStop>) -> Vec<PreStopResult> {
    match pre_stop {
        Some(running) => running.done().await,
        None => std::future::pending().await,
    }
}
