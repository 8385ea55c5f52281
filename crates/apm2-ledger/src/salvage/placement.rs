//! Decides which intact events of a damaged ledger can be in a new ledger.
//!
//! The events of a stream can be replayed only from its first one on and without gaps. So the new ledger has, of each stream,
//! the events before the first that is lost. Events of the supervisor have no state, and are all in the new ledger.

use std::{collections::HashMap, io};

use apm2_model::event::{Event, stream_id::StreamId};

use crate::{
    journal::sealed::block::Slot,
    read::replay::StreamStates,
    record::decode_event,
    salvage::{report::UnplacedReason, source_file::SourceFile, weave::Woven},
};

/// Number of events after which the progress is reported.
const PROGRESS_EVENTS: u64 = 50_000;

/// How far the events of one stream can be in the new ledger.
#[derive(Debug, Clone, Copy, Default)]
struct StreamEnd {
    /// The last event after which the invariants of the stream hold: the end of a commit.
    placed_upto: u64,
    /// The last event that is allowed after those before it.
    allowed_upto: u64,
    /// Whether an event was found that is not allowed.
    is_over: bool,
}

/// Which events can be in the new ledger.
#[derive(Debug, Default)]
pub(crate) struct Placement {
    ends: HashMap<StreamId, StreamEnd>,
    /// Bytes of the records of all intact events.
    pub(crate) record_bytes: u64,
}

impl Placement {
    /// Replays all events.
    pub(crate) fn of(woven: &Woven, files: &[SourceFile], progress: &mut dyn FnMut(u64)) -> io::Result<Self> {
        let (mut placement, mut states, mut events) = (Self::default(), StreamStates::default(), 0_u64);
        woven.each::<io::Error>(files, &mut |_, seq, slot| {
            let Slot::Event(record) = slot else { return Ok(()) };
            placement.record_bytes = placement.record_bytes.saturating_add(record.len() as u64);
            if let Ok(event) = decode_event(seq, record) {
                placement.add(&event, &mut states);
            }
            events += 1;
            if events.is_multiple_of(PROGRESS_EVENTS) {
                progress(events);
            }
            Ok(())
        })?;
        Ok(placement)
    }

    fn add(&mut self, event: &Event, states: &mut StreamStates) {
        if event.stream.is_system() {
            return;
        }
        let end = self.ends.entry(event.stream).or_default();
        if end.is_over {
            return;
        }
        if states.apply(event).is_err() {
            end.is_over = true;
            return;
        }
        end.allowed_upto = event.seq;
        if states.get(event.stream).is_some_and(|stream| stream.broken_invariant().is_none()) {
            end.placed_upto = event.seq;
        }
    }

    /// Why the event cannot be in the new ledger; `None` if it can.
    pub(crate) fn refusal(&self, event: &Event) -> Option<UnplacedReason> {
        if event.stream.is_system() {
            return (!event.kind.is_system()).then_some(UnplacedReason::HistoryLost);
        }
        let end = self.ends.get(&event.stream).copied().unwrap_or_default();
        if event.seq <= end.placed_upto {
            None
        } else if event.seq <= end.allowed_upto {
            Some(UnplacedReason::CommitIncomplete)
        } else {
            Some(UnplacedReason::HistoryLost)
        }
    }
}
