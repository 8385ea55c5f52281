//! The commands that an instance actor takes.

use std::{os::fd::OwnedFd, sync::Arc, time::Duration};

use apm2_model::{event::requester::Requester, signal::Signal, spec::launch::LaunchSpec, state::stream::Stream};
use tokio::sync::oneshot;

use crate::{
    error::ProcessError,
    run::command::{ReplyReceiver, ReplySender, answer},
};

/// Largest number of commands that wait for one instance actor.
pub(crate) const COMMANDS_WAITING_MAX: usize = 64;

/// A command and the sender of its result.
pub(crate) struct PendingCommand {
    pub(crate) command: InstanceCommand,
    pub(crate) reply: ReplySender,
}

/// A command for an instance actor.
pub(crate) enum InstanceCommand {
    /// Start the instance. Completed when the process runs, or when its start has failed.
    Start(Requester),
    /// Like `Start`, but an agent that waits for its usage limit is not started. Completed immediately in this case.
    BringUp(Requester),
    /// Stop the instance. Completed when the whole process group is gone.
    Stop(Requester, Option<Duration>),
    /// Stop and start the instance. Completed when the process runs again.
    Restart(Requester),
    /// Set the standard input of the next start. Completed immediately.
    Input(OwnedFd),
    /// Send a signal to the process group. Completed when the signal is sent.
    Signal(Requester, Signal),
    /// Send `reload_signal` after a rotation of credentials. Completed when the signal is sent.
    Rotate(Requester),
    /// Replace the specification from the next start on. Completed when the change is recorded. After an error, the old
    /// specification stays.
    UpdateSpec {
        launch: Arc<LaunchSpec>,
        /// Whether the launch specification contains the values of environment variables.
        is_launchable: bool,
        request: Requester,
    },
    /// End the supervision of the instance and record the end. Refused while the process runs.
    Unregister(Requester),
    /// Like `Unregister`, but records no event. For one-off `run` processes.
    Release,
    /// Wait until the instance does not run and no restart is due.
    WaitIdle,
    /// Like `WaitIdle`, but also sends the state of the stream at that moment, because another run may begin
    /// immediately afterwards.
    Over(oneshot::Sender<Stream>),
}

/// Completes a command when the run has completed its part. The actor continues in the meantime.
pub(crate) fn answer_later(reply: ReplySender, asked: Result<ReplyReceiver, ProcessError>) {
    match asked {
        Err(error) => answer(reply, Err(error)),
        Ok(told) => drop(tokio::spawn(async move {
            let just_ended = || ProcessError::InvalidState("it has just ended".to_owned());
            answer(reply, told.await.unwrap_or_else(|_| Err(just_ended())));
        })),
    }
}

/// Sends a copy of one result to each waiting command.
pub(crate) fn answer_all(waiting: &mut Vec<ReplySender>, result: &Result<(), ProcessError>) {
    for reply in waiting.drain(..) {
        answer(reply, result.as_ref().copied().map_err(ProcessError::copied));
    }
}
