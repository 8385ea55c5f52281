//! The call `run` starts a process for a client that waits for its end. The call `wait` continues this wait when the
//! daemon has ended in the meantime.

use std::{
    os::fd::{AsFd as _, OwnedFd},
    sync::Arc,
};

use apm2_core::{process::ProcessError, supervisor::Launched};
use apm2_ledger::record::encode_stream;
use apm2_model::{
    event::{requester::Requester, stream_id::StreamId},
    spec::{id::ProcessId, launch::LaunchSpec},
    state::stream::Stream,
};

use crate::{
    calls::forget::{forget, forget_runs, forget_when_over},
    connection::Connection,
    failure::{Failure, client_gone},
    frame::SocketFrame,
    peer::has_hung_up,
    protocol::{CallAnswer, DaemonReply, FailureKind},
    record::{self, past_end},
    state::{DaemonState, RUN_GROUP, is_run},
};

/// Runs a process once. The process is unregistered when it has ended, whether the client still waits or not.
pub(crate) async fn run(
    state: &Arc<DaemonState>,
    connection: &mut Connection,
    mut launch: LaunchSpec,
    stdin: Option<OwnedFd>,
    by: Requester,
) -> Result<CallAnswer, Failure> {
    launch.group = Some(RUN_GROUP.to_owned());
    // The process gets a new id, because the id that the client sent may belong to another process.
    launch.spec.id = ProcessId::new();
    state.supervisor.check(&launch, &by).map_err(|error| Failure::new(FailureKind::Usage, error.to_string()))?;
    let seq = state.ledger.reader().head().map_or(0, |head| head.size);
    let client = connection.stream.as_fd().try_clone_to_owned();
    let client = client.map_err(|error| Failure::new(FailureKind::Failed, error.to_string()))?;
    let ours = Arc::clone(state);
    let launched = connection.wait_for(async move { launch_for(&ours, &client, launch, stdin, &by).await }).await?;
    let Launched { id, run, .. } = launched?;
    let over = forget_when_over(state, id);
    let process_id = id.process_id;
    let started = CallAnswer::Started { process_id, seq, run: Some(run) };
    connection.reply(&DaemonReply::Answer(started)).await.map_err(|_| client_gone())?;
    let ledger = state.ledger.clone();
    let over = async move {
        let stream = over.await.map_err(|_| ProcessError::NotFound(process_id.to_string()))??;
        // The process may have ended before the wait began, and another client may have started it again.
        Ok::<_, ProcessError>(if stream.run == run {
            stream
        } else {
            past_end(&ledger, id, run).await?.unwrap_or(stream)
        })
    };
    let stream = connection.wait_for(over).await??;
    tell_end(connection, &stream).await
}

/// Launches a process for a client that waits for it. If the client disconnects before it has received the answer, the
/// process is stopped. The reason is that a `run` whose timeout has passed has told its user that the process was not
/// started.
pub(crate) async fn launch_for(
    state: &Arc<DaemonState>,
    client: &OwnedFd,
    launch: LaunchSpec,
    stdin: Option<OwnedFd>,
    by: &Requester,
) -> Result<Launched, Failure> {
    let launched = state.supervisor.launch_with(launch, stdin, by, &|| !has_hung_up(client)).await;
    let launched = launched.map_err(|error| {
        // A process that was registered but not started is unregistered.
        forget_runs(state);
        Failure::from(error)
    })?;
    // A failed spawn is recorded, and the restart policy decides about the next attempt.
    if has_hung_up(client) {
        let reason = Some("its client left before it was started".to_owned());
        let by = Requester { reason, ..by.clone() };
        if let Err(error) = state.supervisor.stop(launched.id, None, &by).await {
            tracing::debug!(%error, "the process of a client that has disconnected had ended already");
        }
        forget_runs(state);
        return Err(client_gone());
    }
    Ok(launched)
}

/// Waits for the end of the series of runs that began with `run`, or of the current run if `run` is `None`, and sends the final
/// state.
pub(crate) async fn ended(
    state: &Arc<DaemonState>,
    connection: &mut Connection,
    process_id: ProcessId,
    run: Option<u64>,
) -> Result<CallAnswer, Failure> {
    let id = StreamId { process_id, instance: 0 };
    let (supervisor, ledger) = (state.supervisor.clone(), state.ledger.clone());
    let over = async move {
        if let Some(run) = run
            && let Some(stream) = past_end(&ledger, id, run).await?
        {
            return Ok(stream);
        }
        let stream = match supervisor.wait(id).await {
            // The process was unregistered just now. Its events contain the final state.
            Err(ProcessError::NotFound(_) | ProcessError::InvalidState(_)) => {
                record::read(&ledger, move |reader| reader.stream(id)).await?
            }
            over => Some(over?),
        };
        // The process may have ended and been started again in the meantime.
        let past = match run {
            Some(run) if stream.as_ref().is_none_or(|stream| stream.run > run) => past_end(&ledger, id, run).await?,
            _ => None,
        };
        past.or(stream).ok_or_else(|| ProcessError::NotFound(process_id.to_string()))
    };
    let stream = connection.wait_for(over).await??;
    // The process is unregistered before the answer is sent, so that its launch file is removed when the client
    // continues.
    if state.supervisor.launches().iter().any(|launch| launch.spec.id == process_id && is_run(launch)) {
        forget(&state.supervisor, process_id).await;
    }
    tell_end(connection, &stream).await
}

/// Sends the final state to the client.
pub(crate) async fn tell_end(connection: &mut Connection, stream: &Stream) -> Result<CallAnswer, Failure> {
    let bytes = encode_stream(stream).map_err(|error| Failure::new(FailureKind::Failed, error.to_string()))?;
    connection.send(&SocketFrame::Raw(bytes)).await.map_err(|_| client_gone())?;
    Ok(CallAnswer::Ended)
}
