//! What the task of a run may be asked for, and how it answers.

use std::time::Duration;

use apm2_model::{event::requester::Requester, signal::Signal};
use tokio::{sync::oneshot, time::Instant};

use crate::error::ProcessError;

/// Orders that wait for the task.
pub(crate) const COMMANDS_WAITING_MAX: usize = 16;

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

/// Nobody may be listening any more, which is theirs to decide.
pub(super) fn answer(reply: Reply, result: Result<(), ProcessError>) {
    let _ = reply.send(result);
}
