//! The index keys of a frame. They depend only on the bytes of the frame, so that the index can be verified against the
//! frames.

use std::collections::BTreeSet;

use apm2_model::event::{Event, kind::EventKind, stream_id::StreamId};

use crate::{
    chain::Chain,
    journal::event_batch::EventBatch,
    record::{RecordError, decode_event},
    store::key,
};

/// A frame for the store, together with its index keys.
#[derive(Debug)]
pub(crate) struct IndexedFrame {
    pub(crate) first_seq: u64,
    pub(crate) last_seq: u64,
    /// The value of the hash chain after the last event of the frame.
    pub(crate) chain: Chain,
    pub(crate) bytes: Vec<u8>,
    pub(crate) index: Vec<Vec<u8>>,
}

/// The values of one event that the store indexes: its stream, its minute and the name of its process.
#[derive(Debug)]
pub(crate) struct EventKeys {
    stream: StreamId,
    minute: u64,
    /// The index key of the process name, if the event sets the name of a process.
    name: Option<Vec<u8>>,
}

impl From<&Event> for EventKeys {
    fn from(event: &Event) -> Self {
        let name = match &event.kind {
            EventKind::Registered { spec } | EventKind::SpecChanged { spec } => Some(key::name(&spec.name, spec.id)),
            _ => None,
        };
        Self { stream: event.stream, minute: key::minute_of(event.stamp.wall_ns), name }
    }
}

/// Collects the index keys of a frame from its events. In the store these keys have empty values.
#[derive(Debug, Default)]
pub(crate) struct FrameKeys(BTreeSet<Vec<u8>>);

impl FrameKeys {
    /// Adds the keys of one event. `first_seq` is the sequence number of the frame's first event.
    pub(crate) fn add(&mut self, first_seq: u64, event: &EventKeys) {
        self.0.insert(key::stream(event.stream, first_seq));
        self.0.insert(key::minute(event.minute, first_seq));
        self.0.extend(event.name.clone());
    }

    /// The collected keys without duplicates, in ascending order.
    pub(crate) fn into_sorted(self) -> Vec<Vec<u8>> {
        self.0.into_iter().collect()
    }
}

/// Computes the index keys of a frame from its events. An error has the sequence number of the event that cannot be
/// decoded.
pub(crate) fn keys(frame: &EventBatch) -> Result<Vec<Vec<u8>>, (u64, RecordError)> {
    let mut keys = FrameKeys::default();
    for (seq, event_bytes) in frame.iter() {
        let event = decode_event(seq, event_bytes).map_err(|error| (seq, error))?;
        keys.add(frame.first_seq(), &EventKeys::from(&event));
    }
    Ok(keys.into_sorted())
}

/// A checksum over a set of keys that does not depend on the order of the keys. It detects accidental differences, not
/// tampering.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Digest {
    count: u64,
    sum: u64,
}

impl Digest {
    pub(crate) fn add(&mut self, key: &[u8]) {
        let crc = crc32c::crc32c(key);
        let length = key.len() as u64;
        self.count += 1;
        self.sum = self.sum.wrapping_add(u64::from(crc) << 16 | length & 0xffff);
    }
}
