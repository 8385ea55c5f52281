//! What is written: types of their own, apart from those that the program works with.
//!
//! An event's bytes are one version byte and the value of that version. No field is ever added to a type. Variants are
//! added at the end of an enum, and an event that holds a new one says so by its version, so that a program that does not
//! know it refuses it as newer: versions 2 and 3 have the variants that their types name as such. An event is written as
//! the lowest version that can hold it. Golden bytes of every kind hold this.
//! How a value becomes bytes is `codec`'s matter.

pub(crate) mod event;
pub(crate) mod exit;
pub(crate) mod id;
pub(crate) mod kind;
pub(crate) mod spec;
pub(crate) mod stamp;
pub(crate) mod stream;

use apm2_model::{
    event::{Event, NewEvent, kind::EventKind, stream_id::StreamId},
    spec::id::ProcessId,
    state::stream::Stream,
};

use crate::{
    codec::{self, CodecError},
    limits::{RECORD_BYTES_MAX, SPEC_BYTES_MAX, ZERO_RUN_BYTES_MAX},
};

/// The newest version of event records.
const EVENT_VERSION_MAX: u8 = 3;

/// The version of the fold that is kept as a snapshot. A snapshot of another version is ignored, and replayed.
const REDUCER_VERSION: u8 = 6;

/// A record that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// No bytes at all.
    #[error("an empty record")]
    Empty,
    /// Written by a newer version of this program.
    #[error("record version {0}, newer than this program knows")]
    Newer(u8),
    /// A snapshot of a stream in another version than the one that this program reads and writes.
    #[error("stream snapshot version {0}; this program knows version {REDUCER_VERSION}")]
    StreamVersion(u8),
    /// Larger than [`RECORD_BYTES_MAX`].
    #[error(
        "an event of {0} bytes cannot be recorded, at most {RECORD_BYTES_MAX} can; long arguments are better passed in a file"
    )]
    TooLarge(usize),
    /// With a specification larger than [`SPEC_BYTES_MAX`].
    #[error(
        "a specification of {0} bytes cannot be recorded, at most {SPEC_BYTES_MAX} can; long arguments are better passed in a file"
    )]
    SpecTooLarge(usize),
    /// It has more than [`ZERO_RUN_BYTES_MAX`] zero bytes in a row.
    #[error("a record with more than {ZERO_RUN_BYTES_MAX} zero bytes in a row")]
    Zeros,
    /// Not the bytes of a value.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// A number that stands for nothing.
    #[error("a value out of its range: {0}")]
    Range(&'static str),
}

/// Appends the bytes of `event` to `out`. The seq is not stored: it follows from the place in a frame.
///
/// # Errors
/// When it is larger than a record may be, or has too many zero bytes in a row.
pub fn encode_event(event: &Event, out: &mut Vec<u8>) -> Result<(), RecordError> {
    let start = out.len();
    out.push(kind::first_version(&event.kind));
    codec::encode(&event::EventV1::from(event), out)?;
    let record = out.get(start..).unwrap_or_default();
    match record.len() {
        len if len > RECORD_BYTES_MAX => Err(RecordError::TooLarge(len)),
        _ if has_long_zero_run(record) => Err(RecordError::Zeros),
        _ => Ok(()),
    }
}

/// Refuses a draft whose event could not be recorded, or whose specification would make the fold of its stream too large to
/// be kept.
///
/// # Errors
/// Those of [`encode_event`]; [`RecordError::SpecTooLarge`].
pub(crate) fn check_new_event(new_event: &NewEvent) -> Result<(), RecordError> {
    let mut bytes = Vec::new();
    encode_event(&new_event.clone().numbered(u64::MAX, u64::MAX), &mut bytes)?;
    let has_spec = matches!(new_event.kind, EventKind::Registered { .. } | EventKind::SpecChanged { .. });
    if has_spec && bytes.len() > SPEC_BYTES_MAX { Err(RecordError::SpecTooLarge(bytes.len())) } else { Ok(()) }
}

fn has_long_zero_run(bytes: &[u8]) -> bool {
    // Most records are shorter than that.
    bytes.len() > ZERO_RUN_BYTES_MAX && bytes.split(|byte| *byte != 0).any(|run| run.len() > ZERO_RUN_BYTES_MAX)
}

/// The event numbered `seq` in `bytes`.
///
/// # Errors
/// When the bytes are not those of an event that this version knows.
pub fn decode_event(seq: u64, bytes: &[u8]) -> Result<Event, RecordError> {
    match bytes.split_first() {
        None => Err(RecordError::Empty),
        Some((version @ 1..=EVENT_VERSION_MAX, rest)) => {
            let event = codec::decode::<event::EventV1>(rest)?.into_event(seq)?;
            // Each event has exactly one valid version: the lowest that can hold it.
            if kind::first_version(&event.kind) == *version { Ok(event) } else { Err(RecordError::Range("version")) }
        }
        Some((version, _)) => Err(RecordError::Newer(*version)),
    }
}

/// The stream of the event in `bytes`, without decoding the rest of it.
pub(crate) fn peek_stream(bytes: &[u8]) -> Result<StreamId, RecordError> {
    match bytes.split_first() {
        None => Err(RecordError::Empty),
        Some((1..=EVENT_VERSION_MAX, rest)) => {
            let (id::Id(process_id), instance) = codec::decode_prefix(rest)?;
            Ok(StreamId { process_id: ProcessId::from_bytes(process_id), instance })
        }
        Some((version, _)) => Err(RecordError::Newer(*version)),
    }
}

/// The bytes of a snapshot of one stream.
///
/// # Errors
/// When it is larger than a record may be.
pub fn encode_stream(stream: &Stream) -> Result<Vec<u8>, RecordError> {
    let mut out = vec![REDUCER_VERSION];
    codec::encode(&stream::StreamV1::from(stream), &mut out)?;
    if out.len() > RECORD_BYTES_MAX { Err(RecordError::TooLarge(out.len())) } else { Ok(out) }
}

/// The snapshot in `bytes`.
///
/// # Errors
/// When the bytes are not those of a snapshot of this version.
pub fn decode_stream(bytes: &[u8]) -> Result<Stream, RecordError> {
    match bytes.split_first() {
        None => Err(RecordError::Empty),
        Some((&REDUCER_VERSION, rest)) => codec::decode::<stream::StreamV1>(rest)?.into_stream(),
        Some((version, _)) => Err(RecordError::StreamVersion(*version)),
    }
}

/// Whether these are the bytes of a snapshot of the version that is written.
pub(crate) fn is_current_stream(bytes: &[u8]) -> bool {
    bytes.first() == Some(&REDUCER_VERSION)
}

#[cfg(test)]
mod tests {
    use apm2_model::event::{actor::Actor, kind::EventKind, timestamp::Timestamp};
    use uuid::Uuid;

    use super::*;

    fn observed(detail: String) -> Event {
        let stamp = Timestamp { wall_ns: 0, boot_ns: 0, boot_id: Uuid::nil() };
        let kind = EventKind::Observed { adapter: "a".to_owned(), detail };
        let (stream, actor) = (StreamId::SYSTEM, Actor::System);
        Event { seq: 1, version: 1, stream, run: 0, actor, reason: None, cause: None, stamp, kind }
    }

    #[test]
    fn what_would_look_like_a_sector_that_was_never_written_is_refused() {
        let mut bytes = Vec::new();
        encode_event(&observed("\0".repeat(ZERO_RUN_BYTES_MAX)), &mut bytes).unwrap();
        let refused = encode_event(&observed("\0".repeat(ZERO_RUN_BYTES_MAX + 1)), &mut bytes);
        assert!(matches!(refused, Err(RecordError::Zeros)), "{refused:?}");
    }
}
