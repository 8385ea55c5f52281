//! What the store is told of one frame: a pure function of its bytes, so that an index can be checked against it.

use std::collections::BTreeSet;

use apm2_model::event::{Event, kind::EventKind};

use crate::{
    frame::{Frame, FrameHeader},
    key,
    record::{RecordError, decode_event},
};

/// One frame, and the keys by which it is found.
#[derive(Debug)]
pub(crate) struct IndexedFrame {
    pub(crate) header: FrameHeader,
    pub(crate) bytes: Vec<u8>,
    pub(crate) index: Vec<Vec<u8>>,
}

/// The keys by which a frame is found. They have no values.
pub(crate) fn keys(frame: &Frame, bytes: &[u8]) -> Result<Vec<Vec<u8>>, (u64, RecordError)> {
    let first_seq = frame.header().first_seq;
    let mut found = BTreeSet::new();
    for (seq, event_bytes) in frame.iter(bytes) {
        let event = decode_event(seq, event_bytes).map_err(|error| (seq, error))?;
        found.insert(key::stream(event.stream, first_seq));
        found.insert(key::minute(key::minute_of(event.stamp.wall_ns), first_seq));
        found.extend(name(&event));
    }
    Ok(found.into_iter().collect())
}

/// The key under which a process is found by the name that this event gives it.
fn name(event: &Event) -> Option<Vec<u8>> {
    match &event.kind {
        EventKind::Registered { spec } | EventKind::SpecChanged { spec } => Some(key::name(&spec.name, spec.id)),
        _ => None,
    }
}

/// A sum over keys that does not depend on their order: equal sums, equal keys, short of malice.
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
