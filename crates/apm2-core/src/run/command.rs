//! Commands to the task that owns a run, and their replies.

use std::time::Duration;

use apm2_model::{event::requester::Requester, signal::Signal};
use tokio::{sync::oneshot, time::Instant};

use crate::error::ProcessError;

/// Capacity of the command queue of a run.
pub(crate) const COMMANDS_WAITING_MAX: usize = 16;

/// A request to stop the process.
pub(crate) struct StopCommand {
    /// The requester, for the record.
    pub(crate) request: Requester,
    /// Time between the stop signal and SIGKILL.
    pub(crate) timeout: Duration,
    /// The end of that time, on the monotonic clock.
    pub(crate) deadline: Instant,
    /// Receives the result. The receiver may be gone.
    pub(crate) reply: ReplySender,
}

/// A request to signal the process that its credentials were rotated.
pub(crate) struct RotateCommand {
    /// The requester, for the record.
    pub(crate) request: Requester,
    /// The name of the credential profile.
    pub(crate) profile: String,
    /// The names of the profile's variables.
    pub(crate) variables: Vec<String>,
    /// The signal to send.
    pub(crate) signal: Signal,
    /// Receives the result.
    pub(crate) reply: ReplySender,
}

/// A request to pass on a signal that does not count as a stop.
pub(crate) struct SignalCommand {
    /// The requester, for the record.
    pub(crate) request: Requester,
    /// The signal to pass on.
    pub(crate) signal: Signal,
    /// Receives the result.
    pub(crate) reply: ReplySender,
}

/// A command to the task that owns a run.
pub(crate) enum RunCommand {
    Stop(StopCommand),
    Rotate(RotateCommand),
    Signal(SignalCommand),
}

/// The sender of a command's result.
pub(crate) type ReplySender = oneshot::Sender<Result<(), ProcessError>>;

/// The receiver of a command's result.
pub(crate) type ReplyReceiver = oneshot::Receiver<Result<(), ProcessError>>;

/// Sends a result. The receiver may be gone, which is no error.
pub(crate) fn answer(reply: ReplySender, result: Result<(), ProcessError>) {
    let _ = reply.send(result);
}
