//! A deserializer for the configuration of `bincode` that the ledger uses. It takes about half of the time of that of `bincode`,
//! because its error has no content and its functions are inlined.
//!
//! It may refuse valid bytes, but it never reads other values from bytes than `bincode` does. The caller decodes with `bincode`
//! what it refuses, also for the error.

use std::{fmt, str};

use serde::{
    Deserializer,
    de::{DeserializeSeed, EnumAccess, IntoDeserializer as _, MapAccess, SeqAccess, VariantAccess, Visitor, value},
    forward_to_deserialize_any,
};

/// Largest first byte of an integer that is the integer itself.
const SINGLE_BYTE_MAX: u8 = 250;

/// First byte of an integer that is followed by 2, 4 or 8 bytes, little-endian.
const U16_BYTE: u8 = 251;
const U32_BYTE: u8 = 252;
const U64_BYTE: u8 = 253;

/// The decoder refuses the bytes.
#[derive(Debug)]
pub(super) struct Refused;

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("refused")
    }
}

impl std::error::Error for Refused {}

impl serde::de::Error for Refused {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

type Result<T> = std::result::Result<T, Refused>;

/// The bytes that are not decoded yet.
pub(super) struct Decoder<'de>(pub(super) &'de [u8]);

impl<'de> Decoder<'de> {
    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk().ok_or(Refused)?;
        self.0 = rest;
        Ok(*array)
    }

    #[inline]
    fn byte(&mut self) -> Result<u8> {
        self.array().map(|[byte]| byte)
    }

    #[inline]
    fn integer(&mut self) -> Result<u64> {
        match self.byte()? {
            byte @ 0..=SINGLE_BYTE_MAX => Ok(byte.into()),
            U16_BYTE => self.array().map(|bytes| u16::from_le_bytes(bytes).into()),
            U32_BYTE => self.array().map(|bytes| u32::from_le_bytes(bytes).into()),
            U64_BYTE => self.array().map(u64::from_le_bytes),
            _ => Err(Refused),
        }
    }

    #[inline]
    fn signed_integer(&mut self) -> Result<i64> {
        let number = self.integer()?;
        let half = (number / 2).cast_signed();
        Ok(if number % 2 == 0 { half } else { !half })
    }

    #[inline]
    fn len(&mut self) -> Result<usize> {
        usize::try_from(self.integer()?).map_err(|_| Refused)
    }

    /// A length and as many bytes.
    #[inline]
    fn bytes(&mut self) -> Result<&'de [u8]> {
        let len = self.len()?;
        let (bytes, rest) = self.0.split_at_checked(len).ok_or(Refused)?;
        self.0 = rest;
        Ok(bytes)
    }
}

/// Defines the functions for integers.
macro_rules! integers {
    ($($function:ident, $visit:ident, $read:ident;)+) => {
        $(
            #[inline]
            fn $function<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
                visitor.$visit(self.$read()?.try_into().map_err(|_| Refused)?)
            }
        )+
    };
}

impl<'de> Deserializer<'de> for &mut Decoder<'de> {
    type Error = Refused;

    integers! {
        deserialize_u8, visit_u8, byte;
        deserialize_u16, visit_u16, integer;
        deserialize_u32, visit_u32, integer;
        deserialize_u64, visit_u64, integer;
        deserialize_i16, visit_i16, signed_integer;
        deserialize_i32, visit_i32, signed_integer;
        deserialize_i64, visit_i64, signed_integer;
    }

    #[inline]
    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value> {
        Err(Refused)
    }

    #[inline]
    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.byte()? {
            0 => visitor.visit_bool(false),
            1 => visitor.visit_bool(true),
            _ => Err(Refused),
        }
    }

    #[inline]
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_borrowed_str(str::from_utf8(self.bytes()?).map_err(|_| Refused)?)
    }

    #[inline]
    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_str(visitor)
    }

    #[inline]
    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_borrowed_bytes(self.bytes()?)
    }

    #[inline]
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.byte()? {
            0 => visitor.visit_none(),
            1 => visitor.visit_some(self),
            _ => Err(Refused),
        }
    }

    #[inline]
    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value> {
        visitor.visit_newtype_struct(self)
    }

    #[inline]
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let len = self.len()?;
        self.deserialize_tuple(len, visitor)
    }

    #[inline]
    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value> {
        visitor.visit_seq(Elements { decoder: self, len })
    }

    #[inline]
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let len = self.len()?;
        visitor.visit_map(Elements { decoder: self, len })
    }

    #[inline]
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        self.deserialize_tuple(fields.len(), visitor)
    }

    #[inline]
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        visitor.visit_enum(self)
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        false
    }

    forward_to_deserialize_any! {
        i8 i128 u128 f32 f64 char byte_buf unit unit_struct tuple_struct identifier ignored_any
    }
}

impl<'de> EnumAccess<'de> for &mut Decoder<'de> {
    type Error = Refused;
    type Variant = Self;

    #[inline]
    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self)> {
        let index = u32::try_from(self.integer()?).map_err(|_| Refused)?;
        let index: value::U32Deserializer<Refused> = index.into_deserializer();
        Ok((seed.deserialize(index)?, self))
    }
}

impl<'de> VariantAccess<'de> for &mut Decoder<'de> {
    type Error = Refused;

    #[inline]
    fn unit_variant(self) -> Result<()> {
        Ok(())
    }

    #[inline]
    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value> {
        seed.deserialize(self)
    }

    #[inline]
    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value> {
        self.deserialize_tuple(len, visitor)
    }

    #[inline]
    fn struct_variant<V: Visitor<'de>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value> {
        self.deserialize_tuple(fields.len(), visitor)
    }
}

/// The rest of the elements of a sequence, or of the entries of a map.
struct Elements<'a, 'de> {
    decoder: &'a mut Decoder<'de>,
    len: usize,
}

impl<'de> SeqAccess<'de> for Elements<'_, 'de> {
    type Error = Refused;

    #[inline]
    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>> {
        let Some(len) = self.len.checked_sub(1) else { return Ok(None) };
        self.len = len;
        seed.deserialize(&mut *self.decoder).map(Some)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        Some(self.len)
    }
}

impl<'de> MapAccess<'de> for Elements<'_, 'de> {
    type Error = Refused;

    #[inline]
    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>> {
        self.next_element_seed(seed)
    }

    #[inline]
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value> {
        seed.deserialize(&mut *self.decoder)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        Some(self.len)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::{collection::vec, prelude::*};
    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::codec::{self, decode_with_bincode};

    /// Every form of value that is in records.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    enum Value {
        Unit,
        Numbers(u8, u16, u32, u64, i16, i32, i64),
        Text { text: String, is_set: bool, other: Option<String> },
        Nested(Box<Value>),
        Many(Vec<Vec<String>>),
        Bytes(Option<Vec<u8>>),
        Fixed([u8; 4]),
        Map(BTreeMap<String, String>),
    }

    fn value() -> impl Strategy<Value = Value> {
        let number = prop_oneof![any::<u64>(), 0..300_u64, 65_000..66_000_u64, (u64::from(u32::MAX) - 2)..1 << 33];
        let numbers = (number, any::<(u8, u16, u32, i16, i32, i64)>());
        prop_oneof![
            Just(Value::Unit),
            numbers.prop_map(|(d, (a, b, c, e, f, g))| Value::Numbers(a, b, c, d, e, f, g)),
            any::<(String, bool, Option<String>)>().prop_map(|(text, is_set, other)| Value::Text {
                text,
                is_set,
                other
            }),
            any::<u8>().prop_map(|byte| Value::Nested(Box::new(Value::Fixed([byte; 4])))),
            vec(vec(any::<String>(), 0..3), 0..3).prop_map(Value::Many),
            any::<Option<Vec<u8>>>().prop_map(Value::Bytes),
            any::<[(String, String); 2]>().prop_map(|pairs| Value::Map(pairs.into_iter().collect())),
        ]
    }

    fn decoded(bytes: &[u8]) -> Option<Value> {
        let mut decoder = Decoder(bytes);
        Value::deserialize(&mut decoder).ok().filter(|_| decoder.0.is_empty())
    }

    proptest! {
        #[test]
        fn an_encoded_value_is_decoded(value in value()) {
            let mut bytes = Vec::new();
            codec::encode(&value, &mut bytes).unwrap();
            prop_assert_eq!(decoded(&bytes), Some(value));
        }

        #[test]
        fn changed_bytes_are_decoded_as_bincode_decodes_them(
            value in value(), at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in 0..3_usize,
        ) {
            let mut bytes = Vec::new();
            codec::encode(&value, &mut bytes).unwrap();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            bytes.truncate(bytes.len() - cut.min(bytes.len()));
            prop_assert_eq!(decoded(&bytes), decode_with_bincode(&bytes).ok());
        }

        #[test]
        fn any_bytes_are_decoded_as_bincode_decodes_them(
            variant in 0..9_u8, rest in vec(prop_oneof![0..5_u8, 248..=255_u8, any::<u8>()], 0..40),
        ) {
            let bytes = [&[variant][..], &rest].concat();
            prop_assert_eq!(decoded(&bytes), decode_with_bincode(&bytes).ok());
        }
    }
}
