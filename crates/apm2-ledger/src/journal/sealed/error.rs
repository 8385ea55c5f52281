//! Why a sealed segment cannot be written or read.

use std::io;

use apm2_model::event::stream_id::StreamId;

use crate::limits::{RECORD_BYTES_MAX, SECTION_BYTES_MAX};

/// A part of the footer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// The table of blocks.
    Blocks,
    /// Streams and the blocks that each has events in.
    Streams,
    /// Names of processes.
    Names,
    /// The states of the streams at the end of the segment.
    States,
}

impl Section {
    /// All of them, in the order of the file.
    pub const ALL: [Self; 4] = [Self::Blocks, Self::Streams, Self::Names, Self::States];

    /// Its name in messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Blocks => "blocks",
            Self::Streams => "streams",
            Self::Names => "names",
            Self::States => "states",
        }
    }
}

/// What is wrong with one block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// Fewer bytes than the block has.
    #[error("cut short")]
    Short,
    /// It does not begin as a block does, or the checksum of its header is wrong.
    #[error("no block header")]
    Header,
    /// Written by a newer version of this program.
    #[error("block layout {0}, newer than this program knows")]
    Newer(u8),
    /// The checksum of its stored bytes is wrong.
    #[error("checksum mismatch")]
    Checksum,
    /// Its checksums are right; what they cover cannot be decompressed, or is not what the header or the table of blocks says.
    #[error("inconsistent contents")]
    Inconsistent,
}

/// Why something cannot be read from a sealed segment.
#[derive(Debug, thiserror::Error)]
pub enum SealedError {
    /// Too short, of another kind, or damaged in its header.
    #[error("no header of a sealed segment")]
    Header,
    /// Written by a newer version of this program.
    #[error("journal format {0}, newer than this program knows")]
    Newer(u32),
    /// The end of the file is not a trailer, or the trailer is damaged. The blocks may be sound.
    #[error("the trailer of the sealed segment is damaged")]
    Trailer,
    /// A part of the footer is damaged. The blocks may be sound.
    #[error("the index of {} in the sealed segment is damaged", .0.name())]
    Section(Section),
    /// A part of the footer has sound checksums and is not the index of the events in the blocks.
    #[error("the index of {} in the sealed segment is not that of its events", .0.name())]
    Index(Section),
    /// A catalog of a version that this program does not read. It is made again.
    #[error("catalog version {0}, older than this program reads")]
    Older(u32),
    /// A catalog was made from other segments than those of its group.
    #[error("it is not that of its segments")]
    OtherSegments,
    /// A block is damaged.
    #[error("events {first_seq} to {last_seq}, at byte {offset}: {cause}")]
    Block {
        /// The first event of the block.
        first_seq: u64,
        /// The last event of the block.
        last_seq: u64,
        /// Where the block begins, in bytes.
        offset: u64,
        /// What is wrong.
        cause: BlockError,
    },
    /// The footer is damaged, and the blocks end before the last event.
    #[error("events {first_seq} to {last_seq}: no block from byte {offset} on")]
    Missing {
        /// The first event that is in no block.
        first_seq: u64,
        /// The last event of the segment.
        last_seq: u64,
        /// Where a block should begin, in bytes.
        offset: u64,
    },
    /// The chain that is stored before this event, or after the last, is not that of the events before.
    #[error("the hash chain breaks before event {seq}")]
    Chain {
        /// The event.
        seq: u64,
    },
    /// I/O error.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Why a sealed segment cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// An event is not the next one.
    #[error("event {found} in the place of event {expected}")]
    Seq {
        /// The seq that is next.
        expected: u64,
        /// The seq of the event.
        found: u64,
    },
    /// An event or a state has more than [`RECORD_BYTES_MAX`] bytes.
    #[error("a record of {0} bytes, at most {RECORD_BYTES_MAX} fit in a sealed segment")]
    TooLarge(usize),
    /// A section of the footer would have more than [`SECTION_BYTES_MAX`] bytes.
    #[error("the index of {} would have more than {SECTION_BYTES_MAX} bytes", .0.name())]
    SectionTooLarge(Section),
    /// A state of a stream without events in the segment, or one that is not in the order of ids.
    #[error("the state of stream {}/{} is not the next one", .0.process_id, .0.instance)]
    State(StreamId),
    /// There is no event.
    #[error("a sealed segment without events")]
    Empty,
    /// The compression failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}
