//! Finds the intact commits and blocks in a file of a damaged ledger, wherever they are in the file.
//!
//! The file is searched for the beginnings of commits and blocks. Neither the header nor the footer of the file is needed, and
//! nothing of the structure of a sled database: sled stores each frame as it is. The bytes of an intact piece are not
//! searched again, because recorded text may look like a piece.

use crate::{
    chain::Chain,
    salvage::{
        file_bytes::FileBytes,
        known_chains::KnownChains,
        piece::{HEADER_BYTES_MAX, MAGIC_BEGIN, PieceHeader},
        run::{Run, next_offset},
        source_file::SourceKind,
    },
};

/// What was found in a file.
#[derive(Debug, Default)]
pub(crate) struct Carved {
    pub(crate) runs: Vec<Run>,
    /// Hash chain values in the headers of pieces whose events are damaged, each with the event after which it is.
    pub(crate) stated: Vec<(u64, Chain)>,
    /// The last piece: where it begins and ends, and its events. It is the end of the last run.
    last: Option<LastPiece>,
}

#[derive(Debug, Clone, Copy)]
struct LastPiece {
    offset: u64,
    end: u64,
    first_seq: u64,
    chain_before: Chain,
}

/// Finds all intact pieces of the file, which has the number `file` in the list of files. `known` are values of the journal with which
/// the events of a store are compared.
pub(crate) fn carve(bytes: &mut FileBytes, kind: SourceKind, file: usize, known: &KnownChains) -> Carved {
    let mut carved = Carved::default();
    let mut offset = 0;
    while let Some(at) = next_magic(bytes, offset) {
        let Some(header) = PieceHeader::parse(bytes.at(at, HEADER_BYTES_MAX)) else {
            offset = at.saturating_add(1);
            continue;
        };
        let mut chain = header.chain_before;
        let mut proven_upto = if known.contains(header.first_seq - 1, &chain) { header.first_seq - 1 } else { 0 };
        let piece = header.piece(bytes.at(at, header.len));
        let visited = piece.map(|piece| {
            piece.each(&mut |seq, slot| {
                chain = slot.link(chain, seq);
                if known.contains(seq, &chain) {
                    proven_upto = seq;
                }
                Ok::<(), std::convert::Infallible>(())
            })
        });
        if visited.is_none() {
            carved.stated.push((header.first_seq - 1, header.chain_before));
            carved.stated.extend(header.chain_after.map(|chain| (header.last_seq, chain)));
            offset = after_damaged(bytes, at, &header);
            continue;
        }
        let end = next_offset(at, &header);
        carved.add(
            Run {
                kind,
                file,
                offset: at,
                first_seq: header.first_seq,
                last_seq: header.last_seq,
                chain_before: header.chain_before,
                chain_after: header.chain_after.unwrap_or(chain),
                is_altered: header.chain_after.is_some_and(|stated| stated != chain),
                is_trusted: false,
                proven_upto,
            },
            end,
        );
        offset = at.saturating_add(header.len as u64);
    }
    carved
}

impl Carved {
    /// Adds a run of one piece, which ends at `end`, to the last run if it continues it.
    fn add(&mut self, run: Run, end: u64) {
        let piece = LastPiece { offset: run.offset, end, first_seq: run.first_seq, chain_before: run.chain_before };
        let before = self.last.replace(piece).filter(|before| before.end == run.offset);
        match (self.runs.last_mut(), before) {
            (Some(last), Some(before)) if last.last_seq + 1 == run.first_seq && !run.kind.is_store() => {
                if last.chain_after != run.chain_before {
                    self.mark_altered(before);
                } else if !last.is_altered && !run.is_altered {
                    (last.last_seq, last.chain_after) = (run.last_seq, run.chain_after);
                    return;
                }
            }
            _ => {}
        }
        self.runs.push(run);
    }

    /// Makes the last piece, whose events do not have the hash chain value that the next piece states, a run of its own.
    fn mark_altered(&mut self, piece: LastPiece) {
        let Some(run) = self.runs.last_mut() else { return };
        let mut altered = Run { is_altered: true, ..run.clone() };
        if run.offset == piece.offset {
            *run = altered;
            return;
        }
        (altered.offset, altered.first_seq, altered.chain_before) = (piece.offset, piece.first_seq, piece.chain_before);
        (run.last_seq, run.chain_after) = (piece.first_seq - 1, piece.chain_before);
        self.runs.push(altered);
    }
}

/// Where the search goes on after a piece whose header is intact and whose events are damaged: behind it, if the next
/// piece is there. Otherwise behind its first byte, because the rest may have been overwritten with other pieces.
fn after_damaged(bytes: &mut FileBytes, at: u64, header: &PieceHeader) -> u64 {
    let end = next_offset(at, header);
    let next = PieceHeader::parse(bytes.at(end, HEADER_BYTES_MAX));
    if next.is_some_and(|next| next.first_seq == header.last_seq + 1) { end } else { at.saturating_add(1) }
}

/// The next position from `offset` on with the bytes that begin a piece.
fn next_magic(bytes: &mut FileBytes, mut offset: u64) -> Option<u64> {
    while offset < bytes.len() {
        let window = bytes.at(offset, HEADER_BYTES_MAX);
        let mut rest = window;
        let found = loop {
            let Some(at) = rest.iter().position(|byte| *byte == MAGIC_BEGIN[0]) else { break None };
            rest = rest.get(at..).unwrap_or_default();
            if rest.starts_with(&MAGIC_BEGIN) {
                break Some(window.len() - rest.len());
            }
            rest = rest.get(1..).unwrap_or_default();
        };
        if let Some(at) = found {
            return Some(offset.saturating_add(at as u64));
        }
        // The first byte of a piece may be the last byte of the window.
        offset = offset.saturating_add((window.len() as u64).saturating_sub(1).max(1));
    }
    None
}
