//! A plain segment in memory, and the position of a reader in it.

use std::sync::Arc;

use crate::{
    chain::Chain,
    frame::Frame,
    journal::{
        event_batch::EventBatch,
        scan::{Scan, Scanned},
        segment::{SEGMENT_HEADER_LEN, SegmentError, SegmentHeader},
    },
};

/// A plain segment that was read completely, with the position of a reader in it.
#[derive(Debug, Clone)]
pub(crate) struct PlainSegment {
    header: SegmentHeader,
    bytes: Arc<Vec<u8>>,
    is_last: bool,
    is_copy: bool,
    offset: usize,
    next_seq: u64,
    chain: Chain,
    /// The commits from the first one on, as far as they were remembered.
    known: Arc<Vec<KnownCommit>>,
    /// The number of commits before the position, if all of them are known.
    passed: usize,
}

/// A commit that was found to be valid.
#[derive(Debug, Clone)]
struct KnownCommit {
    /// The byte at which the commit begins.
    at: usize,
    frame: Frame,
    /// The byte at which the next commit begins or will begin.
    end: usize,
}

impl KnownCommit {
    /// The position after the commit: the byte, the next event, and the hash chain value before it.
    const fn after(&self) -> (usize, u64, Chain) {
        let header = self.frame.header();
        (self.end, header.last_seq() + 1, header.chain_after)
    }
}

impl PlainSegment {
    /// The segment in `bytes`, with the position before its first commit. `is_last`: no later segment existed when the
    /// segment was read. `is_copy`: the segment is the last one of a copy of the journal.
    pub(crate) fn parse(bytes: Vec<u8>, is_last: bool, is_copy: bool) -> Result<Self, SegmentError> {
        let header = SegmentHeader::parse(&bytes)?;
        let (next_seq, chain) = (header.first_seq, header.chain_before);
        let bytes = Arc::new(bytes);
        let (known, offset) = (Arc::default(), SEGMENT_HEADER_LEN);
        Ok(Self { header, bytes, is_last, is_copy, offset, next_seq, chain, known, passed: 0 })
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

    /// The segment with its valid commits remembered, so that they need not be checked again, and the position behind them.
    pub(crate) fn remembered(mut self) -> Self {
        if self.known.is_empty() {
            self.remember();
        }
        self.skip_before(u64::MAX);
        self
    }

    fn remember(&mut self) {
        let mut scan = Scan::new(&self.bytes, &self.header, self.is_last).of_copy(self.is_copy);
        let mut known = Vec::new();
        while let Some(Scanned::Commit(at, frame)) = scan.next() {
            known.push(KnownCommit { at, frame, end: scan.offset() });
        }
        self.known = Arc::new(known);
    }

    /// The segment with the position before its first commit.
    pub(crate) fn rewound(self) -> Self {
        let (next_seq, chain) = (self.header.first_seq, self.header.chain_before);
        Self { offset: SEGMENT_HEADER_LEN, next_seq, chain, passed: 0, ..self }
    }

    /// Moves the position to the commit with event `seq`, as far as the commits before it are remembered.
    pub(crate) fn skip_before(&mut self, seq: u64) {
        self.passed = self.known.partition_point(|commit| commit.frame.header().last_seq() < seq);
        if let Some(before) = self.passed.checked_sub(1).and_then(|last| self.known.get(last)) {
            (self.offset, self.next_seq, self.chain) = before.after();
        }
    }

    /// The segment with the position behind the commit with event `seq`; `None` if no such commit is remembered.
    pub(crate) fn behind(mut self, seq: u64) -> Option<Self> {
        self.passed = self.known.partition_point(|commit| commit.frame.header().first_seq <= seq);
        let last = self.passed.checked_sub(1).and_then(|last| self.known.get(last))?;
        (seq <= last.frame.header().last_seq()).then_some(self)
    }

    /// The remembered commit before the position [`behind`](Self::behind) another one, which is then before that commit.
    pub(crate) fn previous_batch(&mut self) -> Option<EventBatch> {
        self.passed = self.passed.checked_sub(1)?;
        let commit = self.known.get(self.passed)?;
        Some(self.batch(commit.at, commit.frame.clone()))
    }

    /// Moves the position to that of `before`, the same segment as it was read earlier.
    pub(crate) fn continue_from(&mut self, before: &Self) {
        (self.offset, self.next_seq, self.chain) = (before.offset, before.next_seq, before.chain);
        self.passed = self.known.partition_point(|commit| commit.at < self.offset);
    }

    /// Scans what follows the position. After a valid commit, the position is behind it.
    pub(crate) fn scan_next(&mut self) -> Option<Scanned> {
        if let Some(commit) = self.known.get(self.passed) {
            self.passed += 1;
            (self.offset, self.next_seq, self.chain) = commit.after();
            return Some(Scanned::Commit(commit.at, commit.frame.clone()));
        }
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
    pub(crate) fn batch(&self, at: usize, frame: Frame) -> EventBatch {
        let bytes = self.bytes.get(at..at + frame.header().frame_len()).unwrap_or_default();
        EventBatch::from_commit(bytes.to_vec(), frame)
    }
}
