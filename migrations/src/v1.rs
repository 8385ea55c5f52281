//! Format version 1, frozen.
//!
//! `journal` reads segments, frames and the hash chain; `record` has the types that an event was recorded as; `cursor`
//! turns bytes into their fields. The byte diagrams are in `docs/format.md`.

mod cursor;
mod journal;
pub mod record;

pub use self::{
    cursor::Malformed,
    journal::{Journal, ReadError, read_journal},
    record::decode_event,
};

/// The version in the header of each segment.
pub const FORMAT_VERSION: u32 = 1;
/// The layout version in the header of each frame.
pub const LAYOUT_VERSION: u8 = 1;
/// The first byte of each event.
pub const RECORD_VERSION: u8 = 1;
