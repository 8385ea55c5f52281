//! Format version 2, frozen.
//!
//! `journal` reads the journal: a segment after the other, and the hash chain. `plain` reads plain segments, which are those
//! of version 1 but for the version, and `sealed` reads sealed segments with their footers. The events are bytes here: their
//! records have versions of their own. The byte layout is described in `docs/format.md`.

mod bytes;
mod journal;
mod plain;
mod sealed;

pub use self::{
    journal::{Broken, Journal, ReadError, read_journal},
    sealed::{BlockEntry, Sealed, Slot, Stream, StreamEntry, read_sealed},
};

/// The format version in the header of each segment that a program of this version creates.
pub const FORMAT_VERSION: u32 = 2;
