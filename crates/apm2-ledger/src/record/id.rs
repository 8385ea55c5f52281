//! Serialization of 16-byte IDs as one byte string. A `[u8; 16]` would be deserialized byte by byte, which took a third
//! of the decoding time of an event.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A process ID or boot ID, serialized as length-prefixed bytes.
#[derive(Clone, Copy)]
pub(crate) struct Id(pub(crate) [u8; 16]);

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(IdVisitor)
    }
}

struct IdVisitor;

impl de::Visitor<'_> for IdVisitor {
    type Value = Id;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("16 bytes")
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Id, E> {
        bytes.try_into().map(Id).map_err(|_| E::invalid_length(bytes.len(), &self))
    }
}
