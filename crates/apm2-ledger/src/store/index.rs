//! The index keys of the frames. They depend only on the events and on where frames begin, so that the index can be
//! verified against the frames.

use std::collections::{BTreeSet, HashSet};

use apm2_model::event::{Event, kind::EventKind, stream_id::StreamId};

use crate::{chain::Chain, store::key};

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

/// Collects the index keys of consecutive frames. In the store these keys have empty values.
#[derive(Debug, Default)]
pub(crate) struct FrameKeys {
    keys: BTreeSet<Vec<u8>>,
    /// The window of the last event, and the streams whose key for this window was collected.
    window: u64,
    in_window: HashSet<StreamId>,
    /// The minute of the last event and the first event of its frame, whose key was collected.
    minute: Option<(u64, u64)>,
}

impl FrameKeys {
    /// Adds the keys of event `seq` in the frame that begins with event `first_seq`.
    pub(crate) fn add(&mut self, first_seq: u64, seq: u64, event: &EventKeys) {
        let window = key::window_of(seq);
        if window != self.window {
            self.window = window;
            self.in_window.clear();
        }
        if self.in_window.insert(event.stream) {
            self.keys.insert(key::stream(event.stream, window));
        }
        if self.minute.replace((event.minute, first_seq)) != Some((event.minute, first_seq)) {
            self.keys.insert(key::minute(event.minute, first_seq));
        }
        self.keys.extend(event.name.clone());
    }

    /// The collected keys without duplicates, in ascending order. A key of a stream and a window is returned once.
    pub(crate) fn take(&mut self) -> Vec<Vec<u8>> {
        self.minute = None;
        std::mem::take(&mut self.keys).into_iter().collect()
    }
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
