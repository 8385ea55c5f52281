//! The commands that an instance actor takes.

use std::{os::fd::OwnedFd, sync::Arc, time::Duration};

use apm2_model::{event::requester::Requester, signal::Signal, spec::launch::LaunchSpec, state::stream::Stream};
use tokio::sync::oneshot;

use crate::{
    error::ProcessError,
    run::command::{ReplyReceiver, ReplySender, answer},
};

/// Commands that wait for one instance actor, at most.
pub(crate) const COMMANDS_WAITING_MAX: usize = 64;

/// A command and where its result goes.
pub(crate) struct PendingCommand {
    pub(crate) command: InstanceCommand,
    pub(crate) reply: ReplySender,
}

/// A command.
pub(crate) enum InstanceCommand {
    /// Start. Completed when the process runs, or its start has failed.
    Start(Requester),
    /// Stop. Completed when the whole process group is gone.
    Stop(Requester, Option<Duration>),
    /// Stop and start. Completed when the process runs again.
    Restart(Requester),
    /// Set the standard input of the next start. Completed at once.
    Input(OwnedFd),
    /// Send a signal to the process group. Completed when it is sent.
    Signal(Requester, Signal),
    /// Send `reload_signal` after a rotation of credentials. Completed when it is sent.
    Rotate(Requester),
    /// Replace the specification from the next start on. Completed when that is recorded; on an error the old one stays.
    UpdateSpec {
        launch: Arc<LaunchSpec>,
        /// Whether the launch holds the values of environment variables.
        is_launchable: bool,
        request: Requester,
    },
    /// End the supervision, which is recorded. Refused while the process runs.
    Unregister(Requester),
    /// Like the command above, but records no event; for one-off `run` processes.
    Release,
    /// Wait until nothing runs and no restart is due.
    WaitIdle,
    /// Like the command above, and send the stream as it is at that moment: another run may begin right after it.
    Over(oneshot::Sender<Stream>),
}

/// Completes a command once the run has completed its part. The actor goes on meanwhile.
pub(crate) fn answer_later(reply: ReplySender, asked: Result<ReplyReceiver, ProcessError>) {
    match asked {
        Err(error) => answer(reply, Err(error)),
        Ok(told) => drop(tokio::spawn(async move {
            let just_ended = || ProcessError::InvalidState("it has just ended".to_owned());
            answer(reply, told.await.unwrap_or_else(|_| Err(just_ended())));
        })),
    }
}

/// Completes commands with copies of one result.
pub(crate) fn answer_all(waiting: &mut Vec<ReplySender>, result: &Result<(), ProcessError>) {
    for reply in waiting.drain(..) {
        answer(reply, result.as_ref().copied().map_err(ProcessError::copied));
    }
}
