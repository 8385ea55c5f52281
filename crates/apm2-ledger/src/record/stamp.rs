//! Serialization format of the timestamp of an event.

use apm2_model::event::timestamp::Timestamp;
use serde::{Deserialize, Serialize};

use crate::record::id::Id;

#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) struct StampV1 {
    pub(crate) wall_ns: i64,
    pub(crate) boot_ns: u64,
    pub(crate) boot_id: Id,
}

impl From<Timestamp> for StampV1 {
    fn from(stamp: Timestamp) -> Self {
        Self { wall_ns: stamp.wall_ns, boot_ns: stamp.boot_ns, boot_id: Id(stamp.boot_id.into_bytes()) }
    }
}
