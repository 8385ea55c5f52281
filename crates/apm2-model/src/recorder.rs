//! Where a runner's events go, and come from.

use std::io;

use crate::{
    event::{Event, NewEvent, stream_id::StreamId},
    state::stream::Stream,
};

/// Keeps events. Returning from [`record`](Self::record) means that they are durable, or as durable as the recorder
/// promises to make them.
///
/// The call is synchronous on purpose: between an effect and its evidence there is no point at which a dropped future
/// could leave one without the other. A durable recorder takes about as long as the disk takes to sync.
pub trait Recorder: Send {
    /// Appends `drafts`, all of one stream, as one commit after the event numbered `version`, and returns them numbered.
    ///
    /// # Errors
    /// When they were not recorded. The runner then refuses to go on.
    fn record(&mut self, version: u64, drafts: Vec<NewEvent>) -> io::Result<Vec<Event>>;

    /// The fold of all events that are kept of `stream`, which may be another one than was recorded here; `None` when none are.
    /// Blocks as long as reading takes.
    ///
    /// # Errors
    /// When they cannot be read.
    fn load(&self, stream: StreamId) -> io::Result<Option<Stream>>;

    /// Refuses a draft that could not be recorded whatever the state of the disk, such as one that is too large. Records
    /// nothing.
    ///
    /// # Errors
    /// Why it could not be.
    fn check(&self, _draft: &NewEvent) -> io::Result<()> {
        Ok(())
    }
}

/// A recorder that numbers events and keeps none: for runners of which no history is wanted.
#[derive(Debug, Clone, Copy, Default)]
pub struct NullRecorder;

impl Recorder for NullRecorder {
    fn record(&mut self, version: u64, drafts: Vec<NewEvent>) -> io::Result<Vec<Event>> {
        let numbers = version.saturating_add(1)..;
        Ok(drafts.into_iter().zip(numbers).map(|(draft, number)| draft.numbered(number, number)).collect())
    }

    fn load(&self, _stream: StreamId) -> io::Result<Option<Stream>> {
        Ok(None)
    }
}
