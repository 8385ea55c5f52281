//! The handle of an instance actor: its command channel, and the data that can be read without the actor.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use apm2_model::event::stream_id::StreamId;
use tokio::sync::{mpsc, oneshot};

use crate::{
    error::ProcessError,
    run::stream_view::StreamView,
    supervisor::command::{InstanceCommand, PendingCommand},
};

/// Sends commands to an instance actor, and reads data about the instance without the actor.
#[derive(Clone)]
pub(crate) struct InstanceHandle {
    pub(crate) id: StreamId,
    /// Commands are boxed, because a channel allocates memory for several of them at once.
    pub(crate) commands: mpsc::Sender<Box<PendingCommand>>,
    pub(crate) view: StreamView,
    /// Whether the instance runs or is about to be started.
    pub(crate) busy: Arc<AtomicBool>,
}

impl InstanceHandle {
    /// Sends a command and waits for its result.
    pub(crate) async fn ask(&self, command: InstanceCommand) -> Result<(), ProcessError> {
        let (reply, answer) = oneshot::channel();
        let gone = || ProcessError::InvalidState("it is not supervised any more".to_owned());
        self.commands.send(Box::new(PendingCommand { command, reply })).await.map_err(|_| gone())?;
        answer.await.unwrap_or_else(|_| Err(gone()))
    }

    pub(crate) fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Acquire)
    }
}
