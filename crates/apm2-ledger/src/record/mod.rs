//! Serialization format of events and stream snapshots. The serialized types are separate from the types that the
//! program works with.
//!
//! A serialized event is one version byte, followed by the value in that version. Fields are never added to a type.
//! Variants are added at the end of an enum, and an event with a new variant has a higher version, so that an older
//! program reports a newer format instead of reading the event wrongly. Comments mark the variants that versions 2 and
//! 3 added. An event is written in the lowest version that can represent it. Tests compare every event kind with stored
//! bytes.
//!
//! The module `codec` converts values to bytes.

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

/// The newest record version of an event.
const EVENT_VERSION_MAX: u8 = 3;

/// Version of the stream state in snapshots. A snapshot of another version is ignored, and the stream is replayed from
/// its events.
const REDUCER_VERSION: u8 = 6;

/// Error from encoding or decoding a record.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The record has no bytes.
    #[error("the record is empty")]
    Empty,
    /// The record was written by a newer version of this program.
    #[error("record version {0}, newer than this program knows")]
    Newer(u8),
    /// The stream snapshot has another version than the only one that this program reads and writes.
    #[error("stream snapshot version {0}; this program knows version {REDUCER_VERSION}")]
    StreamVersion(u8),
    /// The encoded event is larger than [`RECORD_BYTES_MAX`]. Contains its size in bytes.
    #[error(
        "an event of {0} bytes cannot be recorded, at most {RECORD_BYTES_MAX} can; long arguments are better passed in a file"
    )]
    TooLarge(usize),
    /// The encoded event contains a specification and is larger than [`SPEC_BYTES_MAX`]. Contains its size in bytes.
    #[error(
        "a specification of {0} bytes cannot be recorded, at most {SPEC_BYTES_MAX} can; long arguments are better passed in a file"
    )]
    SpecTooLarge(usize),
    /// The record has more than [`ZERO_RUN_BYTES_MAX`] zero bytes in a row.
    #[error("the record has more than {ZERO_RUN_BYTES_MAX} zero bytes in a row")]
    Zeros,
    /// The bytes do not decode to a value of the expected type.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// A decoded value is outside of its valid range. Contains the name of the field.
    #[error("value out of range: {0}")]
    Range(&'static str),
}

/// Appends the encoded `event` to `out`. The sequence number is not encoded, because it follows from the position in a
/// frame.
///
/// # Errors
/// When the encoded event is larger than [`RECORD_BYTES_MAX`], or has more than [`ZERO_RUN_BYTES_MAX`] zero bytes in a
/// row.
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

/// Checks that an event can be recorded, and that its specification is small enough for a snapshot of the stream.
///
/// # Errors
/// The errors of [`encode_event`], and [`RecordError::SpecTooLarge`].
pub(crate) fn check_new_event(new_event: &NewEvent) -> Result<(), RecordError> {
    let mut bytes = Vec::new();
    encode_event(&new_event.clone().numbered(u64::MAX, u64::MAX), &mut bytes)?;
    let has_spec = matches!(new_event.kind, EventKind::Registered { .. } | EventKind::SpecChanged { .. });
    if has_spec && bytes.len() > SPEC_BYTES_MAX { Err(RecordError::SpecTooLarge(bytes.len())) } else { Ok(()) }
}

fn has_long_zero_run(bytes: &[u8]) -> bool {
    // Most records are shorter than the limit and need no search.
    bytes.len() > ZERO_RUN_BYTES_MAX && bytes.split(|byte| *byte != 0).any(|run| run.len() > ZERO_RUN_BYTES_MAX)
}

/// Decodes the event with the sequence number `seq` from `bytes`.
///
/// # Errors
/// When the bytes are not a valid event, or an event in a newer version.
pub fn decode_event(seq: u64, bytes: &[u8]) -> Result<Event, RecordError> {
    match bytes.split_first() {
        None => Err(RecordError::Empty),
        Some((version @ 1..=EVENT_VERSION_MAX, rest)) => {
            let event = codec::decode::<event::EventV1>(rest)?.into_event(seq)?;
            // Each event has exactly one valid version: the lowest one that can represent it.
            if kind::first_version(&event.kind) == *version { Ok(event) } else { Err(RecordError::Range("version")) }
        }
        Some((version, _)) => Err(RecordError::Newer(*version)),
    }
}

/// Decodes only the stream ID of the event in `bytes`.
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

/// Encodes a snapshot of one stream.
///
/// # Errors
/// When the encoded snapshot is larger than [`RECORD_BYTES_MAX`].
pub fn encode_stream(stream: &Stream) -> Result<Vec<u8>, RecordError> {
    let mut out = vec![REDUCER_VERSION];
    codec::encode(&stream::StreamV1::from(stream), &mut out)?;
    if out.len() > RECORD_BYTES_MAX { Err(RecordError::TooLarge(out.len())) } else { Ok(out) }
}

/// Decodes a stream snapshot.
///
/// # Errors
/// When the bytes are not a valid snapshot, or a snapshot of another version.
pub fn decode_stream(bytes: &[u8]) -> Result<Stream, RecordError> {
    record_of_stream(bytes)?.into_stream()
}

fn record_of_stream(bytes: &[u8]) -> Result<stream::StreamV1, RecordError> {
    match bytes.split_first() {
        None => Err(RecordError::Empty),
        Some((&REDUCER_VERSION, rest)) => Ok(codec::decode(rest)?),
        Some((version, _)) => Err(RecordError::StreamVersion(*version)),
    }
}

/// Checks that `bytes` are a stream snapshot that [`decode_stream`] accepts. Returns the stream, and the last event of the
/// snapshot. This takes a fraction of the time of [`decode_stream`], which masks the specification again.
///
/// # Errors
/// Those of [`decode_stream`].
pub(crate) fn check_stream(bytes: &[u8]) -> Result<(StreamId, u64), RecordError> {
    let stream = record_of_stream(bytes)?.into_recorded()?;
    Ok((stream.id, stream.last_seq))
}

/// Whether `bytes` are a stream snapshot of the version that this program writes.
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
    fn an_event_with_more_zero_bytes_in_a_row_than_the_limit_is_refused() {
        let mut bytes = Vec::new();
        encode_event(&observed("\0".repeat(ZERO_RUN_BYTES_MAX)), &mut bytes).unwrap();
        let refused = encode_event(&observed("\0".repeat(ZERO_RUN_BYTES_MAX + 1)), &mut bytes);
        assert!(matches!(refused, Err(RecordError::Zeros)), "{refused:?}");
    }
}
