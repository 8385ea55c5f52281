//! The only place with bincode: one fixed configuration, always with a limit, always from a slice.
//!
//! Variable-length integers, little-endian, trailing bytes refused. `bincode::serialize` has another configuration and
//! is used nowhere.

use bincode::Options as _;
use serde::{Deserialize, Serialize};

use crate::limits::RECORD_BYTES_MAX;

/// Bytes that are not what they should be, or a value over the limit.
#[derive(Debug, thiserror::Error)]
#[error("not a valid record: {0}")]
pub struct CodecError(#[from] bincode::Error);

fn options() -> impl bincode::Options {
    bincode::DefaultOptions::new().with_limit(RECORD_BYTES_MAX as u64).with_varint_encoding().reject_trailing_bytes()
}

/// Appends the bytes of `value` to `out`.
pub(crate) fn encode(value: &impl Serialize, out: &mut Vec<u8>) -> Result<(), CodecError> {
    Ok(options().serialize_into(out, value)?)
}

/// The value in `bytes`, all of them. Allocates no more than the limit, whatever lengths the bytes claim.
pub(crate) fn decode<'bytes, T: Deserialize<'bytes>>(bytes: &'bytes [u8]) -> Result<T, CodecError> {
    Ok(options().deserialize(bytes)?)
}

/// The value that `bytes` begin with.
pub(crate) fn decode_prefix<'bytes, T: Deserialize<'bytes>>(bytes: &'bytes [u8]) -> Result<T, CodecError> {
    Ok(options().allow_trailing_bytes().deserialize(bytes)?)
}
