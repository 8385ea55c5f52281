//! A ledger as the place where a runner's events go.

use std::io;

use apm2_core::process::{Draft, Event, Recorder};

use crate::{ledger::Ledger, record::check_draft};

/// Records the events of runners in a ledger, durably.
pub struct LedgerRecorder {
    ledger: Ledger,
}

impl LedgerRecorder {
    pub(crate) const fn new(ledger: Ledger) -> Self {
        Self { ledger }
    }
}

impl Recorder for LedgerRecorder {
    fn record(&mut self, version: u64, drafts: Vec<Draft>) -> io::Result<Vec<Event>> {
        let Some(stream) = drafts.first().map(|draft| draft.stream) else { return Ok(Vec::new()) };
        self.ledger.append(stream, version, drafts).map_err(io::Error::other)
    }

    fn check(&self, draft: &Draft) -> io::Result<()> {
        check_draft(draft).map_err(io::Error::other)
    }
}
