//! Serialization format of events and stream snapshots. The serialized types are separate from the types that the
//! program works with.
//!
//! A serialized event is one version byte, followed by the value in that version. Fields are never added to a type.
//! Variants are added at the end of an enum, and an event with a new variant has a higher version, so that an older
//! program reports a newer format instead of reading the event wrongly. Comments mark the variants that versions 2 to
//! 5 added. An event is written in the lowest version that can represent it. Tests compare every event kind with stored
//! bytes.
//!
//! The module `codec` converts values to bytes.

pub(crate) mod agent;
pub(crate) mod agent_finding;
pub(crate) mod agent_state;
pub(crate) mod agent_words;
pub(crate) mod event;
pub(crate) mod exit;
pub(crate) mod id;
pub(crate) mod kind;
pub(crate) mod mirrored;
pub(crate) mod spec;
pub(crate) mod stamp;
pub(crate) mod stream;

use apm2_model::{
    event::{Event, NewEvent, kind::EventKind, stream_id::StreamId},
    spec::{
        id::ProcessId,
        redact::{FILTER_VERSION, spec::redact_spec},
    },
    state::stream::Stream,
};

use crate::{
    codec::{self, CodecError},
    limits::{RECORD_BYTES_MAX, SPEC_BYTES_MAX, ZERO_RUN_BYTES_MAX},
};

/// The newest record version of an event.
const EVENT_VERSION_MAX: u8 = 5;

/// Version of the stream state in snapshots. A snapshot of another version, but for
/// [`REDUCER_VERSIONS_BEFORE`], is ignored, and the stream is replayed from its events.
///
/// After the version byte follow the version of the secret filter that masked the specification, 2 bytes little-endian, and the
/// state.
const REDUCER_VERSION: u8 = 9;

/// Earlier versions that are read: 6 is the state without that of an agent and without the version of the secret filter, 8 is that
/// without what the budgets of an agent need.
const REDUCER_VERSIONS_BEFORE: [u8; 2] = [6, 8];

/// Error from encoding or decoding a record.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The record has no bytes.
    #[error("the record is empty")]
    Empty,
    /// The record was written by a newer version of this program.
    #[error("record version {0}, newer than this program knows")]
    Newer(u8),
    /// The stream snapshot has a version that this program does not read.
    #[error(
        "stream snapshot version {0}; this program knows versions {REDUCER_VERSIONS_BEFORE:?} and {REDUCER_VERSION}"
    )]
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
    out.extend_from_slice(&FILTER_VERSION.to_le_bytes());
    codec::encode(&stream::StreamV9::from(stream), &mut out)?;
    if out.len() > RECORD_BYTES_MAX { Err(RecordError::TooLarge(out.len())) } else { Ok(out) }
}

/// Decodes a stream snapshot.
///
/// # Errors
/// When the bytes are not a valid snapshot, or a snapshot of another version.
pub fn decode_stream(bytes: &[u8]) -> Result<Stream, RecordError> {
    decode_boxed_stream(bytes).map(|stream| *stream)
}

/// The same without a copy of the state, which is large.
pub(crate) fn decode_boxed_stream(bytes: &[u8]) -> Result<Box<Stream>, RecordError> {
    let (mut stream, filter) = record_of_stream(bytes)?;
    // Another version of the filter may have masked less. The present one would change nothing, and takes more time than all
    // else.
    if filter != Some(FILTER_VERSION) {
        redact_spec(&mut stream.handle.spec);
    }
    Ok(stream)
}

/// The recorded state of a stream, and the version of the secret filter that masked its specification, if it is known.
fn record_of_stream(bytes: &[u8]) -> Result<(Box<Stream>, Option<u16>), RecordError> {
    let [before_agents, before_budgets] = REDUCER_VERSIONS_BEFORE;
    match bytes {
        [] => Err(RecordError::Empty),
        [REDUCER_VERSION, low, high, rest @ ..] => {
            let state = codec::decode::<stream::StreamV9>(rest)?.into_recorded()?;
            Ok((state, Some(u16::from_le_bytes([*low, *high]))))
        }
        [version, low, high, rest @ ..] if *version == before_budgets => {
            let state = codec::decode::<stream::StreamV8>(rest)?.into_recorded()?;
            Ok((state, Some(u16::from_le_bytes([*low, *high]))))
        }
        [version, rest @ ..] if *version == before_agents => {
            Ok((codec::decode::<Box<stream::StreamV1>>(rest)?.into_recorded()?, None))
        }
        [version, ..] => Err(RecordError::StreamVersion(*version)),
    }
}

/// Checks that `bytes` are a stream snapshot that [`decode_stream`] accepts. Returns the stream, the last event of the
/// snapshot, and whether the process is alive in it. Masks nothing.
///
/// # Errors
/// Those of [`decode_stream`].
pub(crate) fn check_stream(bytes: &[u8]) -> Result<(StreamId, u64, bool), RecordError> {
    let stream = record_of_stream(bytes)?.0;
    Ok((stream.id, stream.last_seq, !stream.handle.state.has_exited()))
}

/// Whether `bytes` are a stream snapshot of a version that this program reads.
pub(crate) fn is_current_stream(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|version| *version == REDUCER_VERSION || REDUCER_VERSIONS_BEFORE.contains(version))
}

#[cfg(test)]
mod tests {
    use apm2_model::event::{actor::Actor, kind::EventKind, timestamp::Timestamp};
    use uuid::Uuid;

    use super::*;

    /// The bytes of the state of a stream whose specification has an argument that the filter masks, as an earlier filter left it.
    fn unmasked_state() -> Vec<u8> {
        use apm2_model::spec::{ProcessSpec, redact::spec::RedactedSpec};
        let spec = ProcessSpec::builder().name("n").command("c").args(["ghp_abcdef12"]).build();
        let stream = StreamId { process_id: spec.id, instance: 0 };
        let kind = EventKind::Registered { spec: RedactedSpec::new(&spec) };
        let event = Event { stream, kind, ..observed(String::new()) };
        let bytes = encode_stream(&Stream::begin(&event).unwrap()).unwrap();
        let at = bytes.windows(10).position(|part| part == b"<redacted>").unwrap();
        assert_eq!(bytes[at - 1], 10, "the length of the argument");
        [&bytes[..at - 1], &[12], b"ghp_abcdef12", &bytes[at + 10..]].concat()
    }

    #[test]
    fn a_state_is_masked_again_unless_the_present_filter_masked_it() {
        let args = |bytes: &[u8]| decode_stream(bytes).unwrap().handle.spec.args;
        let state = unmasked_state();
        assert_eq!(args(&state), ["ghp_abcdef12"], "it says that the present filter masked it");
        let other = [&[REDUCER_VERSION], (FILTER_VERSION + 1).to_le_bytes().as_slice(), &state[3..]].concat();
        // Without the last three bytes: no stop by a policy, and `None` for the settings and for the state of an agent.
        let process = &state[3..state.len() - 3];
        let unknown = [&[6], process].concat();
        let before_budgets = [&[8], (FILTER_VERSION + 1).to_le_bytes().as_slice(), process, &[0, 0]].concat();
        for bytes in [other, unknown, before_budgets] {
            assert!(is_current_stream(&bytes));
            assert_eq!(args(&bytes), ["<redacted>"]);
        }
        for bytes in [&[][..], &[REDUCER_VERSION], &[REDUCER_VERSION, 0], &[5, 0, 0], &[7, 0, 0], &[10, 0, 0]] {
            decode_stream(bytes).unwrap_err();
        }
    }

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
