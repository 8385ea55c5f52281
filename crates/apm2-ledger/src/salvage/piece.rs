//! A piece of a ledger that can be read alone: a commit of a plain segment, or a block of a sealed segment or of the store.
//!
//! A piece has its own checksums, the numbers of its events and the hash chain value before them. So it can be found
//! and read without the other parts of its file.

use crate::{
    chain::Chain,
    frame::{Frame, FrameHeader, HEADER_LEN},
    journal::sealed::block::{BLOCK_HEADER_LEN, Block, BlockHeader, Slot},
};

/// Both forms of a piece begin with these bytes.
pub(crate) const MAGIC_BEGIN: [u8; 2] = *b"a2";

/// Bytes that the longest header has.
pub(crate) const HEADER_BYTES_MAX: usize = if HEADER_LEN > BLOCK_HEADER_LEN { HEADER_LEN } else { BLOCK_HEADER_LEN };

/// The header of a piece, with its own checksum right.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PieceHeader {
    pub(crate) first_seq: u64,
    pub(crate) last_seq: u64,
    /// The hash chain value before the first event.
    pub(crate) chain_before: Chain,
    /// The hash chain value after the last event, as the header states it. A block does not state it.
    pub(crate) chain_after: Option<Chain>,
    /// Bytes of the whole piece.
    pub(crate) len: usize,
    is_block: bool,
}

impl PieceHeader {
    /// The header at the beginning of `bytes`.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        if let Ok(header) = FrameHeader::parse(bytes) {
            return Some(Self {
                first_seq: header.first_seq,
                last_seq: header.last_seq(),
                chain_before: header.chain_before,
                chain_after: Some(header.chain_after),
                len: header.frame_len(),
                is_block: false,
            });
        }
        let header = BlockHeader::parse(bytes).ok()?;
        Some(Self {
            first_seq: header.first_seq,
            last_seq: header.last_seq(),
            chain_before: header.chain_before,
            chain_after: None,
            len: header.block_len(),
            is_block: true,
        })
    }

    /// The whole piece, if `bytes` begin with it and its checksums are right.
    pub(crate) fn piece<'a>(&self, bytes: &'a [u8]) -> Option<Piece<'a>> {
        let bytes = bytes.get(..self.len)?;
        if self.is_block {
            Block::parse(bytes).ok().map(Piece::Block)
        } else {
            Frame::parse(bytes).ok().map(|frame| Piece::Commit(frame, bytes))
        }
    }
}

/// A piece whose checksums are right.
pub(crate) enum Piece<'a> {
    Commit(Frame, &'a [u8]),
    Block(Block),
}

impl Piece<'_> {
    /// Calls `visit` with the number and the slot of each event.
    pub(crate) fn each<E>(&self, visit: &mut dyn FnMut(u64, Slot<'_>) -> Result<(), E>) -> Result<(), E> {
        match self {
            Self::Commit(frame, bytes) => frame.iter(bytes).try_for_each(|(seq, event)| visit(seq, Slot::Event(event))),
            Self::Block(block) => block.iter().try_for_each(|(seq, slot)| visit(seq, slot)),
        }
    }
}
