//! One run, from the spawn until the process is reaped: a task that waits for one input and takes one step.
//!
//! The steps are synchronous: what they record is durable before they act, and nothing that is dropped half-way can
//! come between. A run is over when the process **and** its group are gone, members that it left behind included. The
//! group is cleared while the process is an unreaped zombie, so the group's id cannot be a stranger's.

use std::{cmp::min, io, process::ExitStatus, time::Duration};

use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep, sleep_until},
};

use crate::{
    duration::millis,
    process::{
        EventKind, OutputSource, ProcessError, ProcessState, Request, Signal, SignalTarget,
        group::{self, Member},
        history::Origin,
        instance::{LeaderEnd, Shared},
        leader::Leader,
        output::Drains,
    },
};

/// Stop orders that wait for the task.
pub(super) const STOP_ORDERS_WAITING_MAX: usize = 16;

/// How often a group that should go is looked at.
const SWEEP_INTERVAL: Duration = Duration::from_millis(20);

/// How often a group is looked at that nothing more can be done about.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// What members of the group that outlive a natural exit get to end by themselves, at most.
const LEFTOVER_GRACE_MAX: Duration = Duration::from_secs(2);

/// How long SIGKILL may take to work. It only ever does in uninterruptible sleep.
const KILL_WAIT: Duration = Duration::from_secs(5);

/// Survivors that are named in an event.
const SURVIVORS_NAMED_MAX: usize = 16;

/// Stands for "never" where a deadline is too far away to be a point in time.
const FAR_AWAY: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The point in time after `timeout`.
pub(super) fn deadline_in(timeout: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(timeout).unwrap_or_else(|| now + FAR_AWAY)
}

/// A request to stop the process.
pub(super) struct StopOrder {
    /// Who asks.
    pub(super) request: Request,
    /// The time that the process is given.
    pub(super) timeout: Duration,
    /// The end of that time.
    pub(super) deadline: Instant,
    /// Told how it went. Nobody may be listening any more.
    pub(super) reply: Reply,
}

type Reply = oneshot::Sender<Result<(), ProcessError>>;

/// What has been done so far to make the group go.
#[derive(Debug, Clone, Copy)]
enum Pressure {
    /// Nothing.
    None,
    /// It was asked to.
    Asked { until: Instant, force_kill: bool },
    /// SIGKILL was sent.
    Killed { until: Instant },
    /// All that may be. Now it is only watched.
    Spent,
}

impl Pressure {
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
enum Input {
    LeaderEnded(Option<ExitStatus>),
    Order(StopOrder),
    Deadline,
    Sweep,
}

/// The task's own state.
pub(super) struct Run {
    shared: Shared,
    number: u64,
    leader: Leader,
    orders: mpsc::Receiver<StopOrder>,
    /// Set once the end is recorded and all output is handed on.
    finished: watch::Sender<bool>,
    drains: Drains,
    pressure: Pressure,
    /// Everybody who waits for the stop.
    waiting: Vec<Reply>,
    /// The seq of the event that everything after it is done because of.
    cause: Option<u64>,
    end: Option<LeaderEnd>,
    over: bool,
}

impl Run {
    pub(super) fn new(
        shared: Shared,
        number: u64,
        leader: Leader,
        drains: Drains,
        orders: mpsc::Receiver<StopOrder>,
        finished: watch::Sender<bool>,
    ) -> Self {
        let (pressure, waiting, cause, end, over) = (Pressure::None, Vec::new(), None, None, false);
        Self { shared, number, leader, orders, finished, drains, pressure, waiting, cause, end, over }
    }

    /// Owns the run until its end.
    pub(super) async fn own(mut self) {
        while !self.over {
            let input = self.next_input().await;
            self.step(input);
        }
        self.close().await;
    }

    /// The next thing that happens. Loses nothing when dropped.
    async fn next_input(&mut self) -> Input {
        let has_ended = self.end.is_some();
        let deadline = self.pressure.deadline();
        let interval = if deadline.is_some() { SWEEP_INTERVAL } else { WATCH_INTERVAL };
        tokio::select! {
            biased;
            status = self.leader.ended(), if !has_ended => Input::LeaderEnded(status),
            Some(order) = self.orders.recv() => Input::Order(order),
            () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => Input::Deadline,
            () = sleep(interval), if has_ended => Input::Sweep,
        }
    }

    fn step(&mut self, input: Input) {
        match input {
            Input::LeaderEnded(status) => self.leader_ended(status),
            Input::Order(order) => self.order(order),
            Input::Sweep => self.sweep(),
            Input::Deadline => {
                self.sweep();
                if !self.over {
                    self.escalate();
                }
            }
        }
    }

    fn leader_ended(&mut self, status: Option<ExitStatus>) {
        let after_kill = self.shared.lock().history.stream().is_some_and(|stream| stream.kill_sent);
        self.end = Some(LeaderEnd { status, after_kill });
        // Reaped by somebody else: the group's id may be a stranger's by now, so it is left alone (law 6).
        self.over = status.is_none();
        self.sweep();
    }

    /// Looks whether the group is gone, and begins to clear it if a natural exit left members behind.
    fn sweep(&mut self) {
        if self.end.is_none() || self.over {
            return;
        }
        self.over = self.members().is_ok_and(|members| members.is_empty());
        if !self.over && matches!(self.pressure, Pressure::None) {
            self.clear_leftovers();
        }
    }

    fn clear_leftovers(&mut self) {
        let timeout = self.shared.lock().spec.shutdown.timeout;
        // What is left behind is not stopped but cleared away: `force_kill` is about stops, and this has to end.
        self.pressure = Pressure::Asked { until: deadline_in(min(timeout, LEFTOVER_GRACE_MAX)), force_kill: true };
        if let Err(error) = self.signal(Origin::default(), None, Signal::TERM) {
            tracing::warn!(%error, "the processes that a run left behind could not be asked to end");
        }
    }

    fn order(&mut self, order: StopOrder) {
        let StopOrder { request, timeout, deadline, reply } = order;
        let (state, shutdown) = {
            let instance = self.shared.lock();
            (instance.state(), instance.spec.shutdown.clone())
        };
        let (signal, force_kill) = (shutdown.signal, shutdown.force_kill);
        // After the exit there is nothing left to stop, only something to wait for.
        if state.is_running() && self.end.is_none() {
            let stopping = EventKind::Stopping { signal, timeout_ms: millis(timeout), force_kill };
            match self.signal(Origin::of(request), Some(stopping), signal) {
                Ok(()) => {}
                // The stop is on record and goes on: SIGKILL may be allowed where the signal was not.
                Err(error @ ProcessError::SignalFailed(_)) => {
                    self.pressure = self.pressure.tightened(deadline, force_kill);
                    return answer(reply, Err(error));
                }
                Err(error) => return answer(reply, Err(error)),
            }
        }
        self.pressure = self.pressure.tightened(deadline, force_kill);
        self.waiting.retain(|waiting| !waiting.is_closed());
        self.waiting.push(reply);
    }

    /// The time that was given is over.
    fn escalate(&mut self) {
        match self.pressure {
            Pressure::Asked { force_kill: true, .. } => self.kill(),
            Pressure::Asked { force_kill: false, .. } => {
                self.pressure = Pressure::Spent;
                self.answer_all(&timed_out("still stopping, and must not be killed (force_kill is off)".to_owned()));
            }
            Pressure::Killed { .. } => self.survived(),
            Pressure::None | Pressure::Spent => {}
        }
    }

    fn kill(&mut self) {
        self.pressure = Pressure::Killed { until: deadline_in(KILL_WAIT) };
        let origin = Origin::default().caused_by(self.cause);
        if let Err(error) = self.signal(origin, None, Signal::KILL) {
            self.answer_all(&error);
        }
    }

    /// SIGKILL did not work in time: a stop has failed and is watched on; a natural exit is recorded all the same.
    fn survived(&mut self) {
        let pids: Vec<u32> =
            self.members().unwrap_or_default().iter().map(|member| member.pid).take(SURVIVORS_NAMED_MAX).collect();
        let error = timed_out(format!("processes outlived SIGKILL: {pids:?}"));
        let origin = Origin::default().caused_by(self.cause);
        let recorded = self.shared.lock().history.record(&origin, vec![EventKind::GroupSurvived { pids }]);
        if let Err(error) = recorded {
            tracing::error!(%error, "survivors of SIGKILL could not be recorded");
        }
        self.pressure = Pressure::Spent;
        self.over = self.end.is_some() && self.shared.lock().state().is_running();
        self.answer_all(&error);
    }

    /// Records that `signal` is about to be sent to the group, after `first` in the same commit, and sends it.
    fn signal(&mut self, origin: Origin, first: Option<EventKind>, signal: Signal) -> Result<(), ProcessError> {
        let mut signals = vec![signal];
        // A stopped process acts on nothing but SIGKILL until it is continued.
        if signal != Signal::KILL && self.members().unwrap_or_default().iter().any(|member| member.stopped) {
            signals.push(Signal::CONT);
        }
        let sent = signals.iter().map(|signal| EventKind::SignalSent { signal: *signal, target: SignalTarget::Group });
        let kinds = first.into_iter().chain(sent).collect();
        let seq = self.shared.lock().history.record(&origin, kinds)?;
        self.cause.get_or_insert(seq);
        signals.into_iter().try_for_each(|signal| self.deliver(signal))
    }

    fn deliver(&self, signal: Signal) -> Result<(), ProcessError> {
        // The session's other groups first: whoever waits for them may go as soon as the group is told.
        let mut apart = self.members().unwrap_or_default().into_iter().filter(|member| !member.in_group);
        let sent = apart.try_for_each(|member| member.signal(signal));
        let Err(error) = self.leader.signal_group(signal).and(sent) else { return Ok(()) };
        let errno = error.raw_os_error().unwrap_or(0);
        if errno == nix::libc::ESRCH {
            return Ok(()); // Everybody is gone already, which is what it was for.
        }
        let origin = Origin::default().caused_by(self.cause);
        self.shared.lock().history.record(&origin, vec![EventKind::SignalFailed { signal, errno }])?;
        Err(ProcessError::SignalFailed(format!("{signal}: {error}")))
    }

    fn members(&self) -> io::Result<Vec<Member>> {
        group::members(self.leader.group())
            .inspect_err(|error| tracing::warn!(%error, "the members of a process group cannot be read"))
    }

    fn answer_all(&mut self, error: &ProcessError) {
        for reply in self.waiting.drain(..) {
            answer(reply, Err(copy_of(error)));
        }
    }

    /// Records the end, tells it, and sees the output through.
    async fn close(self) {
        let Self { shared, number, leader, orders, finished, drains, waiting, cause, end, .. } = self;
        let Some(end) = end else { return };
        let recorded = {
            let mut instance = shared.lock();
            // A natural exit has no cause on record, whatever was done about what it left behind.
            let cause = cause.filter(|_| instance.state() == ProcessState::Stopping);
            instance.record_end(&end, cause)
        };
        // Reaped: neither its pid nor its pidfd is of use any more, and whoever asks now is told so at once.
        drop((leader, orders));
        for reply in waiting {
            answer(reply, recorded.as_ref().copied().map_err(copy_of));
        }
        let leaked = drains.finish().await;
        record_leaks(&shared, number, leaked);
        finished.send_replace(true);
    }
}

fn record_leaks(shared: &Shared, run: u64, leaked: Vec<OutputSource>) {
    let kinds: Vec<EventKind> = leaked.into_iter().map(|source| EventKind::OutputLeaked { source }).collect();
    let mut instance = shared.lock();
    // Once the next run has begun the events of this one are closed.
    if kinds.is_empty() || instance.run() != run {
        return;
    }
    let origin = Origin::default().caused_by(instance.end_seq);
    if let Err(error) = instance.history.record(&origin, kinds) {
        tracing::warn!(%error, "a leaked output could not be recorded");
    }
}

/// Nobody may be listening any more, which is theirs to decide.
fn answer(reply: Reply, result: Result<(), ProcessError>) {
    let _ = reply.send(result);
}

fn timed_out(what: String) -> ProcessError {
    ProcessError::Io(io::Error::new(io::ErrorKind::TimedOut, what))
}

/// The same error for one more listener.
fn copy_of(error: &ProcessError) -> ProcessError {
    match error {
        ProcessError::SpawnFailed(text) => ProcessError::SpawnFailed(text.clone()),
        ProcessError::NotFound(text) => ProcessError::NotFound(text.clone()),
        ProcessError::AlreadyExists(text) => ProcessError::AlreadyExists(text.clone()),
        ProcessError::InvalidState(text) => ProcessError::InvalidState(text.clone()),
        ProcessError::SignalFailed(text) => ProcessError::SignalFailed(text.clone()),
        ProcessError::Io(error) => ProcessError::Io(io::Error::new(error.kind(), error.to_string())),
    }
}
