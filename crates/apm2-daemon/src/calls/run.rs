//! `run`: a launch for a client that waits for its end, and the wait of one that has lost its daemon.

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
    frame::Frame,
    peer::has_hung_up,
    protocol::{Answer, FailureKind, Reply},
    record::{self, past_end},
    state::{DaemonState, RUN_GROUP, is_run},
};

/// Runs something once. It is forgotten when it is over, whether or not the client still waits.
pub(crate) async fn run(
    state: &Arc<DaemonState>,
    connection: &mut Connection,
    mut launch: LaunchSpec,
    stdin: Option<OwnedFd>,
    by: Requester,
) -> Result<Answer, Failure> {
    launch.group = Some(RUN_GROUP.to_owned());
    // Drawn here: an id that a client made up may be another process's.
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
    let started = Answer::Started { process_id, seq, run: Some(run) };
    connection.reply(&Reply::Answer(started)).await.map_err(|_| client_gone())?;
    let ledger = state.ledger.clone();
    let over = async move {
        let stream = over.await.map_err(|_| ProcessError::NotFound(process_id.to_string()))??;
        // It may have ended before it was waited for, and been started by somebody else.
        Ok::<_, ProcessError>(if stream.run == run {
            stream
        } else {
            past_end(&ledger, id, run).await?.unwrap_or(stream)
        })
    };
    let stream = connection.wait_for(over).await??;
    tell_end(connection, &stream).await
}

/// Launches something for a client that waits for it. Where the client has left before it could be told of the start, nothing is
/// left running: nothing watches it, and a `run` that left since the daemon did not answer has said that the launch is withdrawn.
pub(crate) async fn launch_for(
    state: &Arc<DaemonState>,
    client: &OwnedFd,
    launch: LaunchSpec,
    stdin: Option<OwnedFd>,
    by: &Requester,
) -> Result<Launched, Failure> {
    let launched = state.supervisor.launch_with(launch, stdin, by, &|| !has_hung_up(client)).await;
    let launched = launched.map_err(|error| {
        // What could be supervised and not be started is not wanted any more.
        forget_runs(state);
        Failure::from(error)
    })?;
    // One that could not be spawned is on record, and the policy has the next word.
    if has_hung_up(client) {
        let reason = Some("its client left before it was started".to_owned());
        let by = Requester { reason, ..by.clone() };
        if let Err(error) = state.supervisor.stop(launched.id, None, &by).await {
            tracing::debug!(%error, "what was launched for a client that has left had ended by itself");
        }
        forget_runs(state);
        return Err(client_gone());
    }
    Ok(launched)
}

/// Waits for the end of what began with this run of a process, or of what runs where that is not known, and tells how it
/// ended.
pub(crate) async fn ended(
    state: &Arc<DaemonState>,
    connection: &mut Connection,
    process_id: ProcessId,
    run: Option<u64>,
) -> Result<Answer, Failure> {
    let id = StreamId { process_id, instance: 0 };
    let (supervisor, ledger) = (state.supervisor.clone(), state.ledger.clone());
    let over = async move {
        if let Some(run) = run
            && let Some(stream) = past_end(&ledger, id, run).await?
        {
            return Ok(stream);
        }
        let stream = match supervisor.wait(id).await {
            // Forgotten a moment before: its history knows how it ended.
            Err(ProcessError::NotFound(_) | ProcessError::InvalidState(_)) => {
                record::read(&ledger, move |reader| reader.stream(id)).await?
            }
            over => Some(over?),
        };
        // It may have ended meanwhile, and something else have been started.
        let past = match run {
            Some(run) if stream.as_ref().is_none_or(|stream| stream.run > run) => past_end(&ledger, id, run).await?,
            _ => None,
        };
        past.or(stream).ok_or_else(|| ProcessError::NotFound(process_id.to_string()))
    };
    let stream = connection.wait_for(over).await??;
    // Before anybody is told, so that nothing of what it was launched with is left by then.
    if state.supervisor.launches().iter().any(|launch| launch.spec.id == process_id && is_run(launch)) {
        forget(&state.supervisor, process_id).await;
    }
    tell_end(connection, &stream).await
}

/// Tells a client that waited how it ended.
pub(crate) async fn tell_end(connection: &mut Connection, stream: &Stream) -> Result<Answer, Failure> {
    let bytes = encode_stream(stream).map_err(|error| Failure::new(FailureKind::Failed, error.to_string()))?;
    connection.send(&Frame::Raw(bytes)).await.map_err(|_| client_gone())?;
    Ok(Answer::Ended)
}
