//! Consecutive events in one file that follow each other in the hash chain.

use std::{io, path::Path};

use crate::{
    chain::Chain,
    journal::{sealed::block::Slot, segment::COMMIT_ALIGN},
    salvage::{
        file_bytes::FileBytes,
        piece::{HEADER_BYTES_MAX, PieceHeader},
        source_file::SourceKind,
    },
};

/// Consecutive pieces of one file whose events follow each other in the hash chain.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) kind: SourceKind,
    /// The number of the file in the list of files.
    pub(crate) file: usize,
    /// Where the first piece begins in the file.
    pub(crate) offset: u64,
    pub(crate) first_seq: u64,
    pub(crate) last_seq: u64,
    /// The hash chain value before the first event.
    pub(crate) chain_before: Chain,
    /// The hash chain value after the last event.
    pub(crate) chain_after: Chain,
    /// Whether the events do not match the hash chain: they were changed together with their checksums.
    pub(crate) is_altered: bool,
    /// Whether the file is known to be of the ledger: by its header, or by a hash chain value.
    pub(crate) is_trusted: bool,
    /// The last event that is proven by a hash chain value that the journal states. Only for the runs of a store.
    pub(crate) proven_upto: u64,
}

/// Reads the events of a run in order.
pub(crate) struct RunReader {
    bytes: FileBytes,
    offset: u64,
    last_seq: u64,
}

impl RunReader {
    /// A reader of the run `run` in the file at `path`. Its first piece has event `seq`.
    pub(crate) fn starting_at(run: &Run, path: &Path, seq: u64) -> io::Result<Self> {
        let mut reader = Self { bytes: FileBytes::open(path)?, offset: run.offset, last_seq: run.last_seq };
        while let Some(header) = reader.header()
            && header.last_seq < seq
        {
            reader.offset = next_offset(reader.offset, &header);
        }
        Ok(reader)
    }

    /// The header of the next piece.
    fn header(&mut self) -> Option<PieceHeader> {
        PieceHeader::parse(self.bytes.at(self.offset, HEADER_BYTES_MAX))
    }

    /// Calls `visit` with the hash chain value before each event, its number and its slot, from event `first_seq` to event
    /// `last_seq`. Returns the hash chain value after the last of them.
    pub(crate) fn each<E: From<io::Error>>(
        mut self,
        first_seq: u64,
        last_seq: u64,
        visit: &mut dyn FnMut(Chain, u64, Slot<'_>) -> Result<(), E>,
    ) -> Result<Chain, E> {
        let last_seq = last_seq.min(self.last_seq);
        loop {
            let header = self.header().ok_or_else(changed)?;
            let piece = header.piece(self.bytes.at(self.offset, header.len)).ok_or_else(changed)?;
            let (mut chain, mut end) = (header.chain_before, None);
            piece.each(&mut |seq, slot| {
                if (first_seq..=last_seq).contains(&seq) {
                    visit(chain, seq, slot)?;
                }
                chain = slot.link(chain, seq);
                if seq == last_seq {
                    end = Some(chain);
                }
                Ok::<(), E>(())
            })?;
            if let Some(chain) = end {
                return Ok(chain);
            }
            if header.last_seq >= last_seq {
                return Err(changed().into());
            }
            self.offset = next_offset(self.offset, &header);
        }
    }
}

/// The hash chain value of the run before event `seq`.
pub(crate) fn chain_before(run: &Run, path: &Path, seq: u64) -> io::Result<Chain> {
    match seq.checked_sub(1) {
        Some(before) if before >= run.first_seq => {
            RunReader::starting_at(run, path, before)?.each::<io::Error>(before, before, &mut |_, _, _| Ok(()))
        }
        _ => Ok(run.chain_before),
    }
}

/// Where the piece after the one at `offset` begins: at its end, or, after a commit, at the next aligned position.
pub(crate) const fn next_offset(offset: u64, header: &PieceHeader) -> u64 {
    let end = offset.saturating_add(header.len as u64);
    if header.chain_after.is_none() { end } else { end.next_multiple_of(COMMIT_ALIGN as u64) }
}

/// The error for a piece that was read before and cannot be read any more.
fn changed() -> io::Error {
    io::Error::other("a file of the damaged ledger was changed, or cannot be read any more")
}
