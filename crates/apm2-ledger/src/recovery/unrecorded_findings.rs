//! The file `pending`: findings of a recovery whose events are not appended to the ledger yet.
//!
//! Recovery writes the file before it repairs anything. If the process crashes between a repair and its event, the next
//! opening reads the file and appends the event. The file is a frame of events. The sequence numbers in it have no
//! meaning; an event gets its number when it is appended.

use std::{fs, io, path::Path};

use apm2_model::{
    clock::SystemClock,
    event::{NewEvent, actor::Actor, kind::EventKind, stream_id::StreamId, timestamp::Clock as _},
};
use uuid::Uuid;

use crate::{
    chain::Chain,
    file::{self, sync_dir},
    frame::{Frame, FrameBuilder},
    record::{decode_event, encode_event},
};

const PENDING: &str = "pending";

/// A new event of the stream [`StreamId::SYSTEM`] with the current time.
pub(crate) fn system_event(kind: EventKind) -> NewEvent {
    let (stream, stamp) = (StreamId::SYSTEM, SystemClock.now());
    NewEvent { stream, run: 0, actor: Actor::System, reason: None, cause: None, stamp, kind }
}

/// Writes `findings` to the file `pending`, durably. Does nothing if there are none.
pub(crate) fn write(dir: &Path, findings: &[EventKind]) -> io::Result<()> {
    if findings.is_empty() {
        return Ok(());
    }
    let mut frame = FrameBuilder::new(1, Chain::genesis(Uuid::nil()));
    for kind in findings {
        let mut bytes = Vec::new();
        encode_event(&system_event(kind.clone()).numbered(1, 1), &mut bytes).map_err(io::Error::other)?;
        frame.push(&bytes);
    }
    file::replace(dir, PENDING, &frame.finish())
}

/// Replaces the file `pending` by `findings`, durably. Removes the file if there are none.
pub(crate) fn rewrite(dir: &Path, findings: &[EventKind]) -> io::Result<()> {
    if !findings.is_empty() {
        return write(dir, findings);
    }
    match clear(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        cleared => cleared,
    }
}

/// Reads the findings of an earlier opening that could not append their events. Returns an empty list if the file
/// `pending` is missing or damaged.
pub(crate) fn load(dir: &Path) -> Vec<EventKind> {
    let Ok(bytes) = file::read(&dir.join(PENDING)) else { return Vec::new() };
    let Ok(frame) = Frame::parse(&bytes) else { return Vec::new() };
    frame.iter(&bytes).filter_map(|(seq, event)| Some(decode_event(seq, event).ok()?.kind)).collect()
}

/// Removes the file `pending`, after the events of its findings were appended.
pub(crate) fn clear(dir: &Path) -> io::Result<()> {
    fs::remove_file(dir.join(PENDING))?;
    sync_dir(dir)
}
