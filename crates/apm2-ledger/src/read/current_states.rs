//! Reads the current states of all streams with few of them in memory: loads each snapshot from the store, and applies
//! the later events.

use std::{
    cell::Cell,
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
        state::{Checked, State},
        state_pages,
    },
    record::{RecordError, is_current_stream},
    store::sled_store::Store,
};

type ChangedStreams = BTreeMap<StreamId, Box<Stream>>;

/// Calls `visit` with the current state of each stream, in the order of the stream ids, until `visit` returns `Break`.
pub(crate) fn each(reader: &Reader, mut visit: impl FnMut(Stream) -> ControlFlow<()>) -> Result<(), ReadError> {
    each_at(reader, reader.visible(), State::decoded, |state| visit(*state))
}

/// Calls `visit` with the state of each stream after event `upto`, in the form that `check` gives it, in the order of the
/// stream ids, until `visit` returns `Break`. The snapshots of the store are used when few events follow them up to event
/// `upto`.
pub(crate) fn each_at<T>(
    reader: &Reader,
    upto: u64,
    check: impl Fn(State) -> Result<Checked<T>, RecordError>,
    visit: impl FnMut(T) -> ControlFlow<()>,
) -> Result<(), ReadError> {
    each_where(reader, upto, check, |_| true, visit)
}

/// Like [`each_at`], for the states for which `is_wanted` returns true.
pub(crate) fn each_where<T>(
    reader: &Reader,
    upto: u64,
    check: impl Fn(State) -> Result<Checked<T>, RecordError>,
    is_wanted: impl Fn(&Checked<T>) -> bool,
    mut visit: impl FnMut(T) -> ControlFlow<()>,
) -> Result<(), ReadError> {
    let last_visited = Cell::new(None);
    let mut visit_checked = |id, state| {
        let checked = match check(state) {
            Ok(checked) if checked.id == id && checked.last_seq <= upto => checked,
            // The state is replayed: it cannot be read, or it includes later events.
            Ok(_) | Err(_) => match reader.stream_at(id, upto)? {
                Some(stream) => {
                    let seq = stream.last_seq;
                    let unreadable = |source| ReadError::Record { seq, source };
                    check(State::Decoded(Box::new(stream))).map_err(unreadable)?
                }
                None => return Ok(ControlFlow::Continue(())),
            },
        };
        last_visited.set(Some(id));
        Ok(if is_wanted(&checked) { visit(checked.state) } else { ControlFlow::Continue(()) })
    };
    match each_from_snapshots(reader, upto, &mut visit_checked) {
        Ok(true) => return Ok(()),
        Ok(false) => {}
        Err(ReadError::Cancelled) => return Err(ReadError::Cancelled),
        // All states can be replayed from the events instead.
        Err(error) => tracing::warn!(error = %causes(&error), "the snapshots cannot be read; replaying the events"),
    }
    state_pages::each_after(reader, upto, last_visited.get(), &mut visit_checked)
}

/// The states of the streams that have events after their snapshots. The states of all streams if there are no
/// snapshots, or if this version of the program cannot decode them.
pub(crate) fn newer_than_snapshots(reader: &Reader) -> Result<Vec<Stream>, ReadError> {
    match complete_snapshots(reader)? {
        Some((store, seq)) if store.are_snapshots_current()? => {
            Ok(changed_since(reader, &store, (seq, u64::MAX))?.into_values().map(|stream| *stream).collect())
        }
        _ => Ok(replay(reader, u64::MAX, Origin::Genesis)?.streams.into_values().collect()),
    }
}

/// The store, and the event up to which its snapshots are complete. `None` if there is no store, or if it has no snapshots.
fn complete_snapshots(reader: &Reader) -> Result<Option<(Arc<Store>, u64)>, ReadError> {
    let Some(store) = reader.store() else { return Ok(None) };
    let seq = store.snapshot_seq()?;
    Ok((seq > 0).then_some((store, seq)))
}

/// Calls `visit` for each stream: with the snapshot if no event follows it up to event `upto`, else with the state after those
/// events. Returns false if there are no snapshots, if they are complete up to a later event, or if this version of the
/// program cannot decode one; `visit` was then not called for that stream and those after it.
fn each_from_snapshots(
    reader: &Reader,
    upto: u64,
    visit: &mut dyn FnMut(StreamId, State) -> Result<ControlFlow<()>, ReadError>,
) -> Result<bool, ReadError> {
    let Some((store, seq)) = complete_snapshots(reader)?.filter(|(_, seq)| *seq <= upto) else { return Ok(false) };
    let mut changed = changed_since(reader, &store, (seq, upto))?;
    let mut scan = store.scan_snapshots();
    while let Some((id, snapshot)) = scan.next()? {
        if !is_current_stream(&snapshot) {
            return Ok(false);
        }
        while let Some(earlier) = changed.first_entry().filter(|entry| *entry.key() < id) {
            let (id, stream) = earlier.remove_entry();
            if visit(id, State::Decoded(stream))?.is_break() {
                return Ok(true);
            }
        }
        let state = changed.remove(&id).map_or(State::Stored(snapshot), State::Decoded);
        if visit(id, state)?.is_break() {
            return Ok(true);
        }
    }
    for (id, stream) in changed {
        if visit(id, State::Decoded(stream))?.is_break() {
            break;
        }
    }
    Ok(true)
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
            Some(snapshot) => place.insert(Box::new(snapshot)),
            None if event.version == 1 => place.insert(Box::new(Stream::begin(event).map_err(illegal)?)),
            None => {
                let stream = reader.stream_at(event.stream, upto)?.ok_or(ReadError::Gap { seq: event.seq })?;
                place.insert(Box::new(stream))
            }
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
