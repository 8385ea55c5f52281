//! A ledger as the place where a runner's events go.

use std::io;

use apm2_model::{
    event::{Event, NewEvent, stream_id::StreamId},
    recorder::Recorder,
    state::stream::Stream,
};

use crate::{ledger::Ledger, record::check_draft};

/// Records the events of runners in a ledger, durably. Loads streams that have events there; another one is an error.
pub struct LedgerRecorder {
    ledger: Ledger,
}

impl LedgerRecorder {
    pub(crate) const fn new(ledger: Ledger) -> Self {
        Self { ledger }
    }
}

impl Recorder for LedgerRecorder {
    fn record(&mut self, version: u64, drafts: Vec<NewEvent>) -> io::Result<Vec<Event>> {
        let Some(stream) = drafts.first().map(|draft| draft.stream) else { return Ok(Vec::new()) };
        self.ledger.append(stream, version, drafts).map_err(io::Error::other)
    }

    fn load(&self, stream: StreamId) -> io::Result<Option<Stream>> {
        let loaded = self.ledger.reader().stream(stream).map_err(io::Error::other)?;
        // Only what is known from the ledger is loaded: a stream without events is one that was lost.
        let StreamId { process_id, instance } = stream;
        let lost = || io::Error::new(io::ErrorKind::InvalidData, format!("{process_id}/{instance} has no events"));
        loaded.ok_or_else(lost).map(Some)
    }

    fn check(&self, draft: &NewEvent) -> io::Result<()> {
        check_draft(draft).map_err(io::Error::other)
    }
}

impl Ledger {
    /// A recorder for a runner.
    #[must_use]
    pub fn recorder(&self) -> LedgerRecorder {
        LedgerRecorder::new(self.clone())
    }
}
