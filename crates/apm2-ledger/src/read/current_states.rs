//! Reads the current states of all streams with few of them in memory: loads each snapshot from the store, and applies
//! the later events.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    ops::ControlFlow,
    sync::Arc,
};

use apm2_model::{
    causes::causes,
    event::{Event, stream_id::StreamId},
    state::stream::Stream,
};

use crate::{
    error::ReadError,
    read::{
        reader::Reader,
        replay::{Origin, replay},
        state_pages,
    },
    store::sled_store::Store,
};

type ChangedStreams = BTreeMap<StreamId, Stream>;

/// Calls `visit` with the current state of each stream, in the order of the stream ids, until `visit` returns `Break`.
pub(crate) fn each(reader: &Reader, visit: impl FnMut(Stream) -> ControlFlow<()>) -> Result<(), ReadError> {
    each_at(reader, reader.visible(), visit)
}

/// Calls `visit` with the state of each stream after event `upto`, in the order of the stream ids, until `visit` returns
/// `Break`. The snapshots of the store are used when few events follow them up to event `upto`.
pub(crate) fn each_at(
    reader: &Reader,
    upto: u64,
    mut visit: impl FnMut(Stream) -> ControlFlow<()>,
) -> Result<(), ReadError> {
    let mut last_visited = None;
    let mut visit_and_note = |stream: Stream| {
        last_visited = Some(stream.id);
        visit(stream)
    };
    match each_from_snapshots(reader, upto, &mut visit_and_note) {
        Ok(true) => return Ok(()),
        Ok(false) => {}
        Err(ReadError::Cancelled) => return Err(ReadError::Cancelled),
        // All states can be replayed from the events instead.
        Err(error) => tracing::warn!(error = %causes(&error), "the snapshots cannot be read; replaying the events"),
    }
    state_pages::each_after(reader, upto, last_visited, &mut visit)
}

/// The states of the streams that have events after their snapshots. The states of all streams if there are no
/// snapshots, or if this version of the program cannot decode them.
pub(crate) fn newer_than_snapshots(reader: &Reader) -> Result<Vec<Stream>, ReadError> {
    let changed = match complete_snapshots(reader)? {
        Some((store, seq)) => changed_since(reader, &store, (seq, u64::MAX))?,
        None => replay(reader, u64::MAX, Origin::Genesis)?.streams,
    };
    Ok(changed.into_values().collect())
}

/// The store, and the event up to which its snapshots are complete. `None` if there is no store, if it has no
/// snapshots, or if this version of the program cannot decode them.
fn complete_snapshots(reader: &Reader) -> Result<Option<(Arc<Store>, u64)>, ReadError> {
    let Some(store) = reader.store() else { return Ok(None) };
    let seq = store.snapshot_seq()?;
    Ok((seq > 0 && store.are_snapshots_current()?).then_some((store, seq)))
}

/// Calls `visit` for each stream: with the snapshot if it is the state after event `upto`, else with that state. Returns
/// false if there are no usable snapshots, or if they are complete up to a later event.
fn each_from_snapshots(
    reader: &Reader,
    upto: u64,
    visit: &mut dyn FnMut(Stream) -> ControlFlow<()>,
) -> Result<bool, ReadError> {
    let Some((store, seq)) = complete_snapshots(reader)?.filter(|(_, seq)| *seq <= upto) else { return Ok(false) };
    let mut changed = changed_since(reader, &store, (seq, upto))?;
    let mut scan = store.scan_snapshots();
    while let Some((id, snapshot)) = scan.next()? {
        let later = changed.split_off(&id);
        let before = std::mem::replace(&mut changed, later);
        for stream in before.into_values().chain(latest(reader, &mut changed, (id, upto), snapshot)?) {
            if visit(stream).is_break() {
                return Ok(true);
            }
        }
    }
    let _ = changed.into_values().try_for_each(visit);
    Ok(true)
}

/// The state of stream `id` after event `upto`: the state in `changed`, else the snapshot, else the state that is replayed
/// from the events of the stream.
fn latest(
    reader: &Reader,
    changed: &mut ChangedStreams,
    (id, upto): (StreamId, u64),
    snapshot: Option<Stream>,
) -> Result<Option<Stream>, ReadError> {
    match changed.remove(&id).or(snapshot.filter(|snapshot| snapshot.last_seq <= upto)) {
        Some(stream) => Ok(Some(stream)),
        None => reader.stream_at(id, upto),
    }
}

/// The states after event `upto` of the streams that have events after event `seq`.
fn changed_since(reader: &Reader, store: &Store, (seq, upto): (u64, u64)) -> Result<ChangedStreams, ReadError> {
    let mut changed = ChangedStreams::new();
    for event in reader.events(seq.saturating_add(1), upto) {
        let event = event?;
        if !event.stream.is_system() {
            apply(reader, store, &mut changed, &event, upto)?;
        }
    }
    Ok(changed)
}

/// Applies `event` to the state of its stream in `changed`. Loads that state first if it is missing there.
fn apply(
    reader: &Reader,
    store: &Store,
    changed: &mut ChangedStreams,
    event: &Event,
    upto: u64,
) -> Result<(), ReadError> {
    let illegal = |source| ReadError::Illegal { seq: event.seq, source };
    let stream = match changed.entry(event.stream) {
        Entry::Occupied(place) => place.into_mut(),
        Entry::Vacant(place) => match store.snapshot(event.stream)?.filter(|snapshot| snapshot.last_seq <= upto) {
            Some(snapshot) => place.insert(snapshot),
            None if event.version == 1 => place.insert(Stream::begin(event).map_err(illegal)?),
            None => place.insert(reader.stream_at(event.stream, upto)?.ok_or(ReadError::Gap { seq: event.seq })?),
        },
    };
    // The loaded state may include this event already: a snapshot may be newer than the event up to which all snapshots
    // are complete, and a replayed state includes all events.
    if stream.last_seq < event.seq { stream.apply(event).map_err(illegal) } else { Ok(()) }
}

impl Reader {
    /// Calls `visit` with the current state of each stream, in the order of the stream ids, until `visit` returns
    /// `Break`. If the store has snapshots, only the states that changed since then are in memory at the same time.
    ///
    /// # Errors
    /// When an event cannot be read, or is not allowed in the state of its stream. `visit` may have been called for
    /// some streams before.
    pub fn each_stream(&self, visit: impl FnMut(Stream) -> ControlFlow<()>) -> Result<(), ReadError> {
        each(self, visit)
    }
}
