//! The only place with bincode: one fixed configuration, always with a limit, always from a slice.
//!
//! Variable-length integers, little-endian, trailing bytes refused. `bincode::serialize` has another configuration and
//! is used nowhere. The limit is that of the slice: bincode takes no more memory for what it reads from one than the
//! slice is long, short of a megabyte for sequences whose claimed length turns out to be false. (Its own limit is
//! counted at each field, and costs as much as the decoding does.)

use bincode::Options as _;
use serde::{Deserialize, Serialize};

use crate::limits::RECORD_BYTES_MAX;

/// Bytes that are not what they should be, or a value over the limit.
#[derive(Debug, thiserror::Error)]
#[error("not a valid record: {0}")]
pub struct CodecError(#[from] bincode::Error);

fn options() -> impl bincode::Options {
    bincode::DefaultOptions::new().with_no_limit().with_varint_encoding().reject_trailing_bytes()
}

fn check_limit(bytes: &[u8]) -> Result<(), CodecError> {
    if bytes.len() > RECORD_BYTES_MAX { Err(CodecError(bincode::ErrorKind::SizeLimit.into())) } else { Ok(()) }
}

/// Appends the bytes of `value` to `out`. The caller checks the size limit.
pub(crate) fn encode(value: &impl Serialize, out: &mut Vec<u8>) -> Result<(), CodecError> {
    Ok(options().serialize_into(out, value)?)
}

/// The value in `bytes`, all of them.
pub(crate) fn decode<'bytes, T: Deserialize<'bytes>>(bytes: &'bytes [u8]) -> Result<T, CodecError> {
    check_limit(bytes)?;
    Ok(options().deserialize(bytes)?)
}

/// The value that `bytes` begin with.
pub(crate) fn decode_prefix<'bytes, T: Deserialize<'bytes>>(bytes: &'bytes [u8]) -> Result<T, CodecError> {
    check_limit(bytes)?;
    Ok(options().allow_trailing_bytes().deserialize(bytes)?)
}
