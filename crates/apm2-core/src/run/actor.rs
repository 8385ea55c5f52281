//! One run, from the spawn until the process is reaped: a task that waits for one input and takes one step.
//!
//! The steps are synchronous: what they record is durable before they act, and nothing that is dropped half-way can
//! come between. Each is taken on a blocking thread, which the task's state moves to and back from; the task itself only
//! waits. A run is over when the process **and** its group are gone, members that it left behind included. The
//! group is cleared while the process is an unreaped zombie, so the group's id cannot be a stranger's.

use std::{cmp::min, collections::HashSet, io, mem, sync::Arc, time::Duration};

use apm2_model::{
    duration::millis,
    event::{
        actor::Actor,
        exit::Exit,
        kind::{EventKind, OutputSource, SignalTarget},
        origin::EventOrigin,
        requester::Requester,
    },
    signal::Signal,
    state::{ProcessState, stream::StopUnderWay},
};
use tokio::{
    sync::{mpsc, oneshot, watch},
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
        drain::{Drained, OutputDrain},
        fd_store::{FdStore, let_go},
        notice::OutputNotice,
    },
    run::{
        instance::{MainProcessEnd, Shared},
        pre_stop::{PreStop, PreStopResult},
    },
    time::instant_in,
};

/// Orders that wait for the task.
pub(crate) const COMMANDS_WAITING_MAX: usize = 16;

/// How often a group that should go is looked at.
const SWEEP_INTERVAL: Duration = Duration::from_millis(20);

/// How often a group is looked at that nothing more can be done about.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// What members of the group that outlive a natural exit get to end by themselves, at most.
const LEFTOVER_GRACE_MAX: Duration = Duration::from_secs(2);

/// Looks for processes that left the group, after an end that nobody asked for, that may fail before it goes on.
const UNCLEAR_LOOKS_MAX: u32 = 50;

/// How long SIGKILL may take to work. It only ever does in uninterruptible sleep.
const KILL_WAIT: Duration = Duration::from_secs(5);

/// Survivors that are named in an event.
const SURVIVORS_NAMED_MAX: usize = 16;

/// What part of the time for a stop the commands before it may take: one of so many.
const PRE_STOP_SHARE: u32 = 2;

/// A request to stop the process.
pub(crate) struct StopCommand {
    /// Who asks.
    pub(crate) request: Requester,
    /// The time that the process is given.
    pub(crate) timeout: Duration,
    /// The end of that time.
    pub(crate) deadline: Instant,
    /// Told how it went. Nobody may be listening any more.
    pub(crate) reply: Reply,
}

/// A request to tell the process that its credentials were rotated.
pub(crate) struct RotateCommand {
    /// Who asks.
    pub(crate) request: Requester,
    /// The profile.
    pub(crate) profile: String,
    /// The names of its variables.
    pub(crate) variables: Vec<String>,
    /// The signal by which it is told.
    pub(crate) signal: Signal,
    /// Told how it went.
    pub(crate) reply: Reply,
}

/// A request to pass a signal on, which is no stop.
pub(crate) struct SignalCommand {
    /// Who asks.
    pub(crate) request: Requester,
    /// The signal.
    pub(crate) signal: Signal,
    /// Told how it went.
    pub(crate) reply: Reply,
}

/// What a run may be asked for.
pub(crate) enum RunCommand {
    Stop(StopCommand),
    Rotate(RotateCommand),
    Signal(SignalCommand),
}

/// Where an answer goes.
pub(crate) type Reply = oneshot::Sender<Result<(), ProcessError>>;

/// Where an answer comes from.
pub(crate) type Answer = oneshot::Receiver<Result<(), ProcessError>>;

/// The task's ends of what connects it with others.
pub(crate) struct RunChannels {
    /// What it is asked for.
    pub(crate) commands: mpsc::Receiver<RunCommand>,
    /// Told once the end is recorded and all output is handed on.
    pub(crate) finished: watch::Sender<bool>,
    /// What the outputs have to say.
    pub(crate) noticed: mpsc::Receiver<OutputNotice>,
}

/// What has been done so far to make the group go.
#[derive(Debug, Clone, Copy)]
enum StopPhase {
    /// Nothing.
    None,
    /// It was asked to.
    Asked { until: Instant, force_kill: bool },
    /// SIGKILL was sent.
    Killed { until: Instant },
    /// All that may be. Now it is only watched.
    Spent,
}

impl StopPhase {
    const fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Asked { until, .. } | Self::Killed { until } => Some(*until),
            Self::None | Self::Spent => None,
        }
    }

    /// With the earlier of two deadlines: a second stop never makes the first one wait longer.
    fn tightened(self, deadline: Instant, force_kill: bool) -> Self {
        match self {
            Self::Asked { until, force_kill } => Self::Asked { until: min(until, deadline), force_kill },
            Self::None | Self::Spent => Self::Asked { until: deadline, force_kill },
            Self::Killed { .. } => self,
        }
    }
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
pub(crate) struct Run {
    shared: Shared,
    marker: Marker,
    main_process: MainProcess,
    channels: RunChannels,
    holder: Option<Arc<dyn FdStore>>,
    drains: OutputDrain,
    phase: StopPhase,
    /// Everybody who waits for the stop.
    waiting: Vec<Reply>,
    /// The seq of the event that everything after it is done because of.
    cause: Option<u64>,
    /// The commands that come before the stop signal, while they run.
    pre_stop: Option<PreStop>,
    end: Option<MainProcessEnd>,
    /// Who tells of the end of a process that had ended before this task began.
    found_ended: Option<Requester>,
    /// Whether those that left the group and the session were asked to go.
    strays_asked: bool,
    /// Those of them that were last seen.
    strays: Vec<Member>,
    /// Those of them that were sent a signal.
    asked: Vec<Member>,
    /// All of them that were ever seen, by pid and start time.
    orphans: HashSet<(u32, u64)>,
    /// Looks for them in a row that could not tell whether there are any.
    unclear_looks: u32,
    over: bool,
    /// Whether the end is on record, once that was tried.
    recorded: Option<Result<(), ProcessError>>,
}

impl Run {
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

    /// Goes on with a stop that an earlier supervisor began: nobody knows whether its signal was sent.
    fn resume_stop(&mut self, stop: StopUnderWay) {
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

    /// Looks whether the group is gone, and begins to clear it if a natural exit left members behind.
    fn sweep(&mut self) {
        if self.end.is_none() || self.over {
            return;
        }
        self.strays.clear();
        self.over = self.members().is_ok_and(|members| members.is_empty());
        if self.over {
            self.over = !self.ask_strays();
        } else if matches!(self.phase, StopPhase::None) {
            self.clear_leftovers();
        }
    }

    /// Looks for processes of the run that left its group and session, and asks them to go, once; whether there are any. After
    /// an end that nobody asked for, only where the specification does not leave them alone.
    fn ask_strays(&mut self) -> bool {
        let (is_stop, shutdown) = {
            let facts = self.shared.facts();
            (facts.state() == ProcessState::Stopping, facts.spec.shutdown.clone())
        };
        let is_wanted = is_stop || shutdown.end_orphans;
        if !is_wanted || matches!(self.phase, StopPhase::Spent) || !self.main_process.is_of_this_boot() {
            return false;
        }
        // Those of an earlier run, too: the next one is to be alone with what it works on.
        match self.marker.carriers_of_any_run() {
            Ok(strays) => self.strays = strays,
            // Whether there are any is not known: it is looked again, until the time is over.
            Err(error) => return self.look_again(&error),
        }
        self.unclear_looks = 0;
        if self.strays.is_empty() {
            return false;
        }
        self.orphans.extend(self.strays.iter().map(Member::id));
        let signal = if is_stop { shutdown.signal } else { Signal::TERM };
        if matches!(self.phase, StopPhase::None) {
            let until = instant_in(min(shutdown.timeout, LEFTOVER_GRACE_MAX));
            self.phase = StopPhase::Asked { until, force_kill: true };
        }
        if mem::replace(&mut self.strays_asked, true) {
            self.signal_again(signal);
        } else if let Err(error) = self.signal(EventOrigin::default().caused_by(self.cause), None, signal) {
            tracing::warn!(%error, "the processes that left the group could not be asked to end");
        }
        self.asked.clone_from(&self.strays);
        true
    }

    /// Whether it is to be looked again for processes that left the group. Without a time to stop, only so often.
    fn look_again(&mut self, error: &io::Error) -> bool {
        self.unclear_looks = self.unclear_looks.saturating_add(1);
        let is_last = matches!(self.phase, StopPhase::None) && self.unclear_looks >= UNCLEAR_LOOKS_MAX;
        if is_last {
            tracing::warn!(%error, "whether any process left the group cannot be told; if so, it is left");
        }
        !is_last
    }

    /// Sends what is on record already to those who came after it was sent: SIGKILL to all that are left, what asked for the
    /// stop to those that were not asked yet.
    fn signal_again(&mut self, signal: Signal) {
        let is_killing = matches!(self.phase, StopPhase::Killed { .. });
        let signal = if is_killing { Signal::KILL } else { signal };
        for stray in self.strays.iter().filter(|stray| is_killing || !self.asked.contains(stray)) {
            if let Err(error) = stray.signal(signal) {
                tracing::debug!(%error, pid = stray.pid, "a process that left the group could not be signalled");
            }
        }
    }

    fn clear_leftovers(&mut self) {
        let timeout = self.shared.facts().spec.shutdown.timeout;
        // What is left behind is not stopped but cleared away: `force_kill` is about stops, and this has to end.
        self.phase = StopPhase::Asked { until: instant_in(min(timeout, LEFTOVER_GRACE_MAX)), force_kill: true };
        if let Err(error) = self.signal(EventOrigin::default(), None, Signal::TERM) {
            tracing::warn!(%error, "the processes that a run left behind could not be asked to end");
        }
    }

    fn stop(&mut self, command: StopCommand) {
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
    fn begin_pre_stop(
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

    fn pre_stop_done(&mut self, results: Vec<PreStopResult>) {
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

    fn rotate(&mut self, command: RotateCommand) {
        let RotateCommand { request, profile, variables, signal, reply } = command;
        let kinds = vec![
            EventKind::CredentialRotated { profile, variables },
            EventKind::SignalSent { signal, target: SignalTarget::Process },
        ];
        let recorded = self.shared.lock().record(&EventOrigin::of(request), kinds);
        let told = recorded.and_then(|seq| match self.main_process.signal(signal) {
            Ok(()) => Ok(()),
            Err(error) => self.refused(signal, &error, Some(seq)),
        });
        answer(reply, told);
    }

    /// Passes a signal on to the group and the session. No SIGCONT goes with it: what is stopped has it when it continues.
    fn pass_on(&mut self, command: SignalCommand) {
        let SignalCommand { request, signal, reply } = command;
        if self.end.is_some() {
            return answer(reply, Err(ProcessError::InvalidState("it has just ended".to_owned())));
        }
        let sent = EventKind::SignalSent { signal, target: SignalTarget::Group };
        let recorded = self.shared.lock().record(&EventOrigin::of(request), vec![sent]);
        answer(reply, recorded.and_then(|seq| self.deliver(signal, Some(seq))));
    }

    /// Records that the kernel refused a signal.
    fn refused(&self, signal: Signal, error: &io::Error, cause: Option<u64>) -> Result<(), ProcessError> {
        let errno = error.raw_os_error().unwrap_or(0);
        let origin = EventOrigin::default().caused_by(cause);
        self.shared.lock().record(&origin, vec![EventKind::SignalFailed { signal, errno }])?;
        Err(ProcessError::SignalFailed(format!("{signal}: {error}")))
    }

    /// The time that was given is over.
    fn escalate(&mut self) {
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

    fn kill(&mut self) {
        self.phase = StopPhase::Killed { until: instant_in(KILL_WAIT) };
        let origin = EventOrigin::default().caused_by(self.cause);
        if let Err(error) = self.signal(origin, None, Signal::KILL) {
            self.answer_all(&error);
        }
    }

    /// SIGKILL did not work in time: a stop has failed and is watched on; a natural exit is recorded all the same.
    fn survived(&mut self) {
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

    /// Records that `signal` is about to be sent to the group, after `first` in the same commit, and sends it.
    fn signal(&mut self, origin: EventOrigin, first: Option<EventKind>, signal: Signal) -> Result<(), ProcessError> {
        let mut signals = vec![signal];
        // A stopped process acts on nothing but SIGKILL until it is continued.
        if signal != Signal::KILL && self.members().unwrap_or_default().iter().any(|member| member.stopped) {
            signals.push(Signal::CONT);
        }
        let sent = signals.iter().map(|signal| EventKind::SignalSent { signal: *signal, target: SignalTarget::Group });
        let kinds = first.into_iter().chain(sent).collect();
        let seq = self.shared.lock().record(&origin, kinds)?;
        self.cause.get_or_insert(seq);
        signals.into_iter().try_for_each(|signal| self.deliver(signal, self.cause))
    }

    fn deliver(&self, signal: Signal, cause: Option<u64>) -> Result<(), ProcessError> {
        let members = self.members().unwrap_or_default();
        // The session's other groups first: whoever waits for them may go as soon as the group is told.
        let mut apart = members.iter().filter(|member| !member.in_group);
        let sent = apart.try_for_each(|member| member.signal(signal));
        let Err(error) = self.main_process.signal_group(signal, &members).and(sent) else { return Ok(()) };
        if error.raw_os_error() == Some(nix::libc::ESRCH) {
            return Ok(()); // Everybody is gone already, which is what it was for.
        }
        self.refused(signal, &error, cause)
    }

    fn members(&self) -> io::Result<Vec<Member>> {
        let mut members = self
            .main_process
            .members(&self.marker)
            .inspect_err(|error| tracing::warn!(%error, "the members of a process group cannot be read"))?;
        members.extend(self.strays.iter().copied());
        Ok(members)
    }

    fn answer_all(&mut self, error: &ProcessError) {
        for reply in self.waiting.drain(..) {
            answer(reply, Err(error.copied()));
        }
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

/// Records what became of the outputs of a run that is over: who holds them, and the last lines of one that failed.
fn record_outputs(shared: &Shared, run: u64, drained: Drained) {
    let mut kinds: Vec<EventKind> =
        drained.leaked.into_iter().map(|source| EventKind::OutputLeaked { source }).collect();
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    for (source, lines) in drained.tails {
        match source {
            OutputSource::Stdout => stdout = lines,
            OutputSource::Stderr => stderr = lines,
        }
    }
    let mut instance = shared.lock();
    let (state, latest, end_seq) = {
        let facts = instance.facts();
        (facts.state(), facts.run(), facts.end_seq)
    };
    let has_failed = !matches!(state, ProcessState::Stopped { .. });
    if has_failed && !(stdout.is_empty() && stderr.is_empty()) {
        kinds.push(EventKind::OutputTail { stdout, stderr });
    }
    // Once the next run has begun the events of this one are closed.
    if kinds.is_empty() || latest != run {
        return;
    }
    let origin = EventOrigin::default().caused_by(end_seq);
    if let Err(error) = instance.record(&origin, kinds) {
        tracing::warn!(%error, "the end of an output could not be recorded");
    }
}

/// Records that output is lost, and how much it was once that is known.
fn record_notice(shared: &Shared, run: u64, notice: &OutputNotice) {
    let (source, bytes, cause) = match notice {
        OutputNotice::Dropping { source, cause } => (*source, 0, cause.clone()),
        OutputNotice::Resumed { source, bytes } => (*source, *bytes, "kept again".to_owned()),
        OutputNotice::Ended { source, bytes } => (*source, *bytes, "to the end of the run".to_owned()),
        OutputNotice::Lost { source, bytes, cause } => (*source, *bytes, cause.clone()),
    };
    let mut instance = shared.lock();
    let latest = instance.facts().run();
    if latest != run {
        return;
    }
    let dropped = EventKind::OutputDropped { source, bytes, cause };
    if let Err(error) = instance.record(&EventOrigin::default(), vec![dropped]) {
        tracing::warn!(%error, "a lost output could not be recorded");
    }
}

/// Until when the commands before a stop may take: the process itself is to have some of the time.
fn pre_stop_until(deadline: Instant) -> Instant {
    let now = Instant::now();
    now + deadline.saturating_duration_since(now) / PRE_STOP_SHARE
}

/// The results of the commands before a stop. To be asked while they run; loses nothing when dropped.
async fn done(pre_stop: &mut Option<PreStop>) -> Vec<PreStopResult> {
    match pre_stop {
        Some(running) => running.done().await,
        None => std::future::pending().await,
    }
}

/// Nobody may be listening any more, which is theirs to decide.
fn answer(reply: Reply, result: Result<(), ProcessError>) {
    let _ = reply.send(result);
}

fn timed_out(what: String) -> ProcessError {
    ProcessError::Io(io::Error::new(io::ErrorKind::TimedOut, what))
}
