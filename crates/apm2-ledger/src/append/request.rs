//! An append request that waits to be committed, and its answer.

use std::sync::{Arc, mpsc::SyncSender};

use apm2_model::{
    event::{Event, NewEvent, stream_id::StreamId},
    state::stream::Stream,
};

use crate::{append::encoded_append::EncodedAppend, error::AppendError};

/// The events of a completed append.
#[derive(Debug)]
pub(crate) struct Appended {
    pub(crate) events: Vec<Event>,
    /// The stream state after these events. `None` for the supervisor's stream, which has no state.
    pub(crate) stream: Option<Arc<Stream>>,
}

/// The result of an append.
pub(crate) type AppendResult = Result<Appended, AppendError>;

/// The events of a request.
pub(crate) enum RequestedEvents {
    /// Encoded by the caller, to follow this version of the stream. An append to a stream of another version is refused.
    Encoded { version: u64, events: EncodedAppend },
    /// To be appended at any version. The commit writer encodes them.
    AnyVersion(Vec<NewEvent>),
}

/// A request to append events to one stream, with the channel to the waiting caller.
pub(crate) struct AppendRequest {
    pub(crate) stream: StreamId,
    pub(crate) events: RequestedEvents,
    pub(crate) caller: Caller,
}

/// An answer whose caller waits for it.
pub(crate) struct Answer {
    pub(crate) caller: Caller,
    pub(crate) result: AppendResult,
}

impl Answer {
    /// Sends the answer. Does nothing when the caller does not wait any more.
    pub(crate) fn send(self) {
        drop(self.caller.0.send(CallerMessage::AppendResult(self.result)));
    }
}

/// The sending side of the channel on which a caller waits.
pub(crate) struct Caller(pub(super) SyncSender<CallerMessage>);

impl Caller {
    /// A caller that does not wait for its answer.
    #[cfg(test)]
    pub(crate) fn absent() -> Self {
        Self(std::sync::mpsc::sync_channel(1).0)
    }
}

/// A message to a caller that waits for its append.
pub(crate) enum CallerMessage {
    AppendResult(AppendResult),
    Lead,
}
