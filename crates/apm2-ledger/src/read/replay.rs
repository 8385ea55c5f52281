//! From events to handles.

use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry},
    sync::mpsc::sync_channel,
    thread,
};

use apm2_model::{
    event::{Event, stream_id::StreamId},
    state::stream::{IllegalEvent, Stream},
};

use crate::{error::ReadError, read::reader::Reader};

/// Events that are handed from the thread that decodes to the one that folds at once, and how often.
const CHUNK_EVENTS: usize = 256;

const CHUNKS_WAITING_MAX: usize = 16;

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

/// Folds what a second thread reads and decodes: the two take about as long.
pub(crate) fn replay(reader: &Reader, upto: u64, origin: Origin) -> Result<Replayed, ReadError> {
    let (mut folds, first) = match origin {
        Origin::Genesis => (Folds::default(), 1),
        Origin::Snapshot => from_snapshot(reader, upto).unwrap_or((Folds::default(), 1)),
    };
    let mut seq = first - 1;
    let mut folded = 0;
    thread::scope(|scope| {
        let (chunks, decoded) = sync_channel(CHUNKS_WAITING_MAX);
        scope.spawn(move || {
            let mut events = reader.events(first, upto);
            loop {
                let chunk: Vec<_> = events.by_ref().take(CHUNK_EVENTS).collect();
                // The other side is gone when it met an illegal event.
                if chunk.is_empty() || chunks.send(chunk).is_err() {
                    break;
                }
            }
        });
        for event in decoded.into_iter().flatten() {
            let event = event?;
            seq = event.seq;
            if !folds.has(&event) {
                folds.apply(&event).map_err(|source| ReadError::Illegal { seq, source })?;
                folded += 1;
            }
        }
        Ok::<(), ReadError>(())
    })?;
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

impl Reader {
    /// Folds the events up to `upto` into one stream for each instance.
    ///
    /// # Errors
    /// When events cannot be read, or are not legal.
    pub fn replay(&self, upto: u64, origin: Origin) -> Result<Replayed, ReadError> {
        replay(self, upto, origin)
    }
}
