//! Sends the states of all streams.

use std::{ops::ControlFlow, sync::Arc};

use apm2_core::blocking;
use apm2_ledger::record::encode_stream;
use apm2_model::causes::causes;
use tokio::{sync::mpsc, time};

use crate::{
    connection::{ALIVE_INTERVAL, Connection},
    failure::{Failure, client_gone},
    frame::SocketFrame,
    protocol::{CallAnswer, DaemonReply, FailureKind},
    state::DaemonState,
};

/// Maximum number of states that are read ahead of the client.
const STREAMS_AHEAD_MAX: usize = 64;

/// Sends the states of all streams. Only a few states are in memory at a time, because a ledger may have any number of
/// streams.
pub(crate) async fn streams(state: &Arc<DaemonState>, connection: &mut Connection) -> Result<CallAnswer, Failure> {
    let reader = state.ledger.reader();
    let (sender, mut encoded) = mpsc::channel(STREAMS_AHEAD_MAX);
    let reading = blocking::spawn(move || {
        reader.each_stream(|stream| match sender.blocking_send(encode_stream(&stream)) {
            Ok(()) => ControlFlow::Continue(()),
            // The client has disconnected.
            Err(_) => ControlFlow::Break(()),
        })
    });
    loop {
        tokio::select! {
            next = encoded.recv() => {
                let Some(bytes) = next else { break };
                let bytes = bytes.map_err(|error| Failure::new(FailureKind::Failed, error.to_string()))?;
                connection.send(&SocketFrame::Raw(bytes)).await.map_err(|_| client_gone())?;
            }
            () = time::sleep(ALIVE_INTERVAL) => connection.reply(&DaemonReply::Alive).await.map_err(|_| client_gone())?,
        }
    }
    let read = reading.await.map_err(|error| Failure::new(FailureKind::Failed, error.to_string()))?;
    read.map_err(|error| {
        let kind = if error.is_integrity() { FailureKind::Integrity } else { FailureKind::Unusable };
        Failure::new(kind, causes(&error))
    })?;
    Ok(CallAnswer::Done)
}
