//! What was found on opening and is not recorded yet, kept in a file meanwhile: a crash between a repair and its event
//! must not lose the event.
//!
//! The file is a frame of events, as everything else is; their numbers mean nothing until they are recorded.

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

/// An event of the ledger's own, of this moment.
pub(crate) fn system_event(kind: EventKind) -> NewEvent {
    let (stream, stamp) = (StreamId::SYSTEM, SystemClock.now());
    NewEvent { stream, run: 0, actor: Actor::System, reason: None, cause: None, stamp, kind }
}

/// Keeps `findings` until they are recorded.
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

/// What an opening found that was interrupted before it could record it.
pub(crate) fn load(dir: &Path) -> Vec<EventKind> {
    let Ok(bytes) = file::read(&dir.join(PENDING)) else { return Vec::new() };
    let Ok(frame) = Frame::parse(&bytes) else { return Vec::new() };
    frame.iter(&bytes).filter_map(|(seq, event)| Some(decode_event(seq, event).ok()?.kind)).collect()
}

/// Forgets what is recorded by now.
pub(crate) fn clear(dir: &Path) -> io::Result<()> {
    fs::remove_file(dir.join(PENDING))?;
    sync_dir(dir)
}
