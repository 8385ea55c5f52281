//! Commands to the task that owns a run, and their replies.

use std::time::Duration;

use apm2_model::{event::requester::Requester, signal::Signal};
use tokio::{sync::oneshot, time::Instant};

use crate::error::ProcessError;

/// Capacity of the command queue of a run.
pub(crate) const COMMANDS_WAITING_MAX: usize = 16;

/// A request to stop the process.
pub(crate) struct StopCommand {
    /// The requester, as recorded in events.
    pub(crate) request: Requester,
    /// Whether an agent is stopped for good: SIGINT is sent before the stop signal, so that it can report a result, and SIGKILL is sent
    /// whatever the settings say.
    pub(crate) is_final: bool,
    /// Time between the first signal and SIGKILL.
    pub(crate) timeout: Duration,
    /// The deadline for SIGKILL on the monotonic clock: the time of the request plus `timeout`.
    pub(crate) deadline: Instant,
    /// Sends the result of the stop. The receiver may be gone.
    pub(crate) reply: ReplySender,
}

/// A request to signal the process after its credentials were rotated.
pub(crate) struct RotateCommand {
    /// The requester, as recorded in events.
    pub(crate) request: Requester,
    /// The name of the credential profile.
    pub(crate) profile: String,
    /// The names of the profile's variables.
    pub(crate) variables: Vec<String>,
    /// The signal to send to the process group.
    pub(crate) signal: Signal,
    /// Sends the result of the signal.
    pub(crate) reply: ReplySender,
}

/// A request to pass on a signal that does not count as a stop.
pub(crate) struct SignalCommand {
    /// The requester, as recorded in events.
    pub(crate) request: Requester,
    /// The signal to pass on.
    pub(crate) signal: Signal,
    /// Sends the result of the signal.
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

/// Sends the result of a command. It is no error if the receiver is gone.
pub(crate) fn answer(reply: ReplySender, result: Result<(), ProcessError>) {
    let _ = reply.send(result);
}
