//! Format version 1, frozen.
//!
//! `journal` reads segments, frames and the hash chain. `record` defines the types of a recorded event. `cursor`
//! decodes the fields of these types from bytes. The byte layout is described in `docs/format.md`.

mod cursor;
mod journal;
pub mod record;

pub use self::{
    cursor::Malformed,
    journal::{Journal, ReadError, read_journal},
    record::decode_event,
};

/// The format version in the header of each segment.
pub const FORMAT_VERSION: u32 = 1;
/// The layout version in the header of each frame.
pub const LAYOUT_VERSION: u8 = 1;
/// The record version, which is the first byte of each event.
pub const RECORD_VERSION: u8 = 1;
