//! The events of one append, checked and encoded. The caller encodes its events before they are queued, so that the callers
//! do this work at the same time, and the leader of the group commit does not.

use std::path::Path;

use apm2_model::event::{Event, NewEvent, kind::EventKind, stream_id::StreamId};

use crate::{
    error::AppendError,
    frame::LENGTH_LEN,
    free_space::free_bytes,
    limits::{APPEND_BYTES_MAX, APPEND_EVENTS_MAX, DISK_FREE_BYTES_MIN},
    record::{decode_event, encode_event},
};

/// The encoded events of one append. Their sequence numbers are 0 until the commit writer numbers them.
#[derive(Debug)]
pub(crate) struct EncodedAppend {
    /// Decoded from the encoded bytes, so that the live state and a replayed state cannot differ.
    pub(super) events: Vec<Event>,
    bytes: Vec<u8>,
    /// The end offset of each event in `bytes`.
    ends: Vec<usize>,
}

impl EncodedAppend {
    /// Encodes the events that follow `version` of their stream.
    ///
    /// # Errors
    /// An event cannot be recorded, or the append is too long.
    pub(crate) fn new(new_events: Vec<NewEvent>, mut version: u64) -> Result<Self, AppendError> {
        let (mut events, mut ends) = (Vec::with_capacity(new_events.len()), Vec::with_capacity(new_events.len()));
        let mut bytes = Vec::new();
        for new_event in new_events {
            version = version.saturating_add(1);
            let start = bytes.len();
            encode_event(&new_event.numbered(0, version), &mut bytes)?;
            events.push(decode_event(0, bytes.get(start..).unwrap_or_default())?);
            ends.push(bytes.len());
        }
        if bytes.len() + ends.len() * LENGTH_LEN > APPEND_BYTES_MAX {
            return Err(AppendError::Shape("too many bytes"));
        }
        Ok(Self { events, bytes, ends })
    }

    /// The bytes of each event.
    pub(crate) fn each_bytes(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| self.bytes.get(start..*end).unwrap_or_default())
    }
}

/// Checks that an append has events, not too many, all of one stream, and that only the supervisor's stream contains
/// system events.
///
/// # Errors
/// [`AppendError::Shape`].
pub(crate) fn check_append(stream: StreamId, new_events: &[NewEvent]) -> Result<(), AppendError> {
    if new_events.is_empty() {
        return Err(AppendError::Shape("no events"));
    }
    if new_events.len() > APPEND_EVENTS_MAX {
        return Err(AppendError::Shape("too many events"));
    }
    if new_events.iter().any(|new_event| new_event.stream != stream) {
        return Err(AppendError::Shape("events of several streams"));
    }
    if new_events.iter().any(|new_event| new_event.kind.is_system() != stream.is_system()) {
        return Err(AppendError::Shape("system events belong to the supervisor's stream only"));
    }
    Ok(())
}

/// Refuses a start request when the disk is almost full, so that the exits of running processes can still be recorded.
///
/// # Errors
/// [`AppendError::DiskLow`].
pub(crate) fn check_disk(dir: &Path, new_events: &[NewEvent]) -> Result<(), AppendError> {
    if !new_events.iter().any(|new_event| matches!(new_event.kind, EventKind::StartRequested { .. })) {
        return Ok(());
    }
    // When statvfs(3) fails, the free space is unknown, and the request is accepted.
    let Some(free_bytes) = free_bytes(dir) else { return Ok(()) };
    if free_bytes < DISK_FREE_BYTES_MIN {
        return Err(AppendError::DiskLow { free_bytes, min_bytes: DISK_FREE_BYTES_MIN });
    }
    Ok(())
}
