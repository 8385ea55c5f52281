//! From events to handles.

use std::collections::{BTreeMap, HashMap, hash_map::Entry};

use apm2_core::process::{Event, IllegalEvent, Stream, StreamId};

use crate::{error::ReadError, reader::Reader};

/// Where a replay begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// With the first event.
    Genesis,
    /// With the folds that the store keeps, where it keeps them and they are not later than what is asked for.
    Snapshot,
}

/// What the events say.
#[derive(Debug, Clone, PartialEq)]
pub struct Replayed {
    /// The fold of each stream.
    pub streams: BTreeMap<StreamId, Stream>,
    /// Events that were folded in by this replay.
    pub events: u64,
    /// The seq of the last event considered; 0 when there is none.
    pub seq: u64,
}

/// Folds events of all streams.
#[derive(Debug, Default)]
pub(crate) struct Folds {
    streams: HashMap<StreamId, Stream>,
    /// The supervisor's own events have no state, but they are numbered too.
    system_version: u64,
}

impl Folds {
    pub(crate) fn of(streams: Vec<Stream>) -> Self {
        Self { streams: streams.into_iter().map(|stream| (stream.id, stream)).collect(), system_version: 0 }
    }

    /// Whether this event is in the folds already.
    pub(crate) fn has(&self, event: &Event) -> bool {
        self.streams.get(&event.stream).is_some_and(|stream| stream.last_seq >= event.seq)
    }

    pub(crate) fn apply(&mut self, event: &Event) -> Result<(), IllegalEvent> {
        if event.stream.is_system() {
            if !event.kind.is_system() {
                return Err(IllegalEvent::Stream);
            }
            self.system_version = event.version;
            return Ok(());
        }
        match self.streams.entry(event.stream) {
            Entry::Occupied(mut stream) => stream.get_mut().apply(event),
            Entry::Vacant(place) => {
                place.insert(Stream::begin(event)?);
                Ok(())
            }
        }
    }

    pub(crate) const fn system_version(&self) -> u64 {
        self.system_version
    }

    pub(crate) fn get(&self, id: StreamId) -> Option<&Stream> {
        self.streams.get(&id)
    }

    pub(crate) fn len(&self) -> usize {
        self.streams.len()
    }

    pub(crate) fn into_streams(self) -> BTreeMap<StreamId, Stream> {
        self.streams.into_iter().collect()
    }
}

pub(crate) fn replay(reader: &Reader, upto: u64, origin: Origin) -> Result<Replayed, ReadError> {
    let (mut folds, first) = match origin {
        Origin::Genesis => (Folds::default(), 1),
        Origin::Snapshot => from_snapshot(reader, upto).unwrap_or((Folds::default(), 1)),
    };
    let mut seq = first - 1;
    let mut folded = 0;
    for event in reader.events(first, upto) {
        let event = event?;
        seq = event.seq;
        if folds.has(&event) {
            continue;
        }
        folds.apply(&event).map_err(|source| ReadError::Illegal { seq, source })?;
        folded += 1;
    }
    Ok(Replayed { streams: folds.into_streams(), events: folded, seq })
}

/// The kept folds, and the first event that may not be in all of them. A cache: whatever is wrong with it, the replay
/// begins at the beginning instead.
fn from_snapshot(reader: &Reader, upto: u64) -> Option<(Folds, u64)> {
    let store = reader.store()?;
    let seq = store.snapshot_seq().ok()?;
    let streams = store.snapshots().ok()??;
    let is_usable = seq > 0 && streams.iter().all(|stream| stream.last_seq <= upto) && seq <= upto;
    is_usable.then(|| (Folds::of(streams), seq + 1))
}
