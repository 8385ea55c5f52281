//! Numbers the intact events anew, in the order of the damaged ledger.
//!
//! The record of an event keeps its bytes, with two exceptions: the number of the event that caused it is that of the new ledger,
//! and an event of the supervisor gets the version that follows on those in the new ledger.

use apm2_model::event::Event;

use crate::{
    record::{RecordError, encode_event},
    salvage::report::{Placed, SalvageReport, UnplacedEvents, UnplacedReason},
};

/// Assigns new numbers, and counts in the report.
pub(crate) struct Placer<'a> {
    report: &'a mut SalvageReport,
    /// The version of the last event of the supervisor.
    system_version: u64,
    record: Vec<u8>,
}

impl<'a> Placer<'a> {
    pub(crate) const fn new(report: &'a mut SalvageReport) -> Self {
        Self { report, system_version: 0, record: Vec::new() }
    }

    /// The number of the event in the new ledger, and its record there. `record` is the one in the damaged ledger.
    pub(crate) fn place<'r>(&'r mut self, mut event: Event, record: &'r [u8]) -> Result<(u64, &'r [u8]), RecordError> {
        let old_seq = event.seq;
        let mut is_changed = false;
        if event.stream.is_system() {
            self.system_version += 1;
            if event.version != self.system_version {
                event.version = self.system_version;
                self.report.renumbered_events += 1;
                is_changed = true;
            }
        }
        if let Some(cause) = event.cause {
            event.cause = self.new_seq(cause);
            is_changed |= event.cause != Some(cause);
            self.report.lost_causes += u64::from(event.cause.is_none());
        }
        let new_seq = self.add(old_seq);
        if !is_changed {
            return Ok((new_seq, record));
        }
        self.record.clear();
        encode_event(&event, &mut self.record)?;
        Ok((new_seq, &self.record))
    }

    /// The new number of an event before the next one; `None` if it is not in the new ledger.
    fn new_seq(&self, seq: u64) -> Option<u64> {
        let at = self.report.placed.partition_point(|placed| placed.last_seq < seq);
        let placed = self.report.placed.get(at).filter(|placed| placed.first_seq <= seq)?;
        Some(placed.new_first_seq + (seq - placed.first_seq))
    }

    fn add(&mut self, seq: u64) -> u64 {
        self.report.placed_events += 1;
        let new_seq = self.report.placed_events;
        match self.report.placed.last_mut() {
            Some(last) if last.last_seq + 1 == seq => last.last_seq = seq,
            _ => self.report.placed.push(Placed { first_seq: seq, last_seq: seq, new_first_seq: new_seq }),
        }
        new_seq
    }

    /// Counts an event that is not in the new ledger.
    pub(crate) fn leave_out(&mut self, seq: u64, reason: UnplacedReason) {
        self.report.unplaced_events += 1;
        match self.report.unplaced.last_mut() {
            Some(last) if last.last_seq + 1 == seq && last.reason == reason => last.last_seq = seq,
            _ => self.report.unplaced.push(UnplacedEvents { first_seq: seq, last_seq: seq, reason }),
        }
    }
}
