//! One append that waits to be committed, and its answer.

use std::sync::{Arc, mpsc::SyncSender};

use apm2_model::{
    event::{Event, NewEvent, stream_id::StreamId},
    state::stream::Stream,
};

use crate::error::AppendError;

/// What was appended.
#[derive(Debug)]
pub(crate) struct Appended {
    pub(crate) events: Vec<Event>,
    /// The fold of the stream with these events; `None` for the supervisor's own events, which have no fold.
    pub(crate) stream: Option<Arc<Stream>>,
}

/// The result of an append.
pub(crate) type AppendResult = Result<Appended, AppendError>;

/// Events for one stream, and the caller who waits for them.
pub(crate) struct AppendRequest {
    pub(crate) stream: StreamId,
    /// Without a version they are appended wherever the stream is.
    pub(crate) version: Option<u64>,
    pub(crate) new_events: Vec<NewEvent>,
    pub(crate) caller: SyncSender<Turn>,
}

impl AppendRequest {
    /// Sends the answer. The caller may be gone.
    pub(crate) fn answer(caller: Caller, answer: AppendResult) {
        drop(caller.0.send(Turn::AppendResult(answer)));
    }

    /// A request whose caller does not wait for the answer.
    #[cfg(test)]
    pub(crate) fn unheard(stream: StreamId, version: Option<u64>, new_events: Vec<NewEvent>) -> Self {
        Self { stream, version, new_events, caller: std::sync::mpsc::sync_channel(1).0 }
    }

    /// The request without its caller, who is answered later.
    pub(crate) fn split(self) -> (StreamId, Option<u64>, Vec<NewEvent>, Caller) {
        (self.stream, self.version, self.new_events, Caller(self.caller))
    }
}

/// The channel on which a caller waits.
pub(crate) struct Caller(SyncSender<Turn>);

/// Why a waiting caller is woken.
pub(crate) enum Turn {
    AppendResult(AppendResult),
    Lead,
}
