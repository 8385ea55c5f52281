//! Reads the commits of a segment, and decides whether broken bytes are a torn commit or damage.
//!
//! A commit is written only after the previous commit was synced. So at most the last commit of the last segment can be
//! torn (partly written at a crash), and a torn commit was never acknowledged. A broken commit is classified as
//! follows:
//!
//! - A valid commit follows: the broken commit had been synced, so it is damaged.
//! - Some 512-byte sector of the commit still contains only the zeros that the segment was created with: the commit is
//!   torn. A disk writes whole sectors, and no sector of a commit is all zeros
//!   ([`ZERO_RUN_BYTES_MAX`](crate::limits::ZERO_RUN_BYTES_MAX)).
//! - The checksum at the end of the commit, or the header, is still zero: the commit is torn.
//! - Otherwise all sectors of the commit had been written, so the commit is damaged.
//!
//! In a copy of the journal (see `origin`), the last segment may have been read while commits were written to it. If a
//! sector was read before it was written, the bytes behind that sector do not belong to the copy.

use crate::{
    chain::Chain,
    error::Damage,
    frame::{Frame, FrameError, FrameHeader, HEADER_LEN},
    journal::segment::{COMMIT_ALIGN, SEGMENT_HEADER_LEN, SegmentHeader, aligned},
};

/// Size of a disk sector in bytes. The scan assumes that a disk writes a sector completely or not at all.
const SECTOR_LEN: usize = 512;

/// Length of a CRC-32C checksum, which ends each frame header and each frame.
const CRC_LEN: usize = 4;

/// A result of the scan of a segment.
#[derive(Debug)]
pub enum Scanned {
    /// A valid commit that begins at this byte.
    Commit(usize, Frame),
    /// Damage. The scan continues with the next valid commit, if there is one.
    Damage(Damage),
    /// The last commit is torn: a crash interrupted the write. The commit begins at this byte.
    Torn(usize),
}

/// Iterator over the commits of one segment.
#[derive(Debug)]
pub struct Scan<'a> {
    bytes: &'a [u8],
    segment: u64,
    /// Whether this is the last segment of the journal. Only the last segment can contain a torn commit.
    is_last: bool,
    /// Whether the journal directory is a copy, which may have been made while the segment was written.
    is_copy: bool,
    len: u64,
    offset: usize,
    next_seq: u64,
    chain: Chain,
    done: bool,
}

impl<'a> Scan<'a> {
    /// Creates a scan of the segment in `bytes`, whose header is `header`.
    #[must_use]
    pub const fn new(bytes: &'a [u8], header: &SegmentHeader, is_last: bool) -> Self {
        Self {
            bytes,
            segment: header.number,
            is_last,
            is_copy: false,
            len: header.len,
            offset: SEGMENT_HEADER_LEN,
            next_seq: header.first_seq,
            chain: header.chain_before,
            done: false,
        }
    }

    /// Sets whether the journal directory is a copy. In a copy, the last segment may end at any byte.
    #[must_use]
    pub const fn of_copy(mut self, is_copy: bool) -> Self {
        self.is_copy = is_copy;
        self
    }

    /// Creates a scan that begins at byte `offset`, with the commit that contains event `next_seq` and follows the hash
    /// chain value `chain`.
    pub(crate) const fn resumed(
        bytes: &'a [u8],
        header: &SegmentHeader,
        is_last: bool,
        offset: usize,
        next_seq: u64,
        chain: Chain,
    ) -> Self {
        Self { offset, next_seq, chain, ..Self::new(bytes, header, is_last) }
    }

    /// The byte at which the next commit begins or will begin.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.offset
    }

    /// The sequence number of the next event.
    #[must_use]
    pub const fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// The hash chain value before the next event.
    #[must_use]
    pub const fn next_chain(&self) -> Chain {
        self.chain
    }

    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.offset..).unwrap_or_default()
    }

    fn damage(&self, last_seq: u64, what: impl Into<String>) -> Scanned {
        Scanned::Damage(Damage {
            first_seq: self.next_seq,
            last_seq: last_seq.max(self.next_seq),
            segment: self.segment,
            offset: self.offset as u64,
            what: what.into(),
        })
    }

    fn advance(&mut self, frame: Frame) -> Scanned {
        let start = self.offset;
        let header = *frame.header();
        let end = start + header.frame_len();
        self.offset = start + aligned(header.frame_len());
        self.next_seq = header.last_seq() + 1;
        self.chain = header.chain_after;
        // No checksum covers the padding after a commit. The writer leaves zeros there, so other bytes are damage.
        if self.bytes.get(end..self.offset.min(self.bytes.len())).unwrap_or_default().iter().any(|byte| *byte != 0) {
            self.offset = end;
            self.next_seq = header.first_seq;
            let found = self.damage(header.last_seq(), "the padding after the commit is not zero");
            self.offset = start + aligned(header.frame_len());
            self.next_seq = header.last_seq() + 1;
            return found;
        }
        Scanned::Commit(start, frame)
    }

    /// Classifies the bytes at the offset, which are no valid commit, as a torn commit or as damage.
    fn classify_broken(&mut self, error: FrameError) -> Scanned {
        let header = FrameHeader::parse(self.rest()).ok().filter(|header| header.first_seq == self.next_seq);
        let next = self.next_sound_commit();
        if self.is_last && self.is_copy && self.is_torn_copy(next.as_ref().map(|(at, _)| *at)) {
            self.done = true;
            return Scanned::Torn(self.offset);
        }
        if let Some((at, frame)) = next {
            let damage = self.damage(frame.header().first_seq.saturating_sub(1), error.to_string());
            self.offset = at;
            self.next_seq = frame.header().first_seq;
            self.chain = frame.header().chain_before;
            return damage;
        }
        self.done = true;
        if self.is_last && self.is_torn(header.as_ref()) {
            return Scanned::Torn(self.offset);
        }
        self.damage(header.map_or(self.next_seq, |header| header.last_seq()), error.to_string())
    }

    /// Finds the first valid commit with later events behind the offset. Returns its byte position and its frame.
    fn next_sound_commit(&self) -> Option<(usize, Frame)> {
        let positions = (self.offset + COMMIT_ALIGN..self.bytes.len()).step_by(COMMIT_ALIGN);
        positions.into_iter().find_map(|at| {
            let bytes = self.bytes.get(at..)?;
            let header = FrameHeader::parse(bytes).ok()?;
            if header.first_seq < self.next_seq { None } else { Some((at, Frame::parse(bytes).ok()?)) }
        })
    }

    /// Whether the commit at the offset is torn: some sector of it, or its checksum, was never written.
    fn is_torn(&self, header: Option<&FrameHeader>) -> bool {
        if (self.bytes.len() as u64) < self.len {
            return false;
        }
        // Without a valid header, the length of the commit is not known. Then only the sectors that contain the header
        // are checked.
        let len = header.map_or(HEADER_LEN, FrameHeader::frame_len);
        let end = match header {
            Some(header) => self.offset + header.frame_len(),
            None => (self.offset + HEADER_LEN).next_multiple_of(SECTOR_LEN),
        };
        let is_zero = |bytes: &[u8]| bytes.iter().all(|byte| *byte == 0);
        // The checksum at the end of the commit is still zero. Without a valid header, all bytes behind the header must
        // be zero too.
        let checksum = self.rest().get(len - CRC_LEN..len).unwrap_or_default();
        let has_zero_checksum =
            is_zero(checksum) && (header.is_some() || is_zero(self.rest().get(len..).unwrap_or_default()));
        // A checksum may contain zero bytes. So a sector that contains only bytes of the checksum does not show whether
        // it was written.
        let is_zero_sector = |sector: &[u8]| is_zero(sector) && sector.len() > CRC_LEN;
        let has_half_checksum = header.is_some_and(|header| self.lacks_part_of_checksum(header, end));
        self.has_commit_bytes() && (has_zero_checksum || has_half_checksum || self.sectors(end).any(is_zero_sector))
    }

    /// Whether the bytes from the offset on contain a part of a commit. A single set bit among zeros counts as a
    /// flipped bit, because every part of a commit has more set bits.
    fn has_commit_bytes(&self) -> bool {
        self.rest().iter().map(|byte| byte.count_ones()).sum::<u32>() > 1
    }

    /// Whether a copy of the segment was made while commits were written, so that a sector of zeros is left before
    /// later data. `next` is the position of the next valid commit.
    ///
    /// A program that copies a file reads it in multiples of whole sectors.
    fn is_torn_copy(&self, next: Option<usize>) -> bool {
        let written_len = || self.bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let end = next.unwrap_or_else(written_len) / SECTOR_LEN * SECTOR_LEN;
        self.has_commit_bytes()
            && self.sectors(end).any(|sector| sector.len() > CRC_LEN && sector.iter().all(|byte| *byte == 0))
    }

    /// Whether the checksum lies on two sectors of which only the first was written, and the rest of the commit is
    /// valid.
    fn lacks_part_of_checksum(&self, header: &FrameHeader, end: usize) -> bool {
        let bytes_in_second_sector = end % SECTOR_LEN;
        if !(1..CRC_LEN).contains(&bytes_in_second_sector) {
            return false;
        }
        let commit = self.rest().get(..header.frame_len()).unwrap_or_default();
        let Some((covered, stored)) = commit.split_last_chunk::<CRC_LEN>() else { return false };
        let computed = crc32c::crc32c(covered).to_le_bytes();
        let (written_part, unwritten_part) = stored.split_at(CRC_LEN - bytes_in_second_sector);
        computed.starts_with(written_part) && unwritten_part.iter().all(|byte| *byte == 0)
    }

    /// Iterates over the bytes from the offset up to byte `end` in pieces that end at sector boundaries.
    fn sectors(&self, end: usize) -> impl Iterator<Item = &'a [u8]> {
        let bytes = self.bytes;
        let mut at = self.offset;
        std::iter::from_fn(move || {
            let stop = (at + 1).next_multiple_of(SECTOR_LEN).min(end);
            let sector = bytes.get(at..stop).filter(|sector| !sector.is_empty())?;
            at = stop;
            Some(sector)
        })
    }

    /// Ends the scan after the last commit. Reports damage when the last segment of an original journal is shorter than
    /// its header says.
    fn finish(&mut self) -> Option<Scanned> {
        self.done = true;
        let is_short = self.is_last && !self.is_copy && (self.bytes.len() as u64) < self.len;
        is_short.then(|| self.damage(self.next_seq, "the last segment is shorter than its header says"))
    }
}

impl Iterator for Scan<'_> {
    type Item = Scanned;

    fn next(&mut self) -> Option<Scanned> {
        if self.done {
            return None;
        }
        if self.rest().iter().all(|byte| *byte == 0) {
            return self.finish();
        }
        match Frame::parse(self.rest()) {
            Ok(frame) if frame.header().first_seq != self.next_seq => {
                let found = self.damage(frame.header().first_seq.saturating_sub(1), "the sequence numbers have a gap");
                self.next_seq = frame.header().first_seq;
                self.chain = frame.header().chain_before;
                Some(found)
            }
            Ok(frame) if frame.header().chain_before != self.chain => {
                let found = self.damage(frame.header().last_seq(), "the chain is broken");
                self.chain = frame.header().chain_before;
                Some(found)
            }
            Ok(frame) => Some(self.advance(frame)),
            Err(error) => Some(self.classify_broken(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::frame::FrameBuilder;

    const LEDGER: Uuid = Uuid::nil();

    /// Builds a segment with one commit that ends one byte after a sector boundary. `is_wanted` selects the value of
    /// that last byte.
    fn segment_ending_in(is_wanted: impl Fn(u8) -> bool) -> (Vec<u8>, usize) {
        let chain_before = Chain::genesis(LEDGER);
        let segment = SegmentHeader { version: 1, ledger: LEDGER, number: 1, first_seq: 1, chain_before, len: 2048 };
        (0_u32..100_000)
            .find_map(|number| {
                let mut event = number.to_string();
                let length = 2 * SECTOR_LEN + 1 - SEGMENT_HEADER_LEN - HEADER_LEN - 2 * CRC_LEN;
                event.extend(std::iter::repeat_n('x', length - event.len()));
                let mut builder = FrameBuilder::new(1, chain_before);
                builder.push(event.as_bytes());
                let mut bytes = [&segment.to_bytes()[..], &builder.finish()].concat();
                let end = bytes.len();
                bytes.resize(2048, 0);
                is_wanted(bytes[end - 1]).then_some((bytes, end))
            })
            .unwrap()
    }

    fn scanned(bytes: &[u8]) -> Vec<Scanned> {
        Scan::new(bytes, &SegmentHeader::parse(bytes).unwrap(), true).collect()
    }

    #[test]
    fn a_checksum_that_rightly_ends_in_zero_does_not_make_damage_a_torn_write() {
        let (mut bytes, end) = segment_ending_in(|last| last == 0);
        assert_eq!(end % SECTOR_LEN, 1);
        assert!(matches!(scanned(&bytes)[..], [Scanned::Commit(..)]));
        bytes[SEGMENT_HEADER_LEN + HEADER_LEN + 20] ^= 1;
        assert!(matches!(scanned(&bytes)[..], [Scanned::Damage(_)]));
    }

    #[test]
    fn a_commit_whose_last_sector_alone_is_missing_is_torn() {
        let (mut bytes, end) = segment_ending_in(|last| last != 0);
        bytes[end - 1] = 0;
        assert!(matches!(scanned(&bytes)[..], [Scanned::Torn(SEGMENT_HEADER_LEN)]));
    }
}
