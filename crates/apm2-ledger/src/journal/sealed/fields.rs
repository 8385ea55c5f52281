//! Fixed-width fields that are read one after the other.

/// The bytes that are not read yet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    /// The next `N` bytes.
    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    /// The next `len` bytes.
    pub(crate) fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_le_bytes)
    }

    /// A length of 4 bytes, and as many bytes.
    pub(crate) fn prefixed(&mut self) -> Option<&'a [u8]> {
        let len = self.u32()?;
        self.bytes(len as usize)
    }
}

/// Whether `bytes` are followed by their CRC-32C: the bytes before the last four, if so.
pub(crate) fn checked(bytes: &[u8]) -> Option<&[u8]> {
    let (covered, crc) = bytes.split_last_chunk::<4>()?;
    (crc32c::crc32c(covered) == u32::from_le_bytes(*crc)).then_some(covered)
}

/// Appends the CRC-32C of the bytes of `out` from `start` on.
pub(crate) fn push_crc(out: &mut Vec<u8>, start: usize) {
    let crc = crc32c::crc32c(out.get(start..).unwrap_or_default());
    out.extend_from_slice(&crc.to_le_bytes());
}
