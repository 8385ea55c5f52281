//! Lets a runner record its events in a ledger.

use std::{io, ops::ControlFlow, sync::Arc};

use apm2_model::{
    event::{NewEvent, stream_id::StreamId},
    recorder::{EventStore, Recorded, Recorder},
    state::stream::Stream,
};

use crate::{
    append::{encoded_append::check_disk, request::Appended},
    error::AppendError,
    ledger::Ledger,
    record::check_new_event,
};

/// Records the events of runners durably in a ledger. Loading the state of a stream without events is an error.
pub struct LedgerRecorder {
    ledger: Ledger,
}

impl LedgerRecorder {
    pub(crate) const fn new(ledger: Ledger) -> Self {
        Self { ledger }
    }
}

impl Recorder for LedgerRecorder {
    fn record(&mut self, stream: Option<&Arc<Stream>>, new_events: Vec<NewEvent>) -> io::Result<Recorded> {
        let id = new_events.first().map_or(StreamId::SYSTEM, |new_event| new_event.stream);
        let version = stream.map_or(0, |stream| stream.version);
        match self.ledger.request(id, Some(version), new_events) {
            Ok(Appended { events, stream: Some(stream) }) => Ok(Recorded { events, stream }),
            Ok(Appended { stream: None, .. }) => {
                Err(io::Error::other("a runner cannot record events of the supervisor"))
            }
            Err(AppendError::Illegal { source, .. }) => Err(io::Error::new(io::ErrorKind::InvalidInput, source)),
            Err(error) => Err(io::Error::other(error)),
        }
    }

    fn load(&self, stream: StreamId) -> io::Result<Option<Stream>> {
        let loaded = self.ledger.reader().stream(stream).map_err(io::Error::other)?;
        // A runner loads only streams that are known from the ledger. So a stream without events means that its events
        // were lost.
        let StreamId { process_id, instance } = stream;
        let lost = || io::Error::new(io::ErrorKind::InvalidData, format!("{process_id}/{instance} has no events"));
        loaded.ok_or_else(lost).map(Some)
    }

    fn check(&self, new_event: &NewEvent) -> io::Result<()> {
        check_new_event(new_event).map_err(io::Error::other)?;
        check_disk(self.ledger.dir().at(), std::slice::from_ref(new_event)).map_err(io::Error::other)
    }
}

impl EventStore for Ledger {
    fn recorder(&self) -> Box<dyn Recorder> {
        Box::new(Self::recorder(self))
    }

    fn each_stream(&self, visit: &mut dyn FnMut(Stream)) -> io::Result<()> {
        let visited = self.reader().each_stream(|stream| {
            visit(stream);
            ControlFlow::Continue(())
        });
        visited.map_err(io::Error::other)
    }
}

impl Ledger {
    /// Creates a recorder for a runner.
    #[must_use]
    pub fn recorder(&self) -> LedgerRecorder {
        LedgerRecorder::new(self.clone())
    }
}
