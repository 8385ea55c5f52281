//! Encoding with `bincode`, in one fixed configuration. No other module uses `bincode`.
//!
//! The configuration is: variable-length integers, little-endian, trailing bytes are an error. `bincode::serialize`
//! uses another configuration and must not be used.
//!
//! Input is always a slice of limited length, which also limits memory: `bincode` allocates no more than the length of
//! the slice, plus up to one megabyte for a sequence with a false length prefix. The size limit of `bincode` itself is
//! not used, because it is checked at each field and doubles the decoding time.
//!
//! The module `decoder` decodes valid bytes faster than `bincode` does.

mod decoder;

use bincode::Options as _;
use serde::{Deserialize, Serialize};

use crate::{codec::decoder::Decoder, limits::RECORD_BYTES_MAX};

/// The bytes are not a valid value, or they exceed the size limit.
#[derive(Debug, thiserror::Error)]
#[error("not a valid record: {0}")]
pub struct CodecError(#[from] bincode::Error);

fn options() -> impl bincode::Options {
    bincode::DefaultOptions::new().with_no_limit().with_varint_encoding().reject_trailing_bytes()
}

fn check_limit(bytes: &[u8]) -> Result<(), CodecError> {
    if bytes.len() > RECORD_BYTES_MAX { Err(CodecError(bincode::ErrorKind::SizeLimit.into())) } else { Ok(()) }
}

/// Appends the encoded `value` to `out`. The caller checks the size limit.
pub(crate) fn encode(value: &impl Serialize, out: &mut Vec<u8>) -> Result<(), CodecError> {
    Ok(options().serialize_into(out, value)?)
}

/// Decodes a value from `bytes`. Bytes after the value are an error.
pub(crate) fn decode<'bytes, T: Deserialize<'bytes>>(bytes: &'bytes [u8]) -> Result<T, CodecError> {
    check_limit(bytes)?;
    let mut decoder = Decoder(bytes);
    match T::deserialize(&mut decoder) {
        Ok(value) if decoder.0.is_empty() => Ok(value),
        // Decoded again for the error.
        _ => decode_with_bincode(bytes),
    }
}

fn decode_with_bincode<'bytes, T: Deserialize<'bytes>>(bytes: &'bytes [u8]) -> Result<T, CodecError> {
    Ok(options().deserialize(bytes)?)
}

/// Decodes a value from the beginning of `bytes`. Bytes after the value are ignored.
pub(crate) fn decode_prefix<'bytes, T: Deserialize<'bytes>>(bytes: &'bytes [u8]) -> Result<T, CodecError> {
    check_limit(bytes)?;
    match T::deserialize(&mut Decoder(bytes)) {
        Ok(value) => Ok(value),
        Err(_) => Ok(options().allow_trailing_bytes().deserialize(bytes)?),
    }
}
