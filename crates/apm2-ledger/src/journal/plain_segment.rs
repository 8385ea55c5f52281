//! A plain segment in memory, and the position of a reader in it.

use crate::{
    chain::Chain,
    journal::{
        event_batch::EventBatch,
        scan::{Scan, Scanned},
        segment::{SEGMENT_HEADER_LEN, SegmentError, SegmentHeader},
    },
};

/// A plain segment that was read completely, with the position of a reader in it.
#[derive(Debug)]
pub(crate) struct PlainSegment {
    header: SegmentHeader,
    bytes: Vec<u8>,
    is_last: bool,
    is_copy: bool,
    offset: usize,
    next_seq: u64,
    chain: Chain,
}

impl PlainSegment {
    /// The segment in `bytes`, with the position before its first commit. `is_last`: no later segment existed when the
    /// segment was read. `is_copy`: the segment is the last one of a copy of the journal.
    pub(crate) fn parse(bytes: Vec<u8>, is_last: bool, is_copy: bool) -> Result<Self, SegmentError> {
        let header = SegmentHeader::parse(&bytes)?;
        let (next_seq, chain) = (header.first_seq, header.chain_before);
        Ok(Self { header, bytes, is_last, is_copy, offset: SEGMENT_HEADER_LEN, next_seq, chain })
    }

    pub(crate) const fn header(&self) -> &SegmentHeader {
        &self.header
    }

    /// Whether no later segment existed when the segment was read.
    pub(crate) const fn is_last(&self) -> bool {
        self.is_last
    }

    /// Whether the segment has no commit: all bytes after its header are zero.
    pub(crate) fn is_empty(&self) -> bool {
        self.used_bytes() <= SEGMENT_HEADER_LEN as u64
    }

    /// Number of bytes without the zeros at the end.
    pub(crate) fn used_bytes(&self) -> u64 {
        self.bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1)
    }

    /// The sequence number of the event after the position.
    pub(crate) const fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// The hash chain value before that event.
    pub(crate) const fn chain(&self) -> Chain {
        self.chain
    }

    /// Moves the position to that of `before`, the same segment as it was read earlier.
    pub(crate) const fn continue_from(&mut self, before: &Self) {
        (self.offset, self.next_seq, self.chain) = (before.offset, before.next_seq, before.chain);
    }

    /// Scans what follows the position. After a valid commit, the position is behind it.
    pub(crate) fn scan_next(&mut self) -> Option<Scanned> {
        let mut scan = Scan::resumed(&self.bytes, &self.header, self.is_last, self.offset, self.next_seq, self.chain)
            .of_copy(self.is_copy);
        let found = scan.next();
        if let Some(Scanned::Commit(..)) = found {
            (self.offset, self.next_seq, self.chain) = (scan.offset(), scan.next_seq(), scan.next_chain());
        }
        found
    }

    /// The commits from the first one up to the first that is not sound. The position stays.
    pub(crate) fn commits(&self) -> impl Iterator<Item = EventBatch> {
        Scan::new(&self.bytes, &self.header, self.is_last).map_while(|found| match found {
            Scanned::Commit(at, frame) => Some(self.batch(at, frame)),
            Scanned::Damage(_) | Scanned::Torn(_) => None,
        })
    }

    /// The events of the commit at byte `at`, which the scan has found.
    pub(crate) fn batch(&self, at: usize, frame: crate::frame::Frame) -> EventBatch {
        let bytes = self.bytes.get(at..at + frame.header().frame_len()).unwrap_or_default();
        EventBatch::from_commit(bytes.to_vec(), frame)
    }
}
