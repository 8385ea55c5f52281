//! Replays the states of streams from their events.

use std::{
    collections::{BTreeMap, BTreeSet, hash_map::Entry},
    iter,
    sync::mpsc::sync_channel,
    thread,
};

use apm2_model::{
    event::{Event, stream_id::StreamId},
    spec::id::ProcessId,
    state::stream::{IllegalEvent, Stream},
};

use crate::{
    error::ReadError,
    journal::base::Base,
    read::{
        events::{EncodedEvents, Events},
        reader::Reader,
        sealed_states::{SealedStates, base_streams},
    },
    stream_map::StreamMap,
};

/// Size in bytes at which a message from the thread that reads events to the thread that applies them is complete. A message
/// has whole frames or commits. Small commits are sent together, because a message costs as much as the decoding of some events.
const CHUNK_BYTES: usize = 32 * 1024;

/// Number of events from which a second thread reads them. For fewer, such as those after the last sealed segment, it takes longer
/// to create the thread, and to free its memory in this one, than to read.
const READ_AHEAD_EVENTS_MIN: u64 = 50_000;

/// Capacity of the channel from the thread that reads events to the thread that applies them, in messages.
const CHUNKS_WAITING_MAX: usize = 16;

/// The starting point of a replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Replay all events from the first one.
    Genesis,
    /// Start with the snapshots of stream states in the store, and apply only later events. Falls back to
    /// [`Origin::Genesis`] if there are no usable snapshots, or if a snapshot includes events after the last event to
    /// be replayed.
    Snapshot,
}

/// The result of a replay.
#[derive(Debug, Clone, PartialEq)]
pub struct Replayed {
    /// The state of each stream.
    pub streams: BTreeMap<StreamId, Stream>,
    /// Number of events that this replay applied. Events that a snapshot includes do not count.
    pub events: u64,
    /// The sequence number of the last event that is included; 0 if there is none.
    pub seq: u64,
}

/// The states of all streams, to which events are applied in the order of the ledger.
#[derive(Debug, Default)]
pub(crate) struct StreamStates {
    /// Boxed, because a map moves its values when it grows, and a stream state is large.
    streams: StreamMap<Box<Stream>>,
    /// The version of the stream [`StreamId::SYSTEM`], whose events have versions but no state.
    system_version: u64,
}

impl StreamStates {
    pub(crate) fn new(streams: Vec<Stream>) -> Self {
        Self { streams: streams.into_iter().map(|stream| (stream.id, Box::new(stream))).collect(), system_version: 0 }
    }

    /// The states after the last archived event; `None` when one cannot be read.
    pub(crate) fn of_base(base: &Base) -> Option<Self> {
        Some(Self { system_version: base.system_version, ..Self::new(base_streams(base)?) })
    }

    /// The last event that one of the states includes; 0 without states.
    fn last_seq(&self) -> u64 {
        self.streams.values().map(|stream| stream.last_seq).max().unwrap_or(0)
    }

    /// Whether the state of the event's stream includes the event already, because it was loaded from a later snapshot.
    pub(crate) fn includes(&self, event: &Event) -> bool {
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
                place.insert(Box::new(Stream::begin(event)?));
                Ok(())
            }
        }
    }

    pub(crate) const fn system_version(&self) -> u64 {
        self.system_version
    }

    pub(crate) fn get(&self, id: StreamId) -> Option<&Stream> {
        self.streams.get(&id).map(AsRef::as_ref)
    }

    /// Whether both have the same states.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        (self.system_version, &self.streams) == (other.system_version, &other.streams)
    }

    /// The names of the processes, with their ids.
    pub(crate) fn names(&self) -> BTreeSet<(String, ProcessId)> {
        self.streams.values().map(|stream| (stream.handle.spec.name.clone(), stream.id.process_id)).collect()
    }

    /// Removes the states of these streams.
    pub(crate) fn remove(&mut self, ids: &[StreamId]) {
        ids.iter().for_each(|id| drop(self.streams.remove(id)));
    }

    pub(crate) fn len(&self) -> usize {
        self.streams.len()
    }

    pub(crate) fn into_streams(self) -> BTreeMap<StreamId, Stream> {
        // Sorted before they are unboxed: the collection of a map sorts its entries, and would move the states.
        let mut streams: Vec<_> = self.streams.into_iter().collect();
        streams.sort_unstable_by_key(|(id, _)| *id);
        streams.into_iter().map(|(id, stream)| (id, *stream)).collect()
    }
}

/// Replays the events up to event `upto`.
pub(crate) fn replay(reader: &Reader, upto: u64, origin: Origin) -> Result<Replayed, ReadError> {
    let (mut states, first) = match origin {
        Origin::Genesis => from_base(reader, upto)?,
        Origin::Snapshot => match from_snapshots(reader, upto) {
            Some(found) => found,
            None => from_base(reader, upto)?,
        },
    };
    let included = states.last_seq();
    let mut seq = first - 1;
    let mut applied = 0;
    each_decoded(reader, first, upto, |event| {
        seq = event.seq;
        if seq > included || !states.includes(event) {
            states.apply(event)?;
            applied += 1;
        }
        Ok(())
    })?;
    Ok(Replayed { streams: states.into_streams(), events: applied, seq })
}

/// Calls `apply` with the events from `first` to `upto`. Many events are read by a second thread.
pub(crate) fn each_decoded(
    reader: &Reader,
    first: u64,
    upto: u64,
    apply: impl FnMut(&Event) -> Result<(), IllegalEvent>,
) -> Result<(), ReadError> {
    // A reader of some segments has no head.
    let last = reader.head().map_or(u64::MAX, |head| head.size).min(upto);
    if last.saturating_sub(first) < READ_AHEAD_EVENTS_MIN {
        each_in_turn(reader, first, upto, apply)
    } else {
        each_read_ahead(reader, first, upto, apply)
    }
}

/// Calls `apply` with the events from `first` to `upto`.
fn each_in_turn(
    reader: &Reader,
    first: u64,
    upto: u64,
    mut apply: impl FnMut(&Event) -> Result<(), IllegalEvent>,
) -> Result<(), ReadError> {
    let mut events = reader.events(first, upto);
    iter::from_fn(|| events.next_encoded()).try_for_each(|encoded| apply_all(encoded, &mut apply))
}

/// The same with a second thread, which reads and decompresses; this thread decodes and applies. Decoded events are not sent from
/// thread to thread, because an event is several times as long as its bytes.
///
/// If no thread can be created (EAGAIN, pthread_create(3)), this thread also reads.
fn each_read_ahead(
    reader: &Reader,
    first: u64,
    upto: u64,
    mut apply: impl FnMut(&Event) -> Result<(), IllegalEvent>,
) -> Result<(), ReadError> {
    thread::scope(|scope| {
        let (chunks, read) = sync_channel(CHUNKS_WAITING_MAX);
        let reading = thread::Builder::new().name("apm2-replay".to_owned()).spawn_scoped(scope, move || {
            let mut events = reader.events(first, upto);
            loop {
                let chunk = next_chunk(&mut events);
                // The receiver is dropped when the applying thread returns an error.
                if chunk.is_empty() || chunks.send(chunk).is_err() {
                    break;
                }
            }
        });
        if reading.is_err() {
            return each_in_turn(reader, first, upto, apply);
        }
        read.into_iter().flatten().try_for_each(|encoded| apply_all(encoded, &mut apply))
    })
}

fn apply_all(
    encoded: Result<EncodedEvents, ReadError>,
    apply: &mut impl FnMut(&Event) -> Result<(), IllegalEvent>,
) -> Result<(), ReadError> {
    encoded?.each(|event| apply(event).map_err(|source| ReadError::Illegal { seq: event.seq, source }))
}

/// The next frames or commits with at least [`CHUNK_BYTES`] bytes, fewer at the end or before an error. Empty at the end.
fn next_chunk(events: &mut Events) -> Vec<Result<EncodedEvents, ReadError>> {
    let (mut chunk, mut bytes) = (Vec::new(), 0);
    while bytes < CHUNK_BYTES
        && let Some(encoded) = events.next_encoded()
    {
        bytes += encoded.as_ref().map_or(0, EncodedEvents::frame_len);
        chunk.push(encoded);
    }
    chunk
}

/// The states in the base of the journal, and the first event after it. Without a base with an event up to `upto`, or when a state
/// in it cannot be decoded, no states and the first event.
fn from_base(reader: &Reader, upto: u64) -> Result<(StreamStates, u64), ReadError> {
    let base = reader.base()?.filter(|base| base.seq() <= upto);
    let states = base.and_then(|base| Some((StreamStates::of_base(&base)?, base.seq() + 1)));
    Ok(states.unwrap_or((StreamStates::default(), 1)))
}

/// The stream states in the snapshots, and the first event to be replayed on them. Returns `None` if the snapshots are
/// missing, cannot be read, or include events after `upto`; the caller then replays all events.
fn from_snapshots(reader: &Reader, upto: u64) -> Option<(StreamStates, u64)> {
    let Some(store) = reader.store() else {
        let SealedStates { streams, seq } = reader.sealed_states(upto).ok()??;
        return Some((StreamStates { streams, system_version: 0 }, seq + 1));
    };
    let seq = store.snapshot_seq().ok()?;
    let streams = store.snapshots().ok()??;
    let is_usable = seq > 0 && streams.iter().all(|stream| stream.last_seq <= upto) && seq <= upto;
    is_usable.then(|| (StreamStates::new(streams), seq + 1))
}

impl Reader {
    /// Replays the state of each stream (one for each process instance) from the events up to event `upto`.
    ///
    /// # Errors
    /// When an event cannot be read, or is not allowed in the state of its stream.
    pub fn replay(&self, upto: u64, origin: Origin) -> Result<Replayed, ReadError> {
        replay(self, upto, origin)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use apm2_model::event::kind::EventKind;

    use super::*;
    use crate::{ledger::Ledger, options::Options};

    #[test]
    fn a_second_thread_reads_the_same_events_up_to_the_first_illegal_one() {
        let mode = std::fs::Permissions::from_mode(0o700);
        let dir = tempfile::Builder::new().permissions(mode).tempdir().unwrap();
        let ledger = Ledger::open_with(dir.path(), &Options { seal: false, ..Options::default() }).unwrap();
        for _ in 0..40 {
            ledger.append_system(EventKind::SupervisorStopped).unwrap();
        }
        ledger.close().unwrap();
        let reader = Reader::open(dir.path()).unwrap();
        let size = reader.head().unwrap().size;
        for (first, upto, illegal) in [(1, u64::MAX, u64::MAX), (7, 30, u64::MAX), (1, size, 12), (9, 9, 9)] {
            let seqs = |ahead: bool| {
                let mut found = Vec::new();
                let apply = |event: &Event| {
                    found.push(event.seq);
                    if event.seq == illegal { Err(IllegalEvent::Stream) } else { Ok(()) }
                };
                let each = if ahead {
                    each_read_ahead(&reader, first, upto, apply)
                } else {
                    each_in_turn(&reader, first, upto, apply)
                };
                assert_eq!(each.is_err(), illegal < u64::MAX);
                found
            };
            let last = upto.min(size).min(illegal);
            assert_eq!(seqs(true), (first..=last).collect::<Vec<_>>());
            assert_eq!(seqs(false), seqs(true));
        }
    }
}
