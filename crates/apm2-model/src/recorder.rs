//! Where the events of a runner are recorded, and loaded from.

use std::{io, sync::Arc};

use crate::{
    event::{Event, NewEvent, stream_id::StreamId},
    state::stream::Stream,
};

/// Records events. A return from [`record`](Self::record) means that they are durable, or as durable as the recorder
/// promises to make them.
///
/// The call is synchronous on purpose: between an effect and its evidence there is no point at which a dropped future
/// could leave one without the other. A durable recorder takes about as long as the disk takes to sync.
pub trait Recorder: Send {
    /// Appends `drafts`, all of one stream, as one commit after the last event of `stream`, which is the fold of the events
    /// recorded so far. `None` stands for no events.
    ///
    /// # Errors
    /// When nothing was recorded. Where an event may not follow (law 3), the error carries its
    /// [`IllegalEvent`](crate::state::stream::IllegalEvent). The runner goes on only after that one.
    fn record(&mut self, stream: Option<&Arc<Stream>>, drafts: Vec<NewEvent>) -> io::Result<Recorded>;

    /// The fold of all recorded events of `stream`, which may be another one than was recorded here; `None` when there are none.
    /// Blocks as long as reading takes.
    ///
    /// # Errors
    /// When they cannot be read.
    fn load(&self, stream: StreamId) -> io::Result<Option<Stream>>;

    /// Refuses a draft that could not be recorded now: one that is too large, or one that there is no room for. Records
    /// nothing. May wait for a disk.
    ///
    /// # Errors
    /// Why it could not be.
    fn check(&self, _draft: &NewEvent) -> io::Result<()> {
        Ok(())
    }
}

/// Where the events of all streams are recorded.
pub trait EventStore: Send + Sync {
    /// A recorder for one stream. It can load any.
    fn recorder(&self) -> Box<dyn Recorder>;

    /// Passes the fold of each stream to `visit`, the supervisor's own stream perhaps included. Blocks as long as reading takes.
    ///
    /// # Errors
    /// When they cannot be read; some may have been passed by then.
    fn each_stream(&self, visit: &mut dyn FnMut(Stream)) -> io::Result<()>;
}

/// What one commit recorded.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// The events, numbered.
    pub events: Vec<Event>,
    /// The fold of the stream with these events.
    pub stream: Arc<Stream>,
}

impl Recorded {
    /// Folds `events`, which come next, into `stream`. For recorders that do not fold by themselves.
    ///
    /// # Errors
    /// When an event may not follow, with its [`IllegalEvent`](crate::state::stream::IllegalEvent); when there are no events
    /// at all.
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

/// A recorder that numbers events and stores none: for runners without a history.
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
