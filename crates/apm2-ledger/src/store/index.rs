//! The index keys of one frame: a pure function of its bytes, so that the index can be verified against the frames.

use std::collections::BTreeSet;

use apm2_model::event::{Event, kind::EventKind, stream_id::StreamId};

use crate::{
    chain::Chain,
    frame::Frame,
    record::{RecordError, decode_event},
    store::key,
};

/// One frame, and the keys by which it is found.
#[derive(Debug)]
pub(crate) struct IndexedFrame {
    pub(crate) first_seq: u64,
    pub(crate) last_seq: u64,
    /// The chain after its last event.
    pub(crate) chain: Chain,
    pub(crate) bytes: Vec<u8>,
    pub(crate) index: Vec<Vec<u8>>,
}

/// The index keys of one event.
#[derive(Debug)]
pub(crate) struct EventKeys {
    stream: StreamId,
    minute: u64,
    /// The key under which a process is found by the name that the event gives it.
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

/// The keys of a frame, collected event by event. They have no values.
#[derive(Debug, Default)]
pub(crate) struct FrameKeys(BTreeSet<Vec<u8>>);

impl FrameKeys {
    /// Adds those of an event of the frame that begins with event `first_seq`.
    pub(crate) fn add(&mut self, first_seq: u64, event: &EventKeys) {
        self.0.insert(key::stream(event.stream, first_seq));
        self.0.insert(key::minute(event.minute, first_seq));
        self.0.extend(event.name.clone());
    }

    /// All of them, in order.
    pub(crate) fn into_sorted(self) -> Vec<Vec<u8>> {
        self.0.into_iter().collect()
    }
}

/// The keys by which a frame is found.
pub(crate) fn keys(frame: &Frame, bytes: &[u8]) -> Result<Vec<Vec<u8>>, (u64, RecordError)> {
    let mut keys = FrameKeys::default();
    for (seq, event_bytes) in frame.iter(bytes) {
        let event = decode_event(seq, event_bytes).map_err(|error| (seq, error))?;
        keys.add(frame.header().first_seq, &EventKeys::from(&event));
    }
    Ok(keys.into_sorted())
}

/// A sum over keys that does not depend on their order. It detects accidental differences, not tampering.
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
