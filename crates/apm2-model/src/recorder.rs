//! Traits for recording the events of a runner, and for loading recorded streams.

use std::{io, sync::Arc};

use crate::{
    event::{Event, NewEvent, stream_id::StreamId},
    state::stream::Stream,
};

/// Records the events of streams. When [`record`](Self::record) returns, the events are durable, or as durable as the
/// recorder promises to make them.
///
/// The call is synchronous on purpose. An async call could be cancelled (its future dropped) between an effect and the
/// record of the effect. A durable recorder takes about as long as the disk takes to sync.
pub trait Recorder: Send {
    /// Appends `drafts`, all of one stream, as one commit after the last event of `stream`, which is the state after
    /// the events recorded so far. `stream` is `None` before the first event.
    ///
    /// # Errors
    /// The events were not recorded. Where the state does not allow an event, the error carries the
    /// [`IllegalEvent`](crate::state::stream::IllegalEvent). The runner continues only after an `IllegalEvent`.
    fn record(&mut self, stream: Option<&Arc<Stream>>, drafts: Vec<NewEvent>) -> io::Result<Recorded>;

    /// Replays all recorded events of `stream` and returns the resulting state; `None` when the stream has no events.
    /// `stream` may be a stream that this recorder did not record. Blocks until the events are read.
    ///
    /// # Errors
    /// The events cannot be read.
    fn load(&self, stream: StreamId) -> io::Result<Option<Stream>>;

    /// Checks whether a draft could be recorded now, and records nothing. A draft is refused if it is too large or if
    /// there is no space for it. May block on a disk.
    ///
    /// # Errors
    /// Why the draft could not be recorded.
    fn check(&self, _draft: &NewEvent) -> io::Result<()> {
        Ok(())
    }
}

/// Gives access to the recorded events of all streams.
pub trait EventStore: Send + Sync {
    /// Returns a recorder for one stream. This recorder can also load other streams.
    fn recorder(&self) -> Box<dyn Recorder>;

    /// Replays each stream and passes the resulting state to `visit`. The system stream may be included. Blocks until
    /// the events are read.
    ///
    /// # Errors
    /// The events cannot be read. `visit` may have been called for some streams before the error.
    fn each_stream(&self, visit: &mut dyn FnMut(Stream)) -> io::Result<()>;
}

/// The result of one commit.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// The recorded events, with their sequence numbers and versions.
    pub events: Vec<Event>,
    /// The state of the stream after these events.
    pub stream: Arc<Stream>,
}

impl Recorded {
    /// Applies `events`, the next events of the stream, to its state `stream`. For recorders that do not compute the
    /// state themselves.
    ///
    /// # Errors
    /// The state does not allow an event: the error carries the [`IllegalEvent`](crate::state::stream::IllegalEvent).
    /// Also an error when `stream` is `None` and `events` is empty.
    pub fn fold(stream: Option<&Arc<Stream>>, events: Vec<Event>) -> io::Result<Self> {
        let illegal = |error| io::Error::new(io::ErrorKind::InvalidInput, error);
        let mut folded = stream.map(|stream| (**stream).clone());
        for event in &events {
            match &mut folded {
                Some(stream) => stream.apply(event).map_err(illegal)?,
                None => folded = Some(Stream::begin(event).map_err(illegal)?),
            }
        }
        let folded = folded.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no events"))?;
        Ok(Self { events, stream: Arc::new(folded) })
    }
}

/// A recorder that numbers events and stores none. For runners without a history.
#[derive(Debug, Clone, Copy, Default)]
pub struct NullRecorder;

impl Recorder for NullRecorder {
    fn record(&mut self, stream: Option<&Arc<Stream>>, drafts: Vec<NewEvent>) -> io::Result<Recorded> {
        let numbers = stream.map_or(0, |stream| stream.version).saturating_add(1)..;
        let events = drafts.into_iter().zip(numbers).map(|(draft, number)| draft.numbered(number, number)).collect();
        Recorded::fold(stream, events)
    }

    fn load(&self, _stream: StreamId) -> io::Result<Option<Stream>> {
        Ok(None)
    }
}

impl EventStore for NullRecorder {
    fn recorder(&self) -> Box<dyn Recorder> {
        Box::new(Self)
    }

    fn each_stream(&self, _visit: &mut dyn FnMut(Stream)) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
