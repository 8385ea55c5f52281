//! Decodes fields from bytes in order.
//!
//! The encoding is that of bincode 1.3 with variable-length integers. A number up to 250 is one byte. The bytes 251,
//! 252 and 253 are followed by a number of 2, 4 or 8 bytes, little-endian. Signed numbers use zigzag encoding. A `u8`,
//! a `bool` and an array are stored as their bytes. Lists and texts begin with their length, an option with 0 or 1, and
//! an enum with the number of its variant.

use std::{collections::BTreeMap, num::NonZeroU32};

const VARINT_U16: u8 = 251;
const VARINT_U32: u8 = 252;
const VARINT_U64: u8 = 253;
/// Prefix of a 16-byte number. No field of version 1 has this size.
const VARINT_U128: u8 = 254;

/// Error: the bytes are not a valid record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed: {0}")]
pub struct Malformed(pub(super) &'static str);

/// Bytes that have not been decoded yet.
pub(super) struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) const fn is_at_end(&self) -> bool {
        self.0.is_empty()
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (array, rest) = self.0.split_first_chunk().ok_or(Malformed("cut short"))?;
        self.0 = rest;
        Ok(*array)
    }

    fn slice(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (slice, rest) = self.0.split_at_checked(len).ok_or(Malformed("cut short"))?;
        self.0 = rest;
        Ok(slice)
    }

    fn varint(&mut self) -> Result<u64, Malformed> {
        match self.array()? {
            [VARINT_U16] => self.array().map(|bytes| u16::from_le_bytes(bytes).into()),
            [VARINT_U32] => self.array().map(|bytes| u32::from_le_bytes(bytes).into()),
            [VARINT_U64] => self.array().map(u64::from_le_bytes),
            [byte] if byte >= VARINT_U128 => Err(Malformed("an integer of no known width")),
            [small] => Ok(small.into()),
        }
    }

    fn len(&mut self) -> Result<usize, Malformed> {
        usize::try_from(self.varint()?).map_err(|_| Malformed("length"))
    }
}

/// A type that can be decoded from a cursor.
pub(super) trait Decode: Sized {
    fn decode(from: &mut Cursor<'_>) -> Result<Self, Malformed>;
}

impl Decode for u8 {
    fn decode(from: &mut Cursor<'_>) -> Result<Self, Malformed> {
        from.array().map(|[byte]| byte)
    }
}

impl Decode for bool {
    fn decode(from: &mut Cursor<'_>) -> Result<Self, Malformed> {
        match from.array()? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(Malformed("boolean")),
        }
    }
}

impl<const N: usize> Decode for [u8; N] {
    fn decode(from: &mut Cursor<'_>) -> Result<Self, Malformed> {
        from.array()
    }
}

impl Decode for u64 {
    fn decode(from: &mut Cursor<'_>) -> Result<Self, Malformed> {
        from.varint()
    }
}

impl Decode for u32 {
    fn decode(from: &mut Cursor<'_>) -> Result<Self, Malformed> {
        Self::try_from(from.varint()?).map_err(|_| Malformed("u32"))
    }
}

impl Decode for u16 {
    fn decode(from: &mut Cursor<'_>) -> Result<Self, Malformed> {
        Self::try_from(from.varint()?).map_err(|_| Malformed("u16"))
    }
}

impl Decode for NonZeroU32 {
    fn decode(from: &mut Cursor<'_>) -> Result<Self, Malformed> {
        Self::new(u32::decode(from)?).ok_or(Malformed("0 where there is at least 1"))
    }
}

impl Decode for i64 {
    fn decode(from: &mut Cursor<'_>) -> Result<Self, Malformed> {
        let zigzag = from.varint()?;
        let magnitude = (zigzag >> 1).cast_signed();
        Ok(if zigzag & 1 == 0 { magnitude } else { !magnitude })
    }
}

impl Decode for i32 {
    fn decode(from: &mut Cursor<'_>) -> Result<Self, Malformed> {
        Self::try_from(i64::decode(from)?).map_err(|_| Malformed("i32"))
    }
}

impl Decode for String {
    fn decode(from: &mut Cursor<'_>) -> Result<Self, Malformed> {
        let len = from.len()?;
        let bytes = from.slice(len)?;
        std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| Malformed("text"))
    }
}

impl<T: Decode> Decode for Option<T> {
    fn decode(from: &mut Cursor<'_>) -> Result<Self, Malformed> {
        match from.array()? {
            [0] => Ok(None),
            [1] => T::decode(from).map(Some),
            _ => Err(Malformed("option")),
        }
    }
}

impl<T: Decode> Decode for Vec<T> {
    fn decode(from: &mut Cursor<'_>) -> Result<Self, Malformed> {
        // The list is not allocated in advance. Every element takes at least one byte of input, so a false length
        // cannot cause a large allocation.
        let len = from.len()?;
        (0..len).map(|_| T::decode(from)).collect::<Result<Self, _>>()
    }
}

impl Decode for BTreeMap<String, String> {
    fn decode(from: &mut Cursor<'_>) -> Result<Self, Malformed> {
        let len = from.len()?;
        (0..len).map(|_| Ok((String::decode(from)?, String::decode(from)?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_read_by_their_announced_width() {
        let read = |bytes: &[u8]| u64::decode(&mut Cursor::new(bytes));
        assert_eq!(read(&[250]), Ok(250));
        assert_eq!(read(&[251, 0x34, 0x12]), Ok(0x1234));
        assert_eq!(read(&[252, 1, 0, 0, 1]), Ok(0x0100_0001));
        assert_eq!(read(&[253, 255, 255, 255, 255, 255, 255, 255, 255]), Ok(u64::MAX));
        assert_eq!(read(&[254; 20]), Err(Malformed("an integer of no known width")));
        assert_eq!(read(&[251, 1]), Err(Malformed("cut short")));
    }

    #[test]
    fn signed_integers_are_zigzag() {
        let read = |bytes: &[u8]| i64::decode(&mut Cursor::new(bytes));
        assert_eq!([read(&[0]), read(&[1]), read(&[2]), read(&[3])], [Ok(0), Ok(-1), Ok(1), Ok(-2)]);
        assert_eq!(read(&[253, 255, 255, 255, 255, 255, 255, 255, 255]), Ok(i64::MIN));
        assert_eq!(read(&[253, 254, 255, 255, 255, 255, 255, 255, 255]), Ok(i64::MAX));
    }

    #[test]
    fn a_claimed_length_allocates_nothing() {
        let hostile = [253, 255, 255, 255, 255, 255, 255, 255, 127];
        assert_eq!(Vec::<u64>::decode(&mut Cursor::new(&hostile)), Err(Malformed("cut short")));
        assert_eq!(String::decode(&mut Cursor::new(&hostile)), Err(Malformed("cut short")));
    }
}
