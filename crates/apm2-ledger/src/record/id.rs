//! Sixteen bytes that are read at once: an array of serde's would be read byte by byte, at a third of all the time
//! that an event takes.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A process id or boot id, as length-prefixed bytes.
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
