//! What the supervisor asks the task of an instance for.

use std::{os::fd::OwnedFd, sync::Arc, time::Duration};

use apm2_model::{event::requester::Requester, signal::Signal, spec::launch::LaunchSpec, state::stream::Stream};
use tokio::sync::oneshot;

use crate::error::ProcessError;

/// Orders of one instance that wait for its task.
pub(crate) const COMMANDS_WAITING_MAX: usize = 64;

/// Where the answer goes.
pub(crate) type Reply = oneshot::Sender<Result<(), ProcessError>>;

/// One order.
pub(crate) struct PendingCommand {
    pub(crate) command: InstanceCommand,
    pub(crate) reply: Reply,
}

/// What is asked for.
pub(crate) enum InstanceCommand {
    /// Answered when it runs, or cannot.
    Start(Requester),
    /// Answered when it is gone.
    Stop(Requester, Option<Duration>),
    /// Answered when it runs again.
    Restart(Requester),
    /// This is the standard input of its next start. Answered at once.
    Input(OwnedFd),
    /// A signal is passed on to it. Answered when it was sent.
    Signal(Requester, Signal),
    /// Credentials are fetched anew and the process is told. Answered when it was.
    Rotate(Requester),
    /// It runs something else from the next start on. Answered when that is recorded; without that it stays as it was.
    UpdateSpec {
        launch: Arc<LaunchSpec>,
        /// Whether the launch has its values.
        is_launchable: bool,
        request: Requester,
    },
    /// It is taken out of supervision, which is recorded; refused while it runs.
    Unregister(Requester),
    /// The same, and not recorded.
    Release,
    /// Nothing. Answered once nothing runs and no restart is due.
    WaitIdle,
    /// The same, and the stream as it is then: a moment later there may be another run.
    Over(oneshot::Sender<Stream>),
}
