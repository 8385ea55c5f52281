//! Sends events as they are recorded.

use std::sync::Arc;

use apm2_core::blocking;
use apm2_ledger::record::encode_event;
use apm2_model::causes::causes;
use tokio::time;

use crate::{
    connection::{ALIVE_INTERVAL, Connection},
    failure::{Failure, client_gone},
    frame::SocketFrame,
    protocol::{CallAnswer, DaemonReply, FailureKind},
    state::DaemonState,
};

/// Maximum number of events that are read at a time for a client.
const FOLLOW_EVENTS_MAX: u64 = 256;

/// Ends the call when the directory of the ledger was removed or exchanged: nothing is recorded any more, and another ledger may be in
/// its place.
async fn check_place(state: &Arc<DaemonState>) -> Result<(), Failure> {
    if state.ledger.poisoned().is_none() {
        return Ok(());
    }
    let dir = Arc::clone(&state.dir);
    let checked = blocking::spawn(move || dir.check_place()).await;
    let checked = checked.map_err(|error| Failure::new(FailureKind::Failed, error.to_string()))?;
    checked.map_err(|error| Failure::new(FailureKind::Unusable, error.to_string()))
}

/// Sends the events from `first` on, until the client disconnects.
pub(crate) async fn follow(
    state: &Arc<DaemonState>,
    connection: &mut Connection,
    first: u64,
) -> Result<CallAnswer, Failure> {
    let mut next = first.max(1);
    let mut size = state.head.clone();
    loop {
        let head = *size.borrow_and_update();
        if head < next {
            tokio::select! {
                grown = size.changed() => grown.map_err(|_| Failure::new(FailureKind::Failed, "the daemon is leaving"))?,
                () = connection.left() => return Ok(CallAnswer::Done),
                () = time::sleep(ALIVE_INTERVAL) => {
                    check_place(state).await?;
                    connection.reply(&DaemonReply::Alive).await.map_err(|_| client_gone())?;
                }
            }
            continue;
        }
        let (ledger, last) = (state.ledger.clone(), head.min(next.saturating_add(FOLLOW_EVENTS_MAX - 1)));
        let read = move || ledger.reader().events(next, last).collect::<Result<Vec<_>, _>>();
        let events = blocking::spawn(read).await;
        let events = events.map_err(|error| Failure::new(FailureKind::Failed, error.to_string()))?;
        for event in events.map_err(|error| Failure::new(FailureKind::Unusable, causes(&error)))? {
            let mut bytes = event.seq.to_be_bytes().to_vec();
            encode_event(&event, &mut bytes).map_err(|error| Failure::new(FailureKind::Failed, error.to_string()))?;
            connection.send(&SocketFrame::Raw(bytes)).await.map_err(|_| client_gone())?;
        }
        next = last.saturating_add(1);
    }
}
