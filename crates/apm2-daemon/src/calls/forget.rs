//! Runs of `run` are forgotten once they are over.

use std::sync::Arc;

use apm2_core::{process::ProcessError, supervisor::Supervisor};
use apm2_model::{event::stream_id::StreamId, spec::id::ProcessId, state::stream::Stream};
use tokio::sync::oneshot;

use crate::state::{DaemonState, RUN_GROUP, is_run};

/// Forgets what was asked for by `run`, now or once it is over.
pub(crate) fn forget_runs(state: &Arc<DaemonState>) {
    for launch in state.supervisor.launches().iter().filter(|launch| is_run(launch)) {
        drop(forget_when_over(state, StreamId { process_id: launch.spec.id, instance: 0 }));
    }
}

/// Forgets a run once it is over, and gives its end: asked before it is forgotten, and before another one has its name.
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
        // Nobody waits for it when the client has left.
        let _ = told.send(ended);
    });
    over
}

/// Forgets a run that is over. One that was started again meanwhile is somebody else's to forget.
pub(crate) async fn forget(supervisor: &Supervisor, process: ProcessId) {
    match supervisor.release(process, RUN_GROUP).await {
        Ok(()) | Err(ProcessError::NotFound(_) | ProcessError::InvalidState(_)) => {}
        Err(error) => tracing::warn!(%error, "a run that is over is not forgotten"),
    }
}
