//! The state of a stream as it is read: the record that is stored, or the state after events were applied to it.
//!
//! A record is decoded only where its state is changed or used. A daemon sends the record.

use apm2_model::{
    event::{Event, stream_id::StreamId},
    state::stream::Stream,
};

use crate::{
    error::ReadError,
    record::{RecordError, check_stream, decode_boxed_stream, encode_stream},
};

/// The state of a stream.
#[derive(Debug)]
pub(crate) enum State {
    /// The record of the state, which may be damaged or of another stream.
    Stored(Vec<u8>),
    Decoded(Box<Stream>),
}

/// A state in the form that is asked for, with the stream and the last event of the state.
pub(crate) struct Checked<T> {
    pub(crate) id: StreamId,
    pub(crate) last_seq: u64,
    /// Whether the process is alive in this state.
    pub(crate) is_alive: bool,
    pub(crate) state: T,
}

impl State {
    /// The decoded state.
    pub(crate) fn decoded(self) -> Result<Checked<Box<Stream>>, RecordError> {
        let state = match self {
            Self::Stored(bytes) => decode_boxed_stream(&bytes)?,
            Self::Decoded(stream) => stream,
        };
        let (id, last_seq, is_alive) = (state.id, state.last_seq, !state.handle.state.has_exited());
        Ok(Checked { id, last_seq, is_alive, state })
    }

    /// The record of the state. It can be decoded.
    pub(crate) fn encoded(self) -> Result<Checked<Vec<u8>>, RecordError> {
        match self {
            Self::Stored(state) => {
                let (id, last_seq, is_alive) = check_stream(&state)?;
                Ok(Checked { id, last_seq, is_alive, state })
            }
            Self::Decoded(stream) => {
                let (id, last_seq, is_alive) = (stream.id, stream.last_seq, !stream.handle.state.has_exited());
                Ok(Checked { id, last_seq, is_alive, state: encode_stream(&stream)? })
            }
        }
    }

    /// The memory that the state takes, in bytes; for a decoded state an estimate.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Stored(bytes) => size_of::<Self>() + bytes.len(),
            Self::Decoded(stream) => {
                let spec = &stream.handle.spec;
                size_of::<Stream>() + spec.command.len() + spec.args.iter().map(String::len).sum::<usize>()
            }
        }
    }
}

/// Applies an event to the state of its stream, or begins the state with it.
pub(crate) fn apply_or_begin(state: &mut Option<Stream>, event: &Event) -> Result<(), ReadError> {
    let illegal = |source| ReadError::Illegal { seq: event.seq, source };
    match state {
        Some(stream) => stream.apply(event).map_err(illegal)?,
        None => *state = Some(Stream::begin(event).map_err(illegal)?),
    }
    Ok(())
}
