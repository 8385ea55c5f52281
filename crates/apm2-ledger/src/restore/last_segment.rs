//! The last segment of a restored ledger: the events of a segment of the backup up to the head.

use std::{
    io::{self, Write as _},
    path::Path,
};

use crate::{
    chain::Chain,
    file,
    frame::FrameBuilder,
    head::Head,
    journal::{
        event_batch::EventBatch,
        plain_segment::PlainSegment,
        sealed::{error::SealedError, reader::SealedSegment},
        segment::{FORMAT_VERSION, SegmentHeader, aligned},
    },
    limits::SEGMENT_BYTES,
};

/// The plain segment with the events of the plain segment at `path` up to `head`; `None` when these events are not in it, or
/// the file is damaged before them.
pub(super) fn of_plain(path: &Path, head: Head) -> io::Result<Option<(SegmentHeader, Vec<u8>)>> {
    let bytes = match file::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        bytes => bytes?,
    };
    let Ok(segment) = PlainSegment::parse(bytes, true, true) else { return Ok(None) };
    let header = *segment.header();
    Ok(up_to(head, header, segment.commits()))
}

/// The same for the sealed segment at `path`.
pub(super) fn of_sealed(path: &Path, head: Head) -> io::Result<Option<(SegmentHeader, Vec<u8>)>> {
    match blocks(path) {
        Ok((header, blocks)) => Ok(up_to(head, header, blocks.into_iter())),
        Err(SealedError::Io(error)) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Err(_) => Ok(None),
    }
}

/// The header of a plain segment for the events of a sealed one, and the blocks up to the first that is damaged.
fn blocks(path: &Path) -> Result<(SegmentHeader, Vec<EventBatch>), SealedError> {
    let segment = SealedSegment::open(path)?;
    let sealed = segment.header();
    let header = SegmentHeader {
        version: FORMAT_VERSION,
        ledger: sealed.ledger,
        number: sealed.number,
        first_seq: sealed.first_seq,
        chain_before: sealed.chain_before,
        len: SEGMENT_BYTES,
    };
    let numbers = 0..segment.blocks()?.entries().len();
    let blocks = numbers.map_while(|number| segment.block(number).ok().flatten()).map(EventBatch::from).collect();
    Ok((header, blocks))
}

/// A plain segment with the events of `batches` up to `head`; `None` when they do not have its hash chain value.
fn up_to(
    head: Head,
    mut header: SegmentHeader,
    batches: impl Iterator<Item = EventBatch>,
) -> Option<(SegmentHeader, Vec<u8>)> {
    let (mut next_seq, mut chain): (u64, Chain) = (header.first_seq, header.chain_before);
    let mut commits = Vec::new();
    for batch in batches {
        if next_seq > head.size {
            break;
        }
        // A commit of a plain segment is built again with the same bytes.
        let mut commit = FrameBuilder::new(next_seq, chain);
        for (seq, bytes) in batch.iter().take_while(|(seq, _)| *seq <= head.size) {
            if seq != commit.next_seq() {
                return None;
            }
            commit.push(bytes);
        }
        (next_seq, chain) = (commit.next_seq(), commit.chain());
        commits.extend_from_slice(&commit.finish());
        commits.resize(aligned(commits.len()), 0);
    }
    if (next_seq.checked_sub(1)?, chain) != (head.size, head.chain) {
        return None;
    }
    header.len = header.len.max((header.to_bytes().len() + commits.len()) as u64);
    Some((header, [header.to_bytes().as_slice(), &commits].concat()))
}

/// Writes a segment file, and syncs it.
pub(super) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = file::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
