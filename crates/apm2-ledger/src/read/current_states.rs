//! The current folds of all streams, with few of them in memory: from the snapshots in the store, and from the events after them.

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
    },
    store::sled_store::Store,
};

type Folds = BTreeMap<StreamId, Stream>;

/// Passes the fold of each stream to `visit`, in the order of their ids, until it returns `Break`.
pub(crate) fn each(reader: &Reader, mut visit: impl FnMut(Stream) -> ControlFlow<()>) -> Result<(), ReadError> {
    let mut visited = None;
    let mut noting = |stream: Stream| {
        visited = Some(stream.id);
        visit(stream)
    };
    match each_from_snapshots(reader, &mut noting) {
        Ok(true) => return Ok(()),
        Ok(false) => {}
        // The events are complete.
        Err(error) => tracing::warn!(error = %causes(&error), "the snapshots cannot be read; reading the events"),
    }
    let all = replay(reader, u64::MAX, Origin::Genesis)?.streams;
    let is_new = |stream: &Stream| visited.is_none_or(|visited| stream.id > visited);
    // `Break` is no error.
    let _ = all.into_values().filter(is_new).try_for_each(visit);
    Ok(())
}

/// The folds that are newer than their snapshots. All folds where no snapshot can be read by this version.
pub(crate) fn newer_than_snapshots(reader: &Reader) -> Result<Vec<Stream>, ReadError> {
    let changed = match complete_snapshots(reader)? {
        Some((store, seq)) => changed_since(reader, &store, seq)?,
        None => replay(reader, u64::MAX, Origin::Genesis)?.streams,
    };
    Ok(changed.into_values().collect())
}

/// The store and the event up to which its snapshots are complete, if this version can read them.
fn complete_snapshots(reader: &Reader) -> Result<Option<(Arc<Store>, u64)>, ReadError> {
    let Some(store) = reader.store() else { return Ok(None) };
    let seq = store.snapshot_seq()?;
    Ok((seq > 0 && store.are_snapshots_current()?).then_some((store, seq)))
}

/// Visits the snapshots, with the newer fold in place of an outdated one. False where there are no snapshots.
fn each_from_snapshots(reader: &Reader, visit: &mut dyn FnMut(Stream) -> ControlFlow<()>) -> Result<bool, ReadError> {
    let Some((store, seq)) = complete_snapshots(reader)? else { return Ok(false) };
    let mut changed = changed_since(reader, &store, seq)?;
    let mut scan = store.scan_snapshots();
    while let Some((id, snapshot)) = scan.next()? {
        let later = changed.split_off(&id);
        let before = std::mem::replace(&mut changed, later);
        for stream in before.into_values().chain(latest(reader, &mut changed, id, snapshot)?) {
            if visit(stream).is_break() {
                return Ok(true);
            }
        }
    }
    let _ = changed.into_values().try_for_each(visit);
    Ok(true)
}

/// The fold of `id`: the newer one, else the snapshot, else the fold of its events.
fn latest(
    reader: &Reader,
    changed: &mut Folds,
    id: StreamId,
    snapshot: Option<Stream>,
) -> Result<Option<Stream>, ReadError> {
    match changed.remove(&id).or(snapshot) {
        Some(stream) => Ok(Some(stream)),
        None => reader.stream(id),
    }
}

/// The folds of the streams that have events after event `seq`.
fn changed_since(reader: &Reader, store: &Store, seq: u64) -> Result<Folds, ReadError> {
    let mut changed = Folds::new();
    for event in reader.events(seq.saturating_add(1), u64::MAX) {
        let event = event?;
        if !event.stream.is_system() {
            fold(reader, store, &mut changed, &event)?;
        }
    }
    Ok(changed)
}

fn fold(reader: &Reader, store: &Store, changed: &mut Folds, event: &Event) -> Result<(), ReadError> {
    let illegal = |source| ReadError::Illegal { seq: event.seq, source };
    let stream = match changed.entry(event.stream) {
        Entry::Occupied(place) => place.into_mut(),
        Entry::Vacant(place) => match store.snapshot(event.stream)? {
            Some(snapshot) => place.insert(snapshot),
            None if event.version == 1 => place.insert(Stream::begin(event).map_err(illegal)?),
            None => place.insert(reader.stream(event.stream)?.ok_or(ReadError::Gap { seq: event.seq })?),
        },
    };
    // What is kept may have later events folded in already.
    if stream.last_seq < event.seq { stream.apply(event).map_err(illegal) } else { Ok(()) }
}

impl Reader {
    /// Hands the fold of each stream as it is now to `visit`, in the order of their ids, until that breaks off. Few are in memory
    /// at the same time, if the store keeps folds.
    ///
    /// # Errors
    /// When events cannot be read, or are not legal; some streams may have been visited by then.
    pub fn each_stream(&self, visit: impl FnMut(Stream) -> ControlFlow<()>) -> Result<(), ReadError> {
        each(self, visit)
    }
}
