//! Unregisters processes of the call `run` when they have ended.

use std::sync::Arc;

use apm2_core::{process::ProcessError, supervisor::Supervisor};
use apm2_model::{event::stream_id::StreamId, spec::id::ProcessId, state::stream::Stream};
use tokio::sync::oneshot;

use crate::state::{DaemonState, RUN_GROUP, is_run};

/// Unregisters each process of `run` when it has ended.
pub(crate) fn forget_runs(state: &Arc<DaemonState>) {
    for launch in state.supervisor.launches().iter().filter(|launch| is_run(launch)) {
        drop(forget_when_over(state, StreamId { process_id: launch.spec.id, instance: 0 }));
    }
}

/// Unregisters a process of `run` when it has ended. Returns its final state, which is read before another process can
/// use its name.
pub(crate) fn forget_when_over(
    state: &Arc<DaemonState>,
    id: StreamId,
) -> oneshot::Receiver<Result<Stream, ProcessError>> {
    let supervisor = state.supervisor.clone();
    let (told, over) = oneshot::channel();
    tokio::spawn(async move {
        let ended = supervisor.wait(id).await;
        if ended.is_ok() {
            forget(&supervisor, id.process_id).await;
        }
        // The receiver is gone when the client has disconnected.
        let _ = told.send(ended);
    });
    over
}

/// Unregisters a process of `run` that has ended. A process that was started again in the meantime stays registered;
/// the task that waits for the new run unregisters it.
pub(crate) async fn forget(supervisor: &Supervisor, process: ProcessId) {
    match supervisor.release(process, RUN_GROUP).await {
        Ok(()) | Err(ProcessError::NotFound(_) | ProcessError::InvalidState(_)) => {}
        Err(error) => tracing::warn!(%error, "could not unregister a process of `run` that has ended"),
    }
}
