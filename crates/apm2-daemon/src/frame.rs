//! The frames of the protocol on the daemon's socket: length, tag and body.
//!
//! ```text
//! length u32 big-endian, of tag and body | tag u8: 0 JSON, 1 bytes | body
//! ```

use std::io;

/// Maximum size of the tag and the body together, in bytes.
pub(crate) const FRAME_BYTES_MAX: usize = 4 << 20;

/// Size of the length field in bytes.
pub(crate) const LENGTH_BYTES: usize = 4;

const JSON: u8 = 0;

const RAW: u8 = 1;

/// A frame of the protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SocketFrame {
    /// The body is a JSON document.
    Json(Vec<u8>),
    /// The body is binary data: an encoded event or an encoded stream state, depending on the call.
    Raw(Vec<u8>),
}

impl SocketFrame {
    /// Encodes the frame, with its length.
    ///
    /// # Errors
    /// The body is larger than [`FRAME_BYTES_MAX`].
    pub(crate) fn to_bytes(&self) -> io::Result<Vec<u8>> {
        let (tag, body) = match self {
            Self::Json(body) => (JSON, body),
            Self::Raw(body) => (RAW, body),
        };
        let length = body.len().saturating_add(1);
        let length = u32::try_from(length).ok().filter(|_| length <= FRAME_BYTES_MAX).ok_or_else(too_large)?;
        let mut bytes = Vec::with_capacity(body.len() + LENGTH_BYTES + 1);
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.push(tag);
        bytes.extend_from_slice(body);
        Ok(bytes)
    }

    /// The number of bytes that follow a length field.
    ///
    /// # Errors
    /// The number is zero or more than [`FRAME_BYTES_MAX`].
    pub(crate) fn length(bytes: [u8; LENGTH_BYTES]) -> io::Result<usize> {
        let length = usize::try_from(u32::from_be_bytes(bytes)).unwrap_or(usize::MAX);
        if length == 0 || length > FRAME_BYTES_MAX { Err(too_large()) } else { Ok(length) }
    }

    /// Decodes the bytes that follow the length field.
    ///
    /// # Errors
    /// The tag is unknown or missing.
    pub(crate) fn from_body(mut bytes: Vec<u8>) -> io::Result<Self> {
        match bytes.first() {
            Some(&JSON) => Ok(Self::Json(bytes.split_off(1))),
            Some(&RAW) => Ok(Self::Raw(bytes.split_off(1))),
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, "a frame of an unknown kind")),
        }
    }
}

fn too_large() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("a frame has 1 to {FRAME_BYTES_MAX} bytes"))
}
