//! Keeping a process running by its restart policy, and closing what a supervisor that died left open.
//!
//! Nothing is decided here that the events do not tell: the budget of restarts is read from the stream, so it outlives
//! every supervisor. Running a process once is the [`ProcessRunner`]'s matter.

mod launch;

use std::time::Duration;

use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};

use crate::{
    duration::millis,
    process::runner::STOP_DRAIN_MAX,
    process::{
        Actor, EventKind, Exit, Observation, Origin, ProcessError, ProcessRunner, Request, RestartRule, RunEnd, Signal,
        StartTrigger, Stream, end_event, members,
    },
    restart::RestartDecision,
};

pub use self::launch::{Launch, LaunchStore};

/// A request to stop a process for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StopRequest {
    /// The time that the process is given until SIGKILL.
    pub timeout: Duration,
    /// Who asks.
    pub request: Request,
}

/// Starts the process, and starts it again by its policy until that says no or a stop is asked for.
///
/// A process that cannot be spawned is treated as one that fails. Returns the stream as it then is: its
/// [`end`](Stream::end) says how the last run ended, a failed spawn included.
///
/// A stop takes the process down, or cancels the restart that is pending. A second one shortens the first one's time.
/// A closed channel asks for nothing. Dropping the future leaves the process running, without a policy.
///
/// ```
/// use apm2_core::{
///     process::{ProcessRunner, ProcessSpec, Request},
///     restart::{BackoffConfig, RestartConfig},
///     supervisor::keep_running,
/// };
/// use std::time::Duration;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), apm2_core::process::ProcessError> {
/// let backoff = BackoffConfig::Fixed { delay: Duration::from_millis(10) };
/// let restart = RestartConfig { max_restarts: 2, backoff, ..RestartConfig::default() };
/// let spec = ProcessSpec::builder().name("flaky").command("false").restart(restart).build();
///
/// let (_stop, mut stops) = tokio::sync::mpsc::channel(1);
/// let stream = keep_running(&mut ProcessRunner::new(spec, 0), Request::default(), &mut stops).await?;
/// assert_eq!(stream.handle.restart_count, 2);
/// assert_eq!(stream.handle.state.to_string(), "crashed (1)");
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Those of [`ProcessRunner::start_by`] but for a failed spawn, those of [`ProcessRunner::stop_by`], and
/// [`ProcessError::Io`] when an event could not be recorded.
pub async fn keep_running(
    runner: &mut ProcessRunner,
    request: Request,
    stops: &mut mpsc::Receiver<StopRequest>,
) -> Result<Stream, ProcessError> {
    let mut origin = Origin::of(request);
    let mut trigger = StartTrigger::Start;
    loop {
        match runner.start_as(&origin, trigger) {
            Ok(()) => {
                if run_once(runner, stops).await? == RunOver::StoppedByRequest {
                    return told(runner);
                }
            }
            // On record like any other end of a run.
            Err(ProcessError::SpawnFailed(_)) => {}
            Err(error) => return Err(error),
        }
        let Some(restart) = schedule_restart(runner)? else { return told(runner) };
        if let Some(stop) = back_off(restart.delay, stops).await {
            let origin = Origin::of(stop.request).caused_by(Some(restart.seq));
            refuse_restart(runner, origin, RestartRule::StopRequested)?;
            return told(runner);
        }
        origin = Origin::of(Actor::Policy).caused_by(Some(restart.seq));
        trigger = StartTrigger::Restart { attempt: restart.attempt };
    }
}

/// Why a run is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RunOver {
    ByItself,
    StoppedByRequest,
}

async fn run_once(
    runner: &mut ProcessRunner,
    stops: &mut mpsc::Receiver<StopRequest>,
) -> Result<RunOver, ProcessError> {
    let stop = tokio::select! {
        biased;
        _ = runner.wait() => None,
        Some(stop) = stops.recv() => Some(stop),
    };
    let Some(stop) = stop else {
        runner.check_recording()?;
        return Ok(RunOver::ByItself);
    };
    stop_with(runner, stop, stops).await?;
    Ok(RunOver::StoppedByRequest)
}

/// Stops the process. Each further request joins the stop under way, and so can only shorten it.
async fn stop_with(
    runner: &mut ProcessRunner,
    mut stop: StopRequest,
    stops: &mut mpsc::Receiver<StopRequest>,
) -> Result<(), ProcessError> {
    loop {
        if runner.state().has_exited() {
            // What was left to hand on may never be taken; the process is gone all the same.
            let _ = timeout(STOP_DRAIN_MAX, runner.wait()).await;
            return Ok(());
        }
        tokio::select! {
            biased;
            stopped = runner.stop_by(stop.timeout, stop.request.clone()) => return stopped,
            Some(next) = stops.recv() => stop = next,
        }
    }
}

/// A restart that is on record.
struct Scheduled {
    seq: u64,
    attempt: u32,
    delay: Duration,
}

/// Asks the policy, and records its answer where that is news: a policy that has nothing to do says nothing.
fn schedule_restart(runner: &mut ProcessRunner) -> Result<Option<Scheduled>, ProcessError> {
    let Some(stream) = runner.stream() else { return Ok(None) };
    let origin = Origin::of(Actor::Policy).caused_by(runner.end_seq());
    let now = runner.now();
    match runner.spec().restart.decide(stream.exit(), &stream.budget, &now) {
        RestartDecision::Restart { attempt, delay } => {
            let scheduled = EventKind::RestartScheduled { attempt, delay_ms: millis(delay) };
            let seq = runner.record(&origin.at(now), vec![scheduled])?;
            Ok(Some(Scheduled { seq, attempt, delay }))
        }
        RestartDecision::Refuse(rule @ RestartRule::BudgetSpent { .. }) => {
            refuse_restart(runner, origin, rule)?;
            Ok(None)
        }
        RestartDecision::Refuse(_) => Ok(None),
    }
}

fn refuse_restart(runner: &mut ProcessRunner, origin: Origin, rule: RestartRule) -> Result<(), ProcessError> {
    runner.record(&origin, vec![EventKind::RestartRefused { rule }])?;
    Ok(())
}

/// Waits before a restart; a stop that comes before or meanwhile ends the wait.
async fn back_off(delay: Duration, stops: &mut mpsc::Receiver<StopRequest>) -> Option<StopRequest> {
    tokio::select! {
        biased;
        Some(stop) = stops.recv() => Some(stop),
        () = sleep(delay) => None,
    }
}

fn told(runner: &ProcessRunner) -> Result<Stream, ProcessError> {
    runner.stream().ok_or_else(|| ProcessError::NotFound("a process that has no events".to_owned()))
}

/// What [`reconcile`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reconciled {
    /// Everything was closed already.
    Nothing,
    /// Something was open, and is closed now by what could be learned.
    Closed,
}

/// Closes what a supervisor that died left open in the runner's stream, by appending what can be learned now.
///
/// A start that was asked for and never confirmed never happened, unless its process is found. A process that was up
/// has the exit that the kernel still tells of, or an unknown one: no exit is made up (law 5).
///
/// # Errors
/// [`ProcessError::AlreadyExists`] when a process of the latest run is still alive; [`ProcessError::InvalidState`] when
/// it is this very runner's; [`ProcessError::Io`] when `/proc` cannot be read or the event could not be recorded.
pub fn reconcile(runner: &mut ProcessRunner) -> Result<Reconciled, ProcessError> {
    if runner.has_child() {
        return Err(ProcessError::InvalidState("the process is supervised by this runner".to_owned()));
    }
    let Some(stream) = runner.stream() else { return Ok(Reconciled::Nothing) };
    if let Some(intent) = stream.intent {
        if let Some(pid) = runner.marker().holder()? {
            return Err(alive(pid));
        }
        let starting = EventKind::Starting { identity: None, trigger: intent.trigger };
        let crashed = EventKind::Crashed { cause: RunEnd::NeverConfirmed };
        runner.record(&Origin::of(Actor::Recovery).caused_by(Some(intent.seq)), vec![starting, crashed])?;
        return Ok(Reconciled::Closed);
    }
    if stream.handle.state.has_exited() {
        return Ok(Reconciled::Nothing);
    }
    let exit = exit_of(runner, &stream)?;
    let killed = stream.kill_sent && exit.signal() == Some(Signal::KILL);
    runner.record(&Origin::of(Actor::Recovery), vec![end_event(&stream.handle.state, exit, killed)])?;
    Ok(Reconciled::Closed)
}

/// What is known of the end of a process that nobody watched; an error when the end has not come.
fn exit_of(runner: &ProcessRunner, stream: &Stream) -> Result<Exit, ProcessError> {
    let Some(identity) = stream.identity else { return Ok(Exit::UNKNOWN) };
    let exit = match identity.observe() {
        Observation::Alive => return Err(alive(identity.pid)),
        Observation::Zombie(exit) => exit,
        Observation::Gone => Exit::UNKNOWN,
    };
    // The id of its group may have become a stranger's: only members that carry the mark of the run are its own.
    let marker = runner.marker();
    match members(identity.pid)?.into_iter().find(|member| marker.is_carried_by(member.pid)) {
        Some(member) => Err(alive(member.pid)),
        None => Ok(exit),
    }
}

fn alive(pid: u32) -> ProcessError {
    ProcessError::AlreadyExists(format!("a process of the latest run is still alive, pid {pid}"))
}
