//! An append request that waits to be committed, and its answer.

use std::sync::{Arc, mpsc::SyncSender};

use apm2_model::{
    event::{Event, NewEvent, stream_id::StreamId},
    state::stream::Stream,
};

use crate::error::AppendError;

/// The events of a completed append.
#[derive(Debug)]
pub(crate) struct Appended {
    pub(crate) events: Vec<Event>,
    /// The stream state after these events. `None` for the supervisor's stream, which has no state.
    pub(crate) stream: Option<Arc<Stream>>,
}

/// The result of an append.
pub(crate) type AppendResult = Result<Appended, AppendError>;

/// A request to append events to one stream, with the channel to the waiting caller.
pub(crate) struct AppendRequest {
    pub(crate) stream: StreamId,
    /// The version that the stream must have. `None` to append at any version.
    pub(crate) version: Option<u64>,
    pub(crate) new_events: Vec<NewEvent>,
    pub(crate) caller: SyncSender<CallerMessage>,
}

impl AppendRequest {
    /// Sends the answer to the caller. Does nothing when the caller does not wait any more.
    pub(crate) fn answer(caller: Caller, answer: AppendResult) {
        drop(caller.0.send(CallerMessage::AppendResult(answer)));
    }

    /// Creates a request whose caller does not wait for the answer.
    #[cfg(test)]
    pub(crate) fn without_caller(stream: StreamId, version: Option<u64>, new_events: Vec<NewEvent>) -> Self {
        Self { stream, version, new_events, caller: std::sync::mpsc::sync_channel(1).0 }
    }

    /// Splits the request into its content and its caller, so that the caller can be answered later.
    pub(crate) fn split(self) -> (StreamId, Option<u64>, Vec<NewEvent>, Caller) {
        (self.stream, self.version, self.new_events, Caller(self.caller))
    }
}

/// The sending side of the channel on which a caller waits.
pub(crate) struct Caller(SyncSender<CallerMessage>);

/// A message to a caller that waits for its append.
pub(crate) enum CallerMessage {
    AppendResult(AppendResult),
    Lead,
}
